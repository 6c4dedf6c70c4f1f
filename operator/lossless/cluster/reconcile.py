"""One turn for one LosslessRollout: gather, decide, act, report.

Level-triggered: a turn looks at everything and remembers nothing that matters. Who was killed in the middle of one
begins the next from what is on the pods.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol

from lossless.analysis.checks import MAX_FINDINGS
from lossless.api import names
from lossless.api.resource import InFlight, LosslessRolloutStatus, Mode
from lossless.api.traffic import Registry
from lossless.cluster.act import Actor, StartsWarmups
from lossless.cluster.adoption import Adoption
from lossless.cluster.autoscaling import Autoscaling
from lossless.cluster.disruptions import Disruptions
from lossless.cluster.errors import ClusterError, NotLeading, Outdated
from lossless.cluster.gather import UNREADABLE, Asked, Gathered, gather, left_behind, pods_of, target_of
from lossless.cluster.interest import Key
from lossless.cluster.live import LiveReader
from lossless.cluster.observed import SeenPod, SeenRollout
from lossless.cluster.parameters import Parameters
from lossless.cluster.preflight import Preflight
from lossless.cluster.ramping import Ramping
from lossless.cluster.registered import instance_of, told_of
from lossless.cluster.report import Reporter
from lossless.cluster.store import Store
from lossless.core.decide import decide, let_go
from lossless.core.early import seen_early
from lossless.core.passage import Stage
from lossless.core.steps import Decision, Event, Move
from lossless.core.world import Early, InFlightCount, Pod, Presence, RampStep, WarmupProgress, World
from lossless.traffic.registries.book import View
from lossless.traffic.registries.registry import Instance

UNTOLD_AGAIN: Final = 5.0
OUTDATED_AGAIN: Final = 0.1

_log = logging.getLogger(__name__)

AskInFlight = Callable[[SeenPod, InFlight], Awaitable[InFlightCount]]
"""Asks a pod for its requests in flight."""


class WarmupBook(StartsWarmups, Protocol):
    """What of `lossless.pods.warmup.Warmups` is needed here."""

    def progress(self, uid: str) -> WarmupProgress | None:
        """How far this pod is."""
        ...

    def keep_only(self, uids: Iterable[str]) -> None:
        """Give up the warm-up of every other pod."""
        ...


class RegistryBook(Protocol):
    """What of `lossless.traffic.registries.book.Book` is needed here."""

    def follow(
        self, key: Key, namespace: str, specs: Sequence[Registry], instances: Mapping[str, Mapping[str, Instance]]
    ) -> None:
        """These registries, and at each (by name) these pods (by uid), are of interest from now on."""
        ...

    def views(self, key: Key, uid: str) -> Sequence[View]:
        """What they hold of a pod."""
        ...

    async def look_now(self, key: Key) -> None:
        """Look at everything of interest, live."""
        ...

    def forget(self, key: Key) -> None:
        """This LosslessRollout is gone."""
        ...


class Publisher(Protocol):
    """What of `lossless.telemetry.events.Events` is needed here."""

    async def publish(self, namespace: str, regarding: Mapping[str, str], event: Event, now: datetime) -> None:
        """Say something about an object, unless it was said already."""
        ...


class Observer(Protocol):
    """What of `lossless.telemetry.metrics.Metrics` is needed here."""

    def observe_decision(self, key: Key, decision: Decision, world: World, now: datetime) -> None:
        """What was seen and decided."""
        ...

    def forget(self, key: Key) -> None:
        """This LosslessRollout is gone."""
        ...


@dataclass
class Reconciler:
    """Everything that a turn needs."""

    store: Store
    actor: Actor
    adoption: Adoption
    parameters: Parameters
    live: LiveReader
    reporter: Reporter
    warmups: WarmupBook
    registries: RegistryBook
    ramping: Ramping
    autoscaling: Autoscaling
    disruptions: Disruptions
    preflight: Preflight
    ask_in_flight: AskInFlight
    events: Publisher
    metrics: Observer
    clock: Callable[[], datetime]
    caught_up_at: Callable[[], datetime | None] = lambda: None
    """See `lossless.traffic.outages`."""
    _ramps: dict[Key, RampStep | None] = field(default_factory=dict)
    """Of each LosslessRollout, what its ramping pods are given at the moment."""
    _early: dict[Key, tuple[Early, ...]] = field(default_factory=dict)
    """Of each LosslessRollout, the pods that were handed out before they were let in: said, and nothing rests on it."""
    _warming: dict[Key, frozenset[str]] = field(default_factory=dict)
    """Of each LosslessRollout, the pods whose warm-up is still of interest (uids)."""

    async def reconcile(self, key: Key) -> float | None:
        """One turn. Says in how many seconds to come again if nothing happens before.

        Raises:
            Outdated: something changed while it was acted upon; come again at once.
            ClusterError: the API server did not do what was asked; come again later.
        """
        untold = await self._tell_policies(key[0])
        rollout = self.store.rollouts.named(*key)
        if rollout is None or rollout.deleting:
            return await self._give_back(key)
        look_again = await self._adopt(rollout)
        self._follow(rollout)
        gathered = await self._gather(rollout)
        decision = decide(gathered.world, self.clock())
        if any(isinstance(step, Move) and step.irreversible for step in decision.steps):
            gathered, decision = await self._look_again(gathered)
        gathered = self._note_early(gathered)
        self._keep_warmups(key, gathered.world)
        self._ramps[key] = decision.ramp
        self.metrics.observe_decision(key, decision, gathered.world, self.clock())
        scale_again = await self._steady(gathered)
        gate_again = await self.disruptions.ensure(rollout)
        try:
            await self._act(gathered, decision)
        except ClusterError:
            # What is waited for is true all the same, and now more than ever of interest.
            await self.reporter.report(rollout, self._status(gathered, decision, untold is None))
            raise
        ramp_again = await self.ramping.ensure(gathered, decision.ramp)
        read_again = await self.preflight.look(gathered)
        put_off = await self.reporter.report(rollout, self._status(gathered, decision, untold is None))
        await self._publish(rollout, decision.events)
        waits = [
            untold,
            scale_again,
            gate_again,
            ramp_again,
            read_again,
            look_again,
            put_off,
            self._until(decision.wake_at),
        ]
        return min((wait for wait in waits if wait is not None), default=None)

    async def _tell_policies(self, namespace: str) -> float | None:
        """Have the admission policies know what they must. Says in how many seconds to try again, if they do not.

        Whoever is there already is taken care of all the same.
        """
        try:
            await self.parameters.ensure(namespace)
        except NotLeading:
            raise
        except ClusterError as error:
            _log.warning("the admission policies can't be told: %s", error, extra={"rollout": namespace})
            return UNTOLD_AGAIN
        return None

    async def _steady(self, gathered: Gathered) -> float | None:
        """Keep autoscalers steady. Says in how many seconds to come again. No passage ever waits for it."""
        try:
            events, again = await self.autoscaling.ensure(gathered)
        except NotLeading:
            raise
        except Outdated:
            return OUTDATED_AGAIN
        except ClusterError as error:
            _log.warning(
                "an autoscaler can't be written to: %s", error, extra={"rollout": "/".join(gathered.rollout.key)}
            )
            return UNTOLD_AGAIN
        await self._publish(gathered.rollout, events)
        return again

    async def _adopt(self, rollout: SeenRollout) -> float | None:
        """Have all of the workload's pods in the store, also those that no watch tells of."""
        workload, _ = target_of(self.store, rollout)
        return await self.adoption.look(rollout, workload) if workload else None

    def _follow(self, rollout: SeenRollout) -> None:
        """Have the registries looked at for the pods that are under way, and for those that are not back there yet."""
        enforced = rollout.spec is not None and rollout.spec.mode is Mode.ENFORCE
        workload, _ = target_of(self.store, rollout) if enforced else (None, None)
        pods = pods_of(self.store, rollout, workload) if workload else ()
        named = rollout.spec.traffic.registries if rollout.spec and enforced else []
        instances = {
            spec.name: {
                pod.uid: instance_of(pod, spec)
                for pod in pods
                if _is_of_interest(pod, spec.name) or self._is_not_there_yet(rollout.key, pod, spec.name)
            }
            for spec in named
        }
        specs = {spec.name: spec for spec in named}
        for pod in pods:
            for spec, instance in told_of(pod) if pod.core.live and pod.core.stage is Stage.ADMITTED else ():
                # Named no more, and not put back there yet. Of two by one name, one after the other.
                if specs.setdefault(spec.name, spec) == spec:
                    instances.setdefault(spec.name, {})[pod.uid] = instance
        self.registries.follow(rollout.key, rollout.namespace, list(specs.values()), instances)

    def _is_not_there_yet(self, key: Key, pod: SeenPod, registry: str) -> bool:
        """It is let in, but has not registered itself since: until it has, nobody calls it, and it does not serve."""
        views = [view for view in self.registries.views(key, pod.uid) if view.sighting.source == registry]
        return pod.core.live and any(view.sighting.presence in (Presence.ABSENT, Presence.UNANSWERED) for view in views)

    async def _gather(self, rollout: SeenRollout) -> Gathered:
        """With the pods' own answers, where they have to be asked."""
        gathered = self._known(rollout)
        spec = gathered.world.spec.drain.in_flight
        asked = [pod for pod in gathered.world.pods if spec and _to_be_asked(pod, gathered.world, self.clock())]
        if spec is None or not asked:
            return gathered
        answers = await asyncio.gather(*(self.ask_in_flight(gathered.pods[pod.uid], spec) for pod in asked))
        return self._known(rollout, {pod.uid: answer for pod, answer in zip(asked, answers, strict=True)})

    def _known(self, rollout: SeenRollout, in_flight: Mapping[str, InFlightCount] | None = None) -> Gathered:
        asked = Asked(
            self.warmups.progress,
            in_flight or {},
            lambda uid: self.registries.views(rollout.key, uid),
            self._ramps.get(rollout.key),
            self.ramping.lag(rollout.key),
            self.caught_up_at(),
            self.disruptions.evictions_wait(rollout),
            self.disruptions.hold_works(rollout),
        )
        return gather(self.store, rollout, self.reporter.last(rollout), asked)

    async def _look_again(self, gathered: Gathered) -> tuple[Gathered, Decision]:
        """A second decision, made on a live look: what cannot be undone is only done if that one asks for it as well.

        It replaces the first one whole, so that the numbers of the holds fit what is done.
        """
        await asyncio.gather(
            self.live.look(gathered.rollout, gathered.subjects), self.registries.look_now(gathered.rollout.key)
        )
        in_flight = {pod.uid: pod.in_flight for pod in gathered.world.pods if pod.in_flight}
        again = self._known(gathered.rollout, in_flight)
        return again, decide(again.world, self.clock())

    async def _act(self, gathered: Gathered, decision: Decision) -> None:
        rollout = gathered.rollout
        problem = gathered.world.problem
        steps = decision.steps
        if problem and problem.reason != "AlreadyTaken":
            steps += let_go(*left_behind(self.store, rollout.namespace, rollout.name, besides=rollout))
        spec = gathered.world.spec
        due: list[Event] = []
        try:
            await self.actor.do(steps, rollout.namespace, rollout.name, spec.warmup, spec.traffic.registries, due)
        finally:
            await self._publish(rollout, due)  # What was done is not done again, and so not said again.

    async def _give_back(self, key: Key) -> float | None:
        """The LosslessRollout is gone: nothing of ours may stay on what it took care of."""
        namespace, name = key
        pods, groups = left_behind(self.store, namespace, name)
        steps = let_go(pods, groups)
        if steps:
            await self.actor.do(steps, namespace, name, UNREADABLE.warmup)
        await self.autoscaling.give_back(namespace, name)
        again = await self.ramping.give_back(namespace, name)
        self.registries.forget(key)
        self._ramps.pop(key, None)
        self._early.pop(key, None)
        self.adoption.forget(key)
        self.disruptions.forget(key)
        self.preflight.forget(key)
        self.reporter.forget(key)
        self.metrics.forget(key)
        self._warming.pop(key, None)
        self.warmups.keep_only(frozenset().union(*self._warming.values()))
        return again

    def _note_early(self, gathered: Gathered) -> Gathered:
        key, world = gathered.rollout.key, gathered.world
        early = self._early[key] = seen_early(self._early.get(key, ()), world.pods, self.clock())
        return replace(gathered, world=replace(world, early=early))

    def _keep_warmups(self, key: Key, world: World) -> None:
        of_interest = frozenset(pod.uid for pod in world.pods if pod.live and pod.stage.is_in)
        if world.workload is None or world.spec.mode is not Mode.ENFORCE:
            of_interest = frozenset()
        if of_interest != self._warming.get(key):
            self._warming[key] = of_interest
            self.warmups.keep_only(frozenset().union(*self._warming.values()))

    def _status(self, gathered: Gathered, decision: Decision, policies_know: bool) -> LosslessRolloutStatus:
        refused = self.ramping.refusals(gathered.rollout.key) if decision.ramp else {}
        found = self.preflight.findings(gathered, None if policies_know else False, refused)
        found = [*found, *self.disruptions.findings(gathered.rollout)][:MAX_FINDINGS]
        conditions = [*decision.status.conditions, *self.autoscaling.condition(gathered)]
        return decision.status.model_copy(update={"findings": found, "conditions": conditions})

    async def _publish(self, rollout: SeenRollout, events: Iterable[Event]) -> None:
        for event in events:
            await self.events.publish(rollout.namespace, _regarding(rollout, event), event, self.clock())

    def _until(self, at: datetime | None) -> float | None:
        return None if at is None else max(0.001, (at - self.clock()).total_seconds())


def _is_of_interest(pod: SeenPod, registry: str) -> bool:
    """It is under way, or not back at this registry yet: of everybody else nobody has to know what it holds."""
    if not pod.core.live:
        return replace(pod.core, managed=bool(pod.rollout)).skips
    passage = pod.core.passage
    return passage.stage is not Stage.ADMITTED or passage.original(registry) is not None or registry in passage.told


def _to_be_asked(pod: Pod, world: World, now: datetime) -> bool:
    """It is withdrawn, gone from every source, and has settled: only its own word is missing."""
    gone_at = pod.passage.gone_at
    return pod.stage is Stage.DRAINING and gone_at is not None and now >= gone_at + world.spec.drain.settle


def _regarding(rollout: SeenRollout, event: Event) -> Mapping[str, str]:
    if event.pod is not None:
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": rollout.namespace,
            "name": event.pod.name,
            "uid": event.pod.uid,
        }
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "namespace": rollout.namespace,
        "name": rollout.name,
        "uid": rollout.uid,
    }
