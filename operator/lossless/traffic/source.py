"""What every traffic source has in common: it can say whether a pod is known to it.

The core knows a source only by its sightings: present, absent or unknown, each with the evidence. How that is found out
is each source's own business. A source that has to be *told* of a withdrawal will add that here; a Service need not be:
closing the readiness gate is what tells it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lossless.core.world import Sighting


@dataclass(frozen=True, slots=True)
class Subject:
    """What a source needs to know of a pod in order to recognise it."""

    uid: str
    name: str
    addresses: tuple[str, ...]
    labels: Mapping[str, str]


class TrafficSource(Protocol):
    """Somebody who sends requests to pods."""

    def sightings(self, pods: Sequence[Subject]) -> Mapping[str, tuple[Sighting, ...]]:
        """What it holds of each of these pods, by uid. A pod that is none of its business is not in the answer."""
        ...
