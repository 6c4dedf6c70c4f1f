"""Let the outside in: takes connections on sockets of the host and carries them to addresses inside the box.

A socket belongs for ever to the network namespace it was made in. So the owner makes the listening sockets outside and
this process, inside, inherits them: `python -m localcluster.forward <fd>=<host>:<port> …`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys

CHUNK = 256 * 1024


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction until it ends, then close that direction only: the other may still be speaking."""
    try:
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
    except (OSError, RuntimeError):
        writer.close()


async def serve(listener: socket.socket, host: str, port: int) -> None:
    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(host, port, limit=CHUNK)
        except OSError:
            # Nobody listens in there. A reset says "refused" more plainly than an orderly end would.
            writer.transport.abort()
            return
        await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))
        for end in (writer, far_writer):
            end.close()
            with contextlib.suppress(OSError):
                await end.wait_closed()

    server = await asyncio.start_server(accepted, sock=listener, limit=CHUNK)
    await server.serve_forever()


async def main(arguments: list[str]) -> None:
    routes = []
    for argument in arguments:
        fd, _, target = argument.partition("=")
        host, _, port = target.rpartition(":")
        routes.append(serve(socket.socket(fileno=int(fd)), host, int(port)))
    await asyncio.gather(*routes)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
