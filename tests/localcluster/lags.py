"""How long a gateway takes to follow a change: by its own word, and by whom requests still reach. Figures only."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

from localcluster import Box
from localcluster.load.outcome import Outcome

PLURALS = {
    ("discovery.k8s.io", "EndpointSlice"): "endpointslices",
    ("gateway.networking.k8s.io", "HTTPRoute"): "httproutes",
    ("networking.istio.io", "VirtualService"): "virtualservices",
}
LOOK_EVERY = 0.005
SETTLE = 0.25
"""Seconds: a request is due before it is sent, and a gateway's workers take up what it says between two others."""


@dataclass
class Change:
    """Moments in seconds since the epoch."""

    name: str
    begun: float
    """When the API server was asked: a gateway may hear of it before we hear that it is done."""
    made: float
    """When the API server had answered."""
    seen: float
    """When the gateway's own word had it."""
    gone: frozenset[str]
    """The pods that have requests before it, and none after."""

    def said(self, outcome: Outcome) -> str:
        """The figures, of an outcome that ends before the next change."""
        reached = [each.at for each in outcome.window(self.made).results if each.pod in self.gone]
        last = f"{max(reached) - self.made:.3f} s" if reached else "0"
        return f"{self.name}: the gateway says so after {self.seen - self.made:.3f} s, the last request after {last}"


@dataclass
class Lags:
    """The changes of one load."""

    box: Box
    changes: list[Change] = field(default_factory=list)

    def change(
        self, name: str, manifest: Mapping[str, Any], seen: Callable[[], bool], gone: Collection[str] = ()
    ) -> Change:
        """Make a change, and wait until the gateway says that it has it.

        Not by kubectl, which needs longer to end than some gateways to follow.
        """
        group, _, _ = manifest["apiVersion"].partition("/")
        where = f"/apis/{manifest['apiVersion']}/namespaces/{manifest['metadata']['namespace']}"
        path = f"{where}/{PLURALS[group, manifest['kind']]}/{manifest['metadata']['name']}?fieldManager=lags&force=true"
        begun = time.time()
        self.box.api.request("PATCH", path, manifest, "application/apply-patch+yaml")
        made = time.time()
        self.box.wait_until(seen, describe=f"the gateway has {name}", every=LOOK_EVERY)
        self.changes.append(Change(name, begun, made, time.time(), frozenset(gone)))
        return self.changes[-1]

    def tell(self, outcome: Outcome) -> None:
        """Print the figures; `pytest -s` shows them."""
        for change, part in self._parts(outcome):
            print(change.said(part))

    def check(self, outcome: Outcome) -> None:
        """What the gateway said it no longer routes to had no request from then on, until the next change."""
        for change, part in self._parts(outcome):
            reached = {result.pod for result in part.window(change.seen + SETTLE).results}
            assert not reached & change.gone, change.said(part)

    def _parts(self, outcome: Outcome) -> Iterator[tuple[Change, Outcome]]:
        """Each change with the requests that were over before the next one began."""
        for change, following in zip_longest(self.changes, self.changes[1:]):
            end = following.begun if following else math.inf
            yield change, replace(outcome, results=tuple(each for each in outcome.results if each.ended < end))
