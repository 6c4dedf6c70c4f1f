"""Gives ramping pods their share in the routes that a LosslessRollout names: `lossless.traffic.routes`, with its I/O.

What is done, and in which order, so that no gateway ever sends a request where nobody answers:

- going in: the warm-up Service and the EndpointSlice with the pods; the routes with a share of nothing; and only when
  gateways have had the time to know of all that (`LAG`), shares;
- a pod that is let in, or has to go, loses its share first, and leaves the slice afterwards;
- coming out: nothing of ours is left of the split (`lossless.cluster.splits`); for a while (`LINGER`) the slice has
  pods that serve in it, for gateways that are late; then it is deleted.

What a process has to know that is started in the middle of this is on the routes, beside them, and on the slices.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from lossless.api.routes import RouteRef
from lossless.cluster.errors import Forbidden, NotFound
from lossless.cluster.gateway import Gateway
from lossless.cluster.gather import Gathered
from lossless.cluster.interest import Key
from lossless.cluster.observed import SeenPod
from lossless.cluster.resources import SERVICES
from lossless.cluster.route_reads import NOT_OURS, NOT_THERE
from lossless.cluster.splits import RouteSplit, lying, split_of
from lossless.cluster.store import Store
from lossless.cluster.warmup_backend import OURS, WarmupBackend, owner_of
from lossless.core.world import RampStep
from lossless.traffic.routes import status
from lossless.traffic.routes.kinds import KINDS
from lossless.traffic.routes.route import Split, names_ours
from lossless.traffic.routes.status import Answer
from lossless.traffic.routes.warmup_service import PortsClash, warmup_name

LAG: Final = timedelta(seconds=3)
"""What gateways take to know of a change at the most: Traefik gathers changes for 2 s (providersThrottleDuration)."""
LINGER: Final = timedelta(seconds=30)
"""For so long after a ramp the warm-up Service still leads to pods that serve: a gateway without CPU was seen to follow
a change 4 s late."""
STAND_INS: Final = 3


@dataclass
class _Known:
    """What this process knows of one LosslessRollout's routes. All of it can be found out again."""

    backend: WarmupBackend
    splits: dict[RouteRef, RouteSplit] = field(default_factory=dict)
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
        splits = known.splits.values() if known else ()
        return max((status.follows_after(one.ref.kind, one.document) for one in splits), default=timedelta(0))

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
        for split in await lying(self._gateway, namespace):
            if split.key == (namespace, name):
                taken_out = True
                await split.take_out()
        until = self._kept_until(known, taken_out)
        if until is not None:
            await known.backend.keep(until)
            return self._seconds_to(until)
        await known.backend.delete()
        del self._known[namespace, name]
        return None

    async def left_over(self, namespaces: Iterable[str | None]) -> set[Key]:
        """LosslessRollouts of which a process before this one has left something: on a route, named by it or not any
        more, or behind one. They may be no more themselves. Found once, at the start.
        """
        for namespace in namespaces:
            for split in await lying(self._gateway, namespace):
                self._know(split.key).splits[split.ref] = split
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
        await self._leave(known, [ref for ref in known.splits if ref not in routes])
        services = self._services(gathered)
        known.refusals = {}
        for ref in routes:
            await self._read(rollout.key, known, ref)
        stables = [
            one.raw
            for one in self._store.services.where("namespace", rollout.namespace)
            if one.name in services
            and any(
                names_ours(KINDS[split.ref.kind], split.document, frozenset({one.name}))
                for split in known.splits.values()
            )
        ]
        if not stables:
            known.refusals = {str(ref): "it names no Service of these pods" for ref in routes} | known.refusals
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
            lies = any(split.lies for split in known.splits.values())
            known.since = (backend.since if lies else None) or now
        ready = now >= known.since + LAG
        wanted = Split(rollout.name, services, warmup_name(rollout.name), step.share if ready else 0.0)
        for ref in list(known.splits):
            await self._lay(known, ref, wanted)
        await backend.lead_to(pods, gathered)
        return None if ready else (known.since + LAG - now).total_seconds()

    async def _out(self, gathered: Gathered, known: _Known, routes: Sequence[RouteRef]) -> float | None:
        """Away with the split, and when gateways have had more than enough time to know of it, with the rest.

        Until then the warm-up Service leads to pods that serve: whoever is late loses nothing.
        """
        if not known.looked:
            for ref in routes:  # A process before this one may have left something there.
                await self._read(gathered.rollout.key, known, ref)
            known.looked = True
        taken_out = await self._leave(known, list(known.splits))
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

    async def _leave(self, known: _Known, refs: Sequence[RouteRef]) -> bool:
        """Nothing of ours is left on these routes. Whether anything was there."""
        was_there = False
        for ref in refs:
            was_there = was_there or known.splits[ref].lies
            await known.splits[ref].take_out()
            # The next ramp begins with a look at what its owner has made of it meanwhile.
            known.splits.pop(ref)
        return was_there

    async def _lay(self, known: _Known, ref: RouteRef, wanted: Split) -> None:
        try:
            refusal = await known.splits[ref].lay(wanted)
        except NotFound:
            known.splits.pop(ref)
            return
        if refusal:
            known.refusals[str(ref)] = refusal

    async def _read(self, key: Key, known: _Known, ref: RouteRef) -> None:
        """Have this route as it was last seen; as it is now where it was refused, which its gateway may take back."""
        split = known.splits.get(ref)
        if split and split.document and status.taken(split.document).answer is not Answer.REFUSED:
            return
        split = split or split_of(self._gateway, key, ref)
        try:
            await split.read()
        except NotFound:
            known.refusals[str(ref)] = NOT_THERE
        except Forbidden:
            known.refusals[str(ref)] = NOT_OURS
        else:
            known.splits[ref] = split

    def _services(self, gathered: Gathered) -> frozenset[str]:
        """The Services that select the workload's pods."""
        labels = [pod.labels for pod in gathered.pods.values()]
        return frozenset(
            one.name
            for one in self._store.services.where("namespace", gathered.rollout.namespace)
            if any(one.selects(each) for each in labels)
        )
