"""The figures of a run, for the table, the report and `build/demo.json`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from demo.measure import Run
from demo.ways import NAME

SLOW_MS = 250.0
"""A request that takes longer is called slow. A warm answer takes about 5 ms, a cold one 800."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts are of all that was measured; latencies of what was due from the release on, times of losses apart."""

    sent: int
    lost: int
    lost_by_cause: Mapping[str, int]
    lost_by_caller: Mapping[str, int]
    p50_ms: float
    p99_ms: float
    p999_ms: float
    max_ms: float
    steady_p99_ms: float
    """Before the release."""
    slow: int
    rolled_out_seconds: float
    """From asking for the release until `kubectl rollout status` would say that it is done."""
    seconds: float
    """From asking for the release until all old pods are gone too."""
    most_serving: int
    fewest_serving: int

    @classmethod
    def of(cls, run: Run) -> Figures:
        outcome = run.outcome
        during = outcome.window("release")
        release, released, end = (outcome.marks[mark] for mark in ("release", "released", "end"))
        rolled_out = next(
            (state.at for state in run.timeline.deployments if state.settled and state.at > release), released
        )
        return cls(
            sent=outcome.sent,
            lost=len(outcome.lost),
            lost_by_cause=outcome.lost_by_cause,
            lost_by_caller=outcome.lost_by_caller,
            p50_ms=round(during.p50, 1),
            p99_ms=round(during.p99, 1),
            p999_ms=round(during.p999, 1),
            max_ms=round(during.max, 1),
            steady_p99_ms=round(outcome.window(None, "release").p99, 1),
            slow=len(during.slow(SLOW_MS)),
            rolled_out_seconds=round(rolled_out - release, 1),
            seconds=round(released - release, 1),
            most_serving=run.timeline.most_serving(NAME, release, end),
            fewest_serving=run.timeline.fewest_serving(NAME, release, end),
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def words(counts: Mapping[str, int]) -> str:
    """`9 refused, 3 timeout`; "none" for none."""
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"


def milliseconds(value: float) -> str:
    return f"{value:.0f} ms" if value >= 100 else f"{value:.1f} ms"


ROWS: tuple[tuple[str, Callable[[Figures], str]], ...] = (
    ("requests sent", lambda figures: f"{figures.sent}"),
    ("lost", lambda figures: f"{figures.lost}"),
    ("  why", lambda figures: words(figures.lost_by_cause)),
    ("  whose", lambda figures: words(figures.lost_by_caller)),
    ("p50", lambda figures: milliseconds(figures.p50_ms)),
    ("p99", lambda figures: milliseconds(figures.p99_ms)),
    ("p99.9", lambda figures: milliseconds(figures.p999_ms)),
    ("p99 before the release", lambda figures: milliseconds(figures.steady_p99_ms)),
    (f"slow (over {SLOW_MS:.0f} ms)", lambda figures: f"{figures.slow}"),
    ("rolled out after", lambda figures: f"{figures.rolled_out_seconds:.1f} s"),
    ("last old pod gone after", lambda figures: f"{figures.seconds:.1f} s"),
    ("most pods serving", lambda figures: f"{figures.most_serving}"),
    ("fewest pods serving", lambda figures: f"{figures.fewest_serving}"),
)
"""What is shown of the figures, in this order, in the table and in the report."""
