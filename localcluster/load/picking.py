"""Picking one of several addresses in proportion to weights that change: smooth weighted round robin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key")


class Shares(Generic[Key]):
    """Whose turn it is. Without randomness, so that rates can be measured over a short time.

    As nginx does it (its commit 52327e0627f4, "smooth weighted round-robin balancing"), but for one thing: what each
    has to its credit is counted in requests, so that it keeps its meaning when all weights change.
    """

    def __init__(self) -> None:
        self._shares: dict[Key, float] = {}
        self._credit: dict[Key, float] = {}

    def learn(self, weights: Mapping[Key, float]) -> None:
        """New weights, relative to each other. Who has none above 0 is never picked."""
        total = sum(weight for weight in weights.values() if weight > 0)
        self._shares = {key: weight / total for key, weight in weights.items() if weight > 0}
        self._credit = {key: self._credit.get(key, 0.0) for key in self._shares}

    def next(self) -> Key | None:
        """None when there is nobody to pick."""
        if not self._shares:
            return None
        for key, share in self._shares.items():
            self._credit[key] += share
        chosen = max(self._credit, key=self._credit.__getitem__)
        self._credit[chosen] -= 1
        return chosen
