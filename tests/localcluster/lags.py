"""How long a gateway takes to follow a change: by its own word, and by whom requests still reach. Figures only."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from localcluster import Box
from localcluster.load.outcome import Outcome

LOOK_EVERY = 0.005


@dataclass
class Change:
    """Moments in seconds since the epoch."""

    name: str
    made: float
    """When the API server had answered."""
    seen: float
    """When the gateway's own word had it."""
    gone: frozenset[str]
    """The pods that have requests before it, and none after."""

    def said(self, outcome: Outcome) -> str:
        reached = [each.at for each in outcome.results if each.pod in self.gone and self.made < each.at]
        last = f"{max(reached) - self.made:.3f} s" if reached else "0"
        return f"{self.name}: the gateway says so after {self.seen - self.made:.3f} s, the last request after {last}"


@dataclass
class Lags:
    """The changes of one load."""

    box: Box
    changes: list[Change] = field(default_factory=list)

    def change(self, name: str, make: Callable[[], object], seen: Callable[[], bool], gone: set[str]) -> Change:
        """Make a change, and wait until the gateway says that it has it."""
        make()
        made = time.time()
        self.box.wait_until(seen, describe=f"the gateway has {name}", every=LOOK_EVERY)
        self.changes.append(Change(name, made, time.time(), frozenset(gone)))
        return self.changes[-1]

    def tell(self, outcome: Outcome) -> None:
        """Print the figures; `pytest -s` shows them."""
        for change in self.changes:
            print(change.said(outcome))
