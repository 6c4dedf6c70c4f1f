"""A figure: one number with its unit, what it means, and the bar it is held against. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.spread import Spread


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table, one entry of `bench.json`."""

    name: str
    """`<measurement>.<what>`; stays the same from version to version, so that runs can be compared."""
    means: str
    """What the value is, in words that need no source code."""
    value: float
    unit: str
    bar: float | None = None
    """The value may be this much and no more; None: nobody has asked for a limit."""
    spread: Spread | None = None
    """Of the samples, where the value is one of their ranks."""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """What helps to understand the value: counts by kind, the two sides of a ratio."""

    over_time: Sequence[tuple[float, float]] = ()
    """What it was worked out from, as it changed: each value with the second from which on it held, and the last one
    once more at the end."""

    @property
    def met(self) -> bool | None:
        """Whether the bar was met; None where there is none."""
        return None if self.bar is None else self.value <= self.bar

    def to_json(self) -> dict[str, Any]:
        """Everything of it, as JSON has it."""
        return {**asdict(self), "met": self.met}


def p95(name: str, means: str, seconds: Iterable[float], *, bar_ms: float | None = None, **detail: Any) -> Figure:
    """A figure of many durations (in seconds): the one that 95 % of them do not exceed, in milliseconds."""
    spread = Spread.of(each * 1000 for each in seconds)
    return Figure(name, means, spread.p95, "ms", bar_ms, spread, detail)


def ratio(name: str, means: str, ours: Iterable[float], theirs: Iterable[float], *, bar: float | None = None) -> Figure:
    """A figure that compares two lists of durations (in seconds) of one run, by their medians."""
    one, other = Spread.of(ours), Spread.of(theirs)
    detail = {"seconds": asdict(one), "compared_with_seconds": asdict(other)}
    return Figure(name, means, one.median / other.median, "times", bar, detail=detail)
