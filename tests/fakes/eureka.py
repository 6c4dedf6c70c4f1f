"""A fake of Eureka servers that are peers, with a response cache whose renewal the test decides.

Source: Netflix/eureka at 61acc83: InstanceResource (status codes; DELETE status without a value means UNKNOWN),
AbstractInstanceRegistry (statusUpdate keeps no override that equals the status, deleteStatusOverride does nothing where
there is none, register and renew apply the rules), rule/DownOrStartingRule, OverrideExistsRule, LeaseExistsRule,
ResponseCacheImpl (read-only cache: first read fresh, then renewed all at once), ApplicationResource (403 at first).
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.pods.servers import serving


@dataclass
class Lease:
    """What one peer has of one instance."""

    id: str
    ip: str
    port: int
    own: str = "UP"
    """What its client says of itself."""
    status: str = "UP"
    overridden: str = "UNKNOWN"

    def json(self, one: str = "overriddenStatus") -> dict[str, Any]:
        return {
            "instanceId": self.id,
            "hostName": self.id.partition(":")[0],
            "app": "SHOP",
            "ipAddr": self.ip,
            "status": self.status,
            one: self.overridden,
            "port": {"$": self.port, "@enabled": "true"},
            "securePort": {"$": 443, "@enabled": "false"},
        }


@dataclass
class Peer:
    leases: dict[str, Lease] = field(default_factory=dict)
    overrides: dict[str, str] = field(default_factory=dict)
    cache: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Read-only, by what was asked for: SHOP, or everything."""
    down: bool = False
    """It breaks every connection."""
    starting: bool = False


@dataclass(frozen=True)
class Asked:
    peer: int
    method: str
    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)


class FakeEureka:
    """Peers that hold the application SHOP."""

    def __init__(self, peers: int = 1, *, replicate: bool = True, login: tuple[str, str] | None = None) -> None:
        self.peers = [Peer() for _ in range(peers)]
        self.servers: list[str] = []
        self.replicate = replicate
        self.login = login
        self.csrf = False
        """Spring Security as it comes: writes need a token that nobody can have."""
        self.legacy = False
        """One instance is written without a list, and overriddenstatus in small letters."""
        self.asked: list[Asked] = []

    @property
    def writes(self) -> list[Asked]:
        return [one for one in self.asked if one.method != "GET"]

    def register(self, id: str, ip: str, port: int = 8080, status: str = "UP") -> None:
        """A client registers, or registers again."""
        for peer in self.peers:
            before = peer.leases.get(id)
            lease = Lease(id, ip, port, own=status, status=status, overridden=peer.overrides.get(id, "UNKNOWN"))
            lease.status = _ruled(peer, lease, status, before.status if before else None)
            peer.leases[id] = lease

    def beat(self, id: str) -> int:
        """A heartbeat at the first peer; its status code. 404 tells the client to register again."""
        peer = self.peers[0]
        lease = peer.leases.get(id)
        if lease is None:
            return 404
        ruled = _ruled(peer, lease, lease.status, lease.status)
        if ruled == "UNKNOWN":
            return 404
        lease.status = ruled
        return 200

    def cache_is_renewed(self) -> None:
        """responseCacheUpdateIntervalMs has passed: every answer that was ever given is made anew."""
        for peer in self.peers:
            peer.cache = {key: self._rows(peer) for key in peer.cache}

    def a_consumer_fetches(self, peer: int = 0) -> dict[str, str]:
        """What a client that fetches everything is told: status by id."""
        rows = self._cached(self.peers[peer], "everything")
        return {row["instanceId"]: row["status"] for row in rows}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FakeEureka]:
        async with AsyncExitStack() as stack:
            for number in range(len(self.peers)):
                port = await stack.enter_async_context(serving(self._handler(number)))
                self.servers.append(f"http://127.0.0.1:{port}/eureka")
            yield self

    def _rows(self, peer: Peer) -> list[dict[str, Any]]:
        name = "overriddenstatus" if self.legacy else "overriddenStatus"
        return [lease.json(name) for lease in peer.leases.values()]

    def _cached(self, peer: Peer, key: str) -> list[dict[str, Any]]:
        return peer.cache.setdefault(key, self._rows(peer))

    def _handler(self, number: int) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            self.asked.append(Asked(number, request.method, request.path, dict(request.query), dict(request.headers)))
            peer = self.peers[number]
            if peer.down:
                assert request.transport
                request.transport.abort()
            if self.login and request.headers.get("Authorization") != _basic(self.login):
                return web.Response(status=401)
            if self.csrf and request.method != "GET":
                return web.Response(status=403)
            parts = request.path.replace("/v2/", "/", 1).split("/")[1:]  # ApplicationsResource: /{version}/apps
            if parts[:2] != ["eureka", "apps"]:
                return web.Response(status=404)
            return self._answer(peer, request.method, parts[2:], request.query)

        return handle

    def _answer(self, peer: Peer, method: str, parts: list[str], query: Mapping[str, str]) -> web.Response:
        match method, parts:
            case "GET", _ if peer.starting:
                return web.Response(status=403)
            case "GET", ["delta"]:
                return web.json_response({"applications": {"application": []}})
            case "GET", ["SHOP"]:
                rows: Any = self._cached(peer, "SHOP")
                if not rows:
                    return web.Response(status=404)
                one = rows[0] if self.legacy and len(rows) == 1 else rows
                return web.json_response({"application": {"name": "SHOP", "instance": one}})
            case "GET", ["SHOP", id] if id in peer.leases:
                return web.json_response({"instance": peer.leases[id].json()})
            case "PUT" | "DELETE", ["SHOP", id, "status"]:
                if id not in peer.leases:
                    return web.Response(status=404)
                tell = _override if method == "PUT" else _unset
                for other in self.peers if self.replicate else [peer]:
                    tell(other, id, query.get("value", "UNKNOWN"))
                return web.Response()
        return web.Response(status=404)


def _ruled(peer: Peer, lease: Lease, status: str, existing: str | None) -> str:
    """The rules, in their order."""
    if status not in ("UP", "OUT_OF_SERVICE"):
        return status
    if lease.id in peer.overrides:
        return peer.overrides[lease.id]
    return existing if existing in ("UP", "OUT_OF_SERVICE") else status


def _override(peer: Peer, id: str, status: str) -> None:
    lease = peer.leases.get(id)
    if lease and lease.status != status:
        peer.overrides[id] = lease.overridden = lease.status = status


def _unset(peer: Peer, id: str, status: str) -> None:
    lease = peer.leases.get(id)
    if peer.overrides.pop(id, None) is not None and lease:
        lease.overridden, lease.status = "UNKNOWN", status


def _basic(login: tuple[str, str]) -> str:
    return "Basic " + base64.b64encode(":".join(login).encode()).decode()
