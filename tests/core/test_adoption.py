"""Pods that were there before, and giving everything back."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from lossless.core.decide import let_go
from lossless.core.passage import Passage, Stage
from lossless.core.steps import LetGo, Verb
from tests.core.given import (
    NOW,
    PodModifier,
    ago,
    condition,
    containers_ready,
    crashed,
    decided,
    deleting,
    drained,
    draining,
    having,
    keeping,
    keeps,
    let_go_of,
    listed,
    move,
    moves,
    new,
    observing,
    old,
    passing,
    rejected,
    running,
    serving,
    ungated,
    unlisted,
    unmanaged,
    wanted,
    warm_up,
    withdrawn,
    world,
)

NEW_ONES = (new("x", serving()), new("y", serving()))


class TestAdoption:
    def test_one_that_serves_goes_on_serving(self) -> None:
        adopted = move(decided(warm_up(), new("a", serving(99), ungated(), unmanaged())), "a")
        assert (adopted.verb, adopted.gate, adopted.passage.stage) == (Verb.ADOPT, None, Stage.ADMITTED)
        assert adopted.passage.admitted_at == ago(99)

    def test_restarts_before_that_do_not_make_it_cold(self) -> None:
        adopted = move(decided(warm_up(), new("a", serving(), unmanaged(), having(restarts=4))), "a")
        assert adopted.passage.admitted_restarts == 4

    def test_one_with_a_gate_that_does_not_serve_goes_through_the_way_in(self) -> None:
        """Our resource was deleted and created again while it started."""
        adopted = move(decided(warm_up(), new("a", running(), unmanaged(), having(gate_open=True))), "a")
        assert (adopted.gate, adopted.passage.stage) == (False, Stage.STARTING)

    def test_one_without_a_gate_is_taken_for_admitted_as_soon_as_it_is_ready(self) -> None:
        starting = new("a", running(), ungated())
        assert moves(decided(warm_up(), starting)) == {}
        ready = new("a", containers_ready(), ungated(), having(ready=True, ready_since=ago(0)), listed())
        assert move(decided(warm_up(), ready), "a").passage.stage is Stage.ADMITTED

    def test_a_label_that_was_taken_off_is_put_back_wherever_the_pod_is(self) -> None:
        going = old("a", draining(1), having(managed=False))
        adopted = move(decided(*NEW_ONES, going), "a")
        assert (adopted.verb, adopted.passage) == (Verb.ADOPT, going.passage)

    def test_a_pod_that_lost_the_label_and_its_readiness_keeps_its_gate(self) -> None:
        adopted = move(decided(new("a", serving(), crashed(), having(managed=False))), "a")
        assert (adopted.gate, adopted.passage.stage) == (None, Stage.ADMITTED)


class TestWithoutAGate:
    """The Ready condition stands in for it, and a policy keeps the kubelet from setting that to rights."""

    def test_it_is_withdrawn_by_its_ready_condition(self) -> None:
        withdrawal = move(decided(*NEW_ONES, old("a", serving(), ungated())), "a")
        assert (withdrawal.verb, withdrawal.gate) == (Verb.WITHDRAW, False)

    @pytest.mark.parametrize("stage", [draining, drained])
    def test_it_is_withdrawn_again_and_settles_anew_if_somebody_has_let_it_in(
        self, stage: Callable[[float], PodModifier]
    ) -> None:
        back = old("a", stage(3), ungated(), listed(), having(ready=True, ready_since=NOW))
        again = move(decided(*NEW_ONES, back), "a")
        assert (again.verb, again.gate, again.passage.gone_at) == (Verb.WITHDRAW, False, None)

    def test_it_settles_like_any_other(self) -> None:
        assert moves(decided(*NEW_ONES, old("a", draining(4), ungated()))) == {}
        assert moves(decided(*NEW_ONES, old("a", draining(6), ungated()))) == {"a": Verb.MARK_DRAINED}

    def test_it_is_let_in_again_by_its_ready_condition(self) -> None:
        readmitted = move(decided(new("a", draining(3), ungated())), "a")
        assert (readmitted.verb, readmitted.gate) == (Verb.READMIT, True)

    def test_but_not_against_the_kubelet_whose_containers_are_not_ready(self) -> None:
        readmitted = move(decided(new("a", draining(3), ungated(), crashed())), "a")
        assert (readmitted.verb, readmitted.gate) == (Verb.READMIT, None)


class TestLettingGo:
    def test_in_observe_everything_of_ours_comes_off(self) -> None:
        decision = decided(observing(), *NEW_ONES, old("a", withdrawn(1)), keeping(new=2, old=1))
        assert let_go_of(decision) == {"x", "y", "a"}
        assert keeps(decision) == {"new": None, "old": None}
        assert decision.wake_at is None

    def test_it_is_said_what_would_be_done(self) -> None:
        decision = decided(observing(), *(replace(pod, managed=False) for pod in NEW_ONES), old("a", serving()))
        assert decision.status.phase == "Observing"
        assert decision.status.waiting_for == "would withdraw and drain a"

    def test_afterwards_there_is_nothing_left_to_do(self) -> None:
        """The gate stays open: a pod cannot lose it."""
        free = new("a", serving(), unmanaged())
        adopted = new("b", serving(), ungated(), unmanaged())
        assert let_go((free, adopted), ()) == ()

    def test_a_pod_that_somebody_else_closed_or_wrote_on_is_not_left_behind(self) -> None:
        shut = new("a", running(), unmanaged())
        written = new("b", serving(), ungated(), unmanaged(), passing(cost_before="7"))
        assert {step.pod.name for step in let_go((shut, written), ()) if isinstance(step, LetGo)} == {"a", "b"}

    def test_pods_that_are_going_anyway_are_left_alone(self) -> None:
        assert let_go((new("a", serving(), deleting()),), ()) == ()

    def test_a_target_that_is_not_there_leaves_nothing_to_take_care_of(self) -> None:
        decision = decided(new("a", serving()), rejected())
        assert let_go_of(decision) == {"a"}
        assert condition(decision, "Accepted") == ("False", "TargetNotFound")

    def test_nothing_is_done_for_a_target_that_cannot_be_taken_care_of(self) -> None:
        taken = replace(world(new("a", containers_ready(), unlisted())), problem=rejected()(world()).problem)
        decision = decided(lambda _: taken)
        assert moves(decision) == {}
        assert decision.status.phase == "Rejected"

    def test_a_passage_says_nothing_of_a_pod_that_was_let_go(self) -> None:
        assert unmanaged()(new("a", serving())).passage == Passage()


def test_scaling_to_nothing_takes_every_pod_out() -> None:
    decision = decided(wanted(0), new("a", serving()), new("b", serving(), ungated()))
    assert set(moves(decision).values()) == {Verb.WITHDRAW}
