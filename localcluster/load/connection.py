"""One HTTP/1.1 connection that never retries, and says exactly how a request was lost.

Why not a ready-made client. Go's net/http (and so vegeta, hey, k6, Prometheus' blackbox …) silently sends an idempotent
request again when a kept-alive connection dies before the first byte of the answer: net/http Transport,
`(*persistConn).shouldRetryRequest` in src/net/http/transport.go. aiohttp's client does the same
(`ClientSession._request`, "retry_persistent_connection"). That hides exactly the losses a rollout causes. Here a
request is written once, to one connection, and whatever happens to it is its result.
"""

from __future__ import annotations

import asyncio
import errno
import select
from dataclasses import dataclass

import h11

from localcluster.load.result import Cause

UNREACHABLE = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN})
OUT_OF_MEANS = frozenset({errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM})
CHUNK = 65536


class Failed(Exception):
    """The request got no answer; `cause` says how."""

    def __init__(self, cause: Cause, detail: str = "") -> None:
        super().__init__(f"{cause}: {detail}" if detail else str(cause))
        self.cause = cause
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Request:
    id: str
    host: str
    path: str
    keep_alive: bool
    header: str = ""
    key: str | None = None
    """Sent as `header`: whose request it is."""

    def event(self) -> h11.Request:
        headers = [("Host", self.host), ("User-Agent", "localcluster-load")]
        if self.id:
            headers.append(("X-Request-Id", self.id))
        if self.key is not None:
            headers.append((self.header, self.key))
        if not self.keep_alive:
            headers.append(("Connection", "close"))
        return h11.Request(method="GET", target=self.path, headers=headers)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    pod: str | None


class Connection:
    """An open connection. Asked one request at a time."""

    def __init__(self, address: tuple[str, int], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.address = address
        self.asked = 0
        self.pod: str | None = None
        """Who answered here last. Behind a ClusterIP a connection stays with one pod (conntrack), so this is who a
        later request on it was lost by."""
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT)
        self._idle = select.poll()
        self._idle.register(writer.get_extra_info("socket").fileno(), select.POLLIN)

    @classmethod
    async def open(cls, address: tuple[str, int]) -> Connection:
        """Connect. Raises Failed; a caller bounds the time."""
        try:
            reader, writer = await asyncio.open_connection(*address)
        except OSError as error:
            raise Failed(_cause_of_connecting(error), _said(error)) from error
        return cls(address, reader, writer)

    @property
    def reusable(self) -> bool:
        """Whether another request may be sent: the last answer came whole and did not say `Connection: close`."""
        return self._http.our_state is h11.IDLE and self._http.their_state is h11.IDLE and not self._writer.is_closing()

    @property
    def stale(self) -> bool:
        """Whether the server has hung up while nothing was asked.

        Every sane client looks before it writes, and so do we, down to what the kernel has and the event loop has not
        read yet. Not using such a connection is no retry: nothing was sent.
        """
        return self._writer.is_closing() or self._reader.at_eof() or bool(self._idle.poll(0))

    async def ask(self, request: Request) -> Answer:
        """Send the request, read the whole answer. Raises Failed; a caller bounds the time."""
        reused, self.asked = self.asked > 0, self.asked + 1
        started = False
        try:
            self._writer.write(self._http.send(request.event()) + self._http.send(h11.EndOfMessage()))
            answer: h11.Response | None = None
            while True:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    data = await self._reader.read(CHUNK)
                    started = started or bool(data)
                    if not data and not started:
                        raise Failed(Cause.KEPT_ALIVE_CLOSED if reused else Cause.CLOSED, "end of stream")
                    self._http.receive_data(data)
                elif isinstance(event, h11.Response):
                    answer = event
                elif isinstance(event, h11.EndOfMessage):
                    break
                elif isinstance(event, h11.ConnectionClosed):
                    raise Failed(Cause.CLOSED_IN_ANSWER, "end of stream")
        except OSError as error:
            raise Failed(_cause_of_losing(reused=reused, started=started), _said(error)) from error
        except h11.RemoteProtocolError as error:
            # h11 reports an end of stream within a message as the peer's protocol error.
            cut = self._reader.at_eof()
            raise Failed(Cause.CLOSED_IN_ANSWER if cut else Cause.GARBLED, str(error)) from error
        assert answer is not None  # h11: EndOfMessage comes after a Response
        self.pod = _header(answer, b"x-pod") or self.pod
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        return Answer(answer.status_code, _header(answer, b"x-pod"))

    def close(self) -> None:
        self._writer.close()


def _cause_of_connecting(error: OSError) -> Cause:
    if isinstance(error, ConnectionRefusedError):
        return Cause.REFUSED
    if isinstance(error, ConnectionError):
        return Cause.RESET
    if isinstance(error, TimeoutError):
        return Cause.CONNECT_TIMEOUT
    if error.errno in UNREACHABLE:
        return Cause.UNREACHABLE
    if error.errno in OUT_OF_MEANS:
        return Cause.HARNESS
    return Cause.UNREACHABLE


def _cause_of_losing(*, reused: bool, started: bool) -> Cause:
    if started:
        return Cause.RESET_IN_ANSWER
    return Cause.KEPT_ALIVE_CLOSED if reused else Cause.RESET


def _header(answer: h11.Response, name: bytes) -> str | None:
    return next((value.decode("latin-1") for key, value in answer.headers if key == name), None)


def _said(error: OSError) -> str:
    return errno.errorcode.get(error.errno, "") if error.errno else str(error)
