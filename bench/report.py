"""The figures as a page with nothing outside it, and what changed over time as charts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby, pairwise
from pathlib import Path

from bench.figure import Figure
from bench.table import HEAD, number, row

STYLE = Path(__file__).with_name("report.css")
WIDTH, HEIGHT = 1160.0, 240.0
LEFT, RIGHT, TOP, BOTTOM = 40.0, 10.0, 10.0, 24.0
TICKS = 12
STEPS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
"""Seconds between two marks of the axis."""
LINES = ("theirs", "ours")
"""How lines are drawn, in turn: what we are compared with comes first."""


def report(figures: Sequence[Figure], about: str) -> str:
    """The whole page. `about` says on what it was measured."""
    head = "".join(f"<th scope=col>{escape(cell)}</th>" for cell in HEAD)
    rows = "".join(_row(figure) for figure in figures)
    drawn = [figure for figure in figures if figure.over_time]
    charts = "".join(_chart(what, list(several)) for what, several in groupby(drawn, key=_what))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>What it costs</title>
<style>
{STYLE.read_text()}</style>
</head>
<body>
<main>
<h1>What it costs</h1>
<p>{escape(about)}</p>
{charts}
<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>
</main>
</body>
</html>
"""


def _what(figure: Figure) -> str:
    """Figures that end in the same word are drawn together: `autoscaler.native.extra` and `autoscaler.doors.extra`."""
    return figure.name.rpartition(".")[2]


def _row(figure: Figure) -> str:
    cells = row(figure)
    state = {None: "", True: "good", False: "bad"}[figure.met]
    shown = "".join(f"<td>{escape(cell)}</td>" for cell in cells[1:])
    return f'<tr class="{state}"><th scope=row>{escape(cells[0])}<small>{escape(figure.means)}</small></th>{shown}</tr>'


def _chart(what: str, figures: Sequence[Figure]) -> str:
    first = min(figure.over_time[0][0] for figure in figures)
    last = max(figure.over_time[-1][0] for figure in figures)
    most = max(value for figure in figures for _, value in figure.over_time)

    def x(second: float) -> float:
        return LEFT + (second - first) / ((last - first) or 1) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - value / (most or 1) * (HEIGHT - TOP - BOTTOM)

    step = next((each for each in STEPS if (last - first) / each <= TICKS), STEPS[-1])
    parts = []
    for second in range(-(-int(first) // step) * step, int(last) + 1, step):
        parts.append(
            f'<line class="grid" x1="{x(second):.1f}" x2="{x(second):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        )
        parts.append(f'<text x="{x(second):.1f}" y="{HEIGHT - 6}" text-anchor="middle">{second} s</text>')
    for value in sorted({value for figure in figures for _, value in figure.over_time} | {0}):
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{number(value)}</text>')
    legend = []
    for place, figure in enumerate(figures):
        kind = LINES[place % len(LINES)]
        path = [f"M{x(figure.over_time[0][0]):.1f} {y(figure.over_time[0][1]):.1f}"]
        for (_, before), (at, value) in pairwise(figure.over_time):
            path.append(f"L{x(at):.1f} {y(before):.1f}L{x(at):.1f} {y(value):.1f}")
        parts.append(f'<path class="{kind}" d="{"".join(path)}"><title>{escape(figure.name)}</title></path>')
        said = f"{figure.means}: {number(figure.value)} {figure.unit}"
        legend.append(f'<li class="{kind}"><b>{escape(figure.name)}</b> {escape(said)}</li>')
    svg = f'<svg viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" role="img" aria-label="{escape(what)}">{"".join(parts)}</svg>'
    return f"<section>{svg}<ul>{''.join(legend)}</ul></section>\n"
