"""Gives ramping pods their share in the routes that a LosslessRollout names: `lossless.traffic.routes`, with its I/O.

What is done, and in which order, so that no gateway ever sends a request where nobody answers:

- going in: the warm-up Service and the EndpointSlice with the pods; the routes with a share of nothing; and only when
  gateways have had the time to know of all that (`LAG`), shares;
- a pod that is let in, or has to go, loses its share first, and leaves the slice afterwards;
- coming out: the owner's text is back in the routes; for a while (`LINGER`) the slice has pods that serve in it, for
  gateways that are late; then it is deleted.

What a process has to know that is started in the middle of this is on the routes and the slices.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from lossless.api.routes import RouteKind, RouteRef
from lossless.cluster.errors import Conflict, Forbidden, NotFound, Outdated
from lossless.cluster.gateway import Gateway, PatchType
from lossless.cluster.gather import Gathered
from lossless.cluster.interest import Key
from lossless.cluster.observed import SeenPod, SeenRollout
from lossless.cluster.resources import SERVICES, Raw, Resource
from lossless.cluster.store import Store
from lossless.cluster.warmup_backend import OURS, WarmupBackend, owner_of
from lossless.core.world import RampStep
from lossless.traffic.routes import edit, status
from lossless.traffic.routes.kinds import KINDS
from lossless.traffic.routes.policies import obeys_destination_rules
from lossless.traffic.routes.route import Route, Split, names_ours
from lossless.traffic.routes.status import Answer
from lossless.traffic.routes.warmup_service import PortsClash, warmup_name

LAG: Final = timedelta(seconds=3)
"""What gateways take to know of a change at the most: Traefik gathers changes for 2 s (providersThrottleDuration)."""
DESTINATION_RULES: Final = Resource("networking.istio.io", "v1", "destinationrules")
LINGER: Final = timedelta(seconds=30)
"""For so long after a ramp the warm-up Service still leads to pods that serve: a gateway without CPU was seen to follow
a change 4 s late."""
STAND_INS: Final = 3
NOT_THERE: Final = "it is not there"
NOT_OURS: Final = "the operator may not read it (ClusterRole lossless-operator-routes)"
ATTEMPTS: Final = 4


@dataclass
class _Known:
    """What this process knows of one LosslessRollout's routes. All of it can be found out again."""

    backend: WarmupBackend
    documents: dict[RouteRef, Raw] = field(default_factory=dict)
    since: datetime | None = None
    """When the split was first laid: gateways know of it by `LAG` later."""
    refusals: dict[str, str] = field(default_factory=dict)
    looked: bool = False
    """Whether the routes were looked at for what a process before this one has left there."""


class Ramping:
    """The routes, Services and slices of every LosslessRollout."""

    def __init__(self, gateway: Gateway, store: Store, clock: Callable[[], datetime]) -> None:
        self._gateway = gateway
        self._store = store
        self._clock = clock
        self._known: dict[Key, _Known] = {}

    async def ensure(self, gathered: Gathered, step: RampStep | None) -> float | None:
        """Have the routes give what `step` says; None takes everything out. Says in how many seconds to come again.

        Raises:
            Outdated: a route was changed by somebody else meanwhile.
            ClusterError: the API server did not do it.
        """
        rollout = gathered.rollout
        routes = rollout.spec.traffic.routes if rollout.spec else []
        known = self._known.get(rollout.key)
        if not routes and known is None:
            return None
        known = known or self._know(rollout.key)
        await known.backend.look()
        pods = [gathered.pods[uid] for uid, _ in step.fractions if uid in gathered.pods] if step else []
        if step is None or not pods:
            return await self._out(gathered, known, routes)
        return await self._in(gathered, known, routes, step, pods)

    def refusals(self, key: Key) -> Mapping[str, str]:
        """By route: why it is not split."""
        known = self._known.get(key)
        return known.refusals if known else {}

    def lag(self, key: Key) -> timedelta:
        """How late the slowest gateway of these routes follows a change, on average."""
        known = self._known.get(key)
        documents = known.documents.items() if known else ()
        return max((status.follows_after(ref.kind, document) for ref, document in documents), default=timedelta(0))

    async def give_back(self, namespace: str, name: str) -> float | None:
        """The LosslessRollout is gone: its splits come out of every route of the namespace, and in a while, what was
        made for it goes. Says in how many seconds to come again.

        Raises as `ensure`.
        """
        if self._known.pop((namespace, name), None) is None:
            return None
        known = self._know((namespace, name))  # Looked at anew: who takes the workload away takes the Service with it.
        await known.backend.look()
        taken_out = False
        for kind, route in KINDS.items():
            for document in await self._list(route, namespace):
                if name in edit.rollouts_on(document):
                    taken_out = True
                    ref = RouteRef(kind=kind, name=document["metadata"]["name"])
                    await self._edit(ref, namespace, lambda now: edit.take_out(route, now, name))  # noqa: B023
        until = self._kept_until(known, taken_out)
        if until is not None:
            await known.backend.keep(until)
            return self._seconds_to(until)
        await known.backend.delete()
        del self._known[namespace, name]
        return None

    async def left_over(self, namespaces: Iterable[str | None]) -> set[Key]:
        """LosslessRollouts of which a process before this one has left something: in a route, named by it or not any
        more, or behind one. They may be no more themselves. Found once, at the start.
        """
        for namespace in namespaces:
            for kind, route in KINDS.items():
                for document in await self._list(route, namespace):
                    said = {"apiVersion": route.api_version, "kind": str(kind), **document}  # A LIST leaves them out.
                    for name in edit.rollouts_on(document):
                        known = self._know((document["metadata"]["namespace"], name))
                        known.documents[RouteRef(kind=kind, name=document["metadata"]["name"])] = said
            for made in (await self._gateway.list(SERVICES, namespace, OURS)).items:
                if name := owner_of(made):
                    self._know((made["metadata"]["namespace"], name))
        return set(self._known)

    def _know(self, key: Key) -> _Known:
        return self._known.setdefault(key, _Known(WarmupBackend(self._gateway, key)))

    async def _in(
        self, gathered: Gathered, known: _Known, routes: Sequence[RouteRef], step: RampStep, pods: Sequence[SeenPod]
    ) -> float | None:
        rollout, now, backend = gathered.rollout, self._clock(), known.backend
        await self._leave(rollout, known, [ref for ref in known.documents if ref not in routes])
        services = self._services(gathered)
        known.refusals = {}
        for ref in routes:
            await self._read(rollout, known, ref)
        stables = [
            one.raw
            for one in self._store.services.where("namespace", rollout.namespace)
            if one.name in services
            and any(
                names_ours(KINDS[ref.kind], document, frozenset({one.name}))
                for ref, document in known.documents.items()
            )
        ]
        if not stables:
            known.refusals |= {str(ref): "it names no Service of these pods" for ref in routes}
            return None
        if backend.is_anothers:
            known.refusals |= {str(ref): f"there is another Service {warmup_name(rollout.name)}" for ref in routes}
            return None
        try:
            await backend.speak_as(stables, gathered)
        except PortsClash as error:
            known.refusals |= {str(ref): str(error) for ref in routes}
            return None
        ramp = {pod.uid for pod in pods}
        leave = [pod for uid, pod in gathered.pods.items() if uid in backend.pods - ramp and pod.core.live]
        await backend.lead_to([*pods, *leave], gathered)
        if known.since is None:
            is_split = any(rollout.name in edit.rollouts_on(document) for document in known.documents.values())
            known.since = (backend.since if is_split else None) or now
        ready = now >= known.since + LAG
        share = step.share if ready else 0.0
        for ref in list(known.documents):
            await self._lay(rollout, known, ref, services, share)
        await backend.lead_to(pods, gathered)
        return None if ready else (known.since + LAG - now).total_seconds()

    async def _out(self, gathered: Gathered, known: _Known, routes: Sequence[RouteRef]) -> float | None:
        """Back to the owner's text, and when gateways have had more than enough time to know of it, away with the rest.

        Until then the warm-up Service leads to pods that serve: whoever is late loses nothing.
        """
        rollout = gathered.rollout
        if not known.looked:
            for ref in routes:  # A process before this one may have left something there.
                await self._read(rollout, known, ref)
            known.looked = True
        taken_out = await self._leave(rollout, known, list(known.documents))
        known.since = None
        until = self._kept_until(known, taken_out)
        if until is None:
            await known.backend.lead_nowhere()
            return None
        await known.backend.lead_to(self._stand_ins(gathered, known), gathered, until)
        return self._seconds_to(until)

    def _kept_until(self, known: _Known, taken_out: bool) -> datetime | None:
        """When gateways will have had more than enough time to know that the split is out; None: they have had it.

        `taken_out`: it went this moment.
        """
        if known.backend.leads_nowhere:
            return None
        begun = None if taken_out else known.backend.kept_until
        until = begun or self._clock() + LINGER
        return until if self._clock() < until else None

    def _seconds_to(self, at: datetime) -> float:
        return (at - self._clock()).total_seconds()

    def _stand_ins(self, gathered: Gathered, known: _Known) -> Sequence[SeenPod]:
        """Pods that serve: those that are in the slices already, or else a few others."""
        serving = [gathered.pods[pod.uid] for pod in gathered.world.pods if pod.serving]
        return [pod for pod in serving if pod.uid in known.backend.pods] or serving[:STAND_INS]

    async def _leave(self, rollout: SeenRollout, known: _Known, refs: Sequence[RouteRef]) -> bool:
        """The owner's text is back in these routes. Whether anything of ours was in one."""
        was_there = False
        for ref in refs:
            route = KINDS[ref.kind]
            if rollout.name in edit.rollouts_on(known.documents[ref]):
                was_there = True
                await self._edit(ref, rollout.namespace, lambda now: edit.take_out(route, now, rollout.name))  # noqa: B023
            # The next ramp begins with a look at what its owner has made of it meanwhile.
            known.documents.pop(ref)
        return was_there

    async def _lay(
        self, rollout: SeenRollout, known: _Known, ref: RouteRef, services: frozenset[str], share: float
    ) -> None:
        route = KINDS[ref.kind]
        policies = await self._policies(known.documents[ref], rollout.namespace)

        def laid(document: Raw) -> edit.Change:
            said = status.taken(document)
            if share and said.answer is Answer.REFUSED:
                known.refusals[str(ref)] = said.evidence
            allowed = 0.0 if said.answer is Answer.REFUSED else share
            split = Split(rollout.name, services, warmup_name(rollout.name), allowed)
            change = edit.lay(route, document, split, policies)
            if change.refusal:
                known.refusals[str(ref)] = change.refusal
            return change

        if laid(known.documents[ref]).patch is not None:
            after = await self._edit(ref, rollout.namespace, laid)
            if after is None:
                known.documents.pop(ref)
            else:
                known.documents[ref] = after

    async def _edit(self, ref: RouteRef, namespace: str, how: Callable[[Raw], edit.Change]) -> Raw | None:
        """Edit a route as it is now. Its gateway writes its status whenever we have, so what was read before is old.

        Raises:
            Outdated: it was changed each time between our look and our write.
        """
        resource = resource_of(ref.kind)
        for _ in range(ATTEMPTS):
            try:
                document = await self._gateway.get(resource, namespace, ref.name)
                change = how(document)
                if change.patch is None:
                    return document
                return await self._gateway.patch(resource, namespace, ref.name, change.patch, kind=PatchType.MERGE)
            except NotFound:
                return None
            except Conflict:
                continue
        raise Outdated(f"{ref} changes all the time")

    async def _policies(self, document: Raw, namespace: str) -> Sequence[Raw]:
        if not obeys_destination_rules(document):
            return ()
        try:
            return (await self._gateway.list(DESTINATION_RULES, namespace)).items
        except NotFound:
            return ()

    async def _read(self, rollout: SeenRollout, known: _Known, ref: RouteRef) -> None:
        """Have this route as it was last seen; as it is now where it was refused, which its gateway may take back."""
        if ref in known.documents and status.taken(known.documents[ref]).answer is not Answer.REFUSED:
            return
        try:
            known.documents[ref] = await self._gateway.get(resource_of(ref.kind), rollout.namespace, ref.name)
        except NotFound:
            known.refusals[str(ref)] = NOT_THERE
        except Forbidden:
            known.refusals[str(ref)] = NOT_OURS

    def _services(self, gathered: Gathered) -> frozenset[str]:
        """The Services that select the workload's pods."""
        labels = [pod.labels for pod in gathered.pods.values()]
        return frozenset(
            one.name
            for one in self._store.services.where("namespace", gathered.rollout.namespace)
            if any(one.selects(each) for each in labels)
        )

    async def _list(self, route: Route, namespace: str | None) -> Sequence[Raw]:
        """None where the kind is not there, or not ours to read: then nothing of ours can be in it either."""
        try:
            return (await self._gateway.list(resource_of(route.kind), namespace)).items
        except (NotFound, Forbidden):
            return ()


def resource_of(kind: RouteKind) -> Resource:
    """Where the API server has the routes of this kind."""
    route = KINDS[kind]
    group, _, version = route.api_version.rpartition("/")
    return Resource(group, version, route.plural)
