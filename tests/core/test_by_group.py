"""The pods of an Argo Rollout: its controller says of each ReplicaSet how many, and the rest goes."""

from __future__ import annotations

from dataclasses import replace

from lossless.core.steps import Verb
from lossless.core.surplus import surplus
from lossless.core.world import ByGroup, Group, Pod, World
from tests.core.given import (
    NEW,
    OLD,
    WorldModifier,
    asking,
    condition,
    containers_ready,
    crashed,
    decided,
    drained,
    keeps,
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

Parts = tuple[Pod | WorldModifier, ...]
four_old = [old(name, serving()) for name in "abcd"]


def rollout(
    asked: dict[str, int], size: dict[str, int] | None = None, first: str = "", swaps: bool = True, **keep: int
) -> WorldModifier:
    """By revision: what its controller asks of each ReplicaSet, and what each is set to, where that is held up."""

    def modify(it: World) -> World:
        assert it.workload
        sizes = {**asked, **(size or {})}
        groups = tuple(
            Group(f"rs-{one}", f"web-{one}", one, keep.get(one), sizes[one], number, first=one == first)
            for one, number in asked.items()
        )
        return replace(it, workload=replace(it.workload, kind="Rollout", rule=ByGroup(swaps), groups=groups))

    return modify


def going(*parts: Pod | WorldModifier) -> list[str]:
    return [pod.name for pod in surplus(world(*parts))]


class TestWhoGoes:
    def test_in_a_paused_canary_both_revisions_are_wanted_and_all_is_at_rest(self) -> None:
        parts: Parts = wanted(5), rollout({OLD: 4, NEW: 1}), *four_old, new("e", serving())
        assert going(*parts) == []
        decision = decided(*parts)
        assert moves(decision) == {}
        assert condition(decision, "Ready") == ("True", "AllServing")
        assert decision.status.revision.old == 4

    def test_what_exceeds_the_number_goes_those_first_that_serve_least(self) -> None:
        pods = old("a", serving()), old("b", serving(), crashed()), old("c", serving()), new("d", serving())
        assert going(wanted(2), rollout({OLD: 2, NEW: 1}), *pods) == ["b"]
        assert set(going(wanted(2), rollout({OLD: 0, NEW: 1}), *pods)) == {"a", "b", "c"}

    def test_an_abort_takes_the_new_ones_away(self) -> None:
        parts: Parts = wanted(4), rollout({OLD: 4, NEW: 0}), *four_old, new("e", serving()), new("f", warming())
        assert going(*parts) == ["f", "e"]
        assert "web-new is to have 0 pods" in move(decided(*parts), "e").message

    def test_old_ones_go_before_current_ones(self) -> None:
        parts: Parts = wanted(2), rollout({NEW: 1, OLD: 1}), *four_old[:2], new("e", serving()), new("f", serving())
        assert [name in "ab" for name in going(*parts)] == [True, False]

    def test_of_a_replica_set_that_is_not_known_nobody_goes(self) -> None:
        assert going(wanted(1), rollout({NEW: 1}), old("a", serving()), new("b", serving())) == []

    def test_one_that_is_asked_for_again_comes_back(self) -> None:
        parts: Parts = wanted(1), rollout({OLD: 1, NEW: 0}), old("a", withdrawn()), new("b", serving())
        assert moves(decided(*parts))["a"] is Verb.READMIT

    def test_where_a_surge_is_allowed_no_fewer_serve_than_are_wanted(self) -> None:
        """Its controller may ask for an old one to go before a new one serves."""
        parts: Parts = wanted(4, surge=1, unavailable=1), rollout({OLD: 3, NEW: 2}), *four_old, new("e", warming())
        assert Verb.WITHDRAW not in moves(decided(*parts)).values()
        parts = wanted(4, surge=1, unavailable=1), rollout({OLD: 3, NEW: 2}), *four_old, new("e", serving())
        assert list(moves(decided(*parts)).values()).count(Verb.WITHDRAW) == 1


class TestAffinity:
    def test_of_a_canary_one_comes_in_before_it_is_said_who_goes(self) -> None:
        affine = asking(traffic={"affinity": "Hash"})
        parts: Parts = wanted(4, surge=2), affine, *four_old, new("e", containers_ready()), new("f", containers_ready())
        assert list(moves(decided(*parts, rollout({OLD: 4, NEW: 2}))).values()).count(Verb.ADMIT) == 1

    def test_of_blue_and_green_all_come_in(self) -> None:
        affine = asking(traffic={"affinity": "Hash"})
        parts: Parts = wanted(4, surge=4), affine, *four_old, *(new(name, containers_ready()) for name in "efgh")
        assert list(moves(decided(*parts, rollout({OLD: 4, NEW: 4}, swaps=False))).values()) == [Verb.ADMIT] * 4


class TestTheHold:
    def test_it_is_kept_at_its_undrained_pods(self) -> None:
        parts: Parts = wanted(2), rollout({OLD: 0, NEW: 2}, {OLD: 2}), old("a", drained()), old("b", serving())
        assert keeps(decided(*parts, new("c", serving()), new("d", serving())))[OLD] == 1

    def test_the_stable_one_is_not_held_while_there_is_room_for_new_pods(self) -> None:
        """Its controller would make none before it has got what it asked for."""
        parts: Parts = wanted(4, surge=2, unavailable=1), *four_old
        assert keeps(decided(*parts, rollout({OLD: 3, NEW: 0}, {OLD: 4}, first=OLD, old=4)))[OLD] == 0

    def test_it_is_once_there_are_as_many_as_there_may_be(self) -> None:
        parts: Parts = wanted(4, surge=1), *four_old, new("e", serving())
        assert keeps(decided(*parts, rollout({OLD: 3, NEW: 1}, {OLD: 4}, first=OLD, old=0)))[OLD] == 4

    def test_an_empty_one_is_held_no_more(self) -> None:
        parts: Parts = wanted(1), rollout({OLD: 0, NEW: 1}, old=1), new("e", serving())
        assert keeps(decided(*parts))[OLD] == 0
