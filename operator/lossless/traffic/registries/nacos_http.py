"""Nacos over HTTP: three APIs by version, a login, and what its answers say. What is done with it: `nacos`.

v3 (Nacos 3), v2 and v1 (Nacos 2; 1 has v1 only). Nacos 3.0 and 3.1 answer the older ones with 410, 3.2 with 404.
"""

import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any, Final

from lossless.api import traffic
from lossless.traffic.registries.client import Answer, Client, host_of
from lossless.traffic.registries.errors import Nonsense, Refused, Unreachable
from lossless.traffic.registries.matching import is_of
from lossless.traffic.registries.registry import Instance

RENEW_AT: Final = 0.8
"""Of a token's life."""
PAGE: Final = "100000"
"""The catalogs of v1 and v2 answer in pages; one of them has room for any service."""
SERVER_FAULT: Final = 30_000
"""From here on, a result code is a fault of the server (com.alibaba.nacos.api.model.v2.ErrorCode)."""
LOGIN_PATHS: Final = ("/v3/auth/user/login", "/v1/auth/login")


@dataclass(frozen=True, slots=True)
class _Api:
    name: str
    consumers: str
    """What a consumer is given: no instance with enabled=false."""
    catalog: str
    """Everything that is registered in our cluster (V2: in any)."""
    update: tuple[str, str]


# The partial update of v2 wants metadata, and can't be told the group; wherever v2 is, v1's is too.
_V3: Final = _Api(
    "V3", "/v3/client/ns/instance/list", "/v3/admin/ns/instance/list", ("PUT", "/v3/admin/ns/instance/partial")
)
_V2: Final = _Api("V2", "/v2/ns/instance/list", "/v2/ns/catalog/instances", ("PATCH", "/v1/ns/instance"))
_V1: Final = _Api("V1", "/v1/ns/instance/list", "/v1/ns/catalog/instances", ("PATCH", "/v1/ns/instance"))
_APIS: Final = (_V3, _V2, _V1)


@dataclass(frozen=True, slots=True)
class Host:
    """One instance, as a list has it."""

    ip: str
    port: int
    cluster: str
    weight: float
    enabled: bool
    ephemeral: bool

    @property
    def key(self) -> str:
        return f"{self.ip}:{self.port}"


@dataclass(frozen=True, slots=True)
class View:
    """What one node holds of the service."""

    api: _Api
    handed_out: tuple[Host, ...]
    registered: tuple[Host, ...]

    def of(self, instance: Instance) -> "View":
        return replace(
            self,
            handed_out=tuple(host for host in self.handed_out if is_of(instance, host.ip, host.port)),
            registered=tuple(host for host in self.registered if is_of(instance, host.ip, host.port)),
        )


class NacosHttp:
    """One service of Nacos. Remembers of a server only what spares a request: its version, and a token."""

    def __init__(
        self,
        spec: traffic.Nacos,
        client: Client,
        *,
        login: tuple[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`login` is username and password; `clock`, in seconds, is for the age of tokens only."""
        self._spec = spec
        self._client = client
        self._login = login
        self._clock = clock
        self._apis: dict[str, _Api] = {}
        self._tokens: dict[str, tuple[str, float]] = {}

    async def close(self) -> None:
        await self._client.close()

    async def view(self, server: str, known: Set[str]) -> View:
        """What a node holds, of these (address and port) at any rate.

        Over the newest API that it answers, or the one that was asked for.
        """
        wanted = [api for api in _APIS if self._spec.api in ("Auto", api.name)]
        spoken = self._apis.get(server)
        for api in [spoken, *(api for api in wanted if api is not spoken)] if spoken else wanted:
            view = await self._view_over(server, api, known)
            if view:
                self._apis[server] = api
                return view
        self._apis.pop(server, None)
        what = "none of Nacos' APIs" if self._spec.api == "Auto" else f"not Nacos' API {self._spec.api}"
        raise Refused(f"{host_of(server)} answers {what} (404 or 410): check its context path and version")

    async def _view_over(self, server: str, api: _Api, known: Set[str]) -> View | None:
        """None: it does not have this API."""
        # Over every cluster where that is possible: a pod that is registered in another than was said must not be taken
        # for gone. V3 fills in DEFAULT by itself.
        ours = {"clusterName": self._spec.cluster}
        wanted = ours if api is _V3 else {"healthyOnly": "false"}
        answer = await self._ask(server, "GET", api.consumers, {**self._service(api is _V1), **wanted})
        handed_out = _hosts(answer, server, api)
        if handed_out is None:
            return None
        wanted = ours if api is _V3 else {**ours, "pageNo": "1", "pageSize": PAGE}
        answer = await self._ask(server, "GET", api.catalog, {**self._service(api is not _V3), **wanted})
        if api is _V1 and answer.status == 404:  # no such service, or no such cluster
            return View(api, handed_out, ())
        registered = _hosts(answer, server, api)
        if registered is None:
            return None
        listed = {host.key for host in (*handed_out, *registered)}
        withheld = [await self._withheld(server, key) for key in sorted(known - listed)] if api is _V1 else []
        everybody = (*registered, *(host for host in withheld if host))
        return View(api, handed_out, tuple(host for host in everybody if host.cluster == self._spec.cluster))

    async def _withheld(self, server: str, key: str) -> Host | None:
        """An instance that no list has, if it is registered all the same: then it is disabled."""
        ip, _, port = key.rpartition(":")
        params = {**self._service(True), "cluster": self._spec.cluster, "ip": ip, "port": port}
        answer = await self._ask(server, "GET", "/v1/ns/instance", params)
        if not answer.ok:
            return None
        said = answer.json()
        found = _hosts_of([said] if isinstance(said, dict) and said.get("ip") else [], server)
        return next((replace(host, enabled=False, ephemeral=is_ephemeral(self._spec)) for host in found), None)

    def _service(self, grouped: bool) -> dict[str, str]:
        """The service's name in a request; with the group in it, as group@@service, where a request wants that."""
        name = f"{self._spec.group}@@{self._spec.service}" if grouped else self._spec.service
        return {"namespaceId": self._spec.namespace_id, "groupName": self._spec.group, "serviceName": name}

    async def write(self, server: str, view: View, host: Host, weight: str, enabled: bool) -> None:
        """Both at once: an update fills what it is not given with defaults."""
        api = view.api
        method, path = api.update
        params = {
            **self._service(api is not _V3),
            "clusterName": self._spec.cluster,
            "ip": host.ip,
            "port": str(host.port),
            "weight": weight,
            "enabled": "true" if enabled else "false",
            "ephemeral": "true" if is_ephemeral(self._spec) else "false",
        }
        answer = await self._ask(server, method, path, params)
        if method == "PATCH" and answer.status in (405, 501):
            answer = await self._ask(server, "PUT", path, params)
        if answer.status == 404:
            return  # gone since it was seen
        _expect(answer, server)
        if api is _V3:
            _result(answer, server)
        elif answer.body.strip() != b"ok":
            # A filter that failed answers 200 and nothing (AbstractWebAuthFilter).
            raise Nonsense(f"{host_of(server)} did not confirm the update")

    async def _ask(self, server: str, method: str, path: str, params: Mapping[str, str]) -> Answer:
        """One request, with a token where there is one; a new one is got once where it is not enough.

        Nacos 3 wants one for its admin API by default, even where clients need none.
        """
        token, renew_at = self._tokens.get(server, ("", 0.0))
        if token and self._clock() >= renew_at:
            token = await self._log_in(server)
        answer = await self._ask_as(token, server, method, path, params)
        if answer.status in (401, 403) and self._login:
            answer = await self._ask_as(await self._log_in(server), server, method, path, params)
        if answer.status in (401, 403):
            self._tokens.pop(server, None)
            why = "the login that is given may not do this" if self._login else "it wants a login, and none is given"
            raise Refused(f"{host_of(server)} answered {answer.status}: {why}")
        return answer

    async def _ask_as(self, token: str, server: str, method: str, path: str, params: Mapping[str, str]) -> Answer:
        headers = {"Authorization": f"Bearer {token}"} if token else None
        return await self._client.request(method, server.rstrip("/") + path, params=params, headers=headers)

    async def _log_in(self, server: str) -> str:
        assert self._login
        username, password = self._login
        form = {"username": username, "password": password}
        for path in LOGIN_PATHS:
            answer = await self._client.request("POST", server.rstrip("/") + path, data=form)
            if answer.status in (404, 405, 410, 501):
                continue
            if not answer.ok:
                raise Refused(f"{host_of(server)} refused the login ({answer.status})")
            said = answer.json()
            token = said.get("accessToken") if isinstance(said, dict) else None
            if not isinstance(token, str) or not token:
                raise Nonsense(f"{host_of(server)} answered the login without a token")
            life = said.get("tokenTtl")
            life = life if isinstance(life, int | float) else 0
            self._tokens[server] = (token, self._clock() + RENEW_AT * life)
            return token
        raise Refused(f"{host_of(server)} wants a login, but has nowhere to log in")


def is_ephemeral(spec: traffic.Nacos) -> bool:
    """The kind of its instances, which an update has to name."""
    return spec.instances is traffic.NacosInstances.EPHEMERAL


def _hosts(answer: Answer, server: str, api: _Api) -> tuple[Host, ...] | None:
    """The instances in an answer; none where the service is unknown; None where it is the API that is unknown."""
    if answer.status in (404, 410):
        return () if api is _V3 and answer.status == 404 and _says_so_itself(answer) else None
    _expect(answer, server)
    data = answer.json() if api is _V1 else _result(answer, server)
    if isinstance(data, dict):
        data = data.get("hosts", data.get("list", data.get("instances", [])))
    if not isinstance(data, list):
        raise Nonsense(f"{host_of(server)} answered no list of instances")
    return _hosts_of(data, server)


def _hosts_of(data: Sequence[Any], server: str) -> tuple[Host, ...]:
    try:
        return tuple(_host(one) for one in data)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Nonsense(f"{host_of(server)} answered a list of what are no instances") from None


def _host(one: Any) -> Host:
    return Host(
        ip=str(one["ip"]),
        port=int(one["port"]),
        cluster=str(one.get("clusterName") or "DEFAULT"),
        weight=float(one.get("weight", 1.0)),
        enabled=one.get("enabled", True) is True,
        ephemeral=one.get("ephemeral", True) is True,
    )


def _says_so_itself(answer: Answer) -> bool:
    """A result of Nacos has a code; what the web server says of an unknown path has none."""
    try:
        said = answer.json()
    except Nonsense:
        return False
    return isinstance(said, dict) and isinstance(said.get("code"), int)


def _expect(answer: Answer, server: str) -> None:
    if not answer.ok:
        kind = Refused if 400 <= answer.status < 500 else Nonsense
        raise kind(f"{host_of(server)} answered {answer.status}")


def _result(answer: Answer, server: str) -> Any:
    """The data of v2 and v3: {"code": 0, "message": "success", "data": …}."""
    said = answer.json()
    code = said.get("code") if isinstance(said, dict) else None
    if not isinstance(code, int):
        raise Nonsense(f"{host_of(server)} answered no result of Nacos")
    if code:
        kind = Unreachable if code >= SERVER_FAULT else Refused
        raise kind(f"{host_of(server)} answered with its code {code}")
    return said.get("data")
