"""Consul: a pod's service is put into maintenance at the agent that owns its registration.

Ways that do not work (facts of the agent API, https://developer.hashicorp.com/consul/api-docs/agent/service): what is
taken out of the catalog, or marked there, is put back by the owning agent within minutes (anti-entropy). Maintenance is
the agent's own: it lasts over the agent's restart and over the application registering the same ID again, unless that
is done with `replace-existing-checks` or after a deregistration. Then `look` sees it PRESENT once more.

`Weights` can be changed only by registering anew at the agent, with everything that the application has said; so this
registry does not weigh.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

from lossless.api.traffic import Consul
from lossless.core.world import Presence
from lossless.traffic.registries.client import Answer, Client
from lossless.traffic.registries.errors import Nonsense, Refused, Unreachable
from lossless.traffic.registries.matching import is_of
from lossless.traffic.registries.registry import Instance, Registration, mean

SETTLE: Final = timedelta(seconds=40)
"""Spring Cloud LoadBalancer keeps a list for 35 s (spring.cloud.loadbalancer.cache.ttl), and its watch of the catalog
has to come round. DNS answers are not cached by default."""
REASON: Final = "lossless.dev"
"""How the reason of our own maintenance begins. Consul never overwrites a reason, so it tells ours from others'."""
NODE_MAINTENANCE: Final = "_node_maintenance"
FILTERED: Final = "X-Consul-Results-Filtered-By-ACLs"
"""Consul 1.11 and later: something was left out of the answer because the token may not see it."""
_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class _Check:
    id: str
    status: str
    notes: str


@dataclass(frozen=True, slots=True)
class _Service:
    """One registration, as the catalog has it."""

    id: str
    node: str
    node_address: str
    address: str
    port: int
    checks: tuple[_Check, ...]

    @property
    def handed_out(self) -> bool:
        """Wider than ?passing=true, which leaves out a warning too: DNS does not."""
        return all(check.status != "critical" for check in self.checks)

    @property
    def _maintenance(self) -> _Check | None:
        return next((check for check in self.checks if check.id == f"_service_maintenance:{self.id}"), None)

    @property
    def in_maintenance(self) -> bool:
        return self._maintenance is not None or any(check.id == NODE_MAINTENANCE for check in self.checks)

    @property
    def in_maintenance_by_others(self) -> bool:
        return self._maintenance is not None and not self._maintenance.notes.startswith(REASON)


class ConsulRegistry:
    """One service in Consul."""

    def __init__(self, spec: Consul, client: Client, *, token: str = "", settle: timedelta | None = None) -> None:
        self._spec = spec
        self._client = client
        self._headers = {"X-Consul-Token": token} if token else {}
        self._settle = SETTLE if settle is None else settle

    @property
    def settle(self) -> timedelta:
        return self._settle

    @property
    def weighs(self) -> bool:
        return False

    async def look(self, instances: Sequence[Instance]) -> Mapping[str, Registration]:
        services, filtered = await self._services()
        return {instance.uid: _registration(_of(instance, services), filtered) for instance in instances}

    async def withdraw(self, instance: Instance) -> None:
        services, filtered = await self._services()
        found = _of(instance, services)
        if not found and filtered:
            raise Refused("the token may not see every instance: it needs node:read and service:read")
        for service in found:
            if not service.in_maintenance_by_others:
                reason = f"{REASON}: {instance.namespace}/{instance.name} is on its way out"
                await self._maintain(service, {"enable": "true", "reason": reason})

    async def restore(self, instance: Instance) -> None:
        """Ends our own maintenance alone: the reason tells it from one that others have set, before us or since. So
        nothing has to be kept on the pod."""
        services, _ = await self._services()
        for service in _of(instance, services):
            if not service.in_maintenance_by_others:
                # Also where the catalog shows no maintenance: the agent may know of one that it has not told of yet.
                await self._maintain(service, {"enable": "false"})

    async def weigh(self, instance: Instance, fraction: float) -> None:
        raise Refused("Consul's weights can only be changed by registering anew, which is the application's to do")

    async def close(self) -> None:
        await self._client.close()

    async def _services(self) -> tuple[list[_Service], bool]:
        """What every consumer is answered from, as the leader has it; and whether something was kept from us."""
        url = f"{self._spec.server.rstrip('/')}/v1/health/service/{quote(self._spec.service, safe='')}"
        answer = await self._client.request("GET", url, params={"consistent": ""}, headers=self._headers)
        _must_be_ok(answer, "the catalog")
        said = answer.json()
        if not isinstance(said, list):
            raise Nonsense("the catalog's answer is no list")
        return [_service(one) for one in said], answer.headers.get(FILTERED, "").lower() == "true"

    async def _maintain(self, service: _Service, params: Mapping[str, str]) -> None:
        agent = self._spec.agent.replace("{host}", _host(service.node_address)).rstrip("/")
        url = f"{agent}/v1/agent/service/maintenance/{quote(service.id, safe='')}"
        answer = await self._client.request("PUT", url, params=params, headers=self._headers)
        if answer.status == 404:
            raise Refused(
                "the agent at the address of the registration's node does not know it: it belongs to another agent, or "
                "to none (consul-k8s writes to the catalog itself, and follows the readiness of the pod)"
            )
        _must_be_ok(answer, "the agent")


def _registration(services: Sequence[_Service], filtered: bool) -> Registration:
    if not services:
        if filtered:
            return Registration(Presence.UNANSWERED, "the token may not see every instance")
        return Registration(Presence.ABSENT, "not registered")
    out = [service for service in services if service.handed_out]
    resting = [service for service in services if service.in_maintenance]
    # What others have in maintenance stays so, whatever we say.
    ours = [service for service in services if not service.in_maintenance_by_others] or services
    return Registration(
        Presence.PRESENT if out else Presence.ABSENT,
        f"handed out: {len(out)} of {len(services)}, in maintenance: {len(resting)}",
        fraction=mean([0.0 if service.in_maintenance else 1.0 for service in ours]),
    )


def _of(instance: Instance, services: Sequence[_Service]) -> list[_Service]:
    # A service without an address of its own has its node's.
    return [each for each in services if is_of(instance, each.address or each.node_address, each.port)]


def _service(said: Any) -> _Service:
    try:
        node, service = said["Node"], said["Service"]
        return _Service(
            id=str(service["ID"]),
            node=str(node["Node"]),
            node_address=str(node["Address"]),
            address=str(service["Address"] or ""),
            port=int(service["Port"] or 0),
            checks=tuple(
                _Check(str(check["CheckID"]), str(check["Status"]), str(check.get("Notes") or ""))
                for check in said["Checks"] or ()
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Nonsense("the catalog has an instance that is none") from error


def _host(address: str) -> str:
    """The node's address for a URL. It comes from the catalog, where every agent writes its own.

    Raises:
        Nonsense: it is neither an address nor a name.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        if not _NAME.fullmatch(address):
            raise Nonsense("the catalog has a node whose address is none") from None
        return address
    return f"[{ip}]" if ip.version == 6 else str(ip)


def _must_be_ok(answer: Answer, who: str) -> None:
    if answer.status in (401, 403):
        raise Refused(f"{who} does not accept the token ({answer.status}): it needs service:write and node:read")
    if answer.status in (408, 429):
        raise Unreachable(f"{who} is busy ({answer.status})")
    if not answer.ok:
        raise Refused(f"{who} answered {answer.status}")
