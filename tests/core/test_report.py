"""What is said of it all."""

from datetime import timedelta

import pytest

from lossless.api.resource import LosslessRolloutStatus
from lossless.core.world import Pod
from tests.core.given import (
    NOW,
    PodModifier,
    WorldModifier,
    condition,
    containers_ready,
    decided,
    draining,
    having_status,
    held,
    missing_in,
    new,
    observing,
    old,
    paused,
    recreating,
    rejected,
    serving,
    unlisted,
    wait_of,
    wanted,
    warm_up,
    warming,
    withdrawn,
)

BOTH = (new("x", serving()), new("y", serving()))


@pytest.mark.parametrize(
    ("phase", "parts"),
    [
        ("Ready", BOTH),
        ("WarmingUp", (*BOTH, wanted(3), warm_up(), new("a", warming()))),
        ("ScalingIn", (*BOTH, wanted(1))),
        ("Releasing", (*BOTH, old("a", draining(1)))),
        ("Paused", (new("x", serving()), old("a", serving()), paused())),
        ("Stalled", (*BOTH, old("a", withdrawn(601)))),
        ("Degraded", BOTH[:1]),
        ("Observing", (*BOTH, observing())),
        ("Rejected", (*BOTH, rejected())),
    ],
)
def test_the_phase_is_one_word_for_where_it_stands(phase: str, parts: tuple[Pod | WorldModifier, ...]) -> None:
    assert decided(*parts).status.phase == phase


def test_ready_when_all_serve_and_none_is_under_way() -> None:
    decision = decided(*BOTH)
    assert condition(decision, "Ready") == ("True", "AllServing")
    assert condition(decision, "Reconciling") == ("False", "Idle")
    assert condition(decision, "Stalled") == ("False", "NotStalled")
    assert condition(decision, "Accepted") == ("True", "TargetFound")
    assert decision.status.ready == "2/2"


def test_reconciling_while_pods_are_under_way() -> None:
    decision = decided(*BOTH, old("a", draining(1)))
    assert condition(decision, "Ready") == ("False", "PassagesOpen")
    assert condition(decision, "Reconciling") == ("True", "PassagesOpen")


def test_stalled_when_a_wait_is_past_its_timeout() -> None:
    decision = decided(*BOTH, old("a", withdrawn(601)))
    assert condition(decision, "Stalled") == ("True", "StillListed")


def test_what_is_said_first_is_what_matters_most() -> None:
    slow = new("slow", containers_ready(), unlisted(), held("in: x"))
    decision = decided(wanted(3), *BOTH, slow, old("a", draining(1)), old("b", draining(2)))
    assert decision.status.waiting_for.startswith("b: gone from every traffic source")
    assert decision.status.waiting_for.endswith("(and 2 more)")


def test_counts_do_not_overlap() -> None:
    counts = decided(wanted(3), warm_up(), *BOTH, new("a", warming()), old("b", draining(1))).status.pods
    assert (counts.desired, counts.serving, counts.in_, counts.out) == (3, 2, 1, 1)


def test_a_condition_keeps_its_transition_time_while_its_status_stays_the_same() -> None:
    first = decided(*BOTH).status
    later = decided(*BOTH, having_status(first), now=NOW + timedelta(hours=1)).status
    assert later.conditions == first.conditions
    changed = decided(*BOTH[:1], having_status(later), now=NOW + timedelta(hours=2)).status
    times = {one.type: one.last_transition_time for one in changed.conditions}
    assert times["Ready"] == "2026-03-04T14:00:00Z"
    assert times["Accepted"] == "2026-03-04T12:00:00Z"


@pytest.mark.parametrize("pods", [1, 500])
def test_the_size_of_the_status_does_not_grow_with_the_pods(pods: int) -> None:
    many = [old(f"pod-{number}", draining(1)) for number in range(pods)]
    status = decided(wanted(pods), recreating(), *many).status
    assert len(status.model_dump_json()) < 3000


@pytest.mark.parametrize("words", [held("in: " + "ü" * 5000)])
def test_somebody_elses_words_do_not_make_it_invalid(words: PodModifier) -> None:
    status = decided(new("a", containers_ready(), unlisted(), words)).status
    assert LosslessRolloutStatus.model_validate(status.model_dump(by_alias=True)) == status


def test_one_that_is_let_in_and_not_registered_says_what_the_others_wait_for() -> None:
    decision = decided(new("x", serving(), missing_in("consul", 3)), old("a", serving()), old("b", serving()))
    assert wait_of(decision, "x").reason == "NotHandedOut"
    assert decision.status.waiting_for.startswith("x: let in, but not in consul")
    ready = next(one for one in decision.status.conditions if one.type == "Ready")
    assert ready.message.startswith("2 of 2 pods are serving. x: let in, but not in consul")
