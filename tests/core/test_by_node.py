"""The pods of a DaemonSet: each has its node, and who goes is a matter of what else is there."""

from __future__ import annotations

from dataclasses import replace

from lossless.core.steps import Verb
from lossless.core.surplus import surplus
from lossless.core.world import ByNode, Pod, World
from tests.core.given import (
    PodModifier,
    WorldModifier,
    ago,
    condition,
    crashed,
    decided,
    drained,
    having,
    move,
    moves,
    new,
    old,
    serving,
    wanted,
    warming,
    withdrawn,
    world,
)


def daemon_set(max_unavailable: int = 1, **rule: object) -> WorldModifier:
    def modify(it: World) -> World:
        assert it.workload
        by = ByNode(**rule)  # type: ignore[arg-type]
        most = 0 if by.surges else max_unavailable
        workload = replace(it.workload, kind="DaemonSet", rule=by, max_surge=int(by.surges), max_unavailable=most)
        return replace(it, workload=replace(workload, groups=()))

    return modify


def on(node: str, age: float = 60) -> PodModifier:
    return having(node=node, created_at=ago(age))


def going(*parts: Pod | WorldModifier) -> set[str]:
    return {pod.name for pod in surplus(world(*parts))}


class TestWithoutSurge:
    def test_every_pod_of_an_old_revision_those_that_do_not_serve_first(self) -> None:
        a, b = old("a", serving(), on("1")), old("b", serving(), crashed(), on("2"))
        assert [pod.name for pod in surplus(world(wanted(2), daemon_set(), a, b))] == ["b", "a"]

    def test_as_many_at_a_time_as_may_be_unavailable(self) -> None:
        four = [old(name, serving(), on(name)) for name in "abcd"]
        for most in (1, 2):
            decision = decided(wanted(4), daemon_set(max_unavailable=most), *four)
            assert list(moves(decision).values()).count(Verb.WITHDRAW) == most

    def test_none_while_as_many_are_missing(self) -> None:
        parts = old("a", serving(), on("1")), old("b", serving(), on("2")), new("c", warming(), on("3"))
        assert Verb.WITHDRAW not in moves(decided(wanted(3), daemon_set(), *parts)).values()

    def test_of_several_on_a_node_the_oldest_stays(self) -> None:
        assert going(wanted(1), daemon_set(), new("a", serving(), on("1", 90)), new("b", serving(), on("1"))) == {"b"}

    def test_on_delete_replaces_nobody_and_is_at_rest(self) -> None:
        parts = wanted(1), daemon_set(replaces=False), old("a", serving(), on("1"))
        assert going(*parts) == set()
        assert condition(decided(*parts), "Ready") == ("True", "AllServing")


class TestWithSurge:
    surging = staticmethod(daemon_set(surges=True))

    def test_an_old_pod_stays_until_its_successor_can_serve(self) -> None:
        a, b = old("a", serving(), on("1")), old("b", serving(), on("2"))
        assert going(wanted(2), self.surging, a, b) == set()
        assert going(wanted(2), self.surging, a, b, new("c", warming(), on("2"))) == set()
        assert going(wanted(2), self.surging, a, b, new("c", serving(), on("2"))) == {"b"}

    def test_one_that_was_withdrawn_comes_back_when_its_successor_fails(self) -> None:
        parts = old("a", withdrawn(), on("1", 90)), new("b", serving(), crashed(), on("1"))
        assert going(wanted(1), self.surging, *parts) == set()
        assert moves(decided(wanted(1), self.surging, *parts))["a"] is Verb.READMIT

    def test_one_that_is_no_use_goes_as_soon_as_another_is_there(self) -> None:
        dead = old("a", serving(), crashed(), on("1", 90))
        assert going(wanted(1), self.surging, dead) == set()
        assert going(wanted(1), self.surging, dead, new("b", warming(), on("1"))) == {"a"}

    def test_of_two_old_ones_the_oldest_stays(self) -> None:
        """A release on top of a release: its controller deletes the one in the middle at once."""
        oldest, middle = old("a", withdrawn(), on("1", 90)), replace(old("b", serving(), on("1")), revision="middle")
        assert going(wanted(1), self.surging, oldest, middle) == {"b"}
        assert moves(decided(wanted(1), self.surging, oldest, middle)) == {"a": Verb.READMIT}, "first the other is back"


def test_on_a_node_where_none_may_stay_it_goes_whatever_its_revision() -> None:
    away = daemon_set(unwanted=frozenset({"2"}))
    parts = wanted(1), away, new("a", serving(), on("1")), new("b", serving(), on("2"))
    assert going(*parts) == {"b"}
    assert "none is wanted on its node" in move(decided(*parts), "b").message


def test_a_pod_that_is_no_node_yet_is_left_alone() -> None:
    assert going(wanted(1), daemon_set(), old("a", having(node=""))) == set()


def test_a_drained_pod_waits_for_its_controller() -> None:
    parts = wanted(2), daemon_set(), old("a", drained(), on("1")), old("b", serving(), on("2"))
    assert moves(decided(*parts)) == {}
