"""Whole releases in the model cluster: what they cost, how few pods serve meanwhile, and that each of them ends."""

import functools
import itertools
from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import pytest

from lossless.core.passage import Passage, Stage
from lossless.core.steps import Verb
from tests.core.given import spec
from tests.core.native import Broken
from tests.core.scenario import SETTLE, Scenario
from tests.core.shell import Shell

WARM_UP = {"requests": [{"port": 80}]}


def a_cluster(replicas: int = 4, **deployment: object) -> Scenario:
    """At rest, with a warm-up asked for."""
    scenario = Scenario.of(spec(warmup=WARM_UP, drain={"settle": f"{SETTLE:g}s"}), replicas=replicas, **deployment)
    scenario.run_out()
    scenario.shell.writes.clear()
    scenario.steps = 0
    return scenario


def released(scenario: Scenario) -> Scenario:
    scenario.release()
    scenario.run_out()
    scenario.must_have_converged()
    return scenario


class TestARelease:
    def test_it_costs_so_many_writes_a_pod_and_no_more(self) -> None:
        scenario = released(a_cluster(10))
        assert Counter(what for _, what in scenario.shell.writes) == {
            Verb.WARM_UP: 10,
            Verb.ADMIT: 10,
            Verb.WITHDRAW: 10,
            Verb.SETTLE: 10,
            Verb.MARK_DRAINED: 10,
            "keep": 1 + 10,
        }

    def test_while_a_registry_gives_no_answer_nobody_is_marked_drained_and_afterwards_it_goes_on(self) -> None:
        scenario = a_cluster(3)
        scenario.release()
        scenario.run(1)
        scenario.shell.unanswered = True
        scenario.run(120)
        assert not scenario.shell.drained
        scenario.shell.unanswered = False
        scenario.run_out()
        scenario.must_have_converged()
        assert len(scenario.shell.drained) == 3

    def test_nobody_knocks_at_the_closed_door(self) -> None:
        assert released(a_cluster(10, surge=3)).cluster.refusals == 0

    def test_all_wanted_replicas_serve_all_the_time(self) -> None:
        scenario = released(a_cluster(5, surge=2, unavailable=2))
        assert min(scenario.lows) == 5

    def test_without_a_surge_as_few_serve_as_the_strategy_allows(self) -> None:
        assert min(released(a_cluster(5, surge=0, unavailable=2)).lows) == 3

    @pytest.mark.parametrize("scarce", ["room", "quota"])
    def test_with_room_for_no_extra_pod_it_ends_all_the_same(self, scarce: str) -> None:
        scenario = a_cluster(4, surge=1, unavailable=1)
        setattr(scenario.cluster, scarce, 2 if scarce == "room" else 4)
        assert min(released(scenario).lows) == 3

    def test_recreate_takes_everything_down_first(self) -> None:
        assert min(released(a_cluster(3, recreate=True, surge=0)).lows) == 0

    def test_recreate_never_begins_if_only_the_revision_tells_which_replica_set_is_current(self) -> None:
        """The new ReplicaSet is made when the old pods are gone, and they are held for as long as they seem current."""
        scenario = a_cluster(3, recreate=True, surge=0)
        scenario.shell.by_template = False
        with pytest.raises(Broken, match="and 3 of v2 are wanted"):
            released(scenario)

    def test_an_old_pod_that_crashes_for_ever_does_not_stop_it(self) -> None:
        scenario = a_cluster(3)
        for pod in list(scenario.cluster.pods.values())[:2]:
            scenario.cluster.flap(pod, seconds=10**6)
        scenario.release()
        scenario.run(120)
        assert {pod.template for pod in scenario.cluster.pods.values()} == {"v2"}


def test_a_scale_in_by_many_goes_in_portions_and_ends() -> None:
    scenario = a_cluster(30)
    scenario.cluster.change(replicas=2)
    scenario.run_out()
    scenario.must_have_converged()
    assert scenario.cluster.refusals == 0
    assert Counter(what for _, what in scenario.shell.writes)["keep"] <= 28 // 10 + 2


class TestReleasesOnTopOfEachOther:
    def test_a_storm_of_them_never_takes_serving_below_the_floor(self) -> None:
        scenario = a_cluster(4)
        scenario.release()
        scenario.run(4)
        scenario.release()
        scenario.run(5)
        scenario.cluster.undo()
        scenario.run(3)
        scenario.cluster.change(replicas=6)
        scenario.run(2)
        assert min(scenario.lows) == 4
        scenario.cluster.change(replicas=2)
        scenario.run_out()
        scenario.must_have_converged()
        assert min(scenario.lows) == 2
        assert scenario.cluster.refusals == 0

    @pytest.mark.parametrize("seconds", range(16))
    def test_undone_at_any_second_it_ends_where_it_began(self, seconds: int) -> None:
        scenario = a_cluster(3)
        before = set(scenario.cluster.pods)
        scenario.release()
        scenario.run(seconds)
        scenario.cluster.undo()
        scenario.run_out()
        scenario.must_have_converged()
        assert {pod.template for pod in scenario.cluster.pods.values()} == {"v1"}
        assert min(scenario.lows, default=3) == 3
        if seconds < 5:
            assert set(scenario.cluster.pods) == before, "those that were drained but still there are let in again"

    def test_scaled_in_and_out_again_while_pods_drain_keeps_those_pods(self) -> None:
        scenario = a_cluster(4)
        before = set(scenario.cluster.pods)
        scenario.cluster.change(replicas=2)
        scenario.run(3)
        assert len(scenario.cluster.listed) == 2
        scenario.cluster.change(replicas=4)
        scenario.run_out()
        scenario.must_have_converged()
        assert set(scenario.cluster.pods) == before

    def test_paused_and_scaled_in_in_the_middle_nothing_is_lost_and_it_ends_once_resumed(self) -> None:
        scenario = a_cluster(6, surge=2)
        scenario.release()
        scenario.run(9)
        scenario.cluster.change(paused=True)
        scenario.cluster.change(replicas=3)
        scenario.run_out()
        assert min(scenario.lows) >= 3
        assert {pod.template for pod in scenario.cluster.pods.values()} == {"v1", "v2"}
        scenario.cluster.change(paused=False)
        scenario.run_out()
        scenario.must_have_converged()

    def test_a_paused_deployment_is_scaled_in_although_its_template_was_changed(self) -> None:
        scenario = a_cluster(4)
        scenario.cluster.change(paused=True, template="v2")
        scenario.cluster.change(replicas=2)
        scenario.run_out()
        assert [pod.template for pod in scenario.cluster.pods.values()] == ["v1", "v1"]


class TestTheHoldAndTheDesiredReplicasAnnotation:
    """`Native.update_set` has the reason."""

    def scaled_in_and_out_then_released(self, hold_forgets: bool) -> Scenario:
        scenario = a_cluster(4)
        scenario.cluster.hold_forgets = hold_forgets
        scenario.cluster.change(replicas=3)
        scenario.run(2)
        scenario.cluster.change(replicas=4)
        scenario.run_out()
        scenario.must_have_converged()
        return released(scenario)

    def test_a_hold_that_takes_it_off_lets_the_next_release_begin(self) -> None:
        self.scaled_in_and_out_then_released(hold_forgets=True)

    def test_a_hold_that_leaves_it_there_stops_every_later_release(self) -> None:
        with pytest.raises(Broken, match="and 4 of v2 are wanted"):
            self.scaled_in_and_out_then_released(hold_forgets=False)


def _crash(shell: Shell) -> None:
    shell.crash()


def _fail(shell: Shell) -> None:
    shell.failing = True


STEPS = 45
"""More than a release of three pods takes."""


def _stages(scenario: Scenario) -> Counter[tuple[Stage, ...]]:
    """How many pods have gone through which stages, in which order."""
    each = scenario.shell.passages.values()
    return Counter(tuple(stage for stage, _ in itertools.groupby(one.stage for one in passages)) for passages in each)


@functools.cache
def _undisturbed() -> Counter[tuple[Stage, ...]]:
    return _stages(released(a_cluster(3)))


def _goes_on(before: Passage, after: Passage) -> bool:
    """Whether every moment that was written down has stayed."""
    marks = ("admitted_at", "withdrawn_at", "gone_at", "drained_at")
    kept = all(getattr(before, mark) in (None, getattr(after, mark)) for mark in marks)
    return kept and (before.stage is not after.stage or before.since == after.since)


@pytest.mark.parametrize("mishap", [_crash, _fail])
@pytest.mark.parametrize("after", range(STEPS))
def test_killed_or_refused_after_any_step_no_stage_is_skipped_and_no_wait_begins_again(
    after: int, mishap: Callable[[Shell], object]
) -> None:
    scenario = a_cluster(3)
    scenario.mishaps[after] = mishap
    released(scenario)
    assert after == 0 or scenario.steps < STEPS
    assert min(scenario.lows) == 3
    assert len(scenario.shell.drained) == 3
    for passage in scenario.shell.drained.values():
        assert passage.withdrawn_at
        assert passage.gone_at
        assert passage.drained_at
        assert passage.withdrawn_at <= passage.gone_at
        assert passage.drained_at - passage.gone_at == timedelta(seconds=SETTLE)
    assert _stages(scenario) == _undisturbed()
    for passages in scenario.shell.passages.values():
        assert all(itertools.starmap(_goes_on, itertools.pairwise(passages))), passages


def test_warm_up_is_not_begun_again_by_a_crash() -> None:
    """It is written down now and then how far it is; what was not written down is lost."""
    scenario = a_cluster(1)
    scenario.release()
    scenario.run(2)
    pod = next(pod for pod in scenario.cluster.pods.values() if pod.template == "v2")
    pod.annotations["lossless.dev/warmed"] = "25"
    scenario.shell.crash()
    scenario.everything()
    assert [skip for _, _, skip in scenario.shell.warmups.values()] == [25]


class TestPodsWithoutAGate:
    """Running before there was a LosslessRollout: the kubelet undoes every withdrawal after ten seconds."""

    @pytest.mark.parametrize("settle", ["5s", "16s", "45s"])
    def test_they_are_released_too_however_long_they_have_to_settle(self, settle: str) -> None:
        scenario = a_cluster(3)
        rollout, scenario.cluster.rollout = scenario.cluster.rollout, None
        for pod in scenario.cluster.pods.values():
            pod.gated = pod.labelled = False
            pod.annotations.clear()
        scenario.run_out()
        scenario.cluster.rollout = rollout
        scenario.change_spec(drain={"settle": settle})
        scenario.run_out()
        released(scenario)
