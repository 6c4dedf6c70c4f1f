"""Argo Rollouts behind the doors and the hold: whatever is asked, and whenever, it comes to an end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.argo import Argo

LONG_ENOUGH = 300
"""Seconds: some ten for each pod, and there are six at most."""

Act = tuple[str, int, int]
acts = st.lists(
    st.tuples(
        st.sampled_from(["release", "undo", "scale", "kill", "abort", "retry", "pause", "promote"]),
        st.integers(1, 6),
        st.integers(0, 15),
    ),
    max_size=6,
)
limits = st.tuples(st.integers(0, 2), st.integers(0, 2)).filter(any)


def play(argo: Argo, acts: list[Act]) -> Argo:
    """Each act, and so many seconds after it; then, promoted, until everything is at rest."""
    settle(argo)
    for what, number, seconds in acts:
        match what:
            case "release":
                argo.current, argo.aborted = max(argo.sets) + 1, False
            case "undo":
                argo.current, argo.aborted = max(1, argo.current - 1), False
            case "abort":
                argo.aborted = argo.stable != argo.current
            case "retry":
                argo.aborted = False
            case "pause":
                argo.weight = 50
            case "promote":
                argo.weight = 100
            case "kill":
                live = [pod for pod in argo.pods.values() if pod.live]
                if live:
                    pod = live[number % len(live)]
                    argo.pods[pod.uid] = replace(pod, deleting_since=argo.now, ready=False)
            case "scale":
                argo.wanted = number
        for _ in range(seconds):
            argo.tick()
    argo.weight, argo.aborted = 100, False
    settle(argo)
    return argo


def settle(argo: Argo) -> None:
    for _ in range(LONG_ENOUGH):
        argo.tick()
        if argo.at_rest():
            return
    raise AssertionError(f"it stands still: {argo}")


@settings(max_examples=100, deadline=None)
@given(limits, st.booleans(), st.booleans(), acts)
def test_a_canary_comes_to_rest(limits: tuple[int, int], holds: bool, affine: bool, acts: list[Act]) -> None:
    surge, unavailable = limits
    play(Argo(max_surge=surge, max_unavailable=unavailable, holds=holds, affine=affine), acts)


@settings(max_examples=60, deadline=None)
@given(st.booleans(), st.booleans(), acts)
def test_a_blue_green_one_comes_to_rest(holds: bool, affine: bool, acts: list[Act]) -> None:
    play(Argo(blue_green=True, holds=holds, affine=affine), acts)


@pytest.mark.parametrize("blue_green", [False, True], ids=["canary", "blue-green"])
def test_with_the_hold_a_release_and_a_scale_in_are_refused_nothing(blue_green: bool) -> None:
    acts: list[Act] = [("release", 0, 60), ("scale", 1, 30)]
    assert play(Argo(blue_green=blue_green), acts).refused == 0
    assert play(Argo(blue_green=blue_green, holds=False), acts).refused > 0, "the negative control"


@pytest.mark.parametrize("limits", [(1, 0), (1, 1), (2, 2)])
def test_where_there_is_a_surge_no_fewer_serve_than_are_wanted(limits: tuple[int, int]) -> None:
    argo = Argo(max_surge=limits[0], max_unavailable=limits[1])
    settle(argo)
    argo.fewest = argo.wanted
    play(argo, [("release", 0, 5), ("release", 0, 5), ("abort", 0, 10), ("retry", 0, 0)])
    assert argo.fewest == argo.wanted


def test_held_up_where_its_controller_goes_on_only_afterwards_it_would_stand_still() -> None:
    """The negative control: asked to let old pods go before there are new ones, it would make none."""
    argo = Argo(max_surge=1, max_unavailable=1)
    assert play(argo, [("release", 0, 0)])
    with pytest.raises(AssertionError, match="it stands still"):
        play(Argo(max_surge=1, max_unavailable=1, knows_who_is_first=False), [("release", 0, 0)])
