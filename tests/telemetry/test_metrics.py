"""The metrics say what there is, grow old with the clock, and leave nothing behind."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from lossless.api.resource import Finding, InFlight, Mode
from lossless.core.passage import Stage
from lossless.core.steps import Decision
from lossless.core.world import Early, InFlightCount, Problem, World
from lossless.telemetry.metrics import Metrics
from tests.telemetry.worlds import NOW, ago, decided, pod, world

KEY = ("shop", "web")
LABELS = {"namespace": "shop", "rollout": "web"}


class Bench:
    """Metrics with time at hand."""

    def __init__(self) -> None:
        self.now = NOW
        self.seconds = 0.0
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry, clock=lambda: self.now, monotonic=lambda: self.seconds)

    def observe(self, this: World, key: tuple[str, str] = KEY) -> Decision:
        decision = decided(this)
        self.metrics.observe_decision(key, decision, this, NOW)
        return decision

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"lossless_{name}", LABELS | labels)

    def bare(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"lossless_{name}", labels)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_pods_are_counted_by_stage(bench: Bench) -> None:
    unmanaged = pod("c", managed=False)
    bench.observe(world(pod("a"), pod("b", Stage.WARMING), unmanaged))
    assert bench.value("passages", stage="Admitted") == 1
    assert bench.value("passages", stage="Warming") == 1
    assert bench.value("passages", stage="Drained") == 0


def test_the_oldest_passages_grow_old_by_themselves(bench: Bench) -> None:
    going = pod("out", Stage.WITHDRAWN)
    bench.observe(world(pod("a"), pod("in", Stage.WARMING), going, wanted=2))
    assert bench.value("oldest_passage_seconds", way="in") == 120, "since it was created"
    assert bench.value("oldest_passage_seconds", way="out") == 60, "since it was withdrawn"
    bench.now += timedelta(seconds=5)
    assert bench.value("oldest_passage_seconds", way="out") == 65


def test_a_pod_that_came_back_is_on_its_way_in_since_then(bench: Bench) -> None:
    back = pod("in", Stage.STARTING)
    bench.observe(world(replace(back, passage=replace(back.passage, admitted_at=ago(100), withdrawn_at=ago(7)))))
    assert bench.value("oldest_passage_seconds", way="in") == 7


def test_nobody_on_a_way_is_no_age(bench: Bench) -> None:
    bench.observe(world(pod("a")))
    assert bench.value("oldest_passage_seconds", way="in") == 0


def test_only_the_present_phase_is_shown(bench: Bench) -> None:
    bench.observe(world(pod("a")))
    assert bench.value("rollout_info", phase="Ready", mode="Enforce") == 1
    bench.observe(world(pod("a"), mode=Mode.OBSERVE))
    assert bench.value("rollout_info", phase="Observing", mode="Observe") == 1
    assert bench.value("rollout_info", phase="Ready", mode="Enforce") is None


def test_an_overdue_wait_is_stalled_until_it_is_not(bench: Bench) -> None:
    going = pod("out", Stage.DRAINING, in_flight=InFlightCount(3, "3 requests in flight"))
    going = replace(going, passage=replace(going.passage, withdrawn_at=ago(3600), gone_at=ago(3000)))
    spec = {"in_flight": InFlight(port=80).model_dump()}
    bench.observe(world(going, wanted=0, drain=spec))
    assert bench.value("stalled", reason="InFlight") == 1
    bench.observe(world(replace(going, in_flight=InFlightCount(0)), wanted=0, drain=spec))
    assert bench.value("stalled", reason="InFlight") is None


def test_a_target_that_cannot_be_taken_is_stalled(bench: Bench) -> None:
    rejected = replace(world(), workload=None, problem=Problem("TargetNotFound", "there is no Deployment web"))
    bench.observe(rejected)
    assert bench.value("stalled", reason="TargetNotFound") == 1


def test_a_pod_that_skips_the_door_is_counted_once(bench: Bench) -> None:
    leaving = pod("a", deleting_since=ago(1))
    bench.observe(world(leaving, pod("b")))
    bench.observe(world(leaving, pod("b")))
    assert bench.value("skipped_the_door_total") == 1
    bench.observe(world(pod("b")))
    bench.observe(world(replace(leaving, uid="c"), pod("b")))
    assert bench.value("skipped_the_door_total") == 2


def test_a_pod_whose_node_is_lost_is_counted_once(bench: Bench) -> None:
    lost = pod("a", node_lost=True)
    bench.observe(world(lost, pod("b")))
    bench.observe(world(lost, pod("b")))
    assert bench.value("node_lost_total") == 1
    assert bench.value("skipped_the_door_total") == 0


def test_an_admission_counts_when_it_is_seen_however_often_it_was_decided(bench: Bench) -> None:
    waiting, there = pod("a", Stage.STARTING), pod("a")
    bench.observe(world(waiting))
    bench.observe(world(waiting))
    assert bench.value("admitted_total", reason="Admitted") is None
    bench.observe(world(there))
    bench.observe(world(there))
    assert bench.value("admitted_total", reason="Admitted") == 1


def test_an_admission_of_a_pod_that_vanished_is_none(bench: Bench) -> None:
    bench.observe(world(pod("a", Stage.STARTING)))
    bench.observe(world())
    assert bench.value("admitted_total", reason="Admitted") is None


@pytest.mark.parametrize("seen_drained", [True, False])
def test_a_drained_pod_counts_once_also_when_it_was_deleted_before_anybody_looked(
    bench: Bench, seen_drained: bool
) -> None:
    going = pod("a", Stage.DRAINING)
    going = replace(going, passage=replace(going.passage, gone_at=ago(60)))
    never_in = pod("b", Stage.STARTING)
    bench.observe(world(going, never_in, wanted=0))
    if seen_drained:
        bench.observe(world(pod("a", Stage.DRAINED), pod("b", Stage.DRAINED), wanted=0))
    bench.observe(world(wanted=0))
    bench.observe(world(wanted=0))
    assert bench.value("drained_total", reason="Drained") == 1
    assert bench.value("drained_total", reason="NeverAdmitted") == 1


def test_how_long_pods_were_handed_out_before_they_were_let_in_counts_once_it_is_over(bench: Bench) -> None:
    def seen(*early: Early) -> World:
        return replace(world(pod("a", Stage.WARMING), pod("b", Stage.WARMING)), early=early)

    def over(uid: str, times: int, seconds: float) -> Early:
        return Early(uid, "etcd", times, timedelta(seconds=seconds))

    first = replace(over("a", 0, 0), since=ago(1))
    bench.observe(seen(first))
    assert bench.value("registered_early_seconds_count", source="etcd") is None
    for now in (over("a", 1, 2), over("a", 1, 2), replace(over("a", 1, 2), since=ago(1)), over("a", 2, 2.5)):
        bench.observe(seen(now, over("b", 1, 4)))
    assert bench.value("registered_early_seconds_count", source="etcd") == 3
    assert bench.value("registered_early_seconds_sum", source="etcd") == 6.5
    bench.observe(seen())
    assert bench.value("registered_early_seconds_sum", source="etcd") == 6.5, "it stays when the pods are gone"


def test_findings_are_shown_as_they_are(bench: Bench) -> None:
    this = world(pod("a"))
    found = this.status.model_copy(update={"findings": [Finding(reason="NoService", message="m", fix="f")]})
    bench.observe(replace(this, status=found))
    assert bench.value("findings", reason="NoService") == 1
    bench.observe(this)
    assert bench.value("findings", reason="NoService") is None


def test_what_is_forgotten_leaves_nothing(bench: Bench) -> None:
    bench.observe(world(pod("a"), pod("b", Stage.WARMING)))
    bench.observe(world(pod("a", deleting_since=NOW)), ("shop", "other"))
    bench.metrics.forget(KEY)
    bench.metrics.forget(("never", "seen"))
    text = bench.metrics.render().decode()
    assert 'rollout="web"' not in text
    assert 'rollout="other"' in text


def test_the_process_is_measured(bench: Bench) -> None:
    bench.metrics.set_leader(True)
    bench.metrics.reconcile_took(0.02)
    bench.metrics.reconcile_failed("Conflict")
    bench.metrics.api_request("patch", "pods/status", 409)
    assert bench.bare("leader") == 1
    assert bench.bare("reconcile_seconds_bucket", le="0.025") == 1
    assert bench.bare("reconcile_errors_total", reason="Conflict") == 1
    assert bench.bare("api_requests_total", verb="patch", resource="pods/status", code="409") == 1
    bench.metrics.set_leader(False)
    assert bench.bare("leader") == 0


def test_a_queue_that_says_nothing_any_more_grows_old(bench: Bench) -> None:
    bench.metrics.queue(3, 1.5)
    bench.seconds += 10
    assert bench.bare("queue_depth") == 3
    assert bench.bare("queue_oldest_seconds") == 11.5
    bench.metrics.queue(0, 0)
    bench.seconds += 10
    assert bench.bare("queue_oldest_seconds") == 0


def test_alone_it_brings_the_process_along() -> None:
    assert b"process_resident_memory_bytes" in Metrics().render()


@given(st.lists(st.tuples(st.sampled_from(list(Stage)), st.booleans()), max_size=30))
def test_the_number_of_series_does_not_grow_with_the_pods(pods: list[tuple[Stage, bool]]) -> None:
    bench = Bench()
    every = [
        pod(str(number), stage, deleting_since=NOW if going else None) for number, (stage, going) in enumerate(pods)
    ]
    early = tuple(Early(one.uid, "etcd", times=1) for one in every)
    bench.observe(replace(world(*every, wanted=3), early=early))
    bench.observe(world(*every, wanted=3))
    series = [line for line in bench.metrics.render().decode().splitlines() if 'rollout="web"' in line]
    assert len(series) <= len(Stage) + 2 + 1 + 1 + 2 + 10
