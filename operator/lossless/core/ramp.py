"""A pod's share while it ramps: the line it follows, and the steps by which weights follow the line.

A weight is written once and then stands for a while, so weights are steps beside the line. Each step takes the value
that the line has half an interval later, so that it is above the line for half of its time and below it for the other
half: over a step [t, t + h] of a straight line f, the mean of the line is f(t + h/2), which is what is written. For
f = (t/T)² the mean is f(t + h/2) + h²/(12·T²): with h = T/60 it is off by 0.00002 of a full share.

A step lasts until the line has moved by `WORTH_RELATIVE` of itself or `WORTH_ABSOLUTE` of a full share, whichever is
more, and at least for 2 s and for 1/60 of the ramp: so there are at most about 60 steps, and fewer on a long
line. A straight line from 1 % takes 20 steps of 1 % up to a share of 20 %, and ln(5)/ln(1.05) = 33 beyond it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from lossless.api.routes import Curve, Ramp

WORTH_RELATIVE: Final = 0.05
WORTH_ABSOLUTE: Final = 0.01
MOST_STEPS: Final = 60
SHORTEST_STEP: Final = 2.0
"""Seconds. Traefik gathers changes for as long (providersThrottleDuration): with a change every second it followed the
line 1.9 s late, with one every 2 s it follows each within 0.4 s."""


@dataclass(frozen=True, slots=True)
class Step:
    """What to write now, and for how long it stands."""

    fractions: tuple[float, ...]
    """Of a full share, for each pod, in the order of the ages given."""
    lasts: timedelta | None
    """Until something is worth writing again; None: every ramp is over."""


def fraction(ramp: Ramp, age: timedelta) -> float:
    """The line: the fraction of a full share, from 0 to 1, of a pod whose ramp began this long ago.

    max(from, t/T) or max(from, (t/T)²): the least share cuts the foot of the curve off, as Envoy's `min_weight_percent`
    does, and does not lift the rest of it. (t/T)² is the curve of the MSE and EDAS agents.
    """
    return _line(ramp, age.total_seconds())


def age_at(ramp: Ramp, reached: float) -> timedelta:
    """The inverse: the age at which the line first is at this fraction; 0 for what it begins with.

    Raises ValueError for what is not from 0 to 1.
    """
    if not 0 <= reached <= 1:
        raise ValueError(f"a fraction of a full share is from 0 to 1: {reached}")
    if reached <= ramp.least:
        return timedelta(0)
    return ramp.duration * (math.sqrt(reached) if ramp.curve is Curve.QUADRATIC else reached)


def step(ramp: Ramp, ages: Sequence[timedelta]) -> Step:
    """One step of all pods that ramp now: they are written together, so they step together.

    The line that has to move is the sum of theirs, and a full share is as many as they are. A step ends no later than
    the first of their ramps does; a rest shorter than the shortest step is not left over but joined to this one.
    """
    whole = ramp.duration.total_seconds()
    seconds = [age.total_seconds() for age in ages]
    left = min((whole - age for age in seconds if age < whole), default=None)
    if left is None:
        return Step(tuple(1.0 for _ in ages), None)
    length = _length(ramp, seconds, left)
    return Step(tuple(_line(ramp, age + length / 2) for age in seconds), timedelta(seconds=length))


def share(cold: float, serving: int) -> float:
    """The part of the traffic for ramping pods whose fractions add up to `cold`, beside pods that serve: Σc/(R + Σc).

    Raises ValueError when nobody serves: then there is nobody to ramp beside, and pods are to be let in at once.
    """
    if serving < 1:
        raise ValueError("nobody serves: there is no share to be smaller than")
    return cold / (serving + cold)


def _line(ramp: Ramp, seconds: float) -> float:
    passed = min(1.0, max(0.0, seconds / ramp.duration.total_seconds()))
    return max(ramp.least, passed**2 if ramp.curve is Curve.QUADRATIC else passed)


def _length(ramp: Ramp, ages: Sequence[float], left: float) -> float:
    """The seconds until the sum of the lines is worth writing again."""
    shortest = max(SHORTEST_STEP, ramp.duration.total_seconds() / MOST_STEPS)
    now = sum(_line(ramp, age) for age in ages)
    worth = max(WORTH_RELATIVE * now, WORTH_ABSOLUTE * len(ages))

    def moved(length: float) -> bool:
        return sum(_line(ramp, age + length) for age in ages) - now >= worth

    # The lines only rise, so the first moment at which they have moved enough is found by halving.
    low, high = min(shortest, left), left
    if moved(low):
        high = low
    while high - low > 0.001:
        middle = (low + high) / 2
        low, high = (low, middle) if moved(middle) else (middle, high)
    return left if left - high < shortest else high
