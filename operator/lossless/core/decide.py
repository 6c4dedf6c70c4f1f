"""What to do next: the whole operator in one pure function.

Every pod is either wanted or surplus, and stands somewhere on its way. From that alone follows the next step; nothing
depends on how it came to be there. So a release on top of a release, an undo, a scale-in in the middle of both, or an
operator that was killed halfway are no cases of their own.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

from lossless.api.resource import Mode
from lossless.core import capacity, hold, moment, report, swaps
from lossless.core.last_of_node import with_the_last_of_nodes
from lossless.core.moment import Moment
from lossless.core.passage import Passage, Stage
from lossless.core.plan import Plan, is_noted
from lossless.core.plan_in import plan_in
from lossless.core.plan_out import plan_out
from lossless.core.spared import may_be_spared
from lossless.core.steps import Decision, Event, LetGo, Move, SetKeep, Step, Verb
from lossless.core.surplus import next_look
from lossless.core.tell import tell
from lossless.core.world import Group, Pod, World

_INSIDE: Final = frozenset({Stage.RAMPING, Stage.ADMITTED, Stage.WITHDRAWN, Stage.DRAINING})
"""Where a pod has, or may have, something to drain."""


def decide(world: World, now: datetime) -> Decision:
    """The next steps for one LosslessRollout. Doing them, or failing to, changes the world: then ask again."""
    if world.workload is None or world.problem or world.spec.mode is Mode.OBSERVE:
        steps = let_go(world.pods, world.workload.groups if world.workload else ())
        return Decision(status=report.status_of(moment.at(world, now), ()), steps=steps)
    here = swaps.with_turns(moment.at(world, now))
    spared, slots = may_be_spared(here), swaps.slots(here)
    here = with_the_last_of_nodes(here, spared)
    plans = [
        _with_label(_with_tellings(_with_slot(_plan(pod, here, spared), slots), here), here)
        for pod in world.pods
        if pod.live
    ]
    moves = tuple(step for plan in plans for step in plan.steps)
    raised, lowered = hold.labels(here, moves)
    # Who is being deleted past the door is taken out everywhere at once: its preStop sleep is all the time there is.
    skipped = tuple(step for pod in world.pods if pod.skips for step in _with_tellings(Plan(pod), here).steps)
    waits = tuple((plan.pod, plan.wait) for plan in plans if plan.wait)
    return Decision(
        status=report.status_of(here, waits),
        steps=(*skipped, *raised, *hold.replacements(here), *moves, *lowered),
        waits=waits,
        events=_past_the_door(world),
        wake_at=_wake_at(here, plans),
        ramp=here.ramp,
    )


def _with_slot(plan: Plan, slots: Mapping[str, int]) -> Plan:
    """With its slot written on it, where pods have slots and it has another one, or none yet."""
    slot, move = slots.get(plan.pod.uid), next((step for step in plan.steps if isinstance(step, Move)), None)
    passage = move.passage if move else plan.pod.passage
    if slot is None or slot == passage.slot or passage.stage is not Stage.ADMITTED:
        return plan
    passage = replace(passage, slot=slot)
    if move is None:
        return replace(plan, steps=(*plan.steps, Move(Verb.NOTE, plan.pod, passage, "Slot", f"it has slot {slot}")))
    return replace(plan, steps=tuple(replace(step, passage=passage) if step is move else step for step in plan.steps))


def _with_tellings(plan: Plan, here: Moment) -> Plan:
    """With what the registries are to be told of this pod, and what has to be written on it first."""
    move = next((step for step in plan.steps if isinstance(step, Move)), None)
    passage, tells = tell(plan.pod, here, move.passage if move else plan.pod.passage)
    steps = plan.steps
    if move and passage != move.passage:
        steps = tuple(replace(step, passage=passage) if step is move else step for step in steps)
    elif move is None and passage != plan.pod.passage:
        message = "what the registries hold of it"
        steps = (*steps, Move(Verb.NOTE, plan.pod, passage, "Registered", message))
    return replace(plan, steps=(*steps, *tells))


def _with_label(plan: Plan, here: Moment) -> Plan:
    """With the label that has evictions wait, of pods that have something to drain."""
    move = next((step for step in plan.steps if isinstance(step, Move)), None)
    stage = move.passage.stage if move else plan.pod.stage
    inside = here.world.evictions_wait and (stage in _INSIDE)
    if move is not None:
        return replace(plan, steps=tuple(replace(step, inside=inside) if step is move else step for step in plan.steps))
    if not plan.pod.managed or plan.pod.inside == inside:
        return plan
    message = "evictions wait until it is drained" if inside else "evictions wait for it no more"
    note = Move(Verb.NOTE, plan.pod, plan.pod.passage, "Evictions", message, inside=inside)
    return replace(plan, steps=(*plan.steps, note))


def let_go(pods: tuple[Pod, ...], groups: tuple[Group, ...]) -> tuple[Step, ...]:
    """Give the workload back: nothing of ours is left on it."""
    held = tuple(SetKeep(group, None) for group in groups if group.keep is not None)
    marked = tuple(
        LetGo(pod)
        for pod in pods
        if pod.live and (pod.managed or pod.inside or pod.passage != Passage() or (pod.gated and not pod.gate_open))
    )
    return (*held, *marked)


def _plan(pod: Pod, here: Moment, spared: frozenset[str]) -> Plan:
    if not pod.managed or (pod.stage.is_in and pod.able):
        return _adopt(pod, here)
    workload = here.world.workload
    if workload and not workload.settled_generation and not pod.stage.is_in:
        return Plan(pod)  # Its controller is about to say which revision is current; an event follows.
    if here.is_surplus(pod) and (workload is None or workload.settled_generation):
        return plan_out(pod, here, spared)
    return plan_in(pod, here, spared)


def _adopt(pod: Pod, here: Moment) -> Plan:
    """Take care of a pod that was not born into our care, or that somebody else has let in. One that serves goes on
    serving; any other goes through the way in, if it has a gate that can be closed."""
    passage = pod.passage
    if pod.able:
        passage = replace(
            passage,
            stage=Stage.ADMITTED,
            since=here.now,
            admitted_at=passage.admitted_at or pod.ready_since or here.now,
            admitted_restarts=pod.restarts,
        )
    message = "it was let in by somebody else" if pod.managed else "it was running before it was taken care of"
    gate = False if pod.stage.is_in and pod.gated and pod.gate_open and not pod.able else None
    return Plan(pod, steps=(Move(Verb.ADOPT, pod, passage, "Adopted", message, gate=gate),))


def _past_the_door(world: World) -> tuple[Event, ...]:
    """Pods that are being deleted without having been drained: what can be saved, their preStop sleep saves. And those
    that went with their node, of which nothing can be saved."""
    skipped = [
        Event("SkippedTheDoor", "it is being deleted without having been drained", warning=True, pod=pod)
        for pod in world.pods
        if pod.skips
    ]
    lost = [
        Event(
            "NodeLost",
            "its node is silent: requests that were sent to it until everybody knew have been lost",
            warning=True,
            pod=pod,
        )
        for pod in world.pods
        if pod.live and pod.managed and pod.node_lost and pod.passage.admitted_at
    ]
    return (*skipped, *lost)


def _wake_at(here: Moment, plans: list[Plan]) -> datetime | None:
    times = [plan.wait.until for plan in plans if plan.wait and plan.wait.until]
    times += [plan.wait.worth_noting_at() for plan in plans if plan.wait and not is_noted(plan.pod, plan.wait)]
    if at := next_look(here.world, here.now):
        times.append(at)
    if since := capacity.no_room_since(here.world):
        times.append(since + capacity.NO_ROOM_AFTER)
    if at := hold.next_nudge(here):
        times.append(at)
    return min((at for at in times if at > here.now), default=None)
