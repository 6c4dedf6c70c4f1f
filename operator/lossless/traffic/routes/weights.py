"""The arithmetic of a split: whole numbers that divide one list's traffic as its owner and all warm-ups want it.

Let w₁…wₙ be what the owner's weights count for, W their sum, and K a whole number. Every backend is given K·wᵢ, so that
each one's part of the traffic stays wᵢ/W *exactly*. A backend of ours divides its K·wᵢ: with odds oⱼ = sⱼ/(1 - sⱼ) for
each warm-up j at a share sⱼ, warm-up j gets oⱼ/(1 + Σo) of it and the stable one the rest, so that each warm-up stands
to the stable one as s : 1-s, however many there are and in whatever order they came.

Only where the parts of one backend meet is anything rounded: at most n boundaries a warm-up and each by half a unit, or
by one where several warm-ups share a backend. K is the smallest that makes K·W at least `PRECISION`, and at least
`PER_BACKEND` for each backend of the list: so the error in a warm-up's part of the *whole* traffic is at most
n/(K·W) <= 1/PER_BACKEND = 0.05 %, and 0.0005 % for a lone backend.

The bound of a kind is kept without being asked for: if W is PRECISION or more, K is 1 and no number grows; else
K·W < PRECISION + W < 2·PRECISION = 200000, and the smallest bound (Gateway API) is 1000000 a backend.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

PRECISION: Final = 100_000
PER_BACKEND: Final = 2_000


@dataclass(frozen=True, slots=True)
class Parts:
    """What one backend's K·w is divided into."""

    stable: int
    warm: tuple[int, ...]
    """In the order of the odds given."""

    @property
    def full(self) -> int:
        return self.stable + sum(self.warm)


def divided(counts: Sequence[int], odds: Sequence[Sequence[float]]) -> tuple[Parts, ...]:
    """The parts of each backend of a list.

    Args:
        counts: what the owner's weights count for.
        odds: for each backend, warm-up : stable of each warm-up beside it; none for a backend that is not ours.
    """
    scale = _scale(counts)
    return tuple(_parts(scale * count, beside) for count, beside in zip(counts, odds, strict=True))


def _scale(counts: Sequence[int]) -> int:
    whole = sum(counts)
    return max(1, -(-max(PRECISION, PER_BACKEND * len(counts)) // whole)) if whole else 1


def _parts(full: int, odds: Sequence[float]) -> Parts:
    """Rounds where parts meet, not the parts: so they are never negative, and add up."""
    whole = 1 + sum(odds)
    reached, bounds = 0.0, [0]
    for one in odds:
        reached += one / whole
        bounds.append(min(full, math.floor(full * reached + 0.5)))
    return Parts(stable=full - bounds[-1], warm=tuple(b - a for a, b in pairwise(bounds)))
