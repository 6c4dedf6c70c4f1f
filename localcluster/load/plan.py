"""What a load is: how many requests a second, from which kinds of callers, for how long.

A plan is plain data, so it can be written to a file, read in the box's network namespace and printed in a report.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from localcluster.errors import LocalClusterError


class PlanError(LocalClusterError):
    """The plan asks for something the load generator can't do; the message says what."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """Opens a new connection for each request: a short-lived client, a proxy without keep-alive."""

    url: str
    share: float = 1.0
    host: str | None = None
    """The Host header, where it is not the URL's own: a gateway's address with the route's host name."""
    name: str = "fresh"


@dataclass(frozen=True, slots=True)
class KeptAlive:
    """Keeps connections and uses them again, least recently used first.

    Least recently used first, with up to `connections` of them, is what several client processes look like from the
    server's side. (The pool inside one Go or Java process prefers the most recently used one: at a low rate that is a
    single connection to a single pod, and a test would see a quarter of what goes on.)
    """

    url: str
    share: float = 1.0
    host: str | None = None
    connections: int = 8
    name: str = "kept-alive"


@dataclass(frozen=True, slots=True)
class Keyed:
    """Many users, by turns, through a gateway that sends each to a pod of its own: each has a key in a header.

    Which pod answered whom is in the results, see affinity.py.
    """

    url: str
    keys: int = 50
    """So many users, `key-0` and so on."""
    header: str = "x-user"
    share: float = 1.0
    host: str | None = None
    connections: int = 8
    """As `KeptAlive`; shared by all users, as by those behind one proxy. 0 opens a new one for each request."""
    name: str = "keyed"


@dataclass(frozen=True, slots=True)
class CachedAddresses:
    """Balances by itself over a headless Service's ready addresses, round robin, with a list up to `every` seconds old.

    This is what a client with a DNS cache does: gRPC, the JVM, most service-discovery libraries. There is no DNS in the
    box; for a headless Service it would publish exactly the ready addresses of its EndpointSlices, which is what is
    read here. An empty or failed reading keeps the old list, as gRPC does.
    """

    service: str
    port: int | str
    """A port number, or the name of a port of the Service."""
    namespace: str = "default"
    path: str = "/"
    every: float = 15.0
    """Seconds between two readings."""
    clients: int = 1
    """So many clients, each with its own list; their readings are spread evenly over the interval, so that a run does
    not depend on where in the interval a release happens to begin."""
    keep_alive: bool = False
    share: float = 1.0
    name: str = "cached-addresses"


@dataclass(frozen=True, slots=True)
class FollowedAddresses:
    """Balances by itself over the list that a registry's own client holds, in proportion to its weights; no retries.

    `command` is such a client (see `localcluster.consumers`): it runs beside the load and prints its list whenever that
    changes. An empty list is believed: those clients then have nobody to ask.
    """

    command: tuple[str, ...]
    path: str = "/"
    clients: int = 1
    """So many clients, each with a consumer and a list of its own."""
    keep_alive: bool = False
    share: float = 1.0
    name: str = "followed-addresses"

    def __post_init__(self) -> None:
        object.__setattr__(self, "command", tuple(self.command))  # a list, as JSON has it


Caller = Fresh | KeptAlive | Keyed | CachedAddresses | FollowedAddresses
Kind = type[Fresh] | type[KeptAlive] | type[Keyed] | type[CachedAddresses] | type[FollowedAddresses]

KINDS: Mapping[str, Kind] = {
    "fresh": Fresh,
    "kept-alive": KeptAlive,
    "keyed": Keyed,
    "cached-addresses": CachedAddresses,
    "followed-addresses": FollowedAddresses,
}


def kind_of(caller: Caller) -> str:
    """The word for this kind of caller in files and reports."""
    return next(kind for kind, cls in KINDS.items() if isinstance(caller, cls))


@dataclass(frozen=True, slots=True)
class Plan:
    """An open-loop load: `rate` requests a second in all, shared out to the callers, whatever becomes of them."""

    rate: float
    callers: tuple[Caller, ...]
    duration: float | None = None
    """Seconds; none means until it is told to stop."""
    timeout: float = 10.0
    """Seconds from the scheduled moment until an unanswered request counts as lost. Also the longest that stopping can
    take: what is in flight is let finish."""
    ready_within: float = 60.0
    """Seconds that the targets have to begin to answer before the load begins, see answering.py; it begins after that
    in any case. 0 for targets that are not meant to answer."""

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise PlanError(f"rate must be above 0, not {self.rate}")
        if self.timeout <= 0:
            raise PlanError(f"timeout must be above 0, not {self.timeout}")
        if not self.callers:
            raise PlanError("a load needs at least one caller")
        names = [caller.name for caller in self.callers]
        if len(set(names)) != len(names):
            raise PlanError(f"callers must have different names, not {', '.join(names)}")
        for caller in self.callers:
            if caller.share <= 0:
                raise PlanError(f"the share of {caller.name} must be above 0, not {caller.share}")
            if isinstance(caller, FollowedAddresses):
                if not caller.command:
                    raise PlanError(f"{caller.name} needs the command of a consumer")
            elif not isinstance(caller, CachedAddresses):
                endpoint_of(caller.url)
            if isinstance(caller, Keyed) and caller.keys < 1:
                raise PlanError(f"{caller.name} needs at least one key, not {caller.keys}")

    def to_json(self) -> str:
        callers = [{"kind": kind_of(caller), **asdict(caller)} for caller in self.callers]
        return json.dumps({**asdict(self), "callers": callers})

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan in a file. Raises PlanError for what is not a plan."""
        try:
            data: dict[str, Any] = json.loads(text)
            callers = tuple(_caller(dict(entry)) for entry in data.pop("callers"))
            return cls(callers=callers, **data)
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise PlanError(f"not a load plan: {error}") from error


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests of a URL go."""

    address: str
    port: int
    path: str


def endpoint_of(url: str) -> Endpoint:
    """The parts of an http URL. Raises PlanError for any other."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise PlanError(f"need an http:// URL, not {url!r}")
    path = parts.path or "/"
    return Endpoint(parts.hostname, parts.port or 80, f"{path}?{parts.query}" if parts.query else path)


def turns(callers: tuple[Caller, ...]) -> Iterator[int]:
    """Whose turn it is, for ever: indexes into `callers`, in proportion to their shares and evenly mixed.

    Smooth weighted round robin, so every caller asks at its own steady rate and a run is the same each time.
    """
    total = sum(caller.share for caller in callers)
    credit = [0.0] * len(callers)
    while True:
        for index, caller in enumerate(callers):
            credit[index] += caller.share
        chosen = max(range(len(callers)), key=credit.__getitem__)
        credit[chosen] -= total
        yield chosen


def _caller(entry: dict[str, Any]) -> Caller:
    kind = entry.pop("kind", None)
    if kind not in KINDS:
        raise PlanError(f"unknown kind of caller {kind!r}; there are {', '.join(KINDS)}")
    return KINDS[kind](**entry)
