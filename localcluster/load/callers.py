"""The kinds of callers at work: whom they ask, and on which connection.

The two are independent. The addresses are one for ever (a URL) or a list read from time to time; a connection is kept
or not. A kind of caller is a choice of each.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Protocol

from localcluster.load.connection import Connection, Failed
from localcluster.load.picking import Shares
from localcluster.load.plan import CachedAddresses, Caller, FollowedAddresses, KeptAlive, Keyed, endpoint_of
from localcluster.load.result import Cause

Address = tuple[str, int]


class Connections:
    """The idle connections of one client, up to `keep` to each address; 0 keeps none."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._idle: defaultdict[Address, deque[Connection]] = defaultdict(deque)
        self._open: Counter[Address] = Counter()

    def take(self, address: Address) -> Connection | None:
        """The idle connection that has waited longest, or None: open one.

        None also while there are fewer than may be kept: the pool fills up first, and so spreads over the pods. What
        the server has closed while it was idle is dropped here, before anything is sent on it.
        """
        idle = self._idle[address]
        for connection in [each for each in idle if each.stale]:
            idle.remove(connection)
            self.close(connection)
        if self._open[address] < self._keep or not idle:
            return None
        return idle.popleft()

    def opened(self, connection: Connection) -> None:
        """A connection that was opened because there was none to take."""
        self._open[connection.address] += 1

    def give_back(self, connection: Connection) -> None:
        """Its request is over, however it ended: keep it if it can be used again and there is room."""
        idle = self._idle[connection.address]
        if connection.reusable and len(idle) < self._keep:
            idle.append(connection)
        else:
            self.close(connection)

    def close(self, connection: Connection) -> None:
        connection.close()
        self._open[connection.address] -= 1

    def close_idle(self, but: Sequence[Address] = ()) -> None:
        """Let go of idle connections, except to these addresses."""
        for address in [each for each in self._idle if each not in but]:
            for connection in self._idle.pop(address):
                self.close(connection)


class Client:
    """One client process: the addresses it knows, asked in turn, and its connections."""

    def __init__(self, addresses: Sequence[Address], keep: int) -> None:
        self.connections = Connections(keep)
        self._addresses = tuple(addresses)
        self._asked = 0

    def learn(self, addresses: Sequence[Address]) -> None:
        """A new reading of the addresses. An empty one is not believed: the old list stays, as with gRPC."""
        if addresses:
            self._addresses = tuple(addresses)
            self.connections.close_idle(but=self._addresses)

    def choose(self) -> Address:
        """The next address. Raises Failed when none was ever known."""
        if not self._addresses:
            raise Failed(Cause.NO_ADDRESS)
        self._asked += 1
        return self._addresses[self._asked % len(self._addresses)]


class Holds(Protocol):
    """Somebody who holds a list of weighted addresses."""

    @property
    def weights(self) -> Mapping[Address, float]: ...


class FollowingClient(Client):
    """A client that asks the addresses somebody holds at that moment, in proportion to their weights."""

    def __init__(self, keep: int) -> None:
        super().__init__((), keep)
        self._shares: Shares[Address] = Shares()
        self._held: Holds | None = None
        self._known: Mapping[Address, float] = {}

    def follow(self, held: Holds) -> None:
        self._held = held

    def choose(self) -> Address:
        """The next address. Raises Failed while the list is empty."""
        weights = self._held.weights if self._held is not None else {}
        if weights is not self._known:
            self._known = weights
            self._shares.learn(weights)
            self.connections.close_idle(but=tuple(weights))
        chosen = self._shares.next()
        if chosen is None:
            raise Failed(Cause.NO_ADDRESS)
        return chosen


@dataclass(frozen=True, slots=True)
class WorkingCaller:
    """A planned caller, ready to ask: its clients have its requests in turn."""

    name: str
    host: str | None
    """The Host header; none means the address asked."""
    path: str
    keep_alive: bool
    clients: tuple[Client, ...]
    header: str = ""
    """The header that says whose request it is."""
    keys: Iterator[str] | None = None
    """Whose turn it is, for ever; none for callers without keys."""


def set_to_work(caller: Caller) -> WorkingCaller:
    """A caller as planned. One with addresses that change knows none yet: see addresses.py and following.py."""
    if isinstance(caller, FollowedAddresses):
        keep = 1 if caller.keep_alive else 0
        followers = tuple(FollowingClient(keep) for _ in range(caller.clients))
        return WorkingCaller(caller.name, None, caller.path, caller.keep_alive, followers)
    if isinstance(caller, CachedAddresses):
        keep = 1 if caller.keep_alive else 0
        clients = tuple(Client((), keep) for _ in range(caller.clients))
        return WorkingCaller(caller.name, None, caller.path, caller.keep_alive, clients)
    where = endpoint_of(caller.url)
    keep = caller.connections if isinstance(caller, KeptAlive | Keyed) else 0
    host = caller.host or (where.address if where.port == 80 else f"{where.address}:{where.port}")
    clients = (Client([(where.address, where.port)], keep),)
    if isinstance(caller, Keyed):
        keys = cycle([f"key-{number}" for number in range(caller.keys)])
        return WorkingCaller(caller.name, host, where.path, keep > 0, clients, caller.header, keys)
    return WorkingCaller(caller.name, host, where.path, keep > 0, clients)
