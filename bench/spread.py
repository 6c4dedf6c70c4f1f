"""How a measured value scatters. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """Of so many samples: least, middle, the one that 95 % do not exceed, most."""

    samples: int
    min: float
    median: float
    p95: float
    max: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Raises ValueError when there is none: a figure of nothing is a failed measurement."""
        ordered = sorted(values)
        if not ordered:
            raise ValueError("nothing was measured")
        return cls(len(ordered), ordered[0], percentile(ordered, 50), percentile(ordered, 95), ordered[-1])


def percentile(ordered: Sequence[float], percent: float) -> float:
    """Nearest rank: always a value that was really measured. `ordered` is sorted and not empty."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def median(values: Iterable[float]) -> float:
    """Raises ValueError when there is none."""
    return Spread.of(values).median
