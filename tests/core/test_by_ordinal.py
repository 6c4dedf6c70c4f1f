"""The pods of a StatefulSet: those that its controller deletes next go out, and nobody else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from lossless.core.passage import Stage
from lossless.core.steps import Verb
from lossless.core.surplus import surplus
from lossless.core.world import ByOrdinal, Pod, World
from tests.core.given import (
    NOW,
    PodModifier,
    WorldModifier,
    ago,
    condition,
    containers_ready,
    crashed,
    decided,
    drained,
    draining,
    having,
    move,
    moves,
    new,
    old,
    passing,
    serving,
    wait_of,
    wanted,
    warming,
    withdrawn,
    world,
)


def stateful_set(max_unavailable: int = 1, **rule: object) -> WorldModifier:
    def modify(it: World) -> World:
        assert it.workload
        by = ByOrdinal(**rule)  # type: ignore[arg-type]
        workload = replace(
            it.workload, kind="StatefulSet", max_surge=0, max_unavailable=max_unavailable, rule=by, groups=()
        )
        return replace(it, workload=workload)

    return modify


def pods(revisions: str, *modifiers: PodModifier) -> list[Pod]:
    """One pod that serves for each letter, `o` of the old revision and `n` of the new one, from web-0 on."""
    make = {"o": old, "n": new}
    return [make[letter](f"web-{number}", serving(), *modifiers) for number, letter in enumerate(revisions)]


def going(*parts: Pod | WorldModifier) -> list[str]:
    return [pod.name for pod in surplus(world(*parts))]


class TestInOrder:
    """podManagementPolicy: OrderedReady."""

    def test_of_old_revisions_the_highest_ordinal_alone(self) -> None:
        assert going(wanted(3), stateful_set(), *pods("ooo")) == ["web-2"]
        assert going(wanted(3), stateful_set(), *pods("oon")) == ["web-1"]

    def test_nobody_before_the_others_have_been_ready_for_as_long_as_they_must(self) -> None:
        """Its controller waits for minReadySeconds as well; a pod that was withdrawn before would only be missing."""
        rule = stateful_set(min_ready=timedelta(seconds=60))
        fresh = *pods("oo", having(ready_since=ago(600))), new("web-2", serving(20))
        early = decided(wanted(3), rule, *fresh)
        assert moves(early) == {}
        assert early.wake_at == NOW + timedelta(seconds=40)
        baked = *fresh[:2], new("web-2", serving(60))
        assert moves(decided(wanted(3), rule, *baked)) == {"web-1": Verb.WITHDRAW}

    def test_ten_comes_after_nine(self) -> None:
        assert going(wanted(11), stateful_set(), *pods("o" * 11)) == ["web-10"]

    def test_nobody_while_another_is_missing_or_not_ready(self) -> None:
        """Its controller waits for that one; a second one that is not ready would only be missing."""
        ready = pods("oo")
        assert going(wanted(3), stateful_set(), *ready) == []
        assert going(wanted(3), stateful_set(), *ready, new("web-2", warming())) == []
        assert (
            going(wanted(3), stateful_set(), old("web-0", serving(), crashed()), *pods("xoo".replace("x", "o"))[1:])
            == []
        )

    def test_who_is_not_ready_may_be_the_next_itself(self) -> None:
        assert going(wanted(3), stateful_set(), *pods("oo"), old("web-2", draining())) == ["web-2"]

    def test_below_the_partition_everybody_stays(self) -> None:
        assert going(wanted(3), stateful_set(partition=2), *pods("oon")) == []
        assert going(wanted(3), stateful_set(partition=1), *pods("oon")) == ["web-1"]

    def test_the_partition_counts_from_the_first_ordinal(self) -> None:
        five = [old("web-5", serving()), old("web-6", serving())]
        assert going(wanted(2), stateful_set(start=5, partition=1), *five) == ["web-6"]
        assert going(wanted(2), stateful_set(start=5, partition=1), five[0], new("web-6", serving())) == []

    def test_on_delete_replaces_nobody(self) -> None:
        assert going(wanted(3), stateful_set(replaces=False), *pods("ooo")) == []

    def test_beyond_the_wanted_replicas_the_highest_first_and_alone(self) -> None:
        assert going(wanted(1), stateful_set(), *pods("nnn")) == ["web-2"]
        assert going(wanted(1), stateful_set(replaces=False), *pods("ooo")) == ["web-2"]

    def test_below_the_first_ordinal_as_well(self) -> None:
        assert going(wanted(2), stateful_set(start=1), *pods("nnn")) == ["web-0"]

    def test_a_scale_in_comes_before_a_release(self) -> None:
        assert going(wanted(2), stateful_set(), *pods("ooo")) == ["web-2"]

    def test_a_scale_in_waits_for_a_pod_that_a_release_has_withdrawn(self) -> None:
        """So that one is let in again: its controller goes on only when it is ready."""
        parts = wanted(2), stateful_set(), old("web-0", serving()), old("web-1", withdrawn()), old("web-2", serving())
        assert going(*parts) == []
        assert moves(decided(*parts)) == {"web-1": Verb.READMIT}

    def test_a_name_without_an_ordinal_is_nobodys(self) -> None:
        assert going(wanted(1), stateful_set(), *pods("n"), new("webby", serving())) == []


class TestAllAtOnce:
    """podManagementPolicy: Parallel."""

    def test_everybody_beyond_the_wanted_replicas(self) -> None:
        assert going(wanted(1), stateful_set(ordered=False), *pods("nnn")) == ["web-2", "web-1"]

    def test_of_old_revisions_the_highest_alone(self) -> None:
        assert going(wanted(3), stateful_set(ordered=False), *pods("ooo")) == ["web-2"]

    def test_once_those_above_it_are_ready_whatever_is_below(self) -> None:
        unready_above = *pods("oo"), new("web-2", warming())
        assert going(wanted(3), stateful_set(ordered=False), *unready_above) == []
        unready_below = old("web-0", serving(), crashed()), *pods("oon")[1:]
        assert going(wanted(3), stateful_set(ordered=False), *unready_below) == ["web-1"]

    def test_as_many_as_may_be_unavailable(self) -> None:
        two = stateful_set(max_unavailable=2, ordered=False, counts_unavailable=True)
        assert going(wanted(4), two, *pods("oooo")) == ["web-3", "web-2"]
        assert going(wanted(4), two, *pods("ooo"), new("web-3", warming())) == ["web-2"]
        assert going(wanted(4), two, *pods("oo"), new("web-2", warming()), new("web-3", warming())) == []


class TestTheOneThatMustBeReadyToBeDeleted:
    """In order, its controller does not look at a pod that is not ready (kubernetes#67250)."""

    def settled(self, *modifiers: PodModifier) -> Pod:
        return old("web-2", draining(60), passing(admitted_at=ago(90)), *modifiers)

    def test_it_is_called_ready_in_the_write_that_marks_it_drained(self) -> None:
        step = move(decided(wanted(3), stateful_set(), *pods("oo"), self.settled()), "web-2")
        assert step.verb is Verb.MARK_DRAINED
        assert step.shown_ready_since == ago(90), "as long as it really was: minReadySeconds count from then"
        assert step.gate is None

    def test_so_is_one_without_a_gate_of_ours(self) -> None:
        settled = self.settled(having(gated=False, ready_since=ago(7)))
        step = move(decided(wanted(3), stateful_set(), *pods("oo"), settled), "web-2")
        assert (step.verb, step.gate) == (Verb.MARK_DRAINED, None)
        assert step.shown_ready_since

    def test_one_that_was_never_let_in_too_or_a_release_on_top_would_wait_for_it_for_ever(self) -> None:
        step = move(decided(wanted(3), stateful_set(), *pods("oo"), old("web-2", warming())), "web-2")
        assert step.verb is Verb.MARK_DRAINED
        assert step.shown_ready_since

    def test_but_not_one_whose_containers_are_not_ready(self) -> None:
        step = move(decided(wanted(3), stateful_set(), *pods("oo"), old("web-2")), "web-2")
        assert step.verb is Verb.MARK_DRAINED
        assert step.shown_ready_since is None

    def test_left_alone_it_is_called_ready_once_more(self) -> None:
        def marked(seconds: float) -> Pod:
            return old("web-2", drained(), passing(since=ago(seconds), admitted_at=ago(90)), containers_ready())

        just_now = decided(wanted(3), stateful_set(), *pods("oo"), marked(1))
        assert not just_now.steps
        assert wait_of(just_now, "web-2").reason == "Deleting"
        assert wait_of(just_now, "web-2").until == NOW + timedelta(seconds=4)
        step = move(decided(wanted(3), stateful_set(), *pods("oo"), marked(5)), "web-2")
        assert (step.verb, step.passage.since) == (Verb.MARK_DRAINED, NOW)

    def test_with_parallel_it_need_not_be(self) -> None:
        step = move(decided(wanted(3), stateful_set(ordered=False), *pods("oo"), self.settled()), "web-2")
        assert step.verb is Verb.MARK_DRAINED
        assert step.shown_ready_since is None

    def test_with_max_unavailable_only_when_as_many_are_missing(self) -> None:
        for most, shown in ((1, True), (2, False)):
            rule = stateful_set(max_unavailable=most, ordered=False, counts_unavailable=True)
            step = move(decided(wanted(3), rule, *pods("oo"), self.settled()), "web-2")
            assert (step.shown_ready_since is not None) == shown

    def test_beyond_the_wanted_replicas_only_when_another_one_there_is_not_ready(self) -> None:
        for below, shown in ((serving(), False), (crashed(), True)):
            parts = pods("oo"), old("web-2", serving(), below), old("web-3", draining(), passing(gone_at=ago(60)))
            step = move(decided(wanted(2), stateful_set(), *parts[0], *parts[1:]), "web-3")
            assert step.verb is Verb.MARK_DRAINED
            assert (step.shown_ready_since is not None) == shown


def test_one_goes_at_a_time_and_the_others_serve() -> None:
    decision = decided(wanted(3), stateful_set(), *pods("ooo"))
    assert moves(decision) == {"web-2": Verb.WITHDRAW}


def test_a_floor_of_max_unavailable_less_is_kept() -> None:
    lone = old("web-1", serving()), old("web-0", crashed())
    assert Verb.WITHDRAW not in moves(decided(wanted(2), stateful_set(ordered=False), *lone)).values()


def test_what_a_partition_keeps_is_at_rest() -> None:
    decision = decided(wanted(3), stateful_set(partition=2), *pods("oon"))
    assert condition(decision, "Ready") == ("True", "AllServing")
    assert (decision.status.phase, decision.status.revision.old) == ("Ready", 2)


def test_a_release_that_waits_is_not_at_rest() -> None:
    decision = decided(wanted(3), stateful_set(), *pods("oo"), new("web-2", warming()))
    assert condition(decision, "Ready") == ("False", "PassagesOpen")
    assert decision.status.phase == "Releasing"


def test_an_undo_lets_the_withdrawn_one_in_again() -> None:
    decision = decided(wanted(3), stateful_set(), *pods("nn"), new("web-2", draining()))
    assert moves(decision) == {"web-2": Verb.READMIT}
    assert move(decision, "web-2").passage.stage is Stage.ADMITTED
