"""A load that rises in the middle of a release, when its autoscaler can't ask for more."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from lossless.api.resource import LosslessRolloutStatus, PodCounts
from lossless.core.steps import Verb
from lossless.core.world import Autoscaler, AutoscalerMetric, World
from tests.core.given import (
    NOW,
    WorldModifier,
    decided,
    having_status,
    move,
    moves,
    new,
    old,
    serving,
    wait_of,
    wanted,
    warm_up,
    warming,
)

OLD = old("a", serving(120)), old("b", serving(120)), old("c", serving(120))
RELEASE = wanted(3, surge=3), warm_up(), *OLD, new("d", warming()), new("e", warming()), new("f", warming())


def busy(ratio: float | None, most: int = 10) -> WorldModifier:
    """The autoscaler reads so much of its target in CPU, in the average of those that are ready."""
    one = Autoscaler("uid-web", "web", metrics=(AutoscalerMetric("cpu", ratio, of_pods=True),), most=most)

    def modify(seen: World) -> World:
        return replace(seen, autoscalers=(one,))

    return modify


def needing(pods: int) -> WorldModifier:
    """As it was found before."""
    return having_status(LosslessRolloutStatus(pods=PodCounts(needed=pods)))


@pytest.mark.parametrize(("ratio", "early"), [(1.09, []), (1.27, ["d"]), (1.5, ["d", "e"]), (9, ["d", "e", "f"])])
def test_as_many_are_let_in_early_as_the_load_needs(ratio: float, early: list[str]) -> None:
    decision = decided(*RELEASE, busy(ratio))
    assert moves(decision) == dict.fromkeys(early, Verb.ADMIT)
    assert {event.reason for name in early if (event := move(decision, name).event)} <= {"AdmittedCold"}


def test_no_more_than_the_autoscaler_may_want() -> None:
    assert not moves(decided(*RELEASE, busy(9, most=3)))


def test_whoever_was_let_in_early_replaces_nobody_as_long_as_others_are_on_their_way() -> None:
    """And the autoscaler's average is still of the others: it is not taken for what all of them have to do."""
    parts = wanted(3, surge=3), warm_up(), *OLD, new("d", serving(10)), new("e", warming()), new("f", warming())
    decision = decided(*parts, busy(1.27), needing(4))
    assert not moves(decision)
    assert "the load needs 4" in wait_of(decision, "a").message
    assert decision.status.pods.needed == 4
    assert len(moves(decided(*parts, busy(1.27)))) == 1, "or one would go"


def test_nor_until_the_autoscaler_has_had_the_time_to_see_them() -> None:
    def released(seconds: float) -> tuple[object, ...]:
        news = (new(name, serving(seconds)) for name in ("d", "e", "f"))
        decision = decided(wanted(3, surge=3), *OLD[:1], *news, busy(0.97))
        return moves(decision), decision.wake_at

    assert released(70) == ({}, NOW + timedelta(seconds=5))
    assert released(76)[0] == {"a": Verb.WITHDRAW}


def test_where_there_is_no_room_for_more_it_holds_nobody_back() -> None:
    parts = wanted(3, surge=0, unavailable=1), *OLD[:2], new("d", serving(60)), new("e", warming())
    assert moves(decided(*parts, busy(1.5)))["a"] is Verb.WITHDRAW


@pytest.mark.parametrize("ratio", [None, 0.5])
def test_what_was_needed_is_needed_no_more_when_the_load_has_gone(ratio: float | None) -> None:
    assert decided(*RELEASE, busy(ratio), needing(4)).status.pods.needed == 0
