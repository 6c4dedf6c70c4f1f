"""Pods that are swapped one at a time, and the slots that they hand on."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossless.api import names
from lossless.core.steps import Verb
from lossless.core.swaps import SEEN_WITHIN
from lossless.core.world import Pod, World
from tests.core.given import (
    NOW,
    WorldModifier,
    asking,
    containers_ready,
    crashed,
    decided,
    draining,
    established,
    let_in,
    move,
    moves,
    new,
    old,
    passing,
    paused,
    requested,
    serving,
    spec,
    unlisted,
    wait_of,
    wanted,
    warming,
    withdrawn,
    within,
    world,
)
from tests.core.native import START
from tests.core.scenario import SETTLE, Scenario
from tests.core.shell import applied


def hashed(**sections: object) -> WorldModifier:
    return asking(traffic={"affinity": "Hash"}, **sections)


def two_old() -> tuple[Pod, Pod]:
    return old("a", serving(), passing(slot=0)), old("b", serving(), passing(slot=1))


def fit(name: str, seconds: float = 30) -> Pod:
    return new(name, containers_ready(seconds), unlisted())


class TestTurns:
    def test_of_those_that_are_ready_one_comes_in_and_the_other_waits(self) -> None:
        decision = decided(hashed(), *two_old(), fit("x", 31), fit("y", 30))
        assert moves(decision) == {"x": Verb.ADMIT, "y": Verb.NOTE}
        assert wait_of(decision, "y").reason == "Turn"

    def test_without_affinity_nobody_waits(self) -> None:
        assert moves(decided(*two_old(), fit("x"), fit("y"))) == {"x": Verb.ADMIT, "y": Verb.ADMIT}

    def test_the_old_one_stays_until_callers_have_the_new_one(self) -> None:
        x = new("x", let_in(1), passing(slot=0))
        assert moves(decided(hashed(), *two_old(), x, fit("y"))) == {"y": Verb.NOTE}

    def test_then_it_goes_and_the_next_one_still_waits(self) -> None:
        x = new("x", serving(1), passing(slot=1))
        assert moves(decided(hashed(), *two_old(), x, fit("y"))) == {"b": Verb.WITHDRAW, "y": Verb.NOTE}

    @pytest.mark.parametrize("left", [withdrawn(1), draining(3)])
    def test_until_the_old_one_is_out_of_sight_and_has_settled(self, left: object) -> None:
        a = old("a", left, passing(slot=0))  # type: ignore[arg-type]
        decision = decided(hashed(), a, old("b", serving()), new("x", serving(9), passing(slot=0)), fit("y"))
        assert wait_of(decision, "y").reason == "Turn"
        assert wait_of(decision, "y").until

    def test_one_that_only_finishes_its_requests_keeps_nobody_waiting(self) -> None:
        a = old("a", draining(6), passing(slot=0))
        sections = hashed(drain={"settle": "5s", "inFlight": {"port": 80}})
        decision = decided(sections, a, old("b", serving()), new("x", serving(9), passing(slot=0)), fit("y"))
        assert moves(decision)["y"] == Verb.ADMIT

    def test_one_that_never_leaves_keeps_them_waiting_for_the_drain_timeout_only(self) -> None:
        a = old("a", withdrawn(601), passing(slot=0))
        decision = decided(hashed(), a, old("b", serving()), new("x", serving(9), passing(slot=0)), fit("y"))
        assert moves(decision)["y"] == Verb.ADMIT

    def test_so_does_one_that_is_let_in_and_that_nobody_ever_lists(self) -> None:
        x = new("x", let_in(SEEN_WITHIN.total_seconds()), passing(slot=0))
        assert moves(decided(hashed(), *two_old(), x, fit("y", 20)))["y"] == Verb.ADMIT

    def test_warm_up_goes_on_beside_those_that_wait_for_their_turn(self) -> None:
        sections = hashed(warmup={"requests": [{"port": 80}], "maxParallel": 1})
        x = new("x", warming(), requested(50))
        y = new("y", warming(), requested(50))
        assert moves(decided(sections, *two_old(), x, y, fit("z")))["z"] == Verb.WARM_UP

    def test_the_timeout_of_the_warm_up_is_no_turn(self) -> None:
        decision = decided(hashed(), *two_old(), fit("x", 700), fit("y", 650))
        assert moves(decision) == {"x": Verb.ADMIT, "y": Verb.NOTE}

    def test_nobody_comes_in_while_the_workload_is_paused(self) -> None:
        decision = decided(hashed(), paused(), *two_old(), fit("x"))
        assert "paused" in wait_of(decision, "x").message


class TestWherePodsAreMissing:
    def test_all_of_them_come_in_at_once(self) -> None:
        decision = decided(hashed(), wanted(4), new("a", serving()), fit("x"), fit("y"), fit("z"))
        assert [verb for name, verb in moves(decision).items() if name != "a"] == [Verb.ADMIT] * 3

    def test_those_that_come_in_already_are_counted(self) -> None:
        decision = decided(hashed(), *two_old(), wanted(4), new("x", let_in(1), passing(slot=2)), fit("y"), fit("z"))
        assert [verb for name, verb in moves(decision).items()] == [Verb.ADMIT, Verb.NOTE]

    def test_below_what_the_strategy_tolerates_warm_or_not(self) -> None:
        sections = hashed(warmup={"requests": [{"port": 80}]})
        pods = old("a", crashed()), old("b", crashed()), new("x", warming(), requested(1))
        assert moves(decided(sections, established(2), *pods))["x"] == Verb.ADMIT

    def test_without_a_surge_one_goes_before_one_comes(self) -> None:
        three = [old(name, serving(), passing(slot=number)) for number, name in enumerate("abc")]
        assert list(moves(decided(hashed(), wanted(3, surge=0, unavailable=2), *three)).values()) == [Verb.WITHDRAW]

    def test_a_scale_in_goes_all_at_once(self) -> None:
        three = [new(name, serving(), passing(slot=number)) for number, name in enumerate("abc")]
        assert list(moves(decided(hashed(), wanted(1), *three)).values()) == [Verb.WITHDRAW] * 2


class TestSlots:
    def test_a_new_pod_takes_the_slot_of_the_one_that_goes_for_it(self) -> None:
        decision = decided(hashed(), *two_old(), fit("x"))
        slot = move(decision, "x").passage.slot
        then = decided(hashed(), *two_old(), new("x", serving(1), passing(slot=slot)))
        (goes,) = (step.pod for step in then.steps if isinstance(step, type(move(decision, "x"))))
        assert goes.passage.slot == slot

    def test_those_that_are_there_already_get_one_each(self) -> None:
        decision = decided(hashed(), new("a", serving(9)), new("b", serving(8)))
        assert {name: move(decision, name).passage.slot for name in "ab"} == {"a": 0, "b": 1}
        assert moves(decision) == {"a": Verb.NOTE, "b": Verb.NOTE}

    def test_without_affinity_nobody_has_one(self) -> None:
        assert move(decided(*two_old(), fit("x")), "x").passage.slot is None

    def test_a_new_one_fills_the_gap(self) -> None:
        pods = new("a", serving(), passing(slot=0)), new("c", serving(), passing(slot=2))
        assert move(decided(hashed(), wanted(3), *pods, fit("x")), "x").passage.slot == 1

    def test_of_two_that_stay_with_the_same_the_younger_gets_another(self) -> None:
        pods = new("a", serving(9), passing(slot=0)), new("b", serving(8), passing(slot=0))
        decision = decided(hashed(), *pods)
        assert {step.pod.name: step.passage.slot for step in [move(decision, "b")]} == {"b": 1}
        assert moves(decision) == {"b": Verb.NOTE}

    def test_who_is_wanted_again_has_its_own_again(self) -> None:
        a = new("a", withdrawn(2), passing(slot=1))
        x = old("x", serving(3), passing(slot=1))
        decision = decided(hashed(), new("b", serving(), passing(slot=0)), a, x)
        assert move(decision, "a").verb is Verb.READMIT
        assert move(decision, "a").passage.slot == 1


class Ring:
    """A ring over slots, one pod a slot: the youngest that callers have."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self.changes: list[dict[str, str]] = []

    def look(self) -> None:
        cluster = self._scenario.cluster
        listed = [pod for pod in cluster.pods.values() if pod.uid in cluster.listed]
        by_age = sorted(listed, key=lambda pod: (pod.created_at, pod.uid))
        homes = {pod.annotations.get(names.SLOT, "none"): pod.uid for pod in by_age}
        if not self.changes or homes != self.changes[-1]:
            self.changes.append(homes)


def watched(scenario: Scenario) -> list[dict[str, str]]:
    """Every state of the ring until nothing happens any more."""
    ring = Ring(scenario)

    def steps() -> Iterator[datetime]:
        while True:
            for _ in range(4000):
                changed = scenario.everything()
                ring.look()
                if not changed:
                    break
            at = scenario.next_event()
            if at is None:
                return
            scenario.cluster.now = at
            yield at

    assert all(at >= START for at in steps())
    return ring.changes


@settings(max_examples=max(10, settings().max_examples // 5))
@given(st.integers(1, 6), st.sampled_from([(1, 0), (2, 0), (2, 1), (5, 0)]), st.sampled_from([[], [{"port": 80}]]))
def test_a_release_changes_the_ring_once_for_each_slot_and_in_nothing_else(
    replicas: int, limits: tuple[int, int], requests: list[object]
) -> None:
    asked = spec(traffic={"affinity": "Hash"}, warmup={"requests": requests}, drain={"settle": f"{SETTLE:g}s"})
    surge, unavailable = limits
    scenario = Scenario.of(asked, replicas=replicas, surge=surge, unavailable=unavailable)
    scenario.run_out()
    scenario.release()
    changes = watched(scenario)
    scenario.must_have_converged()
    assert all(set(homes) == {str(slot) for slot in range(replicas)} for homes in changes)
    moved = Counter(slot for before, after in pairwise(changes) for slot in after if before[slot] != after[slot])
    assert moved == {str(slot): 1 for slot in range(replicas)}
    assert len(changes) == 1 + replicas, "one at a time"


def test_notes_of_slots_come_to_rest() -> None:
    begun: World = world(hashed(), new("a", serving(9)), new("b", serving(8)))
    assert moves(decided(hashed(), *applied(begun, decided(hashed(), *begun.pods).steps).pods)) == {}


def test_a_wait_for_a_turn_wakes_up_in_time() -> None:
    a = old("a", draining(3), passing(slot=0))
    decision = decided(hashed(), a, old("b", serving()), new("x", serving(9), passing(slot=0)), fit("y"))
    assert decision.wake_at is not None
    assert NOW < decision.wake_at <= within(2)


@pytest.mark.parametrize("seconds", range(0, 30, 3))
def test_undone_at_any_moment_each_slot_goes_there_and_back_at_most(seconds: int) -> None:
    scenario = Scenario.of(spec(traffic={"affinity": "Hash"}, drain={"settle": f"{SETTLE:g}s"}), replicas=3, surge=2)
    scenario.run_out()
    scenario.release()
    scenario.run(seconds)
    scenario.cluster.undo()
    changes = watched(scenario)
    scenario.must_have_converged()
    assert all(set(homes) == {"0", "1", "2"} for homes in changes)
    moved = Counter(slot for before, after in pairwise(changes) for slot in after if before[slot] != after[slot])
    assert max(moved.values(), default=0) <= 1, "from where it was when it was undone, to where it ends"
