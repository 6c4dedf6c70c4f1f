"""The line of a ramp, and how far off it a pod's requests are. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

AROUND: Final = 4.0
"""Seconds on both sides of a mark that a rate is taken over."""


def on_the_line(fraction: float, serving: int) -> float:
    """The part of all requests for a pod at this fraction of a full share, beside so many that serve."""
    return fraction / (serving + fraction)


def rate_at(moment: float, rates: Iterable[tuple[float, float]], step: float) -> float:
    """Requests per second around a moment, of the rates in steps of so many seconds.

    Raises ValueError where there are none.
    """
    near = [rate for at, rate in rates if abs(at + step / 2 - moment) <= AROUND]
    if not near:
        raise ValueError("nothing was measured around that moment")
    return sum(near) / len(near)


def by_chance_percent(part: float, rate: float) -> float:
    """How far off that part lots are, by one standard deviation, when they are drawn for all requests around a mark."""
    return 100 * math.sqrt((1 - part) / (part * rate * 2 * AROUND))
