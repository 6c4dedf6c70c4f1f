"""The timeline of a run as SVG: who served when, each pod's passage, each lost request, and the latency."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from demo.measure import Run, is_old
from demo.ways import NAME
from localcluster.load import Result
from localcluster.load.outcome import label
from localcluster.timeline import PodHistory

WIDTH = 1160.0
LEFT, RIGHT = 150.0, 16.0
BAR, ROW = 15.0, 20.0
LANE = 20.0
SERVING = 40.0
LATENCY = 120.0
FLOOR_MS, CEILING_MS = 1.0, 10_000.0

STAGES = {
    "Created": "created",
    "Scheduled": "created",
    "Started": "starting",
    "Starting": "starting",
    "Settling": "starting",
    "Waiting": "waiting",
    "Warming": "warming",
    "Ramping": "warming",
    "Admitted": "serving",
    "Ready": "serving",
    "Withdrawn": "withdrawn",
    "Draining": "draining",
    "Drained": "drained",
    "Terminating": "terminating",
}
"""How a stage, of the operator's or of Kubernetes' own, is drawn."""

LEGEND = (
    ("created", "created"),
    ("starting", "starting"),
    ("waiting", "waiting for its turn"),
    ("warming", "warming up"),
    ("serving", "serving"),
    ("withdrawn", "withdrawn: still answers, is being taken off every list"),
    ("draining", "draining: off every list, waits for late callers"),
    ("drained", "drained: may be deleted"),
    ("terminating", "terminating"),
)


@dataclass(frozen=True, slots=True)
class Scale:
    """Seconds relative to the release, to pixels; the same for all runs, so that lengths can be compared."""

    first: float
    last: float

    def x(self, seconds: float) -> float:
        inside = min(max(seconds, self.first), self.last)
        return LEFT + (inside - self.first) / (self.last - self.first) * (WIDTH - LEFT - RIGHT)

    def ticks(self) -> Iterable[int]:
        step = next(step for step in (1, 2, 5, 10, 20, 30, 60, 120) if (self.last - self.first) / step <= 14)
        return range(math.ceil(self.first / step) * step, math.floor(self.last) + 1, step)


def scale_of(runs: Sequence[Run]) -> Scale:
    marks = [run.outcome.marks for run in runs]
    first = min(mark["begin"] - mark["release"] for mark in marks)
    return Scale(first, max(mark["end"] - mark["release"] for mark in marks))


class Chart:
    """Draws one run, from top to bottom."""

    def __init__(self, run: Run, scale: Scale) -> None:
        self._run = run
        self._scale = scale
        marks = run.outcome.marks
        self._release, self._begin, self._end = marks["release"], marks["begin"], marks["end"]
        self._parts: list[str] = []
        self._y = 22.0

    def svg(self) -> str:
        top = self._y
        self._serving()
        self._pods()
        self._lost()
        self._latency()
        height = self._y + 24
        backdrop = self._backdrop(top, self._y)
        return (
            f'<svg viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img" '
            f'aria-label="Timeline: {escape(self._run.way.title)}">' + backdrop + "".join(self._parts) + "</svg>"
        )

    # --- the parts

    def _backdrop(self, top: float, bottom: float) -> str:
        parts: list[str] = []
        for tick in self._scale.ticks():
            x = self._scale.x(tick)
            parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.0f}" y2="{bottom:.0f}"/>')
            parts.append(f'<text class="axis" x="{x:.1f}" y="{bottom + 16:.0f}" text-anchor="middle">{tick} s</text>')
        released = self._run.outcome.marks["released"] - self._release
        for at, word in ((0.0, "release"), (released, "last old pod gone")):
            x = self._scale.x(at)
            parts.append(f'<line class="moment" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.0f}" y2="{bottom:.0f}">')
            parts.append(f"<title>{word}, {at:.1f} s</title></line>")
            left_of = at == 0 or x > WIDTH - 140
            side, shift = ("end", -5) if left_of else ("start", 5)
            parts.append(f'<text class="note" x="{x + shift:.1f}" y="{top - 6:.0f}" text-anchor="{side}">{word}</text>')
        x = self._scale.x(self._end - self._release)
        if x < WIDTH - RIGHT - 1:
            parts.append(
                f'<rect class="beyond" x="{x:.1f}" y="{top:.0f}" width="{WIDTH - RIGHT - x:.1f}" '
                f'height="{bottom - top:.0f}"/>'
                f'<text class="note" x="{x + 8:.1f}" y="{top + 16:.0f}">measured until here</text>'
            )
        return "".join(parts)

    def _serving(self) -> None:
        steps = [(at - self._release, n) for at, n in self._run.timeline.serving(NAME, self._begin, self._end)]
        most = max((count for _, count in steps), default=1)
        top, bottom = self._y + 6, self._y + SERVING

        def y(count: int) -> float:
            return bottom - (bottom - top) * count / max(most, 1)

        self._label(bottom - 8, "pods serving")
        path: list[str] = []
        ends = [at for at, _ in steps[1:]] + [self._end - self._release]
        for (at, count), end in zip(steps, ends, strict=True):
            x1, x2 = self._scale.x(at), self._scale.x(end)
            path.append(f"{'L' if path else 'M'}{x1:.1f} {y(count):.1f}L{x2:.1f} {y(count):.1f}")
            self._parts.append(
                f'<rect class="hover" x="{x1:.1f}" width="{max(x2 - x1, 1):.1f}" y="{top:.1f}" '
                f'height="{bottom - top:.1f}">'
                f"<title>{count} pods serving from {at:.1f} s to {end:.1f} s</title></rect>"
            )
        if steps:
            line = "".join(path)
            start, stop = self._scale.x(steps[0][0]), self._scale.x(ends[-1])
            self._parts.append(f'<path class="area" d="{line}L{stop:.1f} {bottom:.1f}L{start:.1f} {bottom:.1f}Z"/>')
            self._parts.append(f'<path class="line serving-line" d="{line}"/>')
            for at, count in _extremes(steps):
                self._parts.append(
                    f'<text class="count" x="{self._scale.x(at) + 4:.1f}" y="{y(count) - 3:.1f}">{count}</text>'
                )
        self._y = bottom + 10

    def _pods(self) -> None:
        shown = [pod for pod in self._run.timeline.pods if pod.ended is None or pod.ended > self._begin]
        old = [pod for pod in shown if is_old(pod, self._release)]
        new = [pod for pod in shown if not is_old(pod, self._release)]
        for word, pods in (("old", old), ("new", new)):
            for pod in pods:
                self._pod(word, pod)
            self._y += 5

    def _pod(self, word: str, pod: PodHistory) -> None:
        y = self._y
        self._label(y + BAR - 3, f"{word} · {pod.name.rsplit('-', 1)[-1]}", pod.name)
        steps = [(at, stage) for at, stage in pod.stages() if stage != "Gone"]
        last = pod.ended or self._end
        ends = [at for at, _ in steps[1:]] + [last]
        for (at, stage), end in zip(steps, ends, strict=True):
            start, stop = max(at, self._begin), min(end, self._end)
            if stop <= start:
                continue
            x1, x2 = self._scale.x(start - self._release), self._scale.x(stop - self._release)
            kind = STAGES.get(stage, "created")
            self._parts.append(
                f'<rect class="stage {kind}" x="{x1:.1f}" y="{y:.1f}" width="{max(x2 - x1, 0.8):.1f}" '
                f'height="{BAR}" rx="2">'
                f"<title>{escape(pod.name)}: {escape(stage)} for {end - at:.1f} s, "
                f"from {at - self._release:.1f} s on</title></rect>"
            )
        for result in self._run.outcome.lost:
            if result.pod == pod.name or self._asked(result) == pod:
                self._mark(result, y + BAR / 2 - 3, y + BAR / 2 + 3)
        self._y += ROW

    def _lost(self) -> None:
        outcome = self._run.outcome
        for caller in outcome.callers:
            lost = outcome.of(caller).lost
            middle = self._y + LANE / 2
            self._label(middle + 4, f"lost · {caller}")
            tally = f"{len(lost)}" if lost else "none"
            self._parts.append(f'<text class="axis" x="{LEFT + 6}" y="{middle - 2:.1f}">{tally}</text>')
            self._parts.append(
                f'<line class="lane" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{middle:.1f}" y2="{middle:.1f}"/>'
            )
            for result in lost:
                self._mark(result, self._y + 3, self._y + LANE - 3)
            self._y += LANE
        self._y += 8

    def _mark(self, result: Result, top: float, bottom: float) -> None:
        x = self._scale.x(result.at - self._release)
        pod = result.pod or (asked.name if (asked := self._asked(result)) else "not known: behind the ClusterIP")
        said = [f"{result.at - self._release:.2f} s: {label(result)} {result.detail}".rstrip()]
        said += [f"request {result.id}", f"caller {result.caller}", f"pod {pod}"]
        said.append(f"{'kept-alive' if result.reused else 'fresh'} connection to {result.address}")
        self._parts.append(
            f'<line class="lost" x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}">'
            f"<title>{escape(chr(10).join(said))}</title></line>"
        )

    def _latency(self) -> None:
        top, bottom = self._y + 6, self._y + LATENCY

        def y(ms: float) -> float:
            share = math.log10(min(max(ms, FLOOR_MS), CEILING_MS) / FLOOR_MS) / math.log10(CEILING_MS / FLOOR_MS)
            return bottom - share * (bottom - top)

        self._label(top + 8, "latency")
        for ms, word in ((1, "1 ms"), (10, "10 ms"), (100, "100 ms"), (1000, "1 s"), (10_000, "10 s")):
            self._parts.append(
                f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(ms):.1f}" y2="{y(ms):.1f}"/>'
                f'<text class="axis" x="{LEFT - 8}" y="{y(ms) + 4:.1f}" text-anchor="end">{word}</text>'
            )
        seconds = [second for second in self._run.outcome.per_second() if not math.isnan(second.p50)]
        for kind in ("p99", "p50"):
            values = [(self._scale.x(each.at + 0.5 - self._release), getattr(each, kind)) for each in seconds]
            points = " ".join(f"{x:.1f},{y(ms):.1f}" for x, ms in values)
            self._parts.append(f'<polyline class="line {kind}" points="{points}"/>')
        for second in seconds:
            x1, x2 = (self._scale.x(second.at + add - self._release) for add in (0, 1))
            self._parts.append(
                f'<rect class="hover" x="{x1:.1f}" width="{x2 - x1:.1f}" y="{top:.1f}" height="{bottom - top:.1f}">'
                f"<title>{second.at + 0.5 - self._release:.0f} s: {second.sent} sent, {second.lost} lost\n"
                f"p50 {second.p50:.1f} ms, p99 {second.p99:.1f} ms, longest {second.max:.1f} ms</title></rect>"
            )
        self._y = bottom + 2

    # --- small things

    def _label(self, y: float, text: str, full: str = "") -> None:
        title = f"<title>{escape(full)}</title>" if full else ""
        self._parts.append(f'<text class="label" x="0" y="{y:.1f}">{escape(text)}{title}</text>')

    def _asked(self, result: Result) -> PodHistory | None:
        return self._run.timeline.pod_at(result.address, result.ended) if result.address else None


def _extremes(steps: Sequence[tuple[float, int]]) -> list[tuple[float, int]]:
    """Where to write a number: at the first step, and where the most and the fewest are first reached."""
    counts = [count for _, count in steps]
    where = {0, counts.index(max(counts)), counts.index(min(counts))}
    return [steps[index] for index in sorted(where)]
