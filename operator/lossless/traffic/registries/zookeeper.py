"""A connection to ZooKeeper: only where the operator may go, never longer than it is needed, and never in the way of
the event loop.

kazoo does its work in threads of its own. They live as long as one connection: it is made when something is asked, let
go when it broke, when nobody has asked for `IDLE` seconds, and by `close`. Names are looked up anew for each.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from kazoo.client import KazooClient
from kazoo.exceptions import (
    AuthFailedError,
    BadVersionError,
    ConnectionClosedError,
    ConnectionLoss,
    InvalidACLError,
    KazooException,
    NoAuthError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    OperationTimeoutError,
    SessionExpiredError,
)

from lossless.traffic.registries.client import Allowed, is_allowed
from lossless.traffic.registries.errors import Nonsense, Refused, RegistryError, Unreachable

T = TypeVar("T")

IDLE: Final = 20.0
"""Seconds without a question after which the connection is let go: an operator with many registries keeps few threads,
and looks that come every few seconds share one session."""
SESSION: Final = 2.0
"""Seconds; how long the server keeps a session whose connection broke, at least. Nothing of ours depends on one: no
ephemeral nodes, no watches."""
PORT: Final = 2181


class Changed(RegistryError):
    """Somebody was faster: the node is not at the version it was read at. Read again."""


@dataclass(frozen=True, slots=True)
class Node:
    """What a node holds."""

    data: bytes
    version: int


class Znodes(Protocol):
    """A tree of nodes with versions. Every method raises RegistryError: Unreachable, Refused (access control), or,
    where said, Changed."""

    async def get(self, path: str) -> Node | None:
        """What it holds; None when it does not exist."""
        ...

    async def children(self, path: str) -> tuple[str, ...]:
        """The names below it, in no order; none when it does not exist itself."""
        ...

    async def create(self, path: str, data: bytes) -> None:
        """Make it, and what is missing above it. Raises Changed when it exists."""
        ...

    async def set(self, path: str, data: bytes, version: int) -> None:
        """Raises Changed when it is not at this version any more, or gone."""
        ...

    async def delete(self, path: str, version: int) -> None:
        """Raises Changed when it is not at this version any more, or gone."""
        ...

    async def close(self) -> None:
        """Let go of the connection."""
        ...


class ZooKeeper:
    """Znodes of a real ensemble."""

    def __init__(self, servers: Sequence[str], timeout: float, allowed: Allowed = is_allowed) -> None:
        """Nothing is connected before something is asked.

        Args:
            servers: as host:port; the port is 2181 when not given.
            timeout: seconds for one question, a connection made for it included.
            allowed: which addresses are gone to.
        """
        self._servers = tuple(servers)
        self._timeout = timeout
        self._allowed = allowed
        self._client: Any = None
        self._connecting = asyncio.Lock()
        self._under_way = 0
        self._idle: asyncio.TimerHandle | None = None
        # Starting and stopping kazoo blocks. One thread, which ends by itself when there is nothing to do.
        self._threads: ThreadPoolExecutor | None = None
        self._leaving: set[asyncio.Future[None]] = set()

    async def get(self, path: str) -> Node | None:
        try:
            data, stat = await self._ask(lambda client: client.get_async(path))
        except NoNodeError:
            return None
        return Node(data or b"", stat.version)

    async def children(self, path: str) -> tuple[str, ...]:
        try:
            return tuple(await self._ask(lambda client: client.get_children_async(path)))
        except NoNodeError:
            return ()

    async def create(self, path: str, data: bytes) -> None:
        try:
            await self._ask(lambda client: client.create_async(path, data, makepath=True))
        except NodeExistsError as error:
            raise Changed("the node was made by somebody else meanwhile") from error

    async def set(self, path: str, data: bytes, version: int) -> None:
        try:
            await self._ask(lambda client: client.set_async(path, data, version))
        except (BadVersionError, NoNodeError) as error:
            raise Changed("the node was changed by somebody else meanwhile") from error

    async def delete(self, path: str, version: int) -> None:
        try:
            await self._ask(lambda client: client.delete_async(path, version))
        except (BadVersionError, NoNodeError) as error:
            raise Changed("the node was changed by somebody else meanwhile") from error
        except NotEmptyError as error:
            raise Refused("the node has nodes below it, and stays") from error

    async def close(self) -> None:
        """Let go of the connection and wait until its threads have ended. It may be used again afterwards."""
        if self._idle:
            self._idle.cancel()
            self._idle = None
        self._drop(self._client)
        while self._leaving:
            await asyncio.gather(*self._leaving, return_exceptions=True)
        if self._threads:
            self._threads.shutdown()  # it has nothing to do any more, so this does not wait
            self._threads = None

    async def _ask(self, send: Callable[[Any], Any]) -> Any:
        """One question, answered, refused or given up within the timeout."""
        self._under_way += 1
        client = None
        try:
            async with asyncio.timeout(self._timeout):
                client = await self._connected()
                return await _answer(send(client))
        except TimeoutError as error:
            self._drop(client)
            raise Unreachable(f"ZooKeeper gave no answer within {self._timeout:g} s") from error
        except (ConnectionLoss, ConnectionClosedError, SessionExpiredError, OperationTimeoutError) as error:
            self._drop(client)
            raise Unreachable(f"the connection to ZooKeeper broke ({type(error).__name__})") from error
        except (NoAuthError, AuthFailedError, InvalidACLError) as error:
            raise Refused("ZooKeeper's access control list (ACL) of the node does not let us") from error
        except (NoNodeError, NodeExistsError, BadVersionError, NotEmptyError):
            raise
        except ValueError as error:  # kazoo's own check of paths
            raise Refused("that makes no path in ZooKeeper") from error
        except KazooException as error:
            raise Nonsense(f"ZooKeeper answered {type(error).__name__}") from error
        finally:
            self._under_way -= 1
            self._rest()

    async def _connected(self) -> Any:
        """The client, connected. Whoever comes while it is being connected waits for the same one."""
        async with self._connecting:
            if self._client is not None and self._client.connected:
                return self._client
            self._drop(self._client)
            hosts = await self._addresses()
            # Also how long it tries one server, and so how long its end may take.
            client = KazooClient(hosts, timeout=max(self._timeout, SESSION))
            # Its own `start` would keep a thread waiting; whoever waits here can be cancelled.
            up = asyncio.get_running_loop().create_future()
            client.add_listener(lambda _: _settle(up, None))
            self._client = client
            try:
                client.start_async()
                if not client.connected:
                    await up
            except BaseException:
                self._drop(client)
                raise
            return client

    async def _addresses(self) -> str:
        """The servers, looked up and checked, as kazoo wants them: it connects to what was checked, not to a name.

        Raises:
            Refused: none of them may be gone to.
            Unreachable: none of the names is known.
        """
        found: list[str] = []
        refused = ""
        for server in self._servers:
            host, port = host_and_port(server)
            try:
                infos = await asyncio.get_running_loop().getaddrinfo(host, port, type=1)
            except OSError:
                continue
            for address in dict.fromkeys(str(info[4][0]) for info in infos):
                if self._allowed(address):
                    found.append(f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
                else:
                    refused = host
        if found:
            return ",".join(found)
        if refused:
            raise Refused(f"{refused} is an address of the operator's own host or of its cloud: it does not go there")
        raise Unreachable("none of the names of the ZooKeeper servers is known")

    def _drop(self, client: Any) -> None:
        """Have a client end, without waiting for it."""
        if client is None:
            return
        if client is self._client:
            self._client = None
        if self._threads is None:
            self._threads = ThreadPoolExecutor(1, "zookeeper-close")
        leaving = asyncio.get_running_loop().run_in_executor(self._threads, _end, client)
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    def _rest(self) -> None:
        """After the last answer, count down to letting go."""
        if self._idle:
            self._idle.cancel()
            self._idle = None
        if self._client is not None and not self._under_way:
            self._idle = asyncio.get_running_loop().call_later(IDLE, self._rested)

    def _rested(self) -> None:
        self._idle = None
        if not self._under_way:
            self._drop(self._client)


def host_and_port(server: str) -> tuple[str, int]:
    """The parts of host:port, [IPv6]:port or host. Raises Refused when it is none of these."""
    host, _, port = server.rpartition(":")
    if not host or server.endswith("]"):
        host, port = server, ""
    with suppress(ValueError):
        return host.strip("[]"), int(port or PORT)
    raise Refused(f"{server} makes no address: it should be host:port")


async def within(seconds: float, doing: Awaitable[T]) -> T:
    """Several questions together, within as long as one may take. Raises Unreachable."""
    try:
        async with asyncio.timeout(seconds):
            return await doing
    except TimeoutError as error:
        raise Unreachable(f"ZooKeeper did not answer everything within {seconds:g} s") from error


async def _answer(result: Any) -> Any:
    """Wait for one of kazoo's results, which come from another thread."""
    future = asyncio.get_running_loop().create_future()

    def done(_: Any) -> None:
        error = result.exception
        _settle(future, None if error else result.value, error)

    result.rawlink(done)
    return await future


def _settle(future: "asyncio.Future[Any]", value: Any, error: BaseException | None = None) -> None:
    """Called in kazoo's threads; the loop may have ended since."""

    def settle() -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)

    with suppress(RuntimeError):
        future.get_loop().call_soon_threadsafe(settle)


def _end(client: Any) -> None:
    with suppress(Exception):
        client.stop()
    with suppress(Exception):
        client.close()
