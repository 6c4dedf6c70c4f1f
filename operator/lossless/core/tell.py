"""What registries are told of a pod. A Service need not be told: it follows the readiness gate.

What a registry should give a pod follows from the pod's stage alone, so whatever is different is told again: after a
crash, after the registry was away, after the application has registered itself anew. What was there before is written
on the pod first, and only then is anything changed.
"""

from dataclasses import replace

from lossless.core.moment import Moment
from lossless.core.passage import Passage, Stage
from lossless.core.steps import Tell
from lossless.core.world import Pod, Registered

CLOSE_ENOUGH = 0.005
"""Fractions that differ by no more are the same: registries count in whole percents."""


def wanted(pod: Pod, here: Moment) -> float:
    """The fraction of a full share that it should get."""
    if pod.deleting_since is not None or pod.stage.is_out or not pod.live:
        return 0.0
    if pod.stage is Stage.RAMPING:
        return here.ramp.of(pod.uid) if here.ramp else 0.0
    return 0.0 if pod.stage.is_in else 1.0


def tell(pod: Pod, here: Moment, passage: Passage) -> tuple[Passage, tuple[Tell, ...]]:
    """What to write on the pod, beginning with `passage`, and what may be told now.

    Of a pod that was never in our hands nothing is told: what a registry holds of it is its owner's.
    """
    if not pod.managed or not pod.registrations:
        return passage, ()
    tells = []
    for one in pod.registrations:
        want = wanted(pod, here)
        if not one.weighs and 0 < want < 1:
            want = 0.0
        passage = _kept(passage, one, want, pod)
        if _may_tell(pod, one, want) and _differs(pod, one, want):
            tells.append(Tell(pod, one.source, want))
    return passage, tuple(tells)


def _kept(passage: Passage, one: Registered, want: float, pod: Pod) -> Passage:
    """With what has to be put back one day: of every pod that is, or is about to be, given less than its full share."""
    if one.blind:
        told = set(passage.told)
        if want == 0 and one.told_out:
            told.add(one.source)
        elif want == 1 and not one.told_out:
            told.discard(one.source)
        return passage if told == set(passage.told) else replace(passage, told=tuple(sorted(told)))
    if one.fraction is None or want == 1:
        return passage
    if passage.original(one.source) is not None and not one.replaces:
        return passage
    originals = {**dict(passage.originals), one.source: one.original}
    return replace(passage, originals=tuple(sorted(originals.items())))


def _may_tell(pod: Pod, one: Registered, want: float) -> bool:
    if one.blind:
        return True
    return pod.passage.original(one.source) is not None


def _differs(pod: Pod, one: Registered, want: float) -> bool:
    if one.blind:
        out = one.source in pod.passage.told
        # An application that has only just started is not told to go: it may be what makes it register at all.
        return (want == 0 and not out and not pod.stage.is_in) or (want == 1 and out)
    return one.fraction is not None and abs(one.fraction - want) > CLOSE_ENOUGH
