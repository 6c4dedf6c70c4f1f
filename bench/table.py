"""The figures as a table for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bench.figure import Figure

HEAD = ("figure", "value", "unit", "bar", "met", "min / median / p95 / max (samples)")


def table(figures: Sequence[Figure]) -> str:
    """One line a figure, aligned; figures that are more than a number have their detail in `bench.json`."""
    rows = [HEAD, *(row(figure) for figure in figures)]
    widths = [max(len(line[column]) for line in rows) for column in range(len(HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in rows]
    return "\n".join([lines[0], "  ".join("─" * width for width in widths), *lines[1:]])


def row(figure: Figure) -> tuple[str, ...]:
    """The cells of one line."""
    spread = figure.spread
    scatter = ""
    if spread:
        scatter = " / ".join(number(each) for each in (spread.min, spread.median, spread.p95, spread.max))
        scatter += f" ({spread.samples})"
    bar = "" if figure.bar is None else number(figure.bar)
    met = {None: "", True: "yes", False: "NO"}[figure.met]
    return figure.name, number(figure.value), figure.unit, bar, met, scatter


def number(value: float) -> str:
    """Three significant digits, but whole numbers whole."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"
