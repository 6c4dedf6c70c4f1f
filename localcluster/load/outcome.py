"""What a load says: how many were lost and why, how long the others took. Pure: results in, figures out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property

from localcluster.load.reconcile import Reconciliation
from localcluster.load.result import Cause, HarnessBroken, Result
from localcluster.timeline import PodHistory, Timeline

EXPLAINED = 30
"""So many lost requests are told one by one; more would not be read."""
JUST_GONE_SECONDS = 2.0
"""A data plane may still send to a pod that is gone no longer than this."""


@dataclass(frozen=True)
class Outcome:
    """All or some of the requests of a load, by the time they were due."""

    results: tuple[Result, ...]
    marks: Mapping[str, float] = field(default_factory=dict)
    """Moments with a name: "release", "released"."""
    reconciliation: Reconciliation | None = None
    """The same requests as the pods saw them."""

    def __post_init__(self) -> None:
        broken = [result for result in self.results if result.cause is Cause.HARNESS]
        if broken:
            raise HarnessBroken(
                f"{len(broken)} requests could not be sent for reasons of our own, the first: {broken[0].detail}"
            )

    # --- how many, and what became of them

    @property
    def sent(self) -> int:
        return len(self.results)

    @cached_property
    def lost(self) -> tuple[Result, ...]:
        return tuple(result for result in self.results if result.lost)

    @cached_property
    def answered(self) -> tuple[Result, ...]:
        return tuple(result for result in self.results if not result.lost)

    @property
    def lost_by_cause(self) -> Mapping[str, int]:
        """The most frequent first."""
        return dict(Counter(label(result) for result in self.lost).most_common())

    @property
    def lost_by_caller(self) -> Mapping[str, int]:
        """Every caller is named, also one that lost none."""
        lost = Counter(result.caller for result in self.lost)
        return {caller: lost[caller] for caller in self.callers}

    @cached_property
    def callers(self) -> tuple[str, ...]:
        return tuple(sorted({result.caller for result in self.results}))

    # --- parts

    def of(self, caller: str) -> Outcome:
        """Only this caller's requests."""
        return self._part(result for result in self.results if result.caller == caller)

    def window(self, start: float | str | None = None, end: float | str | None = None) -> Outcome:
        """Only the requests due from `start` to before `end`: moments, or the names of marks."""
        first = -math.inf if start is None else self._moment(start)
        last = math.inf if end is None else self._moment(end)
        return self._part(result for result in self.results if first <= result.at < last)

    # --- how long: from when a request was due to the end of its answer, in milliseconds, of those answered

    def percentile(self, percent: float) -> float:
        """The latency that so many per cent of the answered requests did not exceed; NaN when there are none.

        Nearest rank: always a latency that was really measured. Lost requests are not in it, they are counted apart.
        """
        if not self._latencies:
            return math.nan
        return self._latencies[max(0, math.ceil(len(self._latencies) * percent / 100) - 1)]

    @property
    def p50(self) -> float:
        return self.percentile(50)

    @property
    def p99(self) -> float:
        return self.percentile(99)

    @property
    def p999(self) -> float:
        return self.percentile(99.9)

    @property
    def max(self) -> float:
        return self.percentile(100)

    def lateness(self, percent: float) -> float:
        """How late, in milliseconds, the generator itself was at so many per cent of the requests: its own jitter."""
        late = sorted(result.late_ms for result in self.results)
        return late[max(0, math.ceil(len(late) * percent / 100) - 1)] if late else math.nan

    def slow(self, threshold_ms: float) -> tuple[Result, ...]:
        """The answered requests that took longer."""
        return tuple(result for result in self.answered if result.latency_ms > threshold_ms)

    def per_second(self) -> tuple[Second, ...]:
        """The outcome second by second, for a chart."""
        seconds: dict[int, list[Result]] = {}
        for result in self.results:
            seconds.setdefault(math.floor(result.at), []).append(result)
        return tuple(Second.of(at, self._part(seconds[at])) for at in sorted(seconds))

    # --- in words

    def summary(self) -> str:
        """One line: `7000 sent, 12 lost (9 refused, 3 timeout), p50 1.2 ms, …`."""
        lost = f"{len(self.lost)} lost"
        if self.lost:
            lost += " (" + ", ".join(f"{count} {cause}" for cause, count in self.lost_by_cause.items()) + ")"
        times = f"p50 {self.p50:.1f} ms, p99 {self.p99:.1f} ms, p99.9 {self.p999:.1f} ms, max {self.max:.1f} ms"
        return f"{self.sent} sent, {lost}, {times}"

    def explain(self, timeline: Timeline | None = None) -> str:
        """For each lost request what happened; with a timeline also where its pod was on its way. For failing tests."""
        lines = [self.summary()]
        if self.marks:
            lines.append(", ".join(f"{name} at {clock(at)}" for name, at in self.marks.items()))
        lines += [self._told(result, timeline) for result in self.lost[:EXPLAINED]]
        if len(self.lost) > EXPLAINED:
            lines.append(f"… and {len(self.lost) - EXPLAINED} more")
        return "\n".join(lines)

    def _told(self, result: Result, timeline: Timeline | None) -> str:
        where = f"asked {result.address}" if result.address else "asked nobody"
        on = f" on a connection of {result.pod}" if result.reused and result.pod else ""
        detail = f" ({result.detail})" if result.detail else ""
        line = (
            f"{clock(result.at)} {result.id} {result.caller}: {label(result)}{detail} after {result.latency_ms:.1f} ms"
        )
        line += f", {where}{on}"
        if self.reconciliation:
            served = self.reconciliation.served_by.get(result.id)
            line += f"; {served} had served it" if served else "; no pod had served it"
        if timeline:
            line += "; " + stage_of(result, timeline)
        return line

    @cached_property
    def _latencies(self) -> list[float]:
        return sorted(result.latency_ms for result in self.answered)

    def _moment(self, moment: float | str) -> float:
        return self.marks[moment] if isinstance(moment, str) else moment

    def _part(self, results: Iterable[Result]) -> Outcome:
        return replace(self, results=tuple(results))


@dataclass(frozen=True, slots=True)
class Second:
    """A second of a load; `at` is its beginning."""

    at: int
    sent: int
    lost: int
    p50: float
    p99: float
    max: float

    @classmethod
    def of(cls, at: int, outcome: Outcome) -> Second:
        return cls(at, outcome.sent, len(outcome.lost), outcome.p50, outcome.p99, outcome.max)


def label(result: Result) -> str:
    """The cause in a word or two, with the status where there is one."""
    return f"{result.cause.value} {result.status}" if result.lost and result.status else result.cause.value


def stage_of(result: Result, timeline: Timeline) -> str:
    """Where the pod that was asked (as far as one can know) was on its way when the request ended."""
    pod = timeline.pod(result.pod) if result.pod else None
    if pod is None and result.address:
        pod = timeline.pod_at(result.address, result.ended)
    if pod is None:
        # Behind a ClusterIP nobody tells which pod a connection that failed was meant for: name those who may be.
        suspects = [words for each in timeline.pods if (words := _on_its_way_out(each, result.ended))]
        return f"on their way out then: {', '.join(suspects)}" if suspects else "no pod was on its way out then"
    state = pod.at(result.ended)
    if state is None:
        return f"{pod.name} was not there yet"
    return f"{pod.name} was {_since(pod, result.ended)}"


def _on_its_way_out(pod: PodHistory, moment: float) -> str | None:
    state = pod.at(moment)
    if state is None or not state.terminating or (state.gone and moment - state.at > JUST_GONE_SECONDS):
        return None
    return f"{pod.name} {_since(pod, moment)}"


def _since(pod: PodHistory, moment: float) -> str:
    at, stage = next(step for step in reversed(pod.stages()) if step[0] <= moment)
    return f"{stage} since {moment - at:.2f} s"


def clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]
