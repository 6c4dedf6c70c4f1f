"""What every kind of route has in common: lists of backends, some of which name our Services.

A kind knows where its lists are, how a backend names a Service and what a weight that is not written counts for. What
the weights are to be (`weights.py`), what is kept of the owner's (`original.py`) and how one becomes the other
(`edit.py`) is the same for all that have weights. What has none gets a canary beside it (`canary.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from lossless.api.routes import RouteKind

Raw = Mapping[str, Any]
"""An object as the API server writes it."""

Path = tuple[str | int, ...]
"""Where something is below `spec`."""

WEIGHT: Final = "weight"
"""The name of a backend's weight, in every kind."""
_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class Split:
    """What one LosslessRollout wants of a route: a part of what its Services get goes to its warm-up Service.

    Raises ValueError for a share that is not from 0 to below 1.
    """

    rollout: str
    services: frozenset[str]
    """The Services that select the workload's pods."""
    warmup: str
    """The name of the warm-up Service."""
    share: float
    """Of what they get: Σc / (R + Σc). 0 puts the warm-up backend in without any traffic."""
    subsets: Mapping[str, float] = field(default_factory=dict, hash=False)
    """The share among the pods of one subset alone, by its name, where a route names subsets (Istio). A backend of a
    subset that is not here gets no warm-up backend: one without a pod in it would answer 503."""

    def __post_init__(self) -> None:
        for share in (self.share, *self.subsets.values()):
            if not 0 <= share < 1:
                raise ValueError(f"the share of a warm-up backend is from 0 to below 1: {share}")
        # As it is kept: so that what is read back gives the same weights.
        object.__setattr__(self, "share", _kept(self.share))
        object.__setattr__(self, "subsets", {name: _kept(share) for name, share in sorted(self.subsets.items())})

    def odds(self, service: str, subset: str) -> float | None:
        """warm-up : stable for a backend that names this; None: it gets no warm-up backend."""
        if service not in self.services:
            return None
        share = self.subsets.get(subset) if subset else self.share
        return None if share is None else share / (1 - share)


@dataclass(frozen=True, slots=True)
class Backend:
    """One entry of a list."""

    entry: Raw
    service: str
    """The Service of the route's own namespace that it names; empty: it names something else."""
    subset: str
    key: str
    """What it names, without weight and options: tells it from the others of its list."""

    @property
    def weight(self) -> int | None:
        """As it is written; None: it is not."""
        weight = self.entry.get(WEIGHT)
        return weight if isinstance(weight, int) and not isinstance(weight, bool) else None


@dataclass(frozen=True, slots=True)
class BackendList:
    """Backends among which traffic is divided by their weights."""

    path: Path
    backends: tuple[Backend, ...]

    @property
    def at(self) -> str:
        return "/".join(str(part) for part in self.path)


class Route(Protocol):
    """One kind of route."""

    @property
    def kind(self) -> RouteKind: ...

    @property
    def api_version(self) -> str: ...

    @property
    def plural(self) -> str:
        """As it is in addresses of the API."""
        ...

    def lists(self, document: Raw) -> tuple[BackendList, ...]:
        """Every list of backends, whomever they name. What is not a list of them (redirects, mirrors, delegates) is not
        among them, and so is never touched."""
        ...


class WeightedRoute(Route, Protocol):
    """One whose lists have weights: the split is laid in them (`edit.py`)."""

    @property
    def most(self) -> int | None:
        """The most backends that a list may have; None: no limit."""
        ...

    def counts(self, weights: Sequence[int | None]) -> tuple[int, ...]:
        """What the weights of one list count for, by the kind's rules for those that are not written."""
        ...

    def renamed(self, entry: Raw, service: str) -> dict[str, Any]:
        """The same entry for another Service of the same namespace; everything else is as it was."""
        ...

    def refusal(self, document: Raw, split: Split, policies: Sequence[Raw]) -> str:
        """Why this route must not be split, in a sentence; empty: it may be.

        Args:
            document: the route.
            split: what is wanted of it.
            policies: whatever else says how its backends are balanced (`policies.py`): DestinationRules, policies of
                the Gateway API and of Envoy Gateway.
        """
        ...


def names_ours(route: Route, document: Raw, services: frozenset[str]) -> bool:
    """Whether any list of it has a backend that names one of these Services."""
    return any(backend.service in services for each in route.lists(document) for backend in each.backends)


def namespace_of(document: Raw) -> str:
    return str(mapping(document.get("metadata")).get("namespace", ""))


def name_of(document: Raw) -> str:
    return str(mapping(document.get("metadata")).get("name", ""))


def mapping(value: object) -> Raw:
    """What is absent, or not what it should be, reads as empty."""
    return value if isinstance(value, Mapping) else {}


def mappings(value: object) -> list[Raw]:
    return [one if isinstance(one, Mapping) else {} for one in value] if isinstance(value, list) else []


def _kept(share: float) -> float:
    return min(round(share, _DIGITS), 1 - 10**-_DIGITS)
