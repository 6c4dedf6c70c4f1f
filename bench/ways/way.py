"""What a way of being called is: what is applied, what the LosslessRollout names, and who calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from bench.testbed import Testbed
from bench.workload import Manifest
from localcluster.load import LoadRun

NAME: Final = "web"
"""Of the Deployment, and of all that leads to it."""


@dataclass(frozen=True, slots=True)
class Called:
    """A workload that is called this way, in one namespace."""

    manifests: Sequence[Manifest]
    """The Deployment `NAME`, and what leads to it."""
    traffic: Mapping[str, Any]
    """`spec.traffic` of its LosslessRollout."""
    load: Callable[[float], AbstractContextManager[LoadRun]]
    """So many requests a second, while the block runs."""


Make = Callable[[str, int], Called]
"""Given a namespace and the number of replicas."""


@dataclass(frozen=True, slots=True)
class Way:
    """One thing that carries weights, with those who obey it."""

    name: str
    means: str
    """Where the weights are and who calls, in a few words."""
    ready: Callable[[Testbed], AbstractContextManager[Make]]
    """Servers of its own run while the block does: until all that knows of them is gone."""
    by_lot: bool = False
    """Whether it is drawn anew for each request who gets it; else pods have their turns, and chance has no part."""
    grain: float = 0.0
    """The steps in which a share can be written, as parts of the traffic; 0: as fine as it needs to be."""
