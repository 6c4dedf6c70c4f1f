"""The page of figures."""

from __future__ import annotations

import re

from bench.figure import Figure
from bench.report import report

NATIVE = Figure("autoscaler.native.extra", "natively", 30, "s", over_time=[(-5, 3), (10, 9), (60, 3), (100, 3)])
DOORS = Figure("autoscaler.doors.extra", "<behind> the doors", 0, "s", bar=3, over_time=[(0, 3), (95, 3)])
CALLS = Figure("idle.calls", "calls", 4, "calls", bar=0)


def test_every_figure_is_on_the_page_and_what_is_missed_stands_out() -> None:
    page = report([NATIVE, DOORS, CALLS], "2 cores & a cluster")
    assert page.count("<tr") == 1 + 3
    assert re.findall(r'<tr class="bad"><th[^>]*>([^<]*)', page) == ["idle.calls"]
    assert "2 cores &amp; a cluster" in page
    assert "&lt;behind&gt; the doors" in page


def test_what_changed_over_time_is_drawn_in_one_chart_from_first_to_last() -> None:
    page = report([NATIVE, DOORS, CALLS], "")
    assert page.count("<svg") == 1
    native, doors = re.findall(r'<path class="\w+" d="([^"]*)"', page)
    assert native.startswith("M40.0 "), "the earliest moment is on the left"
    assert native.endswith("L1150.0 " + native.rpartition(" ")[2]), "and the latest on the right"
    assert doors.count("L") == 2
    heights = {float(one) for one in re.findall(r"[ML][\d.]+ ([\d.]+)", native)}
    assert min(heights) == 10, "the most is at the top"


def test_nothing_is_fetched_from_elsewhere() -> None:
    assert "http" not in report([NATIVE], "").replace("http-equiv", "")
