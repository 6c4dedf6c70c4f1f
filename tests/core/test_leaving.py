"""Pods whose node is about to go: another one comes first, and only then they go out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lossless.core.steps import Move, Verb
from lossless.core.world import World
from tests.core.given import (
    NEW,
    OLD,
    WorldModifier,
    asking,
    cannot_create,
    condition,
    crashed,
    decided,
    drained,
    draining,
    having,
    keeping,
    keeps,
    leaving,
    listed,
    move,
    moves,
    new,
    old,
    recreating,
    serving,
    sized,
    sizes,
    spec,
    unschedulable,
    wait_of,
    wanted,
    warming,
    withdrawn,
    without_a_current_revision,
)
from tests.core.scenario import Scenario

GATE = asking(drain={"settle": "5s", "disruption": "Gate"})
CORDONED = having(cordoned=True)


def with_world(**fields: object) -> WorldModifier:
    def modify(world: World) -> World:
        return replace(world, **fields)  # type: ignore[arg-type]

    return modify


class TestAnotherOneComesFirst:
    def test_the_hold_is_raised_and_then_the_replica_set(self) -> None:
        decision = decided(wanted(2), new("a", serving(), leaving()), new("b", serving()), sized(new=2), keeping(new=2))
        assert keeps(decision) == {NEW: 3}
        assert sizes(decision) == {NEW: 3}
        assert [type(step).__name__ for step in decision.steps] == ["SetKeep", "SetReplicas"]
        assert moves(decision) == {}

    def test_maxsurge_of_them_at_a_time_and_at_least_one(self) -> None:
        pods = [new(name, serving(), leaving()) for name in "abc"]
        assert sizes(decided(wanted(3, surge=2), *pods, sized(new=3))) == {NEW: 5}
        assert sizes(decided(wanted(3, surge=0, unavailable=1), *pods, sized(new=3))) == {NEW: 4}

    def test_it_goes_on_serving_until_the_other_one_does(self) -> None:
        pods = new("a", serving(), leaving()), new("b", serving()), new("c", warming())
        decision = decided(wanted(2), *pods, sized(new=3), keeping(new=3))
        assert "a" not in moves(decision)
        assert keeps(decision) == {}
        assert "its node (node-1) is about to go; 2 pods are serving and 2 must" in wait_of(decision, "a").message

    def test_then_it_goes_and_nobody_else(self) -> None:
        pods = new("a", serving(), leaving()), new("b", serving()), new("c", serving())
        decision = decided(wanted(2), *pods, sized(new=3), keeping(new=3))
        assert moves(decision) == {"a": Verb.WITHDRAW}
        assert "its node (node-1) is about to go" in move(decision, "a").message
        assert decision.status.phase == "Moving"

    def test_when_it_is_drained_the_hold_lets_it_be_deleted_and_the_next_one_waits_for_that(self) -> None:
        pods = new("a", drained(), leaving()), new("b", serving(), leaving()), new("c", serving())
        decision = decided(wanted(2), *pods, sized(new=3), keeping(new=3))
        assert keeps(decision) == {NEW: 2}
        assert sizes(decision) == {}
        after = decided(wanted(2), *pods[1:], sized(new=2), keeping(new=2))
        assert sizes(after) == {NEW: 3}

    def test_one_that_does_not_serve_has_nobody_to_wait_for(self) -> None:
        pods = new("a", serving(), crashed(), leaving()), new("b", serving()), new("c", warming())
        assert moves(decided(wanted(2), *pods, sized(new=3), keeping(new=3)))["a"] is Verb.WITHDRAW

    def test_a_node_that_comes_back_keeps_it_and_the_other_one_goes(self) -> None:
        pods = new("a", serving()), new("b", serving()), new("c", warming())
        decision = decided(wanted(2), *pods, sized(new=3), keeping(new=3))
        assert moves(decision) == {"c": Verb.MARK_DRAINED}
        assert keeps(decision) == {NEW: 2}


class TestWhoLeaves:
    def test_cordoned_pods_stay_where_evictions_do_not_wait(self) -> None:
        """A cordon alone takes nobody away."""
        pods = new("a", serving(), CORDONED), new("b", serving())
        assert sizes(decided(wanted(2), *pods, sized(new=2))) == {}
        assert sizes(decided(GATE, wanted(2), *pods, sized(new=2))) == {NEW: 3}

    def test_nobody_is_replaced_in_the_middle_of_a_release(self) -> None:
        """Pods of the old revision go with it, those on such nodes first."""
        pods = old("a", serving()), old("b", serving(), leaving()), new("c", serving(), leaving())
        decision = decided(wanted(2), *pods, sized(old=2, new=1))
        assert sizes(decision) == {}
        assert moves(decision) == {"b": Verb.WITHDRAW}

    def test_nor_where_no_pod_may_come_before_another_goes(self) -> None:
        pods = new("a", serving(), leaving()), new("b", serving())
        assert sizes(decided(wanted(2), recreating(), *pods, sized(new=2))) == {}
        assert sizes(decided(wanted(2), with_world(hold_works=False), *pods, sized(new=2))) == {}
        assert sizes(decided(wanted(2), *pods, sized(new=2), without_a_current_revision())) == {}


class TestNoRoom:
    @pytest.mark.parametrize("unavailable", [0, 1])
    def test_all_that_are_wanted_go_on_serving_and_it_is_said(self, unavailable: int) -> None:
        pods = new("a", serving(), leaving()), new("b", serving()), new("c", unschedulable(60))
        decision = decided(wanted(2, unavailable=unavailable), *pods, sized(new=3), keeping(new=3))
        assert "a" not in moves(decision)
        assert "no room for the pods that are to come in place of those on node-1" in decision.status.waiting_for

    def test_also_where_a_quota_refuses_them(self) -> None:
        pods = new("a", serving(), leaving()), new("b", serving())
        decision = decided(wanted(2, unavailable=1), cannot_create(60), *pods, sized(new=3), keeping(new=3))
        assert Verb.WITHDRAW not in moves(decision).values()


class TestEvictionsThatWait:
    def test_of_a_pod_with_traffic_from_the_write_that_lets_it_in(self) -> None:
        fresh = new("a", warming(), listed())
        decision = decided(GATE, with_world(evictions_wait=True), wanted(1), fresh, sized(new=1))
        assert move(decision, "a").verb is Verb.ADMIT
        assert move(decision, "a").inside

    def test_until_the_write_that_marks_it_drained(self) -> None:
        inside = having(inside=True)
        pods = old("a", draining(9), inside), old("b", withdrawn(), inside), new("c", serving(), inside)
        decision = decided(GATE, with_world(evictions_wait=True), wanted(1), *pods, sized(new=1))
        assert move(decision, "a").verb is Verb.MARK_DRAINED
        assert not move(decision, "a").inside
        assert "b" not in moves(decision) or move(decision, "b").inside

    def test_pods_that_serve_are_given_the_label_and_lose_it(self) -> None:
        decision = decided(GATE, with_world(evictions_wait=True), wanted(1), new("a", serving()), sized(new=1))
        assert moves(decision) == {"a": Verb.NOTE}
        assert move(decision, "a").inside
        decision = decided(GATE, wanted(1), new("a", serving(), having(inside=True)), sized(new=1))
        assert moves(decision) == {"a": Verb.NOTE}
        assert not move(decision, "a").inside

    def test_nobody_who_never_had_traffic_is_kept(self) -> None:
        decision = decided(GATE, with_world(evictions_wait=True), wanted(1), new("a"), sized(new=1))
        assert not any(step.inside for step in decision.steps if isinstance(step, Move))

    def test_it_is_ready_all_the_same(self) -> None:
        decision = decided(
            GATE, with_world(evictions_wait=True), wanted(1), new("a", serving(), having(inside=True)), sized(new=1)
        )
        assert condition(decision, "Ready") == ("True", "AllServing")
        assert not decision.steps or keeps(decision) == {NEW: 1}
        assert OLD not in keeps(decision)


class TestAWholeStory:
    """With the native controllers of the model."""

    def begin(self) -> Scenario:
        scenario = Scenario.of(spec(drain={"settle": "5s", "disruption": "Gate"}), replicas=4, surge=2)
        scenario.run_out()
        assert {pod.node for pod in scenario.cluster.pods.values()} == {"n1"}
        scenario.lows.clear()
        return scenario

    @pytest.mark.parametrize("step", [None, *range(1, 30, 2)])
    def test_a_cordoned_node_is_emptied_and_never_do_fewer_serve(self, step: int | None) -> None:
        """Whenever the operator is killed."""
        scenario = self.begin()
        if step is not None:
            scenario.mishaps[scenario.steps + step] = lambda shell: shell.crash()
        scenario.cluster.cordoned = frozenset({"n1"})
        scenario.run_out()
        assert {pod.node for pod in scenario.cluster.pods.values()} == {"n2"}
        assert min(scenario.lows) >= 4
        assert scenario.cluster.refusals == 0
        scenario.must_have_converged()

    def test_evictions_wait_and_pass_when_a_pod_is_drained(self) -> None:
        scenario = self.begin()
        assert not any(scenario.cluster.evict(pod) for pod in scenario.cluster.pods.values())
        scenario.cluster.cordoned = frozenset({"n1"})
        for _ in range(60):
            scenario.run(1)
            for pod in list(scenario.cluster.pods.values()):
                if pod.node == "n1":
                    scenario.cluster.evict(pod)
        assert min(scenario.lows) >= 4
        assert not scenario.cluster.listed & {p.uid for p in scenario.cluster.pods.values() if p.node == "n1"}

    @pytest.mark.parametrize("seconds", range(0, 12, 2))
    def test_uncordoned_at_any_time_as_many_are_left_as_are_wanted(self, seconds: int) -> None:
        scenario = self.begin()
        scenario.cluster.cordoned = frozenset({"n1"})
        scenario.run(seconds)
        scenario.cluster.cordoned = frozenset()
        scenario.run_out()
        assert min(scenario.lows, default=4) >= 4
        scenario.must_have_converged()

    def test_with_no_room_anywhere_it_waits_and_goes_on_when_there_is(self) -> None:
        scenario = self.begin()
        scenario.cluster.change(unavailable=1)
        scenario.run_out()
        scenario.cluster.room = 0
        scenario.cluster.cordoned = frozenset({"n1"})
        scenario.run(120)
        assert scenario.lows == []
        assert scenario.shell.decision
        assert "no room" in scenario.shell.decision.status.waiting_for
        scenario.cluster.room = 10
        scenario.run_out()
        assert min(scenario.lows) >= 4
        assert {pod.node for pod in scenario.cluster.pods.values()} == {"n2"}

    def test_a_release_in_the_middle_of_it_ends(self) -> None:
        scenario = self.begin()
        scenario.cluster.cordoned = frozenset({"n1"})
        scenario.run(3)
        scenario.release()
        scenario.run_out()
        assert min(scenario.lows) >= 4
        scenario.must_have_converged()
