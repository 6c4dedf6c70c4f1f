"""The hold labels: raised before pods are written to, lowered after, and never in the way."""

import pytest

from lossless.core.steps import Move, SetKeep
from tests.core.given import (
    PodModifier,
    cannot_create,
    decided,
    deleting,
    drained,
    draining,
    having,
    keeping,
    keeps,
    moves,
    new,
    old,
    passing,
    paused,
    serving,
    unobserved,
    wanted,
    warming,
    withdrawn,
    within,
    without_a_current_revision,
)

NEW_ONES = (new("x", serving()), new("y", serving()))


def test_a_replica_set_that_grows_is_kept_at_what_it_grows_to_so_that_this_costs_one_write() -> None:
    assert keeps(decided(wanted(5), new("a", warming()))) == {"new": 5}
    assert keeps(decided(wanted(5), keeping(new=5), new("a", serving()), new("b", warming()))) == {}


def test_one_that_must_go_is_kept_at_exactly_its_undrained_pods() -> None:
    decision = decided(*NEW_ONES, keeping(new=2), old("a", draining(1)), old("b", withdrawn(1)), old("c", drained(1)))
    assert keeps(decision) == {"old": 2}


def test_so_is_one_that_is_scaled_in() -> None:
    decision = decided(wanted(1), keeping(new=9), new("a", serving(9)), new("b", serving(8)), new("c", drained(1)))
    assert keeps(decision) == {"new": 2}


def test_many_go_a_few_at_a_time_so_that_others_have_their_turn() -> None:
    many = [new(f"p{number}", drained(1)) for number in range(29)]
    assert keeps(decided(wanted(1), keeping(new=30), new("a", serving()), *many)) == {"new": 20}


def test_the_label_is_lowered_after_the_pod_was_marked_drained() -> None:
    decision = decided(*NEW_ONES, keeping(old=1, new=2), old("a", draining(5)))
    assert [type(step) for step in decision.steps] == [Move, SetKeep]
    assert keeps(decision) == {"old": 0}


def test_the_label_is_raised_before_a_pod_is_let_in_again() -> None:
    decision = decided(keeping(new=1), new("a", drained(5)), new("b", serving()))
    assert [type(step) for step in decision.steps] == [SetKeep, Move]
    assert keeps(decision) == {"new": 2}


def test_one_that_could_not_create_pods_is_woken_every_three_seconds_once_there_is_room_again() -> None:
    two_of_three = (new("x", serving()), new("y", serving()))
    woken = [
        keeps(decided(wanted(3), keeping(new=3), cannot_create(seconds), *two_of_three))["new"] for seconds in (0, 3, 6)
    ]
    assert woken == [4, 5, 4]
    assert decided(wanted(3), keeping(new=4), cannot_create(0), *two_of_three).wake_at == within(3)
    full = (*two_of_three, old("a", serving()))
    assert keeps(decided(wanted(3), keeping(new=3, old=1), cannot_create(0), *full)) == {}


def test_also_before_it_has_a_single_pod() -> None:
    decision = decided(wanted(2), keeping(old=1, new=0), cannot_create(0), old("a", serving()))
    assert keeps(decision) == {"new": 3}


def test_while_paused_the_old_one_is_kept_too() -> None:
    decision = decided(paused(), wanted(4), keeping(new=4), new("a", serving()), old("b", serving()))
    assert keeps(decision) == {"old": 4}


@pytest.mark.parametrize("gone", [deleting(), having(phase="Failed")])
def test_pods_that_are_going_anyway_are_not_kept(gone: PodModifier) -> None:
    decision = decided(*NEW_ONES, keeping(new=2, old=2), old("a", draining(1)), old("b", serving(), gone))
    assert keeps(decision) == {"old": 1}


def test_an_old_replica_set_whose_last_pod_has_skipped_the_door_is_not_held_any_more() -> None:
    """Held at one, and with no room for that one, it would stand in the way of the release for ever."""
    assert keeps(decided(*NEW_ONES, keeping(new=2, old=1))) == {"old": 0}


def test_old_replica_sets_that_never_had_the_label_do_not_get_it() -> None:
    assert keeps(decided(*NEW_ONES, keeping(new=2, old=None))) == {}
    assert keeps(decided(*NEW_ONES, keeping(new=2, old=0))) == {}


def test_nothing_is_lowered_below_the_undrained_pods_while_the_controller_is_behind() -> None:
    decision = decided(unobserved(), keeping(new=2, old=9), *NEW_ONES, old("a", serving()), old("b", draining(9)))
    assert keeps(decision) == {"old": 2}


def test_with_no_current_replica_set_yet_every_one_is_on_its_way_out() -> None:
    decision = decided(without_a_current_revision(), keeping(old=5), old("a", draining(1)), old("b", draining(1)))
    assert keeps(decision) == {"old": 2}


def test_a_mark_that_is_taken_back_counts_again_at_once() -> None:
    open_again = old("a", drained(3), having(gate_open=True), passing(cost_before=""))
    decision = decided(*NEW_ONES, keeping(new=2, old=0), open_again)
    assert moves(decision).keys() == {"a"}
    assert keeps(decision) == {"old": 1}
