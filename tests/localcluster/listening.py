"""Servers for a test that leave nothing behind: when the block ends, so has every connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(handle: Handle, sock: socket.socket | None = None, backlog: int = 128) -> AsyncIterator[int]:
    """Serves on a port of the loopback device, or on `sock`; gives the port.

    A connection is closed when `handle` returns, and at the end of the block in any case. A transport that was merely
    dropped would be complained of whenever it happens to be collected: in the middle of somebody else's test.
    """
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            # Cancelled at the end of the block. asyncio's own callback would trip over a task that says so.
            with contextlib.suppress(asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
                await handle(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await writer.wait_closed()
            tasks.discard(task)

    if sock is None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=backlog)
    else:
        server = await asyncio.start_server(serve, sock=sock, backlog=backlog)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
