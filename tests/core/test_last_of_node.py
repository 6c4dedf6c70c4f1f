"""The last ready pod of a node behind a Service with externalTrafficPolicy: Local, on its way out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from lossless.core.passage import Stage
from lossless.core.steps import Verb
from lossless.core.world import Pod, Presence, Registered, Sighting
from tests.core.given import (
    NOW,
    SERVICE,
    PodModifier,
    ago,
    asking,
    decided,
    having,
    move,
    moves,
    new,
    old,
    passing,
    serving,
    ungated,
    wait_of,
    wanted,
    working_on,
)


def on(node: str, *, alone: bool = True) -> PodModifier:
    """It serves there, and no pod of another workload's does (`alone`)."""

    def modify(pod: Pod) -> Pod:
        return replace(serving()(pod), node=node, sightings=(Sighting(SERVICE, Presence.PRESENT, alone=alone),))

    return modify


def going(stage: Stage = Stage.WITHDRAWN) -> PodModifier:
    drained_at = NOW if stage is Stage.DRAINED else None
    return passing(stage=stage, since=ago(0), withdrawn_at=ago(0), drained_at=drained_at)


def registered(presence: Presence) -> PodModifier:
    def modify(pod: Pod) -> Pod:
        sighting = Sighting("nacos", presence, settle=timedelta(seconds=4))
        return replace(pod, registrations=(Registered("nacos", 0.0),), sightings=(*pod.sightings, sighting))

    return modify


ELSEWHERE = (new("x", on("node-2")), new("y", on("node-2")))


class TestWhoIsIt:
    def test_the_last_of_its_node_is_taken_out_with_its_gate_open(self) -> None:
        withdrawal = move(decided(*ELSEWHERE, old("a", on("node-1"))), "a")
        assert (withdrawal.verb, withdrawal.gate) == (Verb.WITHDRAW, None)

    def test_where_another_one_stays_the_gate_is_closed(self) -> None:
        decision = decided(new("x", on("node-2")), new("y", on("node-1")), old("a", on("node-1")))
        assert move(decision, "a").gate is False

    def test_where_one_of_another_workload_stays_the_gate_is_closed(self) -> None:
        assert move(decided(*ELSEWHERE, old("a", on("node-1", alone=False))), "a").gate is False

    def test_of_two_that_go_together_one_is_the_last(self) -> None:
        decision = decided(*ELSEWHERE, old("a", on("node-1")), old("b", on("node-1")))
        assert {name: move(decision, name).gate for name in ("a", "b")} == {"a": None, "b": False}

    def test_one_that_may_not_go_yet_stays_as_company(self) -> None:
        decision = decided(wanted(3), new("x", on("node-2")), old("a", on("node-1")), old("b", on("node-1")))
        assert moves(decision) == {}
        decision = decided(wanted(2), new("x", on("node-2")), old("a", on("node-1")), old("b", on("node-1")))
        assert [step.gate for name in moves(decision) if (step := move(decision, name))] == [False]

    def test_one_without_a_gate_has_no_preStop_sleep_either_and_is_no_case(self) -> None:
        assert move(decided(*ELSEWHERE, old("a", on("node-1"), ungated())), "a").gate is False


class TestItsWayOut:
    def test_it_is_drained_as_soon_as_it_was_withdrawn(self) -> None:
        """Nobody forgets it before it is deleted: its preStop sleep is as long as the settle time."""
        decision = decided(asking(drain={"settle": "5s"}), *ELSEWHERE, old("a", on("node-1"), going()))
        drained = move(decision, "a")
        assert (drained.verb, drained.gate) == (Verb.MARK_DRAINED, None)
        assert drained.message == (
            "the last of node-1: its Services list it until it is deleted, and its preStop sleep is for them"
        )

    def test_a_registry_has_to_let_it_go_first_and_its_followers_to_forget_it(self) -> None:
        listed = decided(*ELSEWHERE, old("a", on("node-1"), going(), registered(Presence.PRESENT)))
        assert wait_of(listed, "a").reason == "StillListed"
        gone = decided(*ELSEWHERE, old("a", on("node-1"), going(), registered(Presence.ABSENT)))
        assert wait_of(gone, "a").reason == "Settling"
        settled = old("a", on("node-1"), going(), passing(gone_at=ago(60)), registered(Presence.ABSENT))
        assert moves(decided(*ELSEWHERE, settled)) == {"a": Verb.MARK_DRAINED}

    def test_its_requests_in_flight_are_not_waited_for_since_it_goes_on_getting_some(self) -> None:
        decision = decided(
            asking(drain={"inFlight": {"port": 8080}}), *ELSEWHERE, old("a", on("node-1"), going(), working_on(3))
        )
        assert moves(decision) == {"a": Verb.MARK_DRAINED}

    def test_drained_it_is_left_to_its_controller_though_its_gate_is_open(self) -> None:
        assert moves(decided(*ELSEWHERE, old("a", on("node-1"), going(Stage.DRAINED)))) == {}

    def test_its_gate_is_closed_as_soon_as_another_one_is_ready_there(self) -> None:
        decision = decided(new("x", on("node-2")), new("y", on("node-1")), old("a", on("node-1"), going(Stage.DRAINED)))
        again = move(decision, "a")
        assert (again.verb, again.gate, again.passage.drained_at) == (Verb.WITHDRAW, False, None)

    def test_one_that_is_wanted_again_is_let_in_at_once(self) -> None:
        decision = decided(new("x", on("node-2")), new("a", on("node-1"), going()))
        assert moves(decision) == {"a": Verb.READMIT}

    def test_one_that_was_withdrawn_by_its_gate_goes_on_as_it_began(self) -> None:
        closed = having(gate_open=False, ready=False, sightings=(Sighting(SERVICE, Presence.ABSENT),))
        decision = decided(*ELSEWHERE, old("a", on("node-1"), going(), closed))
        assert wait_of(decision, "a").reason == "Settling"
