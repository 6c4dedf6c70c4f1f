"""The way in: each check alone, its timeout, and what happens when the pod starts over on its way."""

import pytest

from lossless.core.passage import Stage
from lossless.core.steps import Verb
from tests.core.given import (
    NOW,
    ago,
    asking,
    containers_ready,
    crashed,
    decided,
    established,
    having,
    held,
    keeping,
    let_in,
    listed,
    move,
    moves,
    new,
    old,
    passing,
    requested,
    restarted,
    running,
    serving,
    started_warmups,
    unlisted,
    wait_of,
    wanted,
    warm_up,
    warming,
    within,
)


def test_a_pod_waits_until_its_containers_are_ready() -> None:
    decision = decided(new("a", running()))
    assert moves(decision) == {"a": Verb.NOTE}
    assert wait_of(decision, "a").reason == "ContainersNotReady"


def test_with_no_warm_up_asked_for_it_is_let_in_as_soon_as_its_containers_are_ready() -> None:
    admitted = move(decided(new("a", containers_ready(0))), "a")
    assert (admitted.verb, admitted.gate, admitted.event) == (Verb.ADMIT, True, None)
    assert (admitted.passage.stage, admitted.passage.admitted_at) == (Stage.ADMITTED, NOW)


def test_it_waits_for_the_delay_and_is_looked_at_again_when_that_is_over() -> None:
    decision = decided(asking(warmup={"delay": "5s"}), new("a", containers_ready(3)))
    assert (wait_of(decision, "a").stage, wait_of(decision, "a").reason) == (Stage.SETTLING, "Delay")
    assert wait_of(decision, "a").until == within(2)
    assert moves(decided(asking(warmup={"delay": "5s"}), new("a", containers_ready(5)))) == {"a": Verb.ADMIT}


def test_warm_up_is_written_on_the_pod_before_it_begins() -> None:
    decision = decided(warm_up(), new("a", containers_ready(), unlisted()))
    assert moves(decision) == {"a": Verb.WARM_UP}
    assert started_warmups(decision) == {"a": 0}
    verbs = [type(step).__name__ for step in decision.steps]
    assert verbs.index("Move") < verbs.index("StartWarmup")


def test_a_pod_that_warms_up_is_left_alone_meanwhile() -> None:
    decision = decided(warm_up(), keeping(new=2), new("a", warming(), requested(10)))
    assert decision.steps == ()
    assert wait_of(decision, "a").message == "10 of 50 warm-up requests"


def test_a_warm_pod_is_let_in() -> None:
    admitted = move(decided(warm_up(), new("a", warming(), requested(50))), "a")
    assert (admitted.verb, admitted.reason, admitted.passage.warmed) == (Verb.ADMIT, "Admitted", 50)


def test_failed_warm_up_requests_are_said_and_not_fatal() -> None:
    admitted = move(decided(warm_up(), new("a", warming(), requested(50, failed=3))), "a")
    assert (admitted.verb, admitted.reason) == (Verb.ADMIT, "WarmupFailed")
    assert admitted.event
    assert admitted.event.warning


def test_an_operator_that_was_restarted_goes_on_where_the_last_one_stopped() -> None:
    decision = decided(warm_up(), keeping(new=2), new("a", warming(warmed=25)))
    assert started_warmups(decision) == {"a": 25}
    assert moves(decision) == {}


def test_how_far_a_long_warm_up_is_gets_written_down_now_and_then() -> None:
    noted = move(decided(warm_up(), new("a", warming(10), requested(25))), "a")
    assert (noted.verb, noted.passage.warmed) == (Verb.NOTE, 25)


def test_how_far_a_short_warm_up_is_is_not_worth_a_write() -> None:
    assert moves(decided(warm_up(), new("a", warming(1), requested(25)))) == {}


class TestStartingOver:
    def test_a_restart_on_the_way_begins_warm_up_anew(self) -> None:
        a = new("a", warming(10), requested(40), restarted(), containers_ready(2))
        decision = decided(warm_up(), a)
        assert moves(decision) == {"a": Verb.WARM_UP}
        assert started_warmups(decision) == {"a": 0}

    def test_while_its_containers_are_down_the_warm_up_made_so_far_is_struck_out(self) -> None:
        noted = move(decided(warm_up(), new("a", warming(1, warmed=25), crashed())), "a")
        assert (noted.passage.stage, noted.passage.warmed) == (Stage.STARTING, 0)

    def test_a_kubelet_whose_clock_is_ahead_is_waited_for(self) -> None:
        decision = decided(warm_up(), new("a", containers_ready(), having(containers_ready_since=within(1))))
        assert moves(decision) == {}
        assert decision.wake_at == within(1)

    def test_it_is_cold_again_when_a_container_restarts_after_it_was_let_in(self) -> None:
        closed = move(decided(warm_up(), new("a", serving(), restarted(), crashed()), new("b", serving())), "a")
        assert (closed.verb, closed.gate, closed.passage.stage) == (Verb.CLOSE, False, Stage.STARTING)

    def test_one_that_serves_after_a_restart_is_only_closed_as_far_as_the_floor_allows(self) -> None:
        cold = [new(name, serving(), restarted()) for name in ("a", "b", "c")]
        assert moves(decided(warm_up(), wanted(3, unavailable=1), *cold)) == {}
        assert list(moves(decided(warm_up(), wanted(3, surge=0, unavailable=1), *cold)).values()) == [Verb.CLOSE]

    def test_nothing_is_closed_where_there_is_no_warm_up_to_go_through(self) -> None:
        assert moves(decided(new("a", serving(), restarted(), crashed()), new("b", serving()))) == {}

    def test_losing_readiness_alone_closes_nothing(self) -> None:
        assert moves(decided(warm_up(), new("a", serving(), crashed()), new("b", serving()))) == {}

    def test_fewer_restarts_than_before_mean_nothing(self) -> None:
        a = new("a", serving(), passing(admitted_restarts=3), having(restarts=0))
        assert moves(decided(warm_up(), a, new("b", serving()))) == {}


class TestSlots:
    def test_no_more_warm_up_at_once_than_max_parallel(self) -> None:
        pods = [new(name, containers_ready(), unlisted()) for name in "abc"]
        decision = decided(wanted(4), warm_up(maxParallel=2), *pods)
        assert moves(decision) == {"a": Verb.WARM_UP, "b": Verb.WARM_UP, "c": Verb.NOTE}
        assert wait_of(decision, "c").reason == "WarmupSlot"

    def test_at_least_one_may(self) -> None:
        decision = decided(wanted(3), warm_up(maxParallel="0%"), new("a", containers_ready()))
        assert moves(decision) == {"a": Verb.WARM_UP}

    def test_who_has_a_slot_keeps_it_when_max_parallel_is_lowered(self) -> None:
        pods = [new(name, warming(), requested(5)) for name in "ab"]
        decision = decided(wanted(4), keeping(new=4), warm_up(maxParallel=1), *pods)
        assert {wait.reason for _, wait in decision.waits} == {"WarmingUp"}

    def test_a_pod_whose_containers_are_down_takes_no_slot(self) -> None:
        a = new("a", running(), passing(stage=Stage.WARMING, since=ago(9)))
        decision = decided(wanted(4), warm_up(maxParallel=1), a, new("b", containers_ready()))
        assert moves(decision)["b"] == Verb.WARM_UP

    def test_one_still_in_its_delay_yields_to_one_past_it(self) -> None:
        early = new("early", containers_ready(1), having(created_at=ago(99)))
        decision = decided(
            wanted(4), warm_up(maxParallel=1, delay="5s"), early, new("late", containers_ready(6), unlisted())
        )
        assert moves(decision) == {"late": Verb.WARM_UP}


class TestTimeout:
    LATE = 601

    def test_it_is_let_in_after_the_timeout_and_this_is_said(self) -> None:
        a = new("a", warming(), requested(20), containers_ready(self.LATE), requested(20))
        admitted = move(decided(warm_up(), a), "a")
        assert (admitted.verb, admitted.reason) == (Verb.ADMIT, "WarmupTimedOut")
        assert admitted.event
        assert "20 of 50" in admitted.event.message

    def test_what_it_still_waited_for_is_said_whatever_it_was(self) -> None:
        a = new("a", containers_ready(self.LATE), unlisted(), held("in: target group"))
        event = move(decided(a), "a").event
        assert event
        assert "exporter keeps the door in shut: target group" in event.message

    def test_containers_that_are_not_ready_are_never_made_up_for(self) -> None:
        assert moves(decided(new("a", containers_ready(self.LATE), crashed()))) == {"a": Verb.NOTE}

    @pytest.mark.parametrize("failed", [0, 3])
    def test_on_failure_hold_lets_no_pod_in_that_has_not_succeeded(self, failed: int) -> None:
        a = new("a", warming(9), containers_ready(self.LATE), requested(20, failed=failed))
        decision = decided(warm_up(onFailure="Hold"), a, wanted(1))
        assert moves(decision).get("a") is not Verb.ADMIT
        assert wait_of(decision, "a").overdue

    def test_on_failure_hold_lets_nobody_in_who_only_waited_for_a_slot(self) -> None:
        a = new("a", warming(9), containers_ready(self.LATE), requested(50, failed=50))
        b = new("b", containers_ready(self.LATE), unlisted())
        decision = decided(warm_up(onFailure="Hold", maxParallel=1), a, b)
        assert Verb.ADMIT not in moves(decision).values()
        assert wait_of(decision, "b").overdue

    def test_on_failure_hold_with_nothing_to_fail_times_out_as_ever(self) -> None:
        a = new("a", containers_ready(self.LATE), unlisted(), held("in: target group"))
        assert moves(decided(asking(warmup={"onFailure": "Hold"}), a)) == {"a": Verb.ADMIT}


class TestHold:
    def test_a_failed_round_keeps_it_out_and_is_written_down_once(self) -> None:
        a = new("a", warming(9), requested(50, failed=2))
        noted = move(decided(warm_up(onFailure="Hold"), a), "a")
        assert (noted.verb, noted.reason) == (Verb.NOTE, "WarmupFailed")
        again = new("a", warming(9), requested(50, failed=2), lambda pod: having(passage=noted.passage)(pod))
        assert moves(decided(warm_up(onFailure="Hold"), again)) == {}

    def test_it_stalls_at_the_timeout_and_is_looked_at_again_then(self) -> None:
        a = new("a", warming(9), containers_ready(590), requested(50, failed=2))
        decision = decided(warm_up(onFailure="Hold"), a)
        assert not wait_of(decision, "a").overdue
        assert wait_of(decision, "a").until == within(10)

    def test_an_overdue_one_is_not_written_to_at_every_look(self) -> None:
        a = new("a", warming(700), requested(50, failed=2), containers_ready(700), requested(50, failed=2))
        noted = move(decided(warm_up(onFailure="Hold"), a), "a").passage
        again = having(passage=noted)(a)
        assert moves(decided(warm_up(onFailure="Hold"), again)) == {}

    def test_it_is_let_in_once_a_round_has_succeeded(self) -> None:
        a = new("a", warming(9), requested(50))
        assert moves(decided(warm_up(onFailure="Hold"), a)) == {"a": Verb.ADMIT}

    def test_not_even_too_few_serving_pods_let_in_one_that_has_failed(self) -> None:
        decision = decided(
            warm_up(onFailure="Hold"),
            wanted(2),
            established(2),
            new("a", warming(9), requested(50, failed=50)),
            new("b", warming(9), requested(3)),
        )
        assert moves(decision) == {"a": Verb.NOTE, "b": Verb.ADMIT}


class TestHeldByOthers:
    def test_somebody_else_may_keep_the_door_in_shut(self) -> None:
        decision = decided(new("a", containers_ready(), unlisted(), held("in: target group")))
        assert wait_of(decision, "a").message == "exporter keeps the door in shut: target group"
        assert wait_of(decision, "a").until == within(570)

    def test_a_hold_on_the_way_out_does_not_matter_on_the_way_in(self) -> None:
        assert moves(decided(new("a", containers_ready(), unlisted(), held("out: dump")))) == {"a": Verb.ADMIT}

    @pytest.mark.parametrize("text", ["both: x", "x", ""])
    def test_a_hold_that_names_no_door_keeps_both_shut(self, text: str) -> None:
        assert moves(decided(new("a", containers_ready(), unlisted(), held(text)))) == {"a": Verb.NOTE}

    def test_a_long_reason_of_somebody_else_is_not_copied_whole(self) -> None:
        noted = move(decided(new("a", containers_ready(), unlisted(), held("in: " + "x" * 100_000))), "a")
        assert len(noted.passage.waiting_for) < 1000


class TestSomebodyElseAtTheGate:
    def test_a_gate_that_was_closed_by_somebody_else_is_opened_again(self) -> None:
        reopened = move(decided(new("a", serving(), having(gate_open=False)), new("b", serving())), "a")
        assert (reopened.verb, reopened.gate, reopened.passage.stage) == (Verb.ADMIT, True, Stage.ADMITTED)

    def test_a_pod_that_somebody_else_has_let_in_and_that_serves_goes_on_serving(self) -> None:
        a = new("a", containers_ready(), listed(), having(gate_open=True, ready=True, ready_since=ago(1)))
        adopted = move(decided(warm_up(), a), "a")
        assert (adopted.verb, adopted.passage.stage, adopted.gate) == (Verb.ADOPT, Stage.ADMITTED, None)

    def test_a_gate_opened_before_the_pod_was_ready_is_closed(self) -> None:
        closed = move(decided(warm_up(), new("a", running(), having(gate_open=True))), "a")
        assert (closed.gate, closed.passage.stage) == (False, Stage.STARTING)


def test_a_pod_let_in_that_is_not_ready_yet_is_left_alone() -> None:
    assert moves(decided(new("a", let_in(0)), new("b", serving()))) == {}


def test_a_ramp_goes_on_for_an_operator_that_has_just_been_started_and_has_not_asked_its_registry_yet() -> None:
    """Nothing is known of any registration then. Let in, the pod would be given a full share in mid-ramp."""
    nacos = {"name": "nacos", "nacos": {"servers": ["http://nacos:8848/nacos"], "service": "web"}}
    ramps = asking(warmup={"ramp": {"duration": "20s"}}, traffic={"registries": [nacos]})
    half_way = new("c", containers_ready(), passing(stage=Stage.RAMPING, since=ago(10)))
    wait = wait_of(decided(ramps, old("a", serving()), old("b", serving()), half_way), "c")
    assert (wait.stage, wait.since) == (Stage.RAMPING, ago(10))
