from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localcluster.load.outcome import Outcome
from localcluster.load.reconcile import Served, reconcile, served_by_pods, served_in
from localcluster.load.result import Cause, HarnessBroken, Result, parse, read
from localcluster.timeline import PodHistory, PodState, Timeline

T0 = 1_700_000_000.0


def result(
    number: int = 0,
    *,
    at: float = T0,
    took: float = 1.0,
    cause: Cause = Cause.OK,
    caller: str = "fresh",
    status: int | None = None,
    pod: str | None = "web-1",
    address: str | None = "10.96.0.10:80",
    reused: bool = False,
    late: float = 0.0,
) -> Result:
    return Result(f"t-{number}", caller, at, late, took, cause, status, pod, address, reused)


results = st.builds(
    Result,
    id=st.uuids().map(str),
    caller=st.sampled_from(["fresh", "kept-alive"]),
    at=st.floats(T0, T0 + 30).map(lambda at: round(at, 6)),
    late_ms=st.floats(0, 5).map(lambda ms: round(ms, 3)),
    took_ms=st.floats(0, 10_000).map(lambda ms: round(ms, 3)),
    cause=st.sampled_from([cause for cause in Cause if cause is not Cause.HARNESS]),
    status=st.none() | st.integers(100, 599),
    pod=st.none() | st.just("web-1"),
    reused=st.booleans(),
    detail=st.text(),
    key=st.none() | st.just("key-17"),
)


@settings(deadline=None)
@given(st.lists(results, max_size=20))
def test_results_survive_their_file(some: list[Result]) -> None:
    lines = ['{"begin": {}}\n', *(each.to_json() + "\n" for each in some)]
    lines.append('{"end": {"sent": 1, "wall_seconds": 2.0, "cpu_seconds": 0.5}}\n')
    parsed, ending = parse(lines)
    assert parsed == tuple(sorted(some, key=lambda each: each.at))
    assert ending is not None
    assert ending.cpu_share == 0.25


def test_a_line_being_written_is_left_for_later() -> None:
    parsed, ending = parse([result().to_json() + "\n", result(1).to_json()[:20]])
    assert parsed == (result(),)
    assert ending is None


def test_a_file_with_no_end_is_no_measurement(tmp_path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "load.jsonl"
    file.write_text(result().to_json() + "\n")
    with pytest.raises(HarnessBroken, match="did not end in order"):
        read(file)
    file.write_text(result().to_json() + '\n{"end": {"sent": 2, "wall_seconds": 1, "cpu_seconds": 0}}\n')
    with pytest.raises(HarnessBroken, match="2 requests were sent but 1"):
        read(file)


def test_what_we_could_not_send_makes_the_whole_run_worthless() -> None:
    with pytest.raises(HarnessBroken, match="for reasons of our own"):
        Outcome((result(), result(1, cause=Cause.HARNESS)))


def test_latency_counts_from_when_a_request_was_due() -> None:
    assert result(took=3, late=0.5).latency_ms == 3.5


@settings(deadline=None)
@given(st.lists(st.floats(0, 1e4), min_size=1), st.floats(0.1, 100))
def test_a_percentile_is_a_measured_latency_that_so_many_did_not_exceed(times: list[float], percent: float) -> None:
    value = Outcome(tuple(result(took=took) for took in times)).percentile(percent)
    assert value in times
    assert sum(took <= value for took in times) >= len(times) * percent / 100 - 1e-9
    assert sum(took < value for took in times) < len(times) * percent / 100 + 1e-9


def test_the_generators_own_jitter_is_told_apart() -> None:
    outcome = Outcome(tuple(result(late=late) for late in (0.1, 0.2, 0.3, 4.0)))
    assert (outcome.lateness(50), outcome.lateness(99)) == (0.2, 4.0)


def test_the_lost_are_counted_apart_from_the_slow() -> None:
    outcome = Outcome((result(0, took=5), result(1, took=900), result(2, took=10_000, cause=Cause.TIMEOUT)))
    assert outcome.max == 900
    assert [each.id for each in outcome.slow(100)] == ["t-1"]
    assert math.isnan(Outcome(()).p99)


def test_losses_are_told_by_cause_and_by_caller() -> None:
    outcome = Outcome(
        (
            result(0, caller="kept-alive"),
            result(1, cause=Cause.REFUSED),
            result(2, cause=Cause.REFUSED),
            result(3, cause=Cause.GATEWAY_STATUS, status=502),
        )
    )
    assert outcome.lost_by_cause == {"refused": 2, "gateway status 502": 1}
    assert outcome.lost_by_caller == {"fresh": 3, "kept-alive": 0}
    assert outcome.summary().startswith("4 sent, 3 lost (2 refused, 1 gateway status 502), p50 1.0 ms")


def test_a_window_is_cut_at_moments_or_marks() -> None:
    outcome = Outcome(tuple(result(n, at=T0 + n) for n in range(10)), {"release": T0 + 4, "released": T0 + 8})
    assert outcome.window(None, "release").sent == 4
    assert outcome.window("release", "released").sent == 4
    assert outcome.window(T0 + 9).sent == 1
    assert outcome.of("nobody").sent == 0


@settings(deadline=None)
@given(st.lists(results, max_size=40))
def test_the_seconds_of_a_chart_add_up(some: list[Result]) -> None:
    outcome = Outcome(tuple(some))
    seconds = outcome.per_second()
    assert sum(second.sent for second in seconds) == outcome.sent
    assert sum(second.lost for second in seconds) == len(outcome.lost)


# --- against the pods' logs


def test_served_is_read_from_plain_and_json_lines_and_from_nothing_else() -> None:
    log = ["starting\n", "served t-1\n", "06:01 INFO served t-2 in 3 ms\n", '{"id": "t-3", "t": 1}\n']
    log += ['{"event": "asked"}\n', "observed t-5\n", '{"id": "", "t": 1}\n', '{"id": "half a li\n']
    assert [each.id for each in served_in(log, "web-1")] == ["t-1", "t-2", "t-3"]


def test_lost_requests_are_told_apart_by_whether_a_pod_has_worked_on_them() -> None:
    some = [result(0), result(1, cause=Cause.CLOSED), result(2, cause=Cause.REFUSED)]
    seen = reconcile(some, [Served("t-0", "web-1"), Served("t-1", "web-1"), Served("a-probe", "web-1")])
    assert [each.id for each in seen.answer_lost] == ["t-1"]
    assert [each.id for each in seen.never_served] == ["t-2"]
    assert seen.served_twice == ()


def test_a_request_that_something_between_has_repeated_is_seen() -> None:
    seen = reconcile([result(pod="web-2")], [Served("t-0", "web-1"), Served("t-0", "web-2")])
    assert seen.served_twice == ("t-0",)


def test_an_answer_that_nobody_has_served_means_the_harness_is_broken() -> None:
    with pytest.raises(HarnessBroken, match="1 of 2 requests were answered but no pod logged them"):
        reconcile([result(0), result(1, at=T0 - 1)], [Served("t-0", "web-1")])
    with pytest.raises(HarnessBroken, match="2 of 2 requests were answered but no pod logged them"):
        reconcile([result(0), result(1)], [])
    with pytest.raises(HarnessBroken, match="answered by web-1 but logged as served by web-2"):
        reconcile([result(0)], [Served("t-0", "web-2")])


def test_a_pod_may_die_between_its_last_answer_and_logging_it() -> None:
    last = result(1, at=T0 + 1)
    seen = reconcile([result(0), last], [Served("t-0", "web-1")])
    assert seen.unlogged == (last,)


def test_logs_of_all_pods_of_a_namespace_are_read_also_of_restarted_containers(tmp_path) -> None:  # type: ignore[no-untyped-def]
    for path, line in {
        "default_web-1_uid1/app/0.log": "served t-1",
        "default_web-1_uid1/app/1.log": "served t-2",
        "default_web-2_uid2/app/0.log": "served t-3",
        "other_web-9_uid9/app/0.log": "served t-4",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(line + "\n")
    assert list(served_by_pods(tmp_path, "default")) == [
        Served("t-1", "web-1"),
        Served("t-2", "web-1"),
        Served("t-3", "web-2"),
    ]


# --- in words

DRAINING = {"example.com/stage": "Draining"}
LEAVING = PodHistory(
    "web-1",
    "uid1",
    "abc",
    T0 - 60,
    (
        PodState(T0 - 60, ready=True, address="10.244.1.2"),
        PodState(T0 - 2, ready=False, address="10.244.1.2", annotations=DRAINING),
        PodState(T0 - 1, ready=False, address="10.244.1.2", annotations=DRAINING, terminating=True),
        PodState(T0 + 5, terminating=True, gone=True),
    ),
)


def test_an_explanation_says_when_who_how_and_where_the_pod_was_on_its_way() -> None:
    lost = [
        result(0, at=T0 - 1.5, cause=Cause.KEPT_ALIVE_CLOSED, caller="kept-alive", reused=True),
        result(1, at=T0, cause=Cause.REFUSED, pod=None, address="10.244.1.2:8080"),
        result(2, at=T0, cause=Cause.REFUSED, pod=None),
        result(3, at=T0 + 9, cause=Cause.REFUSED, pod=None),
    ]
    outcome = Outcome(tuple(lost), {"release": T0 - 3}, reconcile(lost, [Served("t-0", "web-1")]))
    said = outcome.explain(Timeline((LEAVING,))).splitlines()
    assert said[0].startswith("4 sent, 4 lost (3 refused, 1 kept-alive closed in flight)")
    assert said[1] == "release at 22:13:17.000"
    assert said[2] == (
        "22:13:18.500 t-0 kept-alive: kept-alive closed in flight after 1.0 ms, asked 10.96.0.10:80 on a connection of "
        "web-1; web-1 had served it; web-1 was Draining since 0.50 s"
    )
    assert said[3].endswith("asked 10.244.1.2:8080; no pod had served it; web-1 was Terminating since 1.00 s")
    assert said[4].endswith("on their way out then: web-1 Terminating since 1.00 s")
    assert said[5].endswith("no pod was on its way out then")


def test_a_long_explanation_is_cut() -> None:
    outcome = Outcome(tuple(result(n, cause=Cause.REFUSED) for n in range(100)))
    assert outcome.explain().splitlines()[-1] == "… and 70 more"
