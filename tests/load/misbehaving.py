"""A server that misbehaves as told: each path is a way to fail a caller."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.localcluster.listening import listening

ANSWER = b"HTTP/1.1 200 OK\r\nX-Pod: web-1\r\nContent-Length: 2\r\n%s\r\nok"


@dataclass
class Misbehaving:
    """Counts what it sees, so that a test knows nothing was sent twice."""

    port: int = 0
    connections: int = 0
    asked: list[str] = field(default_factory=list)
    """The ids of the requests that came, each as often as it came."""

    def url(self, path: str = "/") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        for number in range(1, 1_000_000):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = head.split()[1]
            self.asked += [line.split(": ")[1] for line in head.splitlines() if line.lower().startswith("x-req")]
            if await self.answer(path, number, writer, asked_to_close="connection: close" in head.lower()):
                return

    async def answer(self, path: str, number: int, writer: asyncio.StreamWriter, *, asked_to_close: bool) -> bool:
        """Whether the connection is to be closed now."""
        match path:
            case "/reset":
                reset(writer)
            case "/close":
                pass
            case "/close-in-answer":
                writer.write(b"HTTP/1.1 200 OK\r\nX-Pod: web-1\r\nContent-Length: 100\r\n\r\nonly a part")
                await writer.drain()
            case "/reset-in-answer":
                writer.write(b"HTTP/1.1 200 OK\r\nX-Pod: web-1\r\nContent-Length: 100\r\n\r\nonly a part")
                await writer.drain()
                await asyncio.sleep(0.05)
                reset(writer)
            case "/close-in-head":
                writer.write(b"HTTP/1.1 200 OK\r\nX-P")
                await writer.drain()
            case "/stall":
                await asyncio.Event().wait()
            case "/garbled":
                writer.write(b"good day to you\r\n\r\n")
                await writer.drain()
            case "/503":
                writer.write(b"HTTP/1.1 503 Service Unavailable\r\nX-Pod: web-1\r\nContent-Length: 0\r\n\r\n")
                return asked_to_close
            case "/502-of-a-gateway":
                writer.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                return asked_to_close
            case "/says-close":
                writer.write(ANSWER % b"Connection: close\r\n")
            case "/closes-when-idle":
                writer.write(ANSWER % b"")
                await writer.drain()
            case "/hangs-up-on-the-second":
                if number == 1:
                    writer.write(ANSWER % b"")
                    return False
            case "/resets-the-second":
                if number == 1:
                    writer.write(ANSWER % b"")
                    return False
                reset(writer)
            case "/streams":
                writer.write(b"HTTP/1.1 200 OK\r\nX-Pod: web-1\r\nTransfer-Encoding: chunked\r\n\r\n")
                for _ in range(3):
                    writer.write(b"4\r\nwhee\r\n")
                    await asyncio.sleep(0.01)
                writer.write(b"0\r\n\r\n")
                return asked_to_close
            case _:
                writer.write(ANSWER % (b"Connection: close\r\n" if asked_to_close else b""))
                return asked_to_close
        return True


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with a TCP reset in place of an orderly end."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@asynccontextmanager
async def misbehaving() -> AsyncIterator[Misbehaving]:
    server = Misbehaving()
    async with listening(server.serve, backlog=512) as server.port:
        yield server
