"""What to say about it: the status of a LosslessRollout, derived from its pods."""

from collections.abc import Sequence
from datetime import datetime

from lossless.api.resource import Condition, LosslessRolloutStatus, Mode, PodCounts, Revision
from lossless.core import capacity, leaving
from lossless.core.moment import Moment
from lossless.core.passage import format_seconds
from lossless.core.surplus import outdated
from lossless.core.waits import Wait
from lossless.core.world import Pod, World

MAX_MESSAGE = 1024


def status_of(here: Moment, waits: Sequence[tuple[Pod, Wait]]) -> LosslessRolloutStatus:
    """The whole status, findings excepted. Its size does not grow with the number of pods.

    Conditions keep their transition times as long as their status stays the same.
    """
    world = here.world
    workload = world.workload
    live = [pod for pod in world.pods if pod.live]
    watching = world.spec.mode is Mode.OBSERVE  # Then nobody is on a way.
    counts = PodCounts(
        desired=workload.wanted if workload else 0,
        serving=len(capacity.serving(world)),
        in_=0 if watching else sum(1 for pod in live if pod.stage.is_in and not here.is_surplus(pod)),
        out=0 if watching else sum(1 for pod in live if pod.stage.is_out or here.is_surplus(pod)),
        established=here.established,
        needed=here.needed,
    )
    revision = Revision(
        current=workload.current_revision if workload else "",
        old=sum(1 for pod in live if workload and pod.revision != workload.current_revision),
    )
    stalled = [(pod, wait) for pod, wait in waits if wait.overdue]
    said = _accepted(world), _ready(here, counts, revision, waits), _reconciling(world, counts), _stalled(here, stalled)
    return LosslessRolloutStatus(
        observed_generation=world.generation,
        phase=_phase(here, counts, revision, bool(stalled)),
        waiting_for=_waiting_for(here, waits)[:MAX_MESSAGE],
        ready=f"{counts.serving}/{counts.desired}",
        pods=counts,
        revision=revision,
        findings=world.status.findings,
        conditions=[condition(here.world, here.now, *one) for one in said],
    )


def _phase(here: Moment, counts: PodCounts, revision: Revision, stalled: bool) -> str:
    """One word for people."""
    world = here.world
    if world.problem or world.workload is None:
        return "Rejected"
    if world.spec.mode is Mode.OBSERVE:
        return "Observing"
    if stalled:
        return "Stalled"
    if revision.old and outdated(world):
        return "Paused" if world.workload.paused else "Releasing"
    if counts.out:
        return "Moving" if any(leaving.is_moved(pod, world) for pod in here.surplus) else "ScalingIn"
    if counts.in_:
        return "WarmingUp"
    return "Ready" if counts.serving >= counts.desired else "Degraded"


def _accepted(world: World) -> tuple[str, bool, str, str]:
    if world.problem:
        return "Accepted", False, world.problem.reason, world.problem.message
    workload = world.workload
    return "Accepted", True, "TargetFound", f"{workload.kind} {workload.name} is taken care of" if workload else ""


def _ready(
    here: Moment, counts: PodCounts, revision: Revision, waits: Sequence[tuple[Pod, Wait]]
) -> tuple[str, bool, str, str]:
    if here.world.problem:
        return "Ready", False, here.world.problem.reason, here.world.problem.message
    if here.world.spec.mode is Mode.OBSERVE:
        return "Ready", True, "Observing", _waiting_for(here, waits) or "nothing would be done"
    under_way = counts.in_ or counts.out or outdated(here.world)
    if counts.serving >= counts.desired and not under_way:
        return "Ready", True, "AllServing", f"{counts.serving} of {counts.desired} pods are serving, none is under way"
    reason = "PassagesOpen" if under_way else "TooFewServing"
    return (
        "Ready",
        False,
        reason,
        f"{counts.serving} of {counts.desired} pods are serving. {_waiting_for(here, waits)}".strip(),
    )


def _reconciling(world: World, counts: PodCounts) -> tuple[str, bool, str, str]:
    busy = bool(counts.in_ or counts.out) and world.problem is None and world.spec.mode is Mode.ENFORCE
    if busy:
        return "Reconciling", True, "PassagesOpen", f"{counts.in_} pods on their way in, {counts.out} on their way out"
    return "Reconciling", False, "Idle", "no pod is under way"


def _stalled(here: Moment, stalled: Sequence[tuple[Pod, Wait]]) -> tuple[str, bool, str, str]:
    if here.world.problem:
        return "Stalled", True, here.world.problem.reason, here.world.problem.message
    if stalled:
        pod, wait = stalled[0]
        return "Stalled", True, wait.reason, f"{pod.name}: {wait.message}{_others(stalled)}"
    return "Stalled", False, "NotStalled", "every wait is within its timeout"


def _waiting_for(here: Moment, waits: Sequence[tuple[Pod, Wait]]) -> str:
    """The wait that matters most: an overdue one, else one on the way out, else the oldest on the way in."""
    world = here.world
    if world.problem:
        return world.problem.message
    if world.spec.mode is Mode.OBSERVE:
        going = [pod.name for pod in here.surplus]
        return f"would withdraw and drain {', '.join(going[:3])}{' …' if len(going) > 3 else ''}" if going else ""
    if capacity.has_no_room(world, here.now) and world.workload:
        tolerance = world.workload.max_unavailable
        if here.surplus and all(leaving.is_moved(pod, world) for pod in here.surplus):
            nodes = ", ".join(sorted({pod.node for pod in here.surplus})[:3])
            return f"no room for the pods that are to come in place of those on {nodes}: make room"
        room = f"no room for a surge pod: going down by maxUnavailable ({tolerance}) instead"
        if tolerance == 0 and here.surplus:
            return "no room for a surge pod, and maxUnavailable is 0: make room or allow maxUnavailable"
        if here.surplus:
            return room
    if not waits:
        return ""
    ranked = sorted(waits, key=_weight)
    pod, wait = ranked[0]
    return f"{pod.name}: {wait.message}{_others(ranked)}"


def _weight(one: tuple[Pod, Wait]) -> tuple[object, ...]:
    """Who only waits for others to come in is named last: what those wait for is the cause."""
    pod, wait = one
    return wait.reason == "FloorHolds", not wait.overdue, not pod.stage.is_out, wait.since, pod.name


def _others(waits: Sequence[tuple[Pod, Wait]]) -> str:
    return f" (and {len(waits) - 1} more)" if len(waits) > 1 else ""


def condition(world: World, now: datetime, kind: str, status: bool, reason: str, message: str) -> Condition:
    """One condition of a LosslessRollout: its time is that of the last change of its status."""
    text = "True" if status else "False"
    before = next((one for one in world.status.conditions if one.type == kind), None)
    return Condition(
        type=kind,
        status=text,
        observed_generation=world.generation,
        last_transition_time=before.last_transition_time if before and before.status == text else format_seconds(now),
        reason=reason,
        message=message[:MAX_MESSAGE],
    )
