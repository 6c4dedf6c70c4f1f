"""Eureka: an old pod gets the status OUT_OF_SERVICE as an override, which its heartbeats and registrations do not undo.

How the server works (Netflix eureka, AbstractInstanceRegistry, InstanceResource, ResponseCacheImpl, rule/*):

- A client's own DOWN or STARTING is believed before the override; then comes the override; then what is there already.
- `GET /apps/{APP}` is answered from the cache that consumers are answered from, up to 30 s old; `GET /apps/{APP}/{ID}`
  from the registry itself. All of the cache is renewed in one go, but what is asked for the first time comes fresh: it
  proves nothing of the older answers beside it. So `withdraw` reads the application on every peer before it writes.
- `DELETE …/status` without a value makes the status UNKNOWN, until the next heartbeat is sent back to register.
- An override that is equal to the status there is not kept, and one that is not there is not deleted: both say 200.
- Replication between peers is best effort, so each is told by us.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

import aiohttp

from lossless.api import traffic
from lossless.core.world import Presence
from lossless.traffic.registries.client import Answer, Client, host_of
from lossless.traffic.registries.errors import Nonsense, Refused, RegistryError, Unreachable
from lossless.traffic.registries.matching import is_of
from lossless.traffic.registries.nodes import Heard, ask_each
from lossless.traffic.registries.registry import Instance, Registration, mean

SETTLE: Final = timedelta(seconds=65)
"""30 s until every client has fetched the list again (registryFetchIntervalSeconds), and 35 s for which Spring Cloud
LoadBalancer keeps it (spring.cloud.loadbalancer.cache.ttl). The server's own cache is seen, not waited for."""
OUT: Final = "OUT_OF_SERVICE"
UP: Final = "UP"
NO_OVERRIDE: Final = "UNKNOWN"
OWN: Final = ("DOWN", "STARTING")
"""What a client says of itself and is believed, override or not."""


@dataclass(frozen=True, slots=True)
class _Lease:
    """One instance, as a peer has it."""

    id: str
    address: str
    host: str
    ports: tuple[int, ...]
    status: str
    override: str

    def is_of(self, instance: Instance) -> bool:
        return is_of(instance, self.address, *self.ports) or is_of(instance, self.host, *self.ports)

    @property
    def says_so_itself(self) -> bool:
        """Its status is one that only the client can have given."""
        return self.status in OWN and self.override in (NO_OVERRIDE, OUT)


@dataclass(frozen=True, slots=True)
class _Original:
    override: str = NO_OVERRIDE
    status: str = ""
    """Empty: not known."""


class EurekaRegistry:
    """An application in Eureka."""

    weighs = False

    def __init__(
        self,
        spec: traffic.Eureka,
        client: Client,
        *,
        login: tuple[str, str] | None = None,
        settle: timedelta | None = None,
    ) -> None:
        """`login` is username and password, sent in HTTP basic authentication. Raises Refused if it can't be."""
        self.settle = SETTLE if settle is None else settle
        self._spec = spec
        self._client = client
        self._headers = {"Accept": "application/json"}
        if login and ":" in login[0]:
            raise Refused("a username with a colon in it cannot be sent in HTTP basic authentication")
        if login:
            self._headers["Authorization"] = aiohttp.encode_basic_auth(*login)

    async def look(self, instances: Sequence[Instance]) -> Mapping[str, Registration]:
        heard = (await ask_each(self._spec.servers, self._application)).needed()
        return {instance.uid: _registration(instance, heard) for instance in instances}

    async def withdraw(self, instance: Instance) -> None:
        for id in await self._ids(instance):
            await self._withdraw(id)

    async def restore(self, instance: Instance) -> None:
        original = _original(instance.original)
        for id in await self._ids(instance):
            await self._restore(id, original)

    async def weigh(self, instance: Instance, fraction: float) -> None:
        raise Refused("Eureka has no weights")

    async def close(self) -> None:
        await self._client.close()

    async def _withdraw(self, id: str) -> None:
        async def tell(server: str) -> None:
            await self._set(server, id, OUT)

        (await ask_each(self._spec.servers, tell)).needed()

    async def _restore(self, id: str, original: _Original) -> None:
        async def ask(server: str) -> _Lease | None:
            return await self._lease(server, id)

        leases = (await ask_each(self._spec.servers, ask)).needed().answers
        # One peer may know already that the client is down, another not yet: an UP told to this one would reach that.
        own = next((lease.status for lease in leases.values() if lease and lease.says_so_itself), UP)

        async def tell(server: str) -> None:
            lease = leases[server]
            if lease and original.override not in (NO_OVERRIDE, OUT):
                await self._set(server, id, original.override)
            elif lease and lease.override in (NO_OVERRIDE, OUT):  # any other was given by somebody else since
                await self._undo(server, lease, original, own)

        (await ask_each(list(leases), tell)).needed()

    async def _undo(self, server: str, lease: _Lease, original: _Original, own: str) -> None:
        """Take the override away, and see to it that the status that it left goes too."""
        await self._unset(server, lease.id, own)
        after = await self._lease(server, lease.id)
        left_behind = lease.override == OUT or original.status not in ("", OUT)
        if after and after.status == OUT and left_behind:
            # The peer had lost the override and kept its status (LeaseExistsRule): only another override replaces that.
            # Its own, for the other peers hear of it as well: an UP would reach those that know that it is down.
            await self._set(server, lease.id, own)
            await self._unset(server, lease.id, own)

    async def _set(self, server: str, id: str, status: str) -> None:
        _expect(await self._ask(server, "PUT", self._path(id, "/status"), {"value": status}), server)

    async def _unset(self, server: str, id: str, status: str) -> None:
        """Never without a status."""
        _expect(await self._ask(server, "DELETE", self._path(id, "/status"), {"value": status}), server)

    async def _ids(self, instance: Instance) -> list[str]:
        """Every id that any peer has for this pod; none where it is not registered.

        It is enough then if one of the peers can be told: the others hear of it from that one, and `look` says if they
        did not.
        """
        heard = (await ask_each(self._spec.servers, self._application)).needed()
        ids = {lease.id for leases in heard.answers.values() for lease in leases if lease.is_of(instance)}
        if not ids and heard.gravest:
            raise heard.gravest
        return sorted(ids)

    async def _application(self, server: str) -> tuple[_Lease, ...]:
        """What consumers of this peer are told."""
        answer = await self._ask(server, "GET", self._path())
        if answer.status == 404:
            await self._check_path(server)
            return ()
        _expect(answer, server)
        return _leases(answer, server)

    async def _check_path(self, server: str) -> None:
        """404 may mean that nobody has registered, or that we ask at the wrong place, where nobody ever will."""
        answer = await self._request(server, "GET", "/apps/delta")  # 403 where deltas are switched off
        if answer.status == 404:
            raise Refused(f"{host_of(server)} has no Eureka at that path (404): check the context path")

    async def _lease(self, server: str, id: str) -> _Lease | None:
        """From the registry itself; None: not there."""
        answer = await self._ask(server, "GET", self._path(id))
        if answer.status == 404:
            return None
        _expect(answer, server)
        said = answer.json()
        return _parsed(said.get("instance") if isinstance(said, dict) else None, server)

    def _path(self, id: str = "", what: str = "") -> str:
        application = quote(self._spec.application.upper(), safe="")
        return f"/apps/{application}" + (f"/{quote(id, safe=':')}" if id else "") + what

    async def _request(self, server: str, method: str, path: str, params: Mapping[str, str] | None = None) -> Answer:
        return await self._client.request(
            method,
            server.rstrip("/") + path,
            params=params,
            headers=self._headers,
        )

    async def _ask(self, server: str, method: str, path: str, params: Mapping[str, str] | None = None) -> Answer:
        answer = await self._request(server, method, path, params)
        if answer.status == 401:
            why = (
                "the login that is given is not accepted"
                if "Authorization" in self._headers
                else "it wants a login, and none is given"
            )
            raise Refused(f"{host_of(server)} answered 401: {why}")
        if answer.status == 403 and method == "GET":  # InstanceRegistry.shouldAllowAccess
            raise Unreachable(f"{host_of(server)} answered 403: it has just started, or we may not read there")
        if answer.status == 403:
            raise Refused(f"{host_of(server)} answered 403: we may not write there (is its CSRF protection on?)")
        return answer


def _registration(instance: Instance, heard: Heard[tuple[_Lease, ...]]) -> Registration:
    mine = [[lease for lease in leases if lease.is_of(instance)] for leases in heard.answers.values()]
    every = [lease for leases in mine for lease in leases]
    peers = heard.asked
    up = sum(1 for leases in mine if any(lease.status == UP for lease in leases))
    knowing = sum(1 for leases in mine if leases)
    if up:
        presence, evidence = Presence.PRESENT, f"UP for the consumers of {up} of {peers} peers"
    elif heard.gravest:
        presence, evidence = Presence.UNANSWERED, str(heard.gravest)
    elif knowing:
        status = next((lease.status for lease in every if lease.status != OUT), OUT)
        presence, evidence = Presence.ABSENT, f"{status} for the consumers of {knowing} of {peers} peers"
    else:
        presence, evidence = Presence.ABSENT, f"not registered at any of {peers} peers"
    first = every[0] if every else None
    return Registration(
        presence,
        evidence,
        fraction=mean([0.0 if lease.override == OUT else 1.0 for lease in every]),
        original=instance.original
        or (json.dumps({"override": first.override, "status": first.status}, sort_keys=True) if first else ""),
    )


def _leases(answer: Answer, server: str) -> tuple[_Lease, ...]:
    said = answer.json()
    application = said.get("application") if isinstance(said, dict) else None
    if not isinstance(application, dict):
        raise Nonsense(f"{host_of(server)} answered no application of Eureka")
    instances = application.get("instance") or []
    # One is written without a list by the older JSON codec.
    return tuple(_parsed(one, server) for one in (instances if isinstance(instances, list) else [instances]))


def _parsed(one: Any, server: str) -> _Lease:
    try:
        return _Lease(
            id=str(one.get("instanceId") or one["hostName"]),
            address=str(one.get("ipAddr", "")),
            host=str(one.get("hostName", "")),
            ports=tuple(port for port in (_port(one.get("port")), _port(one.get("securePort"))) if port),
            status=_word(one["status"]),
            override=_word(one.get("overriddenStatus") or one.get("overriddenstatus") or NO_OVERRIDE),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Nonsense(f"{host_of(server)} answered what is no instance of Eureka") from None


def _port(said: Any) -> int | None:
    """A number, or {"$": 8080, "@enabled": "true"}; None when there is none, or it is off."""
    if isinstance(said, dict):
        return int(said["$"]) if str(said.get("@enabled", "true")).lower() == "true" else None
    return None if said is None else int(said)


def _word(said: Any) -> str:
    """A status; it gets into evidence, so it is one of the few that there are (InstanceInfo.InstanceStatus)."""
    return said if said in (UP, OUT, *OWN) else NO_OVERRIDE


def _original(kept: str) -> _Original:
    """What `look` said; nothing, where that can't be read."""
    try:
        said = json.loads(kept) if kept else {}
        return _Original(_word(said.get("override")), str(said.get("status", "")))
    except (ValueError, AttributeError):
        return _Original()


def _expect(answer: Answer, server: str) -> None:
    """Success, or that it is not there (any more), which `look` will see."""
    if answer.ok or answer.status == 404:
        return
    kind: type[RegistryError] = Refused if 400 <= answer.status < 500 else Nonsense
    raise kind(f"{host_of(server)} answered {answer.status}")
