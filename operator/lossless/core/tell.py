"""What registries are told of a pod. A Service need not be told: it follows the readiness gate.

What a registry should give a pod follows from the pod's stage alone, so whatever is different is told again: after a
crash, after the registry was away, after the application has registered itself anew. What was there before is written
on the pod first, and only then is anything changed.
"""

from dataclasses import replace
from typing import Final

from lossless.core.moment import Moment
from lossless.core.passage import Passage, Stage
from lossless.core.steps import Tell
from lossless.core.world import Pod, Registered

CLOSE_ENOUGH: Final = 0.005
"""Fractions that differ by no more are the same: registries count in whole percents."""
EXACTLY: Final = 1e-6
"""But a full share is the pod's own weight to the last digit, or something of ours is left in its place. (Registries
keep it with no fewer digits than a float of 32 bits has.)"""


def wanted(pod: Pod, here: Moment) -> float:
    """The fraction of a full share that it should get."""
    if not pod.live or pod.stage.is_out:
        return 0.0
    if pod.stage is Stage.RAMPING:
        return here.ramp.of(pod.uid) if here.ramp else 0.0
    return 0.0 if pod.stage.is_in else 1.0


def tell(pod: Pod, here: Moment, passage: Passage) -> tuple[Passage, tuple[Tell, ...]]:
    """What to write on the pod, beginning with `passage`, and what may be told now.

    Of a pod that was never in our hands nothing is told: what a registry holds of it is its owner's.
    """
    if not pod.managed:
        return passage, ()
    tells = []
    fraction = wanted(pod, here)
    # A registry that is named no more gets back what it had as soon as its callers may have the pod: until then, and
    # when it is about to go, to be left out of it there harms nobody.
    for one in (*pod.registrations, *(pod.unnamed if fraction == 1 else ())):
        want = fraction if one.weighs or fraction == 1 else 0.0
        passage = _kept(passage, one, want)
        if _is_kept(pod.passage, one) and _differs(pod, one, want):
            tells.append(Tell(pod, one.source, want))
    return passage, tuple(tells)


def _kept(passage: Passage, one: Registered, want: float) -> Passage:
    """With what has to be put back one day, of each pod that is, or is about to be, given less than its full share; and
    with what was told, where nobody could see it."""
    if one.blind and one.told_out != (one.source in passage.told) and one.told_out == (want == 0):
        told = {*passage.told, one.source} if one.told_out else {*passage.told} - {one.source}
        passage = replace(passage, told=tuple(sorted(told)))
    if want == 1:
        return _without(passage, one.source) if _is_back(passage, one) else passage
    if not one.original and one.fraction is None:
        return passage
    if _says_enough(passage.original(one.source), one):
        return passage
    originals = {**dict(passage.originals), one.source: one.original}
    return replace(passage, originals=tuple(sorted(originals.items())))


def _is_back(passage: Passage, one: Registered) -> bool:
    """Nothing that it was told is in force any more, or can come into force."""
    if one.told_out or one.asked is not None:
        return False
    if one.fraction is not None:
        return _is_given(one.fraction, 1)
    # What has a way back of its own that is kept has to be seen again; of the others nothing can be seen.
    return one.blind and not passage.original(one.source)


def _without(passage: Passage, source: str) -> Passage:
    """It has its own again: there is nothing left to put back."""
    return replace(passage, originals=tuple(pair for pair in passage.originals if pair[0] != source))


def _is_kept(passage: Passage, one: Registered) -> bool:
    """What has to be put back is on the pod itself by now."""
    kept = passage.original(one.source)
    if kept is None:
        return one.blind and not one.original
    return kept == one.original or _says_enough(kept, one)


def _says_enough(kept: str | None, one: Registered) -> bool:
    """What was kept before it had registered says nothing of what it has registered since."""
    return kept is not None and not one.replaces and (bool(kept) or not one.original)


def _differs(pod: Pod, one: Registered, want: float) -> bool:
    if one.asked is not None:
        return not _is_given(one.asked, want)
    if not one.blind:
        return one.fraction is not None and not _is_given(one.fraction, want)
    if want == 1:
        # It may have been told by an operator that was killed before it could say so on the pod.
        return one.told_out or (bool(pod.passage.original(one.source)) and not one.present)
    # An application that has only just started is not told to go: that may be what makes it register at all. What an
    # owner has registered by a key of its own can be taken out and put back at any time.
    return (not one.told_out or one.present) and (bool(one.original) or not pod.stage.is_in)


def _is_given(fraction: float, want: float) -> bool:
    return abs(fraction - want) <= (EXACTLY if want == 1 else CLOSE_ENOUGH)
