"""Nacos: old pods are taken out by the override `enabled=false`, new ones ramped by weight, over HTTP.

An override lives in Nacos' own store (Raft), is laid over whatever the client publishes, and stays through its beats
and redos (ServiceStorage.parseInstance, InstanceOperatorClientImpl). What follows from that:

- It is kept for 60 s after the instance is gone, and for good if the same address and port registers again within that
  time: the next pod is then born with it (alibaba/nacos#8853, #12033, #14648). So a withdrawn pod keeps its full
  weight, and `restore` always writes both, whatever is seen.
- An update of what is not registered would wait there for the next pod too, so nothing is written before the instance
  was seen. DELETE is never used: for an instance registered over gRPC it does nothing and answers ok.
- An update fills what it is not given with defaults, the partial one of Nacos 3 too (InstanceForm.validate): weight and
  enabled are always both sent. Metadata never is; the partial update leaves what others wrote there, the full one
  (PUT on v1) would wipe it, so it is only used where PATCH is not allowed.
- rnacos has a disabled instance in no list at all. It tells of it where it is asked for that one (`nacos_http`).
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Final

from lossless.api import traffic
from lossless.core.world import Presence
from lossless.traffic.registries.client import Client
from lossless.traffic.registries.errors import Refused, RegistryError
from lossless.traffic.registries.nacos_http import Host, NacosHttp, View, is_ephemeral
from lossless.traffic.registries.nodes import Heard, ask_each
from lossless.traffic.registries.registry import Instance, Registration, mean

SETTLE: Final = timedelta(seconds=45)
"""10 s until a subscriber has been pushed to (after 0.5 s, 5 s for an answer, retried) or has polled (every 10 s), and
35 s for which Spring Cloud LoadBalancer keeps a list (spring.cloud.loadbalancer.cache.ttl)."""
MAX_WEIGHT: Final = 10_000.0
"""NamingRequestUtil.checkWeight."""
MIN_WEIGHT: Final = 0.0001
"""A fraction is never rounded below this: at 0, clients leave the instance out."""


class NacosRegistry:
    """A service in Nacos."""

    weighs = True

    def __init__(
        self,
        spec: traffic.Nacos,
        client: Client,
        *,
        login: tuple[str, str] | None = None,
        settle: timedelta | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`login` and `clock` as in `NacosHttp`."""
        self.settle = SETTLE if settle is None else settle
        self._spec = spec
        self._http = NacosHttp(spec, client, login=login, clock=clock)

    async def look(self, instances: Sequence[Instance]) -> Mapping[str, Registration]:
        heard = (await self._ask_nodes(instances)).needed()
        return {instance.uid: self._registration(instance, heard) for instance in instances}

    async def withdraw(self, instance: Instance) -> None:
        await self._update(instance, enabled=False, fraction=1)

    async def restore(self, instance: Instance) -> None:
        await self._update(instance, enabled=True, fraction=1)

    async def weigh(self, instance: Instance, fraction: float) -> None:
        if fraction <= 0:
            await self.withdraw(instance)
        else:
            await self._update(instance, enabled=True, fraction=min(fraction, 1))

    async def close(self) -> None:
        await self._http.close()

    def _registration(self, instance: Instance, heard: Heard[View]) -> Registration:
        views = [view.of(instance) for view in heard.answers.values()]
        registered = [host for view in views for host in view.registered]
        self._check_kind([host for view in views for host in (*view.registered, *view.handed_out)])
        weights = _weights(instance.original) or {host.key: host.weight for host in registered}
        fractions = [_fraction(host, weights.get(host.key, host.weight)) for host in registered]

        nodes = heard.asked
        handing = sum(1 for view in views if view.handed_out)
        hiding = sum(1 for view in views if any(host.enabled for host in view.registered) and not view.handed_out)
        knowing = sum(1 for view in views if view.registered)
        if handing:
            presence, evidence = Presence.PRESENT, f"handed out by {handing} of {nodes} nodes"
            if not registered:
                evidence += f", but not in cluster {self._spec.cluster}"
        elif heard.gravest:
            presence, evidence = Presence.UNANSWERED, str(heard.gravest)
        elif hiding:
            presence = Presence.UNANSWERED
            evidence = f"enabled on {hiding} of {nodes} nodes, yet not in the list that they give us"
        elif knowing:
            presence, evidence = Presence.ABSENT, f"enabled=false on {knowing} of {nodes} nodes"
        else:
            presence, evidence = Presence.ABSENT, f"not registered on any of {nodes} nodes"
        return Registration(
            presence,
            evidence,
            fraction=mean(fractions),
            original=instance.original or (json.dumps({"weights": weights}, sort_keys=True) if weights else ""),
        )

    async def _update(self, instance: Instance, *, enabled: bool, fraction: float) -> None:
        """Write it through the first node that knows the instance and can write: Raft tells the others.

        An instance that is registered nowhere is let be.
        """
        heard = (await self._ask_nodes([instance])).needed()
        failure = heard.gravest
        weights = _weights(instance.original)
        for server, whole in heard.answers.items():
            view = whole.of(instance)
            self._check_kind([*view.registered, *view.handed_out])
            if not view.registered:
                if view.handed_out:
                    failure = Refused(f"it is registered in another cluster than {self._spec.cluster}")
                continue
            try:
                for host in view.registered:
                    weight = _weight(weights.get(host.key, host.weight), fraction)
                    await self._http.write(server, view, host, weight, enabled)
            except RegistryError as error:
                failure = error
                continue
            return
        if failure:
            raise failure

    async def _ask_nodes(self, instances: Sequence[Instance]) -> Heard[View]:
        known = frozenset(key for instance in instances for key in _weights(instance.original))
        return await ask_each(self._spec.servers, lambda server: self._http.view(server, known))

    def _check_kind(self, hosts: Sequence[Host]) -> None:
        """An update of the wrong kind fails there, or makes a persistent instance that nobody removes (#2003)."""
        ephemeral = is_ephemeral(self._spec)
        if any(host.ephemeral != ephemeral for host in hosts):
            is_ = "persistent" if ephemeral else "ephemeral"
            raise Refused(
                f"instances of {self._spec.service} are {is_}, but instances: {self._spec.instances} is given"
            )


def _weights(original: str) -> dict[str, float]:
    """By address and port; empty where there are none, or they can't be read."""
    try:
        weights = json.loads(original)["weights"] if original else {}
        return {str(key): float(value) for key, value in weights.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _fraction(host: Host, full: float) -> float:
    if not host.enabled:
        return 0.0
    return min(host.weight / full, 1.0) if full > 0 else 1.0


def _weight(full: float, fraction: float) -> str:
    """As decimal digits, never in the form 1e-05."""
    weight = max(min(full * fraction, MAX_WEIGHT), min(full, MIN_WEIGHT))
    return format(Decimal(repr(weight)), "f")
