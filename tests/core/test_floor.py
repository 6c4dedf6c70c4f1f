"""How many must serve, what happens when fewer do, and how a release ends where there is no room."""

import pytest

from lossless.core.passage import Stage
from lossless.core.steps import Verb
from tests.core.given import (
    WorldModifier,
    asking,
    cannot_create,
    condition,
    containers_ready,
    crashed,
    decided,
    established,
    having,
    held,
    let_in,
    move,
    moves,
    new,
    old,
    passing,
    recreating,
    requested,
    restarted,
    serving,
    unlisted,
    unschedulable,
    wait_of,
    wanted,
    warm_up,
    warming,
    within,
)

OLD_ONES = tuple(old(name, serving()) for name in "abc")


class TestFloor:
    def test_all_wanted_replicas_serve_while_there_is_room_for_a_surge(self) -> None:
        assert moves(decided(wanted(3, surge=1, unavailable=1), *OLD_ONES)) == {}

    def test_without_a_surge_as_many_go_as_may_be_unavailable(self) -> None:
        assert len(moves(decided(wanted(3, surge=0, unavailable=1), *OLD_ONES))) == 1

    def test_with_recreate_there_is_no_floor(self) -> None:
        assert len(moves(decided(wanted(3), recreating(), *OLD_ONES))) == 3

    @pytest.mark.parametrize(("seconds", "going"), [(9, 0), (10, 1)])
    def test_a_surge_pod_that_cannot_be_placed_for_ten_seconds_means_that_there_is_no_room(
        self, seconds: int, going: int
    ) -> None:
        decision = decided(wanted(3, surge=1, unavailable=1), *OLD_ONES, new("x", unschedulable(seconds)))
        assert len(moves(decision).keys() - {"x"}) == going

    def test_until_then_it_is_looked_at_again_in_time(self) -> None:
        decision = decided(wanted(3, surge=1, unavailable=1), *OLD_ONES, new("x", unschedulable(9)))
        assert decision.wake_at == within(1)

    def test_so_does_a_quota(self) -> None:
        decision = decided(wanted(3, surge=1, unavailable=1), *OLD_ONES, cannot_create(10))
        assert len(moves(decision)) == 1
        assert decision.status.waiting_for == "no room for a surge pod: going down by maxUnavailable (1) instead"

    def test_where_none_may_be_unavailable_it_is_said_what_to_do(self) -> None:
        decision = decided(wanted(3, surge=1, unavailable=0), *OLD_ONES, cannot_create(10))
        assert moves(decision) == {}
        assert "make room or allow maxUnavailable" in decision.status.waiting_for

    def test_an_old_pod_that_cannot_be_placed_says_nothing_of_room_for_new_ones(self) -> None:
        decision = decided(wanted(3, surge=1, unavailable=1), *OLD_ONES, old("x", unschedulable(60)))
        assert moves(decision) == {"x": Verb.MARK_DRAINED}


class TestLettingInTheCold:
    """Only where fewer serve than the strategy puts up with, of those that have served before."""

    COLD = (new("x", warming(), requested(3)), new("y", containers_ready(), unlisted()))

    def test_the_furthest_is_let_in_cold_and_this_is_said(self) -> None:
        decision = decided(warm_up(), wanted(4), established(3), new("a", serving()), new("b", serving()), *self.COLD)
        admitted = move(decision, "x")
        assert (admitted.verb, admitted.reason) == (Verb.ADMIT, "AdmittedCold")
        assert admitted.event
        assert "3 of 50 warm-up requests" in admitted.event.message
        assert moves(decision)["y"] is not Verb.ADMIT

    def test_a_delay_that_is_cut_short_is_said_too(self) -> None:
        decision = decided(asking(warmup={"delay": "60s"}), wanted(1), established(1), new("x", containers_ready(9)))
        assert move(decision, "x").reason == "AdmittedCold"

    @pytest.mark.parametrize("why", [established(0), wanted(4, unavailable=1)])
    def test_not_at_the_first_start_nor_within_what_the_strategy_tolerates(self, why: WorldModifier) -> None:
        decision = decided(
            warm_up(), wanted(4), established(3), why, new("a", serving()), new("b", serving()), *self.COLD
        )
        assert Verb.ADMIT not in moves(decision).values()

    def test_not_on_scale_out(self) -> None:
        decision = decided(warm_up(), wanted(6), established(2), new("a", serving()), new("b", serving()), *self.COLD)
        assert Verb.ADMIT not in moves(decision).values()

    def test_with_recreate_one_is_enough(self) -> None:
        decision = decided(warm_up(), recreating(), established(2), *self.COLD)
        assert list(moves(decision).values()).count(Verb.ADMIT) == 1

    def test_one_that_was_let_in_a_moment_ago_counts_although_nobody_has_seen_it_yet(self) -> None:
        decision = decided(
            warm_up(),
            wanted(4),
            established(3),
            new("a", serving()),
            new("b", serving()),
            new("c", let_in(0)),
            *self.COLD,
        )
        assert Verb.ADMIT not in moves(decision).values()

    def test_one_that_serves_and_one_that_was_just_let_in_are_two(self) -> None:
        """An ungated pod that serves beside them is not in the count of those let in: none may be forgotten."""
        ungated = new("a", serving(), having(gated=False), passing(stage=Stage.STARTING))
        decision = decided(
            warm_up(), wanted(4), established(3), ungated, new("b", let_in(0)), new("c", let_in(0)), *self.COLD
        )
        assert Verb.ADMIT not in moves(decision).values()

    def test_nobody_is_let_in_whose_door_somebody_else_keeps_shut(self) -> None:
        decision = decided(
            warm_up(), wanted(1), established(1), new("x", containers_ready(), unlisted(), held("in: not yet"))
        )
        assert moves(decision) == {"x": Verb.NOTE}


def test_the_pods_that_served_before_are_remembered_until_fewer_are_wanted() -> None:
    a = new("a", serving())
    assert decided(wanted(3), established(3), a).status.pods.established == 3
    assert decided(wanted(2), established(3), a).status.pods.established == 2
    assert decided(wanted(9), established(3), a).status.pods.established == 3


def test_a_degraded_workload_says_so() -> None:
    decision = decided(wanted(2), established(2), new("a", serving()), new("b", serving(), crashed()))
    assert decision.status.phase == "Degraded"
    assert condition(decision, "Ready") == ("False", "TooFewServing")
    assert decision.waits == ()


def test_what_the_floor_holds_is_said_of_the_pod() -> None:
    decision = decided(wanted(3), *OLD_ONES)
    assert wait_of(decision, "a").reason == "FloorHolds"


def test_with_recreate_the_last_one_that_serves_is_not_closed_only_to_be_let_in_cold() -> None:
    assert moves(decided(warm_up(), wanted(1), recreating(), established(1), new("a", serving(), restarted()))) == {}
