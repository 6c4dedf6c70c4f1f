"""Pods that were there before, and giving everything back."""

from dataclasses import replace

import pytest

from lossless.core.decide import let_go
from lossless.core.passage import Passage, Stage
from lossless.core.steps import SetKeep, Verb
from tests.core.given import (
    NOW,
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
    wait_of,
    wanted,
    warm_up,
    withdrawn,
    within,
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
    """The Ready condition stands in for it, and the kubelet sets that to rights every ten seconds."""

    def test_it_is_withdrawn_by_its_ready_condition(self) -> None:
        withdrawal = move(decided(*NEW_ONES, old("a", serving(), ungated())), "a")
        assert (withdrawal.verb, withdrawal.gate) == (Verb.WITHDRAW, False)

    def test_it_is_withdrawn_again_whenever_the_kubelet_has_let_it_in(self) -> None:
        back = old("a", draining(3), ungated(), listed(), having(ready=True, ready_since=NOW))
        again = move(decided(*NEW_ONES, back), "a")
        assert (again.verb, again.gate, again.passage) == (Verb.WITHDRAW, False, back.passage)

    def test_that_does_not_make_it_settle_from_the_beginning(self) -> None:
        still_listed = old("a", draining(9), ungated(), listed())
        decision = decided(*NEW_ONES, keeping(new=2, old=1), still_listed)
        assert decision.steps == ()
        assert wait_of(decision, "a").reason == "StillListed"

    def test_its_condition_must_have_stood_for_a_while_to_be_believed(self) -> None:
        decision = decided(*NEW_ONES, old("a", draining(60), ungated(), having(ready_since=ago(3))))
        assert moves(decision) == {}
        assert decision.wake_at == within(3), "5 s, and it may have changed up to a second later than it says"
        settled = old("a", draining(60), ungated(), having(ready_since=ago(6)))
        assert moves(decided(*NEW_ONES, settled)) == {"a": Verb.MARK_DRAINED}

    @pytest.mark.parametrize(("stood", "more"), [(9, 3), (10, 2), (11, 1)])
    def test_it_does_not_go_when_the_kubelet_is_about_to_let_it_in(self, stood: float, more: float) -> None:
        """It would be listed again just as it dies."""
        decision = decided(
            *NEW_ONES, keeping(new=2, old=1), old("a", draining(60), ungated(), having(ready_since=ago(stood)))
        )
        assert decision.steps == ()
        assert "kubelet" in wait_of(decision, "a").message
        assert decision.wake_at == within(more)

    def test_when_that_is_shows_at_the_first_time_and_until_then_it_stays(self) -> None:
        decision = decided(*NEW_ONES, keeping(new=2, old=1), old("a", draining(7), ungated()))
        assert (decision.steps, decision.wake_at) == ((), within(6))

    def test_the_withdrawal_itself_is_not_taken_for_a_sync(self) -> None:
        """It is decided in one second, and may be written in the next."""
        written_late = having(ready_since=ago(7))
        decision = decided(*NEW_ONES, keeping(new=2, old=1), old("a", draining(7), ungated(), written_late))
        assert (decision.steps, decision.wake_at) == ((), within(6))

    def test_a_kubelet_that_does_not_insist_is_not_waited_for(self) -> None:
        for going in (draining(13), having(ready_since=ago(12))):
            gone = old("a", draining(60), ungated(), going)
            assert moves(decided(*NEW_ONES, gone)) == {"a": Verb.MARK_DRAINED}
        assert moves(decided(*NEW_ONES, old("a", draining(6), ungated(), crashed()))) == {"a": Verb.MARK_DRAINED}

    def test_it_is_kept_out_when_it_is_drained_until_it_is_deleted(self) -> None:
        back = old("a", drained(3), ungated(), having(ready=True, ready_since=NOW))
        again = move(decided(*NEW_ONES, back), "a")
        assert (again.verb, again.gate, again.passage.drained_at) == (Verb.WITHDRAW, False, ago(3))

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
        assert {step.pod.name for step in let_go((shut, written), ()) if not isinstance(step, SetKeep)} == {"a", "b"}

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
