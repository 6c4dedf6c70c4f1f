"""The demo's figures, words and report, on made-up runs."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from demo.chart import LEGEND, STAGES, Chart, scale_of
from demo.figures import Figures
from demo.measure import Run, harmless_at, progress
from demo.report import report
from demo.table import table
from demo.verdict import failures, sentences
from demo.ways import HEADLESS, REPLICAS, WAYS, deployment
from localcluster.timeline import Endpoints, Timeline
from tests.demo.synthetic import LOSSLESS_NEW, LOSSLESS_OLD, NATIVE_NEW, NATIVE_OLD, RELEASE, a_pod, three_runs

SVG = "{http://www.w3.org/2000/svg}"


def figures_of(runs: list[Run]) -> dict[str, Figures]:
    return {run.way.key: Figures.of(run) for run in runs}


@pytest.fixture
def runs() -> list[Run]:
    return three_runs()


def test_the_figures_count_losses_slowness_time_and_capacity(runs: list[Run]) -> None:
    native = Figures.of(runs[0])
    assert native.sent == 235
    assert (native.lost, native.lost_by_cause) == (3, {"refused 200": 3})
    assert native.lost_by_caller == {"cached-addresses": 1, "fresh": 0, "kept-alive": 2}
    assert (native.slow, native.p50_ms, native.p99_ms) == (2, 6.4, 801.4)
    assert native.steady_p99_ms == 6.4
    assert (native.rolled_out_seconds, native.seconds) == (1.3, 2.2)
    assert (native.most_serving, native.fewest_serving) == (4, 2)


def test_the_demo_fails_when_the_operator_loses_a_request_or_the_plain_deployment_none() -> None:
    assert failures(figures_of(three_runs())) == []
    assert "1 requests were lost" in failures(figures_of(three_runs(lossless_lost=(3.0,))))[0]
    assert "proves nothing" in failures(figures_of(three_runs(native_lost=())))[0]


def test_it_says_where_a_pre_stop_sleep_is_as_good_and_where_not(runs: list[Run]) -> None:
    figures = figures_of(runs)
    through_service_too = " ".join(sentences(figures))
    assert "Through a ClusterIP a preStop sleep still lost 1." in through_service_too
    only_cached = {"cached-addresses": 2, "kept-alive": 0}
    figures["prestop"] = dataclasses.replace(figures["prestop"], lost_by_caller=only_cached)
    said = " ".join(sentences(figures))
    assert "Through a ClusterIP a preStop sleep is just as good" in said
    assert "2 lost, where the operator, told of that age, lost none." in said
    assert "no request of" in said


def test_the_table_has_a_column_for_each_way(runs: list[Run]) -> None:
    drawn = table([(run.way.title, figure) for run, figure in zip(runs, figures_of(runs).values(), strict=True)])
    lines = drawn.splitlines()
    assert all(run.way.title.split(",")[0] in lines[0] for run in runs)
    assert next(line for line in lines if line.startswith("lost")).split() == ["lost", "3", "2", "0"]


class Outside(HTMLParser):
    """Finds everything that would be fetched from somewhere."""

    found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "srcset", "data", "action")]
        if tag in ("link", "iframe", "img", "object", "embed"):
            self.found.append(tag)


def test_the_report_needs_nothing_from_outside(runs: list[Run]) -> None:
    page = report(runs, figures_of(runs), "2 cores")
    outside = Outside()
    outside.feed(page)
    assert outside.found == []
    assert not re.search(r"url\(|@import|https?://", page)
    assert "2 cores" in page
    assert all(run.way.says in page or run.way.title in page for run in runs)


def test_a_chart_shows_every_pod_every_stage_and_every_lost_request(runs: list[Run]) -> None:
    for run in runs:
        drawn = ElementTree.fromstring(Chart(run, scale_of(runs)).svg().replace("<svg ", f'<svg xmlns="{SVG[1:-1]}" '))
        bars = [each for each in drawn.iter(f"{SVG}rect") if (each.get("class") or "").startswith("stage ")]
        shown = {(title.text or "").split(":")[0] for bar in bars if (title := bar.find(f"{SVG}title")) is not None}
        assert shown == {pod.name for pod in run.timeline.pods}
        marks = [each.find(f"{SVG}title") for each in drawn.iter(f"{SVG}line") if each.get("class") == "lost"]
        told = {(title.text or "") for title in marks if title is not None}
        for result in run.outcome.lost:
            assert any(f"request {result.id}" in each and f"caller {result.caller}" in each for each in told)


def test_runs_share_one_scale_of_time(runs: list[Run]) -> None:
    scale = scale_of(runs)
    assert (scale.first, scale.last) == (-5.0, 39.0)
    assert scale.x(-99) == scale.x(-5) < scale.x(0) < scale.x(39) == scale.x(99)
    assert 0 in scale.ticks()


def test_every_stage_of_the_operator_is_drawn_and_told_in_the_legend() -> None:
    stages = pytest.importorskip("lossless.core.passage").Stage
    assert {stage.value for stage in stages} <= STAGES.keys()
    assert set(STAGES.values()) == {kind for kind, _ in LEGEND}


def test_a_release_is_over_when_all_new_pods_are_ready_and_no_old_one_is_left(runs: list[Run]) -> None:
    old = [a_pod(f"old-{number}", LOSSLESS_OLD) for number in range(REPLICAS)]
    new = [a_pod(f"new-{number}", LOSSLESS_NEW) for number in range(REPLICAS)]
    deployments = runs[0].timeline.deployments
    still = [a_pod("old-0", LOSSLESS_OLD[:-1])]
    assert progress(Timeline((*old, *new), (), deployments), RELEASE) == ""
    assert progress(Timeline((*still, *new), (), deployments), RELEASE) == "4 new pods ready, 1 old ones left"
    assert progress(Timeline((*old, *new[1:]), (), deployments), RELEASE) == "3 new pods ready, 0 old ones left"


def test_it_is_measured_until_no_list_can_name_an_old_pod_and_the_last_one_has_been_gone_for_a_while() -> None:
    old, new = "10.244.1.2", "10.244.1.9"

    def timeline(*published: tuple[float, str]) -> Timeline:
        pod = a_pod("old-0", NATIVE_OLD, address=old)
        seen = (Endpoints(RELEASE + at, HEADLESS, (ready,), ()) for at, ready in published)
        return Timeline((pod, a_pod("new-0", NATIVE_NEW, address=new)), tuple(seen))

    gone = NATIVE_OLD[-1][0]
    assert harmless_at(timeline((-9, old), (1, new)), RELEASE) == RELEASE + 1 + 16
    assert harmless_at(timeline((-9, old), (1, new), (1.5, old), (2, new)), RELEASE) == RELEASE + 2 + 16
    assert harmless_at(timeline((-20, old), (-14, new)), RELEASE) == RELEASE + gone + 3


def test_the_ways_differ_in_nothing_but_what_they_are_about() -> None:
    native, pre_stop, lossless = (deployment(way) for way in WAYS)
    for each in (native, pre_stop, lossless):
        del each["metadata"]["namespace"]
    assert native == lossless
    container = pre_stop["spec"]["template"]["spec"]["containers"][0]
    assert container.pop("lifecycle") == {"preStop": {"sleep": {"seconds": 5}}}
    assert pre_stop == native
