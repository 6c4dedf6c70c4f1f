"""The HorizontalPodAutoscalers of every LosslessRollout's workload: keeps in them what the core asks for, and no more.

Whoever is started in the middle of this finds all of it on the autoscaler: the annotation names the LosslessRollout,
the time and the owner's own behavior.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from lossless.api.resource import Condition
from lossless.cluster import patches
from lossless.cluster.errors import Conflict, Forbidden, NotFound, Outdated
from lossless.cluster.gateway import Gateway
from lossless.cluster.gather import Gathered, left_on_autoscalers
from lossless.cluster.interest import Key
from lossless.cluster.keda import Keda, scaled_object_of
from lossless.cluster.observed import SeenAutoscaler
from lossless.cluster.resources import AUTOSCALERS
from lossless.cluster.store import Change, Store
from lossless.core import autoscaler as core
from lossless.core.autoscaler import State, Verdict
from lossless.core.report import condition
from lossless.core.steps import Event
from lossless.core.world import Autoscaler

CONDITION: Final = "AutoscalerHeld"
NOT_ALLOWED: Final = "the operator may not write to it (ClusterRole lossless-operator-autoscalers)"


@dataclass
class _Known:
    """What this process remembers of one LosslessRollout. Without it things take a little longer, and no more."""

    calm: dict[str, core.Calm] = field(default_factory=dict)
    """By the uid of the autoscaler."""
    verdicts: tuple[Verdict, ...] = ()
    refused: frozenset[str] = frozenset()
    """Autoscalers (uids) that may not be written to."""


class Autoscaling:
    """What is done to autoscalers, and what there is to be said about it."""

    def __init__(
        self,
        gateway: Gateway,
        store: Store,
        changed: Callable[[Change[SeenAutoscaler]], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._gateway = gateway
        self._store = store
        self._changed = changed
        self._clock = clock
        self._keda = Keda(gateway)
        self._known: dict[Key, _Known] = {}

    async def ensure(self, gathered: Gathered) -> tuple[list[Event], float | None]:
        """Have the workload's autoscalers be as the core asks. Says what is worth saying, and when to come again.

        Raises:
            Outdated: one of them was changed by somebody else meanwhile.
            ClusterError: the API server did not do it.
        """
        rollout, now = gathered.rollout, self._clock()
        known = self._known.setdefault(rollout.key, _Known())
        mine = {one.uid for one in gathered.world.autoscalers}
        for seen in left_on_autoscalers(self._store, *rollout.key):
            if seen.core.uid not in mine:  # It has another target now.
                await self._write(seen, core.give_back(seen.core))
        verdicts: list[Verdict] = []
        for one in gathered.world.autoscalers:
            calm = core.calm(known.calm.get(one.uid), gathered.world, one, now)
            if calm is None:
                known.calm.pop(one.uid, None)
            else:
                known.calm[one.uid] = calm
            verdicts.append(await self._verdict(gathered, known, one, calm, now))
        known.refused = known.refused & mine
        for verdict in verdicts:
            seen_now = self._store.autoscalers.by_uid(verdict.autoscaler.uid)
            if seen_now is None or verdict.autoscaler.managed_by or verdict.autoscaler.uid in known.refused:
                continue
            try:
                await self._write(seen_now, verdict.change)
            except Forbidden:
                known.refused |= {verdict.autoscaler.uid}
        events = _events(known.verdicts, verdicts)
        known.verdicts = tuple(verdicts)
        wakes = [verdict.wake_at for verdict in verdicts if verdict.wake_at]
        return events, max(0.001, (min(wakes) - now).total_seconds()) if wakes else None

    async def _verdict(
        self, gathered: Gathered, known: _Known, autoscaler: Autoscaler, calm: core.Calm | None, now: datetime
    ) -> Verdict:
        """What the core says of one of them. A ScaledObject has it done by then."""
        world, rollout, spent = gathered.world, gathered.rollout, self._is_spent(gathered)

        def decide(one: Autoscaler) -> Verdict:
            return core.decide(world, one, rollout.name, calm, spent, now)

        if scaled_object_of(autoscaler) and autoscaler.uid not in known.refused:
            may_hold = core.scene(world).under_way and core.is_enforced(world)
            try:
                if verdict := await self._keda.ensure(rollout.namespace, autoscaler, decide, may_hold):
                    return verdict
            except Forbidden:
                known.refused |= {autoscaler.uid}
        return decide(autoscaler)

    def condition(self, gathered: Gathered) -> tuple[Condition, ...]:
        """What is done to the autoscalers; nothing where there is none."""
        known = self._known.get(gathered.rollout.key)
        if known is None or not known.verdicts:
            return ()
        said = max(known.verdicts, key=lambda one: (one.state.holds, one.state is State.TIMED_OUT))
        holds = any(one.state.holds and one.autoscaler.uid not in known.refused for one in known.verdicts)
        parts = [
            f"{one.autoscaler.name}: {NOT_ALLOWED if one.autoscaler.uid in known.refused else one.message}"
            for one in known.verdicts
        ]
        return (condition(gathered.world, self._clock(), CONDITION, holds, said.state, "; ".join(parts)),)

    async def give_back(self, namespace: str, name: str) -> None:
        """The LosslessRollout is gone: every autoscaler that it held is its owner's again. Raises as `ensure`."""
        self._known.pop((namespace, name), None)
        for seen in left_on_autoscalers(self._store, namespace, name):
            await self._write(seen, core.give_back(seen.core))
        await self._keda.give_back(namespace, name)

    async def left_over(self, parts: Iterable[str | None]) -> set[Key]:
        """LosslessRollouts, there or not, of which something stands in an autoscaler. Found once, at the start."""
        held = {(one.namespace, one.rollout) for one in self._store.autoscalers if one.rollout}
        return held | await self._keda.left_over(parts)

    def _is_spent(self, gathered: Gathered) -> bool:
        """maxHold was reached, and the same passages are open still. The status says so, for whoever leads next."""
        before = next((one for one in gathered.world.status.conditions if one.type == CONDITION), None)
        return before is not None and before.reason == State.TIMED_OUT and core.scene(gathered.world).under_way

    async def _write(self, seen: SeenAutoscaler, change: core.Change | None) -> None:
        if change is None:
            return
        version = self._store.autoscalers.version(seen.core.uid)
        body = patches.autoscaler(seen, change, version)
        try:
            answer = await self._gateway.patch(AUTOSCALERS, seen.namespace, seen.core.name, body)
        except NotFound:
            self._told(self._store.autoscalers.remove(seen.core.uid, int(version or 0)))
            return
        except Conflict as error:
            self._told(
                self._store.autoscalers.put(await self._gateway.get(AUTOSCALERS, seen.namespace, seen.core.name))
            )
            raise Outdated(f"HorizontalPodAutoscaler {seen.core.name} has changed") from error
        self._told(self._store.autoscalers.put(answer))

    def _told(self, change: Change[SeenAutoscaler] | None) -> None:
        if change is not None:
            self._changed(change)


def _events(before: Iterable[Verdict], after: Iterable[Verdict]) -> list[Event]:
    """What has become of each autoscaler since the last turn, where that is worth an Event."""
    last = {one.autoscaler.uid: one.state for one in before}
    events = []
    for one in after:
        was = last.get(one.autoscaler.uid, State.UNTOUCHED)
        name = f"HorizontalPodAutoscaler {one.autoscaler.name}"
        if one.state is was or one.state is State.STEADYING:
            continue
        if one.state is State.UNTOUCHED:
            if was.holds and one.change:
                events.append(Event("AutoscalerRestored", f"{name} has its own behavior back: {one.message}"))
        else:
            reason = {State.TIMED_OUT: "AutoscalerHoldTimedOut"}.get(one.state, "AutoscalerHeld")
            events.append(Event(reason, f"{name}: {one.message}", warning=one.state is State.TIMED_OUT))
    return events
