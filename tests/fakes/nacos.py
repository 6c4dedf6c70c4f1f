"""A fake of Nacos, for what rnacos does not do: override memory, form defaults, API versions, logins, several nodes.

Sources, all in alibaba/nacos at 486e198 (3.1.0-dev) unless said otherwise: InstanceControllerV3, InstanceController,
InstanceControllerV2, CatalogController, CatalogControllerV2, InstanceOpenApiController, InstanceForm (defaults),
InstanceOperatorClientImpl (updateInstance, patchInstance, removeInstance), ServiceStorage and InstanceUtil (an override
is laid over what the client published), NamingMetadataManager (60 s of memory), ApiCompatibilityFilter (410),
AbstractWebAuthFilter (403; an empty 200 when it fails), UserControllerV3 (login), ServiceUtil (protect threshold).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.pods.servers import serving

Key = tuple[str, int, str]
"""ip, port, cluster: what an override is kept under."""


@dataclass
class Published:
    """What a client has registered."""

    weight: float = 1.0
    enabled: bool = True
    ephemeral: bool = True
    healthy: bool = True
    grpc: bool = True
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass
class Override:
    """What somebody wrote over it."""

    weight: float = 1.0
    enabled: bool = True
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """One request, as a node got it."""

    node: int
    method: str
    path: str
    params: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)


@dataclass
class Node:
    """How one node behaves."""

    down: bool = False
    """It breaks every connection."""
    leaderless: bool = False
    """Raft has no leader for it: reads work, writes fail."""
    stale: dict[Key, dict[str, Any]] | None = None
    """It still holds this list."""
    selects_others: bool = False
    """The service's selector leaves us out of what we are handed."""


class FakeNacos:
    """A cluster of one service, `DEFAULT_GROUP@@shop` in namespace public."""

    def __init__(self, version: str = "2", nodes: int = 1, *, admin_auth: bool = False, auth: bool = False) -> None:
        """version: 1, 2, 3.0 (v1 and v2 switched off: 410) or 3.2 (they are not there: 404)."""
        self.version = version
        self.nodes = [Node() for _ in range(nodes)]
        self.servers: list[str] = []
        self.admin_auth = admin_auth or auth
        self.auth = auth
        self.password = "s3cr3t-pa55"
        self.token_ttl = 18000
        self.tokens: set[str] = set()
        self.logins = 0
        self.forbidden = False
        """The login is right, and has no right."""
        self.filter_fails = False
        self.patch_allowed = True
        self.protect_threshold = 0.0
        self.published: dict[Key, Published] = {}
        self.overrides: dict[Key, Override] = {}
        self.asked: list[Asked] = []
        self._numbers = itertools.count(1)

    @property
    def writes(self) -> list[Asked]:
        return [one for one in self.asked if one.method != "GET" and "/auth/" not in one.path]

    def register(self, ip: str, port: int = 8080, cluster: str = "DEFAULT", **what: Any) -> None:
        """A client registers. An override of the same address stays, and is not forgotten any more (#12033)."""
        self.published[ip, port, cluster] = Published(**what)

    def deregister(self, ip: str, port: int = 8080, cluster: str = "DEFAULT") -> None:
        del self.published[ip, port, cluster]

    def a_minute_passes(self) -> None:
        """nacos.naming.clean.expired-metadata.expired-time: overrides of what is not registered are forgotten."""
        self.overrides = {key: value for key, value in self.overrides.items() if key in self.published}

    def node_of_the_client_restarts(self) -> None:
        """alibaba/nacos#11890: the override is lost, the registration comes back."""
        self.overrides.clear()

    def hosts(self) -> dict[Key, dict[str, Any]]:
        """Everything registered, with the overrides laid over it."""
        return {key: self._host(key, published) for key, published in self.published.items()}

    def _host(self, key: Key, published: Published) -> dict[str, Any]:
        over = self.overrides.get(key)
        return {
            "ip": key[0],
            "port": key[1],
            "clusterName": key[2],
            "weight": over.weight if over else published.weight,
            "enabled": over.enabled if over else published.enabled,
            "ephemeral": published.ephemeral,
            "healthy": published.healthy,
            "metadata": {**published.metadata, **(over.metadata if over else {})},
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FakeNacos]:
        async with AsyncExitStack() as stack:
            for number in range(len(self.nodes)):
                port = await stack.enter_async_context(serving(self._handler(number)))
                self.servers.append(f"http://127.0.0.1:{port}/nacos")
            yield self

    def _handler(self, number: int) -> Any:
        async def handle(request: web.Request) -> web.StreamResponse:
            form = {key: str(value) for key, value in (await request.post()).items()}
            params = {**request.query, **form}
            path = request.path.removeprefix("/nacos")
            self.asked.append(Asked(number, request.method, path, params, dict(request.headers)))
            node = self.nodes[number]
            if node.down:
                assert request.transport
                request.transport.abort()
            if path == request.path:
                return _unknown()
            return self._answer(node, request.method, path, params, request.headers.get("Authorization", ""))

        return handle

    def _answer(
        self, node: Node, method: str, path: str, params: Mapping[str, str], authorization: str
    ) -> web.Response:
        generation = path.split("/")[1]
        has = {"1": ("v1",), "2": ("v1", "v2"), "3.0": ("v1", "v2", "v3"), "3.2": ("v3",)}[self.version]
        if generation not in has:
            return _unknown() if method in ("GET", "HEAD") else web.Response(status=405)
        if path in ("/v3/auth/user/login", "/v1/auth/login") and method == "POST":
            return self._login(params)
        client_api = path in ("/v3/client/ns/instance/list", "/v1/ns/instance/list")
        if self.version == "3.0" and generation != "v3" and not client_api:
            return web.Response(status=410, text='{"code":10000}')
        if self.filter_fails and method != "GET":
            return web.Response()
        needs = self.auth if client_api else self.admin_auth
        if needs and (self.forbidden or authorization.removeprefix("Bearer ") not in self.tokens):
            return web.Response(status=403, text="token expired!")
        return self._api(node, method, path, params)

    def _api(self, node: Node, method: str, path: str, params: Mapping[str, str]) -> web.Response:
        hosts = self.hosts() if node.stale is None else node.stale
        match method, path:
            case "GET", "/v3/client/ns/instance/list":
                return _success(self._consumers(node, hosts, params.get("clusterName") or "DEFAULT"))
            case "GET", "/v3/admin/ns/instance/list":
                cluster = params.get("clusterName") or "DEFAULT"
                found = [host for host in hosts.values() if host["clusterName"] == cluster]
                return _success(found) if found and self._is_ours(params) else _failure(404, 20004)
            case "PUT", "/v3/admin/ns/instance":
                return self._update(node, params, _success("ok"))
            case "PUT", "/v3/admin/ns/instance/partial":
                # form.validate() fills the defaults in first.
                return self._patch(node, {"weight": "1.0", "enabled": "true", **params}, _success("ok"))
            case "GET", "/v2/ns/instance/list":
                found = self._consumers(node, hosts, params.get("clusterName", ""))
                return _success({"hosts": found if self._is_ours(params) else []})
            case "GET", "/v2/ns/catalog/instances":
                found = list(hosts.values()) if self._is_ours(params, grouped=True) else []
                return _success({"count": len(found), **({"instances": found} if found else {})})
            case "GET", "/v1/ns/instance/list":
                found = self._consumers(node, hosts, params.get("clusters", ""))
                return web.json_response({"hosts": found if self._is_ours(params, grouped=True) else []})
            case "GET", "/v1/ns/catalog/instances":
                found = [host for host in hosts.values() if host["clusterName"] == params["clusterName"]]
                if not found or not self._is_ours(params, grouped=True):
                    return web.Response(status=404, text="service or cluster is not found!")
                return web.json_response({"list": found, "count": len(found)})
            case "PUT", "/v1/ns/instance" | "/v2/ns/instance":
                return self._update(node, params, web.Response(text="ok"))
            case "PATCH", "/v1/ns/instance" if self.patch_allowed:
                return self._patch(node, params, web.Response(text="ok"))
            case "DELETE", "/v3/admin/ns/instance" | "/v1/ns/instance" | "/v2/ns/instance":
                key = (params["ip"], int(params["port"]), params.get("clusterName", "DEFAULT"))
                if key in self.published and not self.published[key].grpc:
                    del self.published[key]
                return web.Response(text="ok")  # of a gRPC client: nothing, and ok
            case _, "/v1/ns/instance":
                return web.Response(status=405)
        return _unknown()

    def _is_ours(self, params: Mapping[str, str], *, grouped: bool = False) -> bool:
        name = "DEFAULT_GROUP@@shop" if grouped else "shop"
        return params.get("serviceName") == name and params.get("namespaceId", "public") == "public"

    def _consumers(self, node: Node, hosts: Mapping[Key, dict[str, Any]], clusters: str) -> list[dict[str, Any]]:
        if node.selects_others:
            return []
        wanted = set(clusters.split(",")) if clusters else None
        found = [host for host in hosts.values() if host["enabled"] and (not wanted or host["clusterName"] in wanted)]
        healthy = sum(1 for host in found if host["healthy"])
        if found and healthy / len(found) <= self.protect_threshold:
            return [{**host, "healthy": True} for host in found]
        return found

    def _update(self, node: Node, params: Mapping[str, str], success: web.Response) -> web.Response:
        """updateInstance: everything is replaced, and whether it is registered is not asked."""
        if node.leaderless:
            return _failure(500, 30000)
        weight, enabled = float(params.get("weight", "1.0")), params.get("enabled", "true") == "true"
        self.overrides[_key(params)] = Override(weight, enabled, json.loads(params.get("metadata") or "{}"))
        return success

    def _patch(self, node: Node, params: Mapping[str, str], success: web.Response) -> web.Response:
        key = _key(params)
        if key not in self.published:
            return _failure(404, 20004)
        if node.leaderless:
            return _failure(500, 30000)
        over = self.overrides.get(key, Override())
        metadata = json.loads(params["metadata"]) if params.get("metadata") else over.metadata
        weight, enabled = float(params.get("weight", over.weight)), params.get("enabled", str(over.enabled)).lower()
        if not 0 <= weight <= 10000:
            return _failure(400, 20009)
        self.overrides[key] = Override(weight, enabled == "true", metadata)
        return success

    def _login(self, params: Mapping[str, str]) -> web.Response:
        if (params.get("username"), params.get("password")) != ("operator", self.password):
            return web.Response(status=403, text=f"unknown user! {params.get('password')}")
        self.logins += 1
        token = f"t0ken-{next(self._numbers)}"
        self.tokens.add(token)
        return web.json_response({"accessToken": token, "tokenTtl": self.token_ttl, "globalAdmin": True})


def _key(params: Mapping[str, str]) -> Key:
    return params["ip"], int(params["port"]), params.get("clusterName", "DEFAULT")


def _success(data: Any) -> web.Response:
    return web.json_response({"code": 0, "message": "success", "data": data})


def _failure(status: int, code: int) -> web.Response:
    return web.json_response({"code": code, "message": "not what you hoped for", "data": None}, status=status)


def _unknown() -> web.Response:
    """What Spring says of a path that it does not know."""
    return web.json_response({"status": 404, "error": "Not Found", "path": "/"}, status=404)
