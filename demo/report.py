"""The report: one HTML file with nothing outside it."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from demo.chart import LEGEND, Chart, scale_of
from demo.figures import ROWS, SLOW_MS, Figures
from demo.measure import RATE, TAIL_SECONDS, Run
from demo.verdict import failures, sentences
from demo.ways import COLD_MS, COLD_REQUESTS, LIST_AGE_SECONDS, REPLICAS

HERE = Path(__file__).parent


def report(runs: Sequence[Run], figures: Mapping[str, Figures], machine: str) -> str:
    """The whole page. `machine` says on what it was measured."""
    scale = scale_of(runs)
    sections = "".join(_section(run, figures[run.way.key], Chart(run, scale).svg()) for run in runs)
    failed = "".join(f'<p class="failed">{escape(text)}</p>' for text in failures(figures))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>One release, three ways</title>
<style>
{(HERE / "report.css").read_text()}</style>
</head>
<body>
<main>
<header>
<h1>One release, three ways</h1>
<p class="lead">The same app, released under the same load: {RATE:.0f} requests a second in an open loop without
retries, a third each on fresh connections and on kept-alive ones through a ClusterIP, and from clients that balance by
themselves over a list of addresses up to {LIST_AGE_SECONDS} s old. {REPLICAS} replicas, <code>maxSurge: 50%</code>,
<code>maxUnavailable: 0</code>; the first {COLD_REQUESTS} answers of each pod take {COLD_MS} ms.</p>
{failed}
</header>
{_table(runs, figures)}
<ul class="verdict">{"".join(f"<li>{escape(sentence)}</li>" for sentence in sentences(figures))}</ul>
<div class="legend">{_legend()}</div>
{sections}
<footer>
<p>Latency counts from the moment a request was due, so a slow server can't hide. Percentiles and slow requests (over
{SLOW_MS:.0f} ms) are of those due from the release on; sent and lost of all that was measured, which goes on until
no list of addresses can name an old pod and the last one has been gone for {TAIL_SECONDS:.0f} s. Rolled out is what
<code>kubectl rollout status</code> waits for. The charts share one scale of time; pods are coloured by the operator's
stages where it is at work, else by what Kubernetes says of them. The runs followed each other.</p>
<p>Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC on {escape(machine)}: a real control plane and kube-proxy, pods as
local processes.</p>
</footer>
</main>
<script>
{(HERE / "report.js").read_text()}</script>
</body>
</html>
"""


def this_machine() -> str:
    """What it runs on, in words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = os.cpu_count() or 0
    return f"{cores} cores ({_processor()}), {memory:.0f} GiB, {platform.system()} {platform.release().split('-')[0]}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _section(run: Run, figures: Figures, chart: str) -> str:
    lost = "no request lost" if figures.lost == 0 else f"{figures.lost} requests lost"
    state = "good" if figures.lost == 0 else "bad"
    return (
        f'<section><h2>{escape(run.way.title)} <span class="badge {state}">{lost}</span></h2>'
        f"<p>{escape(run.way.says)}</p>"
        f'<div class="chart">{chart}</div></section>\n'
    )


def _table(runs: Sequence[Run], figures: Mapping[str, Figures]) -> str:
    head = "".join(f"<th scope=col>{escape(run.way.title)}</th>" for run in runs)
    rows: list[str] = []
    for name, show in ROWS:
        cells = [show(figures[run.way.key]) for run in runs]
        kind = ' class="detail"' if name.startswith(" ") else ""
        marked = [
            f'<td class="{"good" if cell == "0" else "bad"}">{escape(cell)}</td>'
            if name == "lost"
            else f"<td>{escape(cell)}</td>"
            for cell in cells
        ]
        rows.append(f"<tr{kind}><th scope=row>{escape(name.strip())}</th>{''.join(marked)}</tr>")
    return (
        f'<div class="table"><table><thead><tr><td></td>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _legend() -> str:
    stages = "".join(f'<span><i class="swatch {kind}"></i>{escape(says)}</span>' for kind, says in LEGEND)
    return (
        stages + '<span><i class="swatch tick"></i>a lost request</span>'
        '<span><i class="swatch stroke p50"></i>p50 of each second</span>'
        '<span><i class="swatch stroke p99"></i>p99 of each second</span>'
    )
