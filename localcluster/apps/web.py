"""HTTP/1.1 for the sample apps: asyncio and nothing else, so that a pod costs little to start.

Connections are kept alive, pipelined requests are answered in order, and the server knows which connection is idle and
which has a request in the works: what a graceful shutdown is made of.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

_REASONS = {200: "OK", 404: "Not Found", 500: "Internal Server Error", 503: "Service Unavailable"}


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """Names in lower case."""


@dataclass
class Response:
    """Either a body, or a stream that is sent chunk by chunk."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    stream: AsyncIterator[bytes] | None = None
    on_sent: Callable[[], None] | None = None
    """Called when all of it has been handed to the kernel."""
    on_end: Callable[[], None] | None = None
    """Called when it is over, sent or not."""


Handler = Callable[[Request], Awaitable[Response]]


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.busy = False

    async def read_request(self) -> tuple[Request, bool] | None:
        """The next request and whether the caller keeps the connection; None when it has gone."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            return None
        self.busy = True
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, version = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        if length := int(headers.get("content-length", "0")):
            await self.reader.readexactly(length)
        path, _, query = target.partition("?")
        default = "keep-alive" if version == "HTTP/1.1" else "close"
        keep = headers.get("connection", default).lower() != "close"
        return Request(method, path, dict(parse_qsl(query)), headers), keep

    async def send(self, response: Response, *, keep: bool) -> None:
        headers = {"Content-Type": "text/plain; charset=utf-8", **response.headers}
        if response.stream is None:
            headers["Content-Length"] = str(len(response.body))
        else:
            headers["Transfer-Encoding"] = "chunked"
        headers["Connection"] = "keep-alive" if keep else "close"
        head = f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Unknown')}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
        self.writer.write(head.encode("latin-1") + response.body)
        if response.stream is not None:
            async for chunk in response.stream:
                self.writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
                await self.writer.drain()
            self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()


class Server:
    """Serves a handler until `drain` or the end of the process."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self.draining = False

    async def listen(self, host: str, port: int) -> None:
        self._listener = await asyncio.start_server(self._accept, host, port, backlog=1024)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection = _Connection(reader, writer)
        self._connections.add(connection)
        try:
            await self._serve(connection)
        except (ConnectionError, ValueError, asyncio.IncompleteReadError):
            pass  # the caller went away, or does not speak HTTP
        finally:
            self._connections.discard(connection)
            self._tasks.discard(task)
            writer.close()

    async def _serve(self, connection: _Connection) -> None:
        keep = True
        while keep:
            got = await connection.read_request()
            if got is None:
                return
            request, keep = got
            response = await self._handler(request)
            keep = keep and not self.draining
            try:
                await connection.send(response, keep=keep)
                if response.on_sent is not None:
                    response.on_sent()
            finally:
                if response.on_end is not None:
                    response.on_end()
            connection.busy = False
            if self.draining:  # it began while this was being sent
                return

    async def drain(self, linger: float = 0.0) -> None:
        """Stop accepting, finish what is in the works, answering with `Connection: close`; then close what is idle.

        A request that reaches an idle connection in the moment it is closed is lost. HTTP/1.1 can only make that rare:
        for `linger` seconds idle connections stay open, and who sends another request is told that it was the last.
        """
        self.draining = True
        if self._listener is not None:
            self._listener.close()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=linger)
        for connection in self._connections:
            if not connection.busy:
                connection.writer.close()
        pending = [task for task in self._tasks if not task.done()]
        if pending:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait(pending)
