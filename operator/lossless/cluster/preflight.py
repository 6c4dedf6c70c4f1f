"""Findings, and the few reads that only they need.

Workloads, Services and pods are watched. Routes and Ingresses are not: they are read when a spec is new to this
process, when a release begins and when other Services select the pods; and where a route would not be split, once more
a minute later, for what is applied together does not come in order. At rest nothing is read.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from lossless.analysis import findings
from lossless.analysis.checks import MAX_FINDINGS
from lossless.analysis.facts import Facts
from lossless.api.resource import Finding
from lossless.api.routes import RouteKind, RouteRef
from lossless.cluster.canaries import around
from lossless.cluster.errors import ClusterError, Forbidden, NotFound
from lossless.cluster.gateway import Gateway
from lossless.cluster.gather import Gathered, selecting
from lossless.cluster.interest import Key
from lossless.cluster.resources import DESTINATION_RULES, INGRESSES, Raw
from lossless.cluster.route_reads import NOT_OURS, NOT_THERE, listed, resource_of
from lossless.cluster.store import Store
from lossless.cluster.workload import kind_of
from lossless.traffic.routes import findings as route_findings
from lossless.traffic.routes.policies import obeys_destination_rules
from lossless.traffic.services import Service

ONCE_MORE: Final = timedelta(minutes=1)
MOMENT: Final = timedelta(seconds=5)
"""For so long what a namespace has of Ingresses is known."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Looked:
    """What came of the last look."""

    occasion: object
    """Another one calls for another look."""
    again_at: datetime | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    """By route, why it would not be split."""
    findings: Sequence[Finding] = ()


class Preflight:
    """What is to be said of each LosslessRollout's set-up."""

    def __init__(self, gateway: Gateway, store: Store, clock: Callable[[], datetime]) -> None:
        self._gateway = gateway
        self._store = store
        self._clock = clock
        self._looked: dict[Key, _Looked] = {}
        self._ingresses: dict[str, tuple[datetime, Sequence[Raw]]] = {}
        """Of a namespace, as they were seen a moment ago: at a start all its LosslessRollouts ask for them."""

    async def look(self, gathered: Gathered) -> float | None:
        """Read what nobody watches, if there is occasion to. Says in how many seconds to come again.

        No error comes out of here: a finding never stops anything.
        """
        rollout, workload, now = gathered.rollout, gathered.world.workload, self._clock()
        if workload is None:
            return None
        services = self._services(gathered)
        occasion = (rollout.uid, rollout.generation, workload.current_revision, {one.name for one in services})
        last = self._looked.get(rollout.key, _Looked(None))
        is_new = last.occasion != occasion
        if not is_new and (last.again_at is None or now < last.again_at):
            return None if last.again_at is None else (last.again_at - now).total_seconds()
        try:
            refused, found = await self._read(gathered, [one.raw for one in services])
            again = is_new and bool(refused)
        except ClusterError as error:
            _log.warning("routes can't be looked at: %s", error, extra={"rollout": "/".join(rollout.key)})
            refused, found, again = last.refused, last.findings, True
        self._looked[rollout.key] = _Looked(occasion, now + ONCE_MORE if again else None, refused, found)
        return ONCE_MORE.total_seconds() if again else None

    def findings(
        self, gathered: Gathered, gate_injection_works: bool | None, refused: Mapping[str, str] | None = None
    ) -> list[Finding]:
        """Every hazard that is known of, those that can lose requests first.

        Args:
            gathered: the LosslessRollout and its world.
            gate_injection_works: as in `Facts.of`.
            refused: routes that were not split when pods ramped, each with the reason; None: no pod does.
        """
        looked = self._looked.get(gathered.rollout.key, _Looked(None))
        found = findings.find(facts) if (facts := self._facts(gathered, gate_injection_works)) else []
        found += route_findings.not_split({**looked.refused, **(refused or {})})
        return [*found, *looked.findings][:MAX_FINDINGS]

    def forget(self, key: Key) -> None:
        """This LosslessRollout is gone."""
        self._looked.pop(key, None)

    async def _read(
        self, gathered: Gathered, services: Sequence[Mapping[str, Any]]
    ) -> tuple[Mapping[str, str], Sequence[Finding]]:
        namespace, spec = gathered.rollout.namespace, gathered.world.spec
        routes: dict[RouteRef, Raw] = {}
        refused: dict[str, str] = {}
        for ref in spec.traffic.routes if spec.warmup.ramp else ():
            try:
                routes[ref] = await self._gateway.get(resource_of(ref.kind), namespace, ref.name)
            except NotFound:
                refused[str(ref)] = NOT_THERE
            except Forbidden:
                refused[str(ref)] = NOT_OURS
        obeyed = gathered.world.affine or any(obeys_destination_rules(document) for document in routes.values())
        ingresses = await self._ingresses_of(namespace) if services else ()
        facts = route_findings.RouteFacts(
            namespace=namespace,
            rollout=gathered.rollout.name,
            services=services,
            ramps=spec.warmup.ramp is not None,
            routes=routes,
            policies=await listed(self._gateway, DESTINATION_RULES, namespace) if obeyed else (),
            ingresses=ingresses,
            around={
                ref: await around(self._gateway, document, ingresses)
                for ref, document in routes.items()
                if ref.kind is RouteKind.INGRESS
            },
            affine=gathered.world.affine,
        )
        return refused | route_findings.refusals(facts), route_findings.find(facts)

    async def _ingresses_of(self, namespace: str) -> Sequence[Raw]:
        now = self._clock()
        self._ingresses = {key: found for key, found in self._ingresses.items() if now < found[0] + MOMENT}
        if namespace not in self._ingresses:
            self._ingresses[namespace] = now, await listed(self._gateway, INGRESSES, namespace)
        return self._ingresses[namespace][1]

    def _facts(self, gathered: Gathered, gate_injection_works: bool | None) -> Facts | None:
        world, wanted = gathered.world, self._spec(gathered)
        if not wanted or world.workload is None:
            return None
        return Facts.of(
            spec=world.spec,
            deployment={"spec": wanted},
            workload=world.workload,
            services=[one.raw for one in self._services(gathered)],
            pods=world.pods,
            early=world.early,
            autoscalers=world.autoscalers,
            current_revision=world.workload.current_revision,
            gate_injection_works=gate_injection_works,
        )

    def _services(self, gathered: Gathered) -> Sequence[Service]:
        """Those that select the pods that the workload makes."""
        template = self._spec(gathered).get("template") or {}
        labels = (template.get("metadata") or {}).get("labels") or {}
        return selecting(self._store, gathered.rollout.namespace, labels)

    def _spec(self, gathered: Gathered) -> Raw:
        """The workload's; empty: there is no such workload."""
        kind = kind_of(gathered.rollout.target)
        if kind is None or gathered.world.workload is None:
            return {}
        return kind.spec(self._store, gathered.rollout.namespace, gathered.rollout.target.name)
