"""The way in: what a new pod waits for before it is given traffic."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from lossless.api.resource import OnWarmupFailure
from lossless.core import ramp
from lossless.core.moment import Moment, has_failed, progress_of
from lossless.core.passage import Stage
from lossless.core.waits import Check, Wait, bounded, first_wait
from lossless.core.world import Pod


def started(pod: Pod, moment: Moment) -> Wait | None:
    """Its containers run and their own probes are content."""
    if pod.containers_ready and pod.containers_ready_since:
        return None
    return Wait(Stage.STARTING, "ContainersNotReady", "its containers are not ready yet", pod.created_at)


def not_held(pod: Pod, moment: Moment) -> Wait | None:
    """Nobody else keeps the door in shut."""
    held = next((hold for hold in pod.holds if hold.closes_in), None)
    if held is None:
        return None
    return Wait(
        Stage.WAITING,
        "HeldByOther",
        f"{held.who} keeps the door in shut: {held.reason}",
        _start(pod),
        _deadline(pod, moment),
    )


def settled_in(pod: Pod, moment: Moment) -> Wait | None:
    """The delay that its owner asked for has passed."""
    until = _start(pod) + moment.world.spec.warmup.delay
    if moment.now >= until or pod.uid in moment.needed_cold:
        return None
    return Wait(Stage.SETTLING, "Delay", f"warmup.delay until {until:%H:%M:%S} UTC", _start(pod), until)


def slot_free(pod: Pod, moment: Moment) -> Wait | None:
    """No more pods warm up at once than maxParallel allows."""
    if not moment.world.spec.warmup.requests or pod.uid in moment.slots or pod.uid in moment.needed_cold:
        return None
    if pod.stage is Stage.RAMPING:
        return None
    if (progress := progress_of(pod)) and progress.done:
        return None
    return Wait(
        Stage.WAITING,
        "WarmupSlot",
        f"other pods are warming up (maxParallel {moment.world.spec.warmup.max_parallel})",
        _start(pod),
        _deadline(pod, moment),
    )


def primed(pod: Pod, moment: Moment) -> Wait | None:
    """The warm-up requests have been made."""
    warmup = moment.world.spec.warmup
    if not warmup.requests or pod.uid in moment.needed_cold or pod.stage is Stage.RAMPING:
        return None
    progress = progress_of(pod)
    since = pod.passage.since if pod.stage is Stage.WARMING and pod.passage.since else moment.now
    if progress is None or not progress.done:
        return Wait(Stage.WARMING, "WarmingUp", str(progress or "warm-up requests"), since, _deadline(pod, moment))
    if has_failed(pod, moment.world):
        message = f"{progress}; onFailure is Hold: mend the release or roll back"
        return Wait(Stage.WARMING, "WarmupFailed", message, since, _deadline(pod, moment))
    return None


def ramped(pod: Pod, moment: Moment) -> Wait | None:
    """Its share of the traffic has grown to a full one, where something carries weights."""
    spec = moment.world.spec
    asked = spec.warmup.ramp
    if asked is None or not spec.traffic.weighted or moment.serving < 1 or pod.uid in moment.needed_cold:
        return None
    if moment.world.affine:
        return None  # A split by weight comes before the hash, and would move clients away from their pods.
    begun = pod.passage.since if pod.stage is Stage.RAMPING and pod.passage.since else moment.now
    age = moment.now - begun
    if age >= asked.duration:
        return None
    message = (
        f"{ramp.fraction(asked, age):.0%} of a full share, {asked.curve.value}ly to all of it within {asked.duration}"
    )
    until = min(
        begun + asked.duration, moment.ramp.until if moment.ramp and moment.ramp.until else begun + asked.duration
    )
    return Wait(Stage.RAMPING, "Ramping", message, begun, until)


def its_turn(pod: Pod, moment: Moment) -> Wait | None:
    """Where pods are swapped one at a time: the swap before its own has been seen through."""
    if moment.turns is None or pod.uid in moment.turns.pods or pod.uid in moment.needed_cold:
        return None
    message = f"pods are swapped one at a time: {moment.turns.why}"
    return Wait(Stage.WAITING, "Turn", message, _start(pod), moment.turns.until)


WAY_IN: Final[tuple[Check, ...]] = (started, not_held, settled_in, slot_free, primed, ramped)
_HOLD: Final[tuple[Check, ...]] = (slot_free, primed)
"""What is left of it at warmup.timeout where warm-up must have succeeded."""


def wait_on_the_way_in(pod: Pod, moment: Moment) -> Wait | None:
    """What this pod waits for before it may be let in; None: let it in.

    ``warmup.timeout`` bounds every wait from the moment its containers were ready. It does not make up for containers
    that are not ready, nor for a warm-up that its owner has asked to succeed (onFailure: Hold): past it, that wait is
    overdue. Nor is it about its turn, which may be the hundredth: each swap has bounds of its own.
    """
    return wait_to_be_fit(pod, moment) or its_turn(pod, moment)


def wait_to_be_fit(pod: Pod, moment: Moment) -> Wait | None:
    """The same, whosever turn it is."""
    if started(pod, moment) or not timed_out(pod, moment):
        wait = first_wait(WAY_IN, pod, moment)
        return bounded(wait, _deadline(pod, moment)) if wait and wait.reason != "ContainersNotReady" else wait
    if moment.world.spec.warmup.on_failure is OnWarmupFailure.HOLD and (wait := first_wait(_HOLD, pod, moment)):
        return replace(wait, message=f"{wait.message}; longer than warmup.timeout", until=None, overdue=True)
    return None


def timed_out(pod: Pod, moment: Moment) -> bool:
    """Its way in has taken as long as it may."""
    return pod.containers_ready_since is not None and moment.now >= _deadline(pod, moment)


def cold_again(pod: Pod, moment: Moment) -> bool:
    """Its containers were restarted since it was let in: it has to warm up again, once it can be spared.

    With nothing to wait for (no warm-up, or a delay that has passed meanwhile) it would be let in again at once.
    """
    if not pod.gated or pod.stage is not Stage.ADMITTED or not restarted(pod):
        return False
    warmup = moment.world.spec.warmup
    return bool(warmup.requests) or (warmup.delay > timedelta(0) and settled_in(pod, moment) is not None)


def restarted(pod: Pod) -> bool:
    """A container of it was restarted since it was let in."""
    return pod.restarts > pod.passage.admitted_restarts


def _start(pod: Pod) -> datetime:
    return pod.containers_ready_since or pod.created_at


def _deadline(pod: Pod, moment: Moment) -> datetime:
    return _start(pod) + moment.world.spec.warmup.timeout
