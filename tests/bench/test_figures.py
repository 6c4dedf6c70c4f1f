"""The figures' arithmetic, on made-up measurements. What they measure is for `python -m bench`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench import audit, passages
from bench.audit import OPERATOR, REPLICASET_CONTROLLER, Call
from bench.figure import Figure, p95, ratio
from bench.measurements import MEASUREMENTS
from bench.measurements.one_by_one import calls_per_pod
from bench.measurements.scale_in import Delays
from bench.scrape import Scrape
from bench.spread import Spread
from bench.table import table
from localcluster.timeline import DeploymentState, PodHistory, PodState, Timeline


def test_a_spread_is_made_of_values_that_were_measured() -> None:
    assert Spread.of([3, 1, 2]) == Spread(samples=3, min=1, median=2, p95=3, max=3)
    assert Spread.of(range(1, 101)) == Spread(samples=100, min=1, median=50, p95=95, max=100)


def test_a_figure_of_nothing_is_a_failed_measurement() -> None:
    with pytest.raises(ValueError, match="nothing was measured"):
        Spread.of([])


def test_a_bar_is_met_up_to_and_with_its_value() -> None:
    assert Figure("a", "", 300, "ms", bar=300).met is True
    assert Figure("a", "", 300.1, "ms", bar=300).met is False
    assert Figure("a", "", 5, "ms").met is None
    assert Figure("a", "", 0, "events", bar=0).to_json()["met"] is True


def test_durations_become_milliseconds_and_their_p95_is_held_against_the_bar() -> None:
    figure = p95("a", "", [0.1] * 19 + [0.9], bar_ms=300)
    assert (figure.value, figure.unit, figure.met) == (100, "ms", True)
    assert figure.spread is not None
    assert figure.spread.max == 900


def test_a_ratio_compares_medians_of_one_run() -> None:
    assert ratio("a", "", [2, 4, 9], [1, 2, 100]).value == 2


def test_the_table_says_which_bars_were_missed() -> None:
    lines = table([Figure("a.b", "", 0.1234, "ms", 300), Figure("c.d", "", 512.3, "ms", 300)]).splitlines()
    assert lines[2].split() == ["a.b", "0.123", "ms", "300", "yes"]
    assert lines[3].split() == ["c.d", "512", "ms", "300", "NO"]


def event(verb: str, resource: str | None, stage: str = "ResponseComplete", **more: Any) -> str:
    """A line of an audit log."""
    reference = {"objectRef": {"resource": resource, "namespace": "ns", **more.pop("ref", {})}} if resource else {}
    return (
        json.dumps(
            {
                "verb": verb,
                "stage": stage,
                "requestURI": "/version?x=1",
                "requestReceivedTimestamp": "2026-01-01T00:00:10.250000Z",
                "stageTimestamp": "2026-01-01T00:00:10.750000Z",
                "user": {"username": more.pop("user", OPERATOR)},
                "responseStatus": {"code": more.pop("code", 200)},
                **reference,
            }
        )
        + "\n"
    )


def test_each_request_of_an_audit_log_counts_once() -> None:
    lines = [
        event("patch", "pods", ref={"subresource": "status"}),
        event("watch", "pods", "ResponseStarted"),
        event("watch", "pods"),  # its end, minutes later
        event("list", "pods", "ResponseStarted"),
        event("list", "pods"),
        event("get", None),
        event("patch", "pods").rstrip("\n"),  # still being written
    ]
    calls = list(audit.parse(lines))
    assert audit.by_kind(calls) == {"patch pods/status": 1, "watch pods": 1, "list pods": 1, "get /version": 1}
    assert calls[0].ended - calls[0].began == 0.5
    assert calls[0].namespace == "ns"


def call(verb: str, resource: str, user: str = OPERATOR, code: int = 200, namespace: str = "ns") -> Call:
    return Call(0, 0.01, user, verb, resource, namespace, code)


def test_only_what_was_understood_and_not_done_was_refused() -> None:
    deletes = [call("delete", "pods", REPLICASET_CONTROLLER, code) for code in (200, 403, 422, 404, 500)]
    elsewhere = call("delete", "pods", REPLICASET_CONTROLLER, 403, "other")
    assert audit.refused_deletes([*deletes, elsewhere, call("delete", "pods", OPERATOR, 403)], "ns") == 2


METRICS = """
# TYPE lossless_api_requests counter
lossless_api_requests_total{code="200",resource="pods/status",verb="patch"} %d
lossless_api_requests_total{code="409",resource="pods/status",verb="patch"} 1
lossless_api_requests_total{code="200",resource="leases",verb="update"} %d
# TYPE process_cpu_seconds counter
process_cpu_seconds_total %f
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 1.048576e+08
"""


def test_a_scrape_knows_what_was_counted_since_another() -> None:
    before, after = Scrape.parse(METRICS % (10, 5, 1.5)), Scrape.parse(METRICS % (16, 9, 2.0))
    assert after.requests_since(before) == {"patch pods/status": 6, "update leases": 4}
    assert after.cpu_seconds - before.cpu_seconds == 0.5
    assert after.memory_mib == 100


def test_calls_are_shared_out_to_the_replaced_pods_without_lease_and_watches() -> None:
    calls = (*[call("patch", "pods/status")] * 6, call("update", "leases"), call("watch", "pods"))
    before, after = Scrape.parse(METRICS % (10, 5, 0)), Scrape.parse(METRICS % (16, 6, 0))
    figure = calls_per_pod("some", calls, pods=2, before=before, after=after)
    assert (figure.value, figure.met) == (3, True)
    assert figure.detail["counted_by_the_operator"] == 6


def pod(name: str, *states: PodState) -> PodHistory:
    return PodHistory(name, name, "1", 0, states)


def test_a_door_is_measured_from_what_was_seen_to_what_was_seen() -> None:
    drained = {passages.DRAINED_AT: "2026-01-01T00:00:00Z"}
    timeline = Timeline(
        pods=(
            pod("before", PodState(5, containers_ready=True, gates={passages.GATE: True})),
            pod(
                "new",
                PodState(10, gates={passages.GATE: False}),
                PodState(11, containers_ready=True, gates={passages.GATE: False}),
                PodState(11.2, containers_ready=True, gates={passages.GATE: True}),
            ),
            pod(
                "old",
                PodState(5),
                PodState(12, annotations=drained),
                PodState(12.5, annotations=drained, terminating=True),
            ),
            pod("not over", PodState(13, containers_ready=True, annotations=drained)),
        )
    )
    assert passages.door_in(timeline, since=9) == pytest.approx([0.2])
    assert passages.door_out(timeline, since=9) == pytest.approx([0.5])


def test_a_release_ends_when_its_deployment_has_settled_again() -> None:
    def state(at: float, settled: bool) -> DeploymentState:
        return DeploymentState(at, "web", 2, 2, 2, 2, 2, settled)

    timeline = Timeline(deployments=(state(1, True), state(10.1, True), state(11, False), state(14, True)))
    assert passages.released_in(timeline, since=10) == 4
    with pytest.raises(ValueError, match="not seen to end"):
        passages.released_in(timeline, since=12)


def test_scale_ups_are_answered_in_turn() -> None:
    """Three were asked for while nothing happened, and then came all at once."""
    pods = [pod(f"{n}", PodState(14.0 + n / 10), PodState(15.0 + n / 10, ready=True)) for n in range(3)]
    delays = Delays.of([10, 11, 12], Timeline(pods=(pod("first", PodState(1, ready=True)), *pods)))
    assert delays.created == pytest.approx((4.0, 3.1, 2.2))
    assert delays.ready == pytest.approx((5.0, 4.1, 3.2))
    with pytest.raises(ValueError, match="3 of 4"):
        Delays.of([10, 11, 12, 13], Timeline(pods=tuple(pods)))


def test_every_measurement_says_what_it_does() -> None:
    for name, measurement in MEASUREMENTS.items():
        assert measurement.__doc__, name
