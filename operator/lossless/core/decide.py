"""What to do next: the whole operator in one pure function.

Every pod is either wanted or surplus, and stands somewhere on its way. From that alone follows the next step; nothing
depends on how it came to be there. So a release on top of a release, an undo, a scale-in in the middle of both, or an
operator that was killed halfway are no cases of their own.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from lossless.api import names
from lossless.api.resource import Mode
from lossless.core import capacity, hold, leaving, moment, report, swaps, way_in, way_out
from lossless.core.moment import Moment, progress_of
from lossless.core.passage import Passage, Stage
from lossless.core.steps import Decision, Event, LetGo, Move, SetKeep, StartWarmup, Step, Verb
from lossless.core.surplus import next_look
from lossless.core.tell import tell
from lossless.core.waits import Wait, first_wait
from lossless.core.world import ByGroup, ByNode, Group, Pod, World

SHOWN_AGAIN: Final = timedelta(seconds=5)
"""How long a drained pod that was called ready is left to its controller, before it is called so once more."""


_INSIDE: Final = frozenset({Stage.RAMPING, Stage.ADMITTED, Stage.WITHDRAWN, Stage.DRAINING})
"""Where a pod has, or may have, something to drain."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one pod waits for and what is done about it now."""

    pod: Pod
    wait: Wait | None = None
    steps: tuple[Step, ...] = ()


def decide(world: World, now: datetime) -> Decision:
    """The next steps for one LosslessRollout. Doing them, or failing to, changes the world: then ask again."""
    if world.workload is None or world.problem or world.spec.mode is Mode.OBSERVE:
        steps = let_go(world.pods, world.workload.groups if world.workload else ())
        return Decision(status=report.status_of(moment.at(world, now), ()), steps=steps)
    here = swaps.with_turns(moment.at(world, now))
    spared, slots = _spared(here), swaps.slots(here)
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


def _spared(here: Moment) -> frozenset[str]:
    """The pods that may be taken out of the traffic now without going below the floor (uids): surplus ones to be
    withdrawn, then those that are cold again.

    Pods that are able to serve are counted beside those that do: where no source lists anybody (a Service that is just
    being replaced, say), nobody serves, and still they must not all go at once.
    """
    serving, able = here.serving, sum(1 for pod in here.world.pods if pod.able)
    spared = set()
    cold = [pod for pod in here.world.pods if pod.live and not here.is_surplus(pod) and _cold_again(pod, here)]
    # To close a cold pod where it would be let in cold again is no use (Recreate has no floor, but wants one to serve).
    needed = max(here.floor, here.tolerated)
    out = ((pod, _least(pod, here)) for pod in swaps.first_out(here))
    for pod, least in (*out, *((pod, needed) for pod in cold)):
        if pod.stage.is_out or (pod.able and able <= least) or (pod.serving and serving <= least):
            continue
        able -= pod.able
        serving -= pod.serving
        spared.add(pod.uid)
    return frozenset(spared)


def _least(pod: Pod, here: Moment) -> int:
    """How many must serve when this one is withdrawn. Whoever leaves its node waits until all that are wanted do: no
    release depends on it, so a cluster without room is no reason to go below them."""
    workload = here.world.workload
    moves = leaving.is_moved(pod, here.world) and leaving.is_replaceable(here.world)
    return max(here.floor, workload.wanted) if workload and moves else here.floor


def _plan(pod: Pod, here: Moment, spared: frozenset[str]) -> Plan:
    if not pod.managed or (pod.stage.is_in and pod.able):
        return _adopt(pod, here)
    workload = here.world.workload
    if workload and not workload.settled_generation and not pod.stage.is_in:
        return Plan(pod)  # Its controller is about to say which revision is current; an event follows.
    if here.is_surplus(pod) and (workload is None or workload.settled_generation):
        return _way_out(pod, here, spared)
    return _way_in(pod, here, spared)


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


# -- the way in --------------------------------------------------------------------------------------------------------


def _way_in(pod: Pod, here: Moment, spared: frozenset[str]) -> Plan:
    passage = pod.passage
    if passage.stage.is_out:
        return _wanted_again(pod, here)
    if passage.stage is Stage.ADMITTED:
        if _cold_again(pod, here) and pod.uid in spared:
            back = replace(passage, stage=Stage.STARTING, since=here.now, withdrawn_at=here.now, gone_at=None, warmed=0)
            message = "a container was restarted: it is cold again"
            return Plan(pod, steps=(Move(Verb.CLOSE, pod, back, "Restarted", message, gate=False),))
        if pod.gated and not pod.gate_open:
            return Plan(
                pod,
                steps=(Move(Verb.ADMIT, pod, passage, "Admitted", "its gate was closed by somebody else", gate=True),),
            )
        return Plan(pod)
    if not pod.gated:
        return Plan(pod)  # Nothing holds it back; it is adopted once it is ready.
    if pod.gate_open:
        shut = replace(passage, stage=Stage.STARTING, since=here.now, warmed=0)
        message = "its gate was opened before it was ready"
        return Plan(pod, steps=(Move(Verb.CLOSE, pod, shut, "NotLetIn", message, gate=False),))
    if passage.stage is Stage.RAMPING and _older(passage.since, pod.containers_ready_since):
        back = replace(passage, stage=Stage.STARTING, since=here.now, warmed=0)
        message = "a container was restarted: it is cold again"
        return Plan(pod, steps=(Move(Verb.CLOSE, pod, back, "Restarted", message, gate=False),))
    wait = way_in.wait_on_the_way_in(pod, here)
    if wait is None:
        return Plan(pod, steps=(_admit(pod, here),))
    if wait.stage is Stage.RAMPING and passage.stage is not Stage.RAMPING:
        return Plan(pod, wait, (_ramp(pod, wait, here),))
    return Plan(pod, wait, _warm_up(pod, wait, here) if wait.stage is Stage.WARMING else _note(pod, wait, here))


def _ramp(pod: Pod, wait: Wait, here: Moment) -> Move:
    """From here on it has some traffic: so it also has something to drain, should it have to go."""
    begun = replace(
        pod.passage,
        stage=Stage.RAMPING,
        since=here.now,
        waiting_for=wait.text,
        admitted_at=here.now,
        admitted_restarts=-1,
        withdrawn_at=None,
        gone_at=None,
        drained_at=None,
    )
    return Move(Verb.RAMP, pod, begun, wait.reason, wait.message)


def _admit(pod: Pod, here: Moment) -> Move:
    progress = progress_of(pod)
    left = first_wait(way_in.WAY_IN, pod, replace(here, needed_cold=frozenset()))
    reason, message, warning = "Admitted", str(progress or "its containers are ready"), False
    if left and pod.uid in here.needed_cold:
        reason, warning = "AdmittedCold", True
        why = here.overload or "too few pods are serving"
        message = f"let in before it was warm ({left.message}): {why}"
    elif left:
        reason, warning = "WarmupTimedOut", True
        message = f"let in at warmup.timeout ({left.message})"
    elif progress and progress.failed:
        reason, warning = "WarmupFailed", True
    passage = replace(
        pod.passage,
        stage=Stage.ADMITTED,
        since=here.now,
        waiting_for="",
        warmed=progress.sent if progress else 0,
        admitted_at=here.now,
        admitted_restarts=pod.restarts,
        withdrawn_at=None,
        gone_at=None,
        drained_at=None,
    )
    event = Event(reason, message, warning=True, pod=pod) if warning else None
    return Move(Verb.ADMIT, pod, passage, reason, message, gate=True, event=event)


def _warm_up(pod: Pod, wait: Wait, here: Moment) -> tuple[Step, ...]:
    progress = progress_of(pod)
    passage = pod.passage
    if passage.stage is not Stage.WARMING or _older(passage.since, pod.containers_ready_since):
        begun = replace(passage, stage=Stage.WARMING, since=here.now, waiting_for=wait.text, warmed=0)
        return (Move(Verb.WARM_UP, pod, begun, wait.reason, wait.message), StartWarmup(pod))
    if progress is None:
        return (StartWarmup(pod, skip=passage.warmed),)
    return _note(pod, wait, here)


def _wanted_again(pod: Pod, here: Moment) -> Plan:
    """It was on its way out and is not surplus any more."""
    passage = replace(pod.passage, since=here.now, waiting_for="", gone_at=None, drained_at=None, cost_before=None)
    cost = _cost_before(pod)
    warm = passage.admitted_at is not None and not _restarted(pod)
    if warm and (pod.containers_ready or not pod.gated):
        back = replace(passage, stage=Stage.ADMITTED, withdrawn_at=None)
        gate = True if pod.containers_ready else None
        return Plan(
            pod, steps=(Move(Verb.READMIT, pod, back, "Readmitted", "it is wanted again", gate=gate, cost=cost),)
        )
    back = replace(passage, stage=Stage.STARTING, warmed=0)
    message = "it is wanted again, and not warm: it goes through the way in"
    return Plan(pod, steps=(Move(Verb.READMIT, pod, back, "WantedAgain", message, cost=cost),))


def _cold_again(pod: Pod, here: Moment) -> bool:
    """Its containers were restarted since it was let in: it has to warm up again, once it can be spared.

    With nothing to wait for (no warm-up, or a delay that has passed meanwhile) it would be let in again at once.
    """
    if not pod.gated or pod.stage is not Stage.ADMITTED or not _restarted(pod):
        return False
    warmup = here.world.spec.warmup
    return bool(warmup.requests) or (warmup.delay > timedelta(0) and way_in.settled_in(pod, here) is not None)


def _restarted(pod: Pod) -> bool:
    return pod.restarts > pod.passage.admitted_restarts


# -- the way out -------------------------------------------------------------------------------------------------------


def _way_out(pod: Pod, here: Moment, spared: frozenset[str]) -> Plan:
    passage = pod.passage
    if pod.drained:
        return _drained(pod, here)
    if not passage.stage.is_out:
        if _nothing_to_drain(pod):
            return _never_came_in(pod, here)
        if pod.uid not in spared:
            least = _least(pod, here)
            message = f"{here.serving} pods are serving and {least} must: others have to come in first"
            if least > here.floor or leaving.is_leaving(pod, here.world):
                message = f"its node ({pod.node}) is about to go; {message}"
            return Plan(pod, Wait(passage.stage, "FloorHolds", message, passage.since or here.now))
        withdrawn = replace(
            passage, stage=Stage.WITHDRAWN, since=here.now, waiting_for="", withdrawn_at=here.now, gone_at=None
        )
        return Plan(pod, steps=(Move(Verb.WITHDRAW, pod, withdrawn, "Withdrawn", _why_surplus(pod, here), gate=False),))
    if pod.open or passage.withdrawn_at is None:
        return Plan(pod, steps=(_withdraw_again(pod, here),))
    wait = way_out.wait_on_the_way_out(pod, here)
    if wait is None:
        return Plan(pod, steps=(_mark_drained(pod, here, _evidence(pod, here)),))
    if wait.stage is Stage.DRAINING and passage.gone_at is None:
        gone = replace(passage, stage=Stage.DRAINING, since=here.now, waiting_for=wait.text, gone_at=here.now)
        return Plan(pod, wait, (Move(Verb.SETTLE, pod, gone, wait.reason, wait.message),))
    if wait.stage is Stage.WITHDRAWN and passage.gone_at is not None:
        listed = replace(passage, stage=Stage.WITHDRAWN, since=here.now, waiting_for=wait.text, gone_at=None)
        return Plan(pod, wait, (Move(Verb.NOTE, pod, listed, wait.reason, wait.message),))
    return Plan(pod, wait, _note(pod, wait, here))


def _drained(pod: Pod, here: Moment) -> Plan:
    """It only waits for its controller, unless somebody has let it in again meanwhile.

    A mark that a person has written on a pod that we have not drained is left alone: it is the break-glass.
    """
    if pod.stage is not Stage.DRAINED:
        return Plan(pod)
    if pod.uid == here.shown_ready and pod.containers_ready:
        since = pod.passage.since or here.now
        if here.now < since + SHOWN_AGAIN:
            message = "its controller is about to delete it"
            return Plan(pod, Wait(Stage.DRAINED, "Deleting", message, since, since + SHOWN_AGAIN))
        if not pod.open:
            return Plan(pod, steps=(_mark_drained(pod, here, "its controller has not deleted it yet"),))
    if not pod.open:
        return Plan(pod)
    return Plan(pod, steps=(_withdraw_again(pod, here),))


def _withdraw_again(pod: Pod, here: Moment) -> Move:
    """Somebody else has let it in again: what was seen of it before that is worth nothing."""
    passage = replace(
        pod.passage,
        stage=Stage.WITHDRAWN,
        since=here.now,
        withdrawn_at=pod.passage.withdrawn_at or here.now,
        gone_at=None,
        drained_at=None,
    )
    return Move(Verb.WITHDRAW, pod, passage, "Withdrawn", "it was let in again by somebody else", gate=False)


def _nothing_to_drain(pod: Pod) -> bool:
    """It never had traffic, as far as anybody can tell.

    Nobody can of a pod without our gate, once it runs; nor of one that registers itself, once it is on a node: it may
    run for a moment before the kubelet says so.
    """
    begun = bool(pod.node) if pod.registrations else pod.phase != "Pending" and not pod.gated
    outside = not pod.open and not begun
    return pod.passage.admitted_at is None and outside and not pod.seen_somewhere


def _never_came_in(pod: Pod, here: Moment) -> Plan:
    """It never had traffic: there is nothing to drain."""
    held = next((hold for hold in pod.holds if hold.closes_out), None)
    if held and here.now < pod.created_at + here.world.spec.drain.timeout:
        message = f"{held.who} keeps the door out shut: {held.reason}"
        until = pod.created_at + here.world.spec.drain.timeout
        return Plan(pod, Wait(pod.stage, "HeldByOther", message, pod.created_at, until))
    return Plan(pod, steps=(_mark_drained(pod, here, "it never had traffic"),))


def _mark_drained(pod: Pod, here: Moment, evidence: str) -> Move:
    passage = replace(
        pod.passage,
        stage=Stage.DRAINED,
        since=here.now,
        waiting_for="",
        drained_at=here.now,
        cost_before=_users_cost(pod),
    )
    overdue = (
        pod.passage.withdrawn_at is not None and way_out.wait_on_the_way_out(pod, here) is None and _forced(pod, here)
    )
    event = Event("DrainTimedOut", f"let go at drain.timeout: {evidence}", warning=True, pod=pod) if overdue else None
    # The lowest cost makes the ReplicaSet controller choose it first; and as this is the last write to the pod, its
    # event wakes that controller whatever its back-off has grown to (kubernetes#132805).
    # Its Ready condition, where that is all it has, once more: the controller chooses a pod that is ready last.
    gate = None if pod.gated else False
    shown_ready_since = None
    if pod.uid == here.shown_ready and pod.containers_ready:
        # A StatefulSet that goes by readiness deletes no pod that is not ready. So it is called ready in this very
        # write, and for the instant until it is deleted some may call it again: its preStop sleep is there for them.
        # Where there is a gate, a kubelet takes that back at once.
        gate, shown_ready_since = None, pod.passage.admitted_at or pod.containers_ready_since
    return Move(
        Verb.MARK_DRAINED,
        pod,
        passage,
        "Drained",
        evidence,
        gate=gate,
        shown_ready_since=shown_ready_since,
        cost=names.LOWEST_COST,
        event=event,
    )


def _forced(pod: Pod, here: Moment) -> bool:
    """It goes because of its timeout: something is still waited for."""
    return way_out.timed_out(pod, here) and any(check(pod, here) for check in way_out.WAY_OUT)


def _evidence(pod: Pod, here: Moment) -> str:
    if _forced(pod, here):
        still = next(wait for check in way_out.WAY_OUT if (wait := check(pod, here)))
        return f"drain.timeout has passed; {still.message}"
    sources = ", ".join(sighting.source for sighting in pod.sightings) or "every traffic source"
    return f"gone from {sources}; settled"


def _why_surplus(pod: Pod, here: Moment) -> str:
    workload = here.world.workload
    if workload and isinstance(workload.rule, ByNode) and pod.node in workload.rule.unwanted:
        return f"none is wanted on its node ({pod.node})"
    if workload and isinstance(workload.rule, ByGroup):
        group = next((one for one in workload.groups if one.uid == pod.group), None)
        return f"{group.name} is to have {group.asked} pods" if group else "it is not wanted any more"
    if workload and pod.revision != workload.current_revision:
        return f"it is of an old revision ({pod.revision})"
    if leaving.is_leaving(pod, here.world):
        return f"its node ({pod.node}) is about to go, and others serve in its place"
    return f"{workload.wanted if workload else 0} replicas are wanted"


# -- what goes with it -------------------------------------------------------------------------------------------------


def _note(pod: Pod, wait: Wait, here: Moment) -> tuple[Step, ...]:
    """Write on the pod what it waits for, once that has become worth an API call."""
    passage = pod.passage
    # Warm-up that was cut off by a restart is worth nothing, and must not be found there later.
    stale = passage.stage is Stage.WARMING and wait.stage is Stage.STARTING
    if not stale and (_is_noted(pod, wait) or here.now < wait.worth_noting_at()):
        return ()
    noted = replace(
        passage,
        stage=wait.stage,
        since=passage.since if passage.stage is wait.stage else here.now,
        waiting_for=wait.text,
        warmed=0 if stale else _to_be_noted(pod) or passage.warmed,
    )
    return (Move(Verb.NOTE, pod, noted, wait.reason, wait.message),)


def _is_noted(pod: Pod, wait: Wait) -> bool:
    said = pod.stage is wait.stage and pod.passage.waiting_for.startswith(f"{wait.reason}: ")
    return said and not _to_be_noted(pod)


def _to_be_noted(pod: Pod) -> int:
    """How many warm-up requests have been made, if so many more that it would be a pity to make them again."""
    progress = progress_of(pod)
    if pod.stage is not Stage.WARMING or progress is None or progress.done:
        return 0
    return progress.sent if progress.sent - pod.passage.warmed >= max(25, progress.total // 4) else 0


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
    times += [plan.wait.worth_noting_at() for plan in plans if plan.wait and not _is_noted(plan.pod, plan.wait)]
    if at := next_look(here.world, here.now):
        times.append(at)
    if since := capacity.no_room_since(here.world):
        times.append(since + capacity.NO_ROOM_AFTER)
    if at := hold.next_nudge(here):
        times.append(at)
    return min((at for at in times if at > here.now), default=None)


def _users_cost(pod: Pod) -> str:
    """The user's own deletion cost, to be kept while ours stands in its place."""
    if pod.passage.cost_before is not None:
        return pod.passage.cost_before
    return str(pod.deletion_cost) if pod.deletion_cost else ""


def _cost_before(pod: Pod) -> int | None:
    """The user's own deletion cost, to be put back; None: ours does not stand in its place."""
    before = pod.passage.cost_before
    if before is None:
        return None
    is_cost = re.fullmatch(r"-?[0-9]{1,10}", before) and -(2**31) <= int(before) < 2**31
    return int(before) if is_cost else 0


def _older(at: datetime | None, than: datetime | None) -> bool:
    return at is not None and than is not None and at < than
