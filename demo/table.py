"""The comparison in a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from demo.figures import ROWS, Figures

WIDTH = 30


def table(columns: Sequence[tuple[str, Figures]]) -> str:
    """One column for each way; long cells are wrapped."""
    label_width = max(len(label) for label, _ in ROWS)
    rows = [
        ("", [title for title, _ in columns]),
        *((label, [show(each) for _, each in columns]) for label, show in ROWS),
    ]
    lines: list[str] = []
    for label, cells in rows:
        wrapped = [textwrap.wrap(cell, WIDTH) or [""] for cell in cells]
        for number in range(max(map(len, wrapped))):
            parts = [(label if number == 0 else "").ljust(label_width)]
            parts += [(cell[number] if number < len(cell) else "").ljust(WIDTH) for cell in wrapped]
            lines.append("  ".join(parts).rstrip())
        if label == "":
            lines.append("  ".join(["─" * label_width, *(["─" * WIDTH] * len(columns))]))
    return "\n".join(lines)
