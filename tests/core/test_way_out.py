"""The way out: each check alone, its timeout, and what changes while a pod is under way."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from lossless.core import way_out
from lossless.core.passage import Passage, Stage
from lossless.core.steps import Verb
from lossless.core.world import Presence, Registered, Sighting
from tests.core.given import (
    NOW,
    PodModifier,
    ago,
    asking,
    containers_ready,
    crashed,
    decided,
    deleting,
    drained,
    draining,
    followers_caught_up,
    having,
    held,
    keeping,
    listed,
    missing_in,
    move,
    moves,
    new,
    old,
    passing,
    paused,
    restarted,
    running,
    serving,
    unanswered_by,
    unknown_to,
    unlisted,
    unobserved,
    wait_of,
    wanted,
    warm_up,
    warming,
    withdrawn,
    within,
    working_on,
)

BOTH_NEW_SERVE = (new("x", serving()), new("y", serving()))
ASKED_FOR_IN_FLIGHT = asking(drain={"inFlight": {"port": 8080}})


def _let_go(source: str, settle: float) -> Sighting:
    """A registry whose consumers go on so many seconds with what they hold."""
    return Sighting(source, Presence.ABSENT, settle=timedelta(seconds=settle))


class TestWithdrawal:
    def test_a_surplus_pod_is_withdrawn(self) -> None:
        withdrawal = move(decided(*BOTH_NEW_SERVE, old("a", serving())), "a")
        assert (withdrawal.verb, withdrawal.gate) == (Verb.WITHDRAW, False)
        assert (withdrawal.passage.stage, withdrawal.passage.withdrawn_at) == (Stage.WITHDRAWN, NOW)
        assert withdrawal.message == "it is of an old revision (old)"

    def test_one_that_the_floor_needs_stays_and_says_so(self) -> None:
        decision = decided(keeping(new=2), new("x", serving()), old("a", serving()))
        assert moves(decision) == {}
        assert wait_of(decision, "a").message == "2 pods are serving and 2 must: others have to come in first"

    def test_as_many_go_as_there_are_more_than_the_floor(self) -> None:
        decision = decided(*BOTH_NEW_SERVE, old("a", serving()), old("b", serving()), new("z", serving()), wanted(3))
        assert len(moves(decision)) == 2

    def test_one_that_does_not_serve_costs_nothing(self) -> None:
        decision = decided(new("x", serving()), old("a", serving(), crashed()), old("b", serving()))
        assert moves(decision) == {"a": Verb.WITHDRAW}

    def test_where_nobody_is_listed_anywhere_they_still_do_not_all_go_at_once(self) -> None:
        """A Service that is being replaced lists nobody for a moment."""
        hidden = [old(name, serving(), unlisted()) for name in "abc"]
        assert moves(decided(wanted(3), *hidden)) == {}
        assert len(moves(decided(wanted(3), *hidden, new("x", serving(), unlisted())))) == 1

    def test_a_pod_on_its_way_in_that_is_not_wanted_any_more_may_go_at_once(self) -> None:
        marked = move(decided(*BOTH_NEW_SERVE, old("a", warming())), "a")
        assert (marked.verb, marked.cost, marked.passage.stage) == (Verb.MARK_DRAINED, -(2**31), Stage.DRAINED)

    def test_a_pod_that_is_listed_although_it_was_never_let_in_has_something_to_drain(self) -> None:
        registered = old("a", warming(), listed("Registry"))
        assert moves(decided(*BOTH_NEW_SERVE, registered)) == {"a": Verb.WITHDRAW}

    def test_a_pod_without_a_gate_that_was_never_seen_ready_may_have_had_traffic(self) -> None:
        adopted = old("a", running(), having(gated=False), unlisted())
        assert moves(decided(*BOTH_NEW_SERVE, adopted)) == {"a": Verb.WITHDRAW}

    def test_a_pod_that_never_ran_had_none(self) -> None:
        pending = old("a", having(gated=False))
        assert moves(decided(*BOTH_NEW_SERVE, pending)) == {"a": Verb.MARK_DRAINED}

    def test_a_withdrawal_of_which_nobody_knows_when_is_done_again(self) -> None:
        """Somebody has taken the annotation away: the wait for it would never end."""
        again = move(decided(*BOTH_NEW_SERVE, old("a", withdrawn(9), passing(withdrawn_at=None))), "a")
        assert (again.verb, again.passage.withdrawn_at) == (Verb.WITHDRAW, NOW)


class TestTold:
    def test_who_can_not_be_looked_at_must_be_told_and_what_keeps_it_from_that_is_said(self) -> None:
        hooks = Registered("etcd", blind=True), Registered("agent", blind=True)
        silent = Sighting("etcd", Presence.UNANSWERED, "there is no Secret login")
        decision = decided(*BOTH_NEW_SERVE, old("a", withdrawn(1), having(registrations=hooks, sightings=(silent,))))
        wait = wait_of(decision, "a")
        assert (wait.stage, wait.reason, wait.until) == (Stage.WITHDRAWN, "Telling", within(599))
        assert wait.message == "etcd must be told (there is no Secret login), agent must be told"


class TestGone:
    def test_it_waits_while_any_source_lists_it(self) -> None:
        decision = decided(*BOTH_NEW_SERVE, old("a", withdrawn(1), unlisted("Service admin")))
        assert wait_of(decision, "a").message == "still in Service web"
        assert wait_of(decision, "a").until == within(599)

    def test_a_source_that_cannot_be_seen_is_not_waited_for(self) -> None:
        decision = decided(*BOTH_NEW_SERVE, old("a", withdrawn(1), unlisted(), unknown_to("Registry")))
        assert moves(decision) == {"a": Verb.SETTLE}

    def test_a_source_that_does_not_answer_is_waited_for(self) -> None:
        decision = decided(*BOTH_NEW_SERVE, old("a", withdrawn(1), unlisted(), unanswered_by("Registry")))
        wait = wait_of(decision, "a")
        assert (wait.stage, wait.reason, wait.until) == (Stage.WITHDRAWN, "NotSeen", within(599))
        assert wait.message.startswith("no answer from Registry")
        assert moves(decision) == {}

    def test_where_one_lists_it_and_another_does_not_answer_the_one_that_is_known_is_named(self) -> None:
        decision = decided(*BOTH_NEW_SERVE, old("a", withdrawn(1), unanswered_by("Registry")))
        assert wait_of(decision, "a").reason == "StillListed"

    def test_one_that_had_settled_and_is_not_seen_any_more_counts_anew(self) -> None:
        again = move(decided(*BOTH_NEW_SERVE, old("a", draining(60), unanswered_by("Registry"))), "a")
        assert (again.verb, again.passage.stage, again.passage.gone_at) == (Verb.NOTE, Stage.WITHDRAWN, None)

    def test_the_moment_it_was_seen_gone_is_written_down(self) -> None:
        settling = move(decided(*BOTH_NEW_SERVE, old("a", withdrawn(1), unlisted())), "a")
        assert (settling.verb, settling.passage.gone_at) == (Verb.SETTLE, NOW)

    def test_one_that_is_listed_again_counts_anew(self) -> None:
        again = move(decided(*BOTH_NEW_SERVE, old("a", draining(3), listed())), "a")
        assert (again.passage.stage, again.passage.gone_at) == (Stage.WITHDRAWN, None)


class TestForgotten:
    """A registry answers that it does not know a pod that nobody has taken out."""

    def test_it_is_not_believed_at_once(self) -> None:
        decision = decided(*BOTH_NEW_SERVE, old("a", withdrawn(20), unlisted(), missing_in("consul", 10)))
        wait = wait_of(decision, "a")
        assert (wait.stage, wait.reason, wait.until) == (Stage.WITHDRAWN, "Forgotten", within(50))
        assert wait.message.startswith("not registered in consul any more, though nobody took it out")
        assert moves(decision) == {"a": Verb.NOTE}, "which says so"

    def test_in_the_end_it_is_for_then_its_owner_may_have_taken_it_out(self) -> None:
        decision = decided(*BOTH_NEW_SERVE, old("a", withdrawn(90), unlisted(), missing_in("consul", 60)))
        assert moves(decision) == {"a": Verb.SETTLE}

    def test_what_another_source_holds_is_said_first(self) -> None:
        decision = decided(*BOTH_NEW_SERVE, old("a", withdrawn(20), listed(), missing_in("consul", 10)))
        assert wait_of(decision, "a").reason == "StillListed"

    def test_one_that_was_seen_to_be_out_before_stays_so(self) -> None:
        decision = decided(*BOTH_NEW_SERVE, old("a", draining(3), missing_in("consul", 1)))
        assert wait_of(decision, "a").reason == "Settling"

    @pytest.mark.parametrize(
        "one", [passing(admitted_at=None), having(containers_ready=False)], ids=["never let in", "dead"]
    )
    def test_one_that_never_served_or_has_died_need_not_be_registered(self, one: PodModifier) -> None:
        decision = decided(*BOTH_NEW_SERVE, old("a", withdrawn(20), unlisted(), missing_in("consul", 10), one))
        assert moves(decision) == {"a": Verb.SETTLE}

    def test_that_is_bounded_by_the_timeout_as_well(self) -> None:
        gone = old("a", withdrawn(30), unlisted(), missing_in("consul", 10))
        released = decided(asking(drain={"timeout": "30s", "onTimeout": "Release"}), *BOTH_NEW_SERVE, gone)
        assert moves(released) == {"a": Verb.MARK_DRAINED}


class TestStarting:
    """A pod that was never let in starts, and its application will register itself."""

    THERE = (passing(admitted_at=None), having(containers_ready=False), unlisted(), missing_in("consul", 10))

    def test_it_is_not_drained_before_it_has_registered_when_nobody_could_take_it_out_any_more(self) -> None:
        decision = decided(*BOTH_NEW_SERVE, old("a", withdrawn(20), *self.THERE))
        wait = wait_of(decision, "a")
        assert (wait.stage, wait.reason, wait.until) == (Stage.WITHDRAWN, "Starting", within(40))
        assert wait.message.startswith("its application is starting, and would register in consul")

    def test_nor_waited_for_for_ever(self) -> None:
        decision = decided(*BOTH_NEW_SERVE, old("a", withdrawn(60), *self.THERE))
        assert moves(decision) == {"a": Verb.SETTLE}

    @pytest.mark.parametrize(
        "one",
        [having(phase="Pending"), having(restarts=1), having(containers_ready=True), having(registrations=())],
        ids=["its image is not there", "it crashes", "it has started", "it registers nowhere"],
    )
    def test_one_that_is_not_starting_is_not_waited_for(self, one: PodModifier) -> None:
        decision = decided(*BOTH_NEW_SERVE, old("a", withdrawn(20), *self.THERE, one))
        assert wait_of(decision, "a").reason != "Starting"


class TestSettle:
    def test_it_settles_from_the_moment_it_was_gone(self) -> None:
        decision = decided(*BOTH_NEW_SERVE, old("a", draining(3)))
        assert (wait_of(decision, "a").reason, decision.wake_at) == ("Settling", within(2))

    def test_then_it_is_drained_and_first_in_line(self) -> None:
        marked = move(decided(*BOTH_NEW_SERVE, old("a", draining(5), having(deletion_cost=7))), "a")
        assert (marked.verb, marked.cost, marked.passage.cost_before) == (Verb.MARK_DRAINED, -(2**31), "7")
        assert marked.irreversible
        assert marked.message == "gone from Service web; settled"

    def test_after_an_outage_it_settles_once_those_who_follow_the_api_server_have_caught_up(self) -> None:
        decision = decided(*BOTH_NEW_SERVE, old("a", draining(5)), followers_caught_up(within(10)))
        assert (wait_of(decision, "a").reason, decision.wake_at) == ("Settling", within(15))

    def test_after_an_outage_of_a_registry_it_waits_for_those_who_follow_that(self) -> None:
        knows_again = having(sightings=(Sighting("consul", Presence.ABSENT, followers_caught_up_at=within(10)),))
        decision = decided(*BOTH_NEW_SERVE, old("a", draining(5), knows_again))
        assert (wait_of(decision, "a").reason, decision.wake_at) == ("Settling", within(15))

    def test_that_is_written_down_for_whoever_has_not_seen_the_outage(self) -> None:
        outage = followers_caught_up(within(10))
        known_before = move(decided(*BOTH_NEW_SERVE, old("a", draining(5)), outage), "a")
        gone = having(sightings=(Sighting("Service web", Presence.ABSENT),))
        only_now = move(decided(*BOTH_NEW_SERVE, old("a", withdrawn(5), gone), outage), "a")
        assert known_before.passage.gone_at == only_now.passage.gone_at == within(10)
        assert moves(decided(*BOTH_NEW_SERVE, old("a", draining(-10)), outage)) == {}, "once"

    @pytest.mark.parametrize(("slowest", "until"), [(2, 5), (30, 30)])
    def test_it_settles_as_long_as_the_slowest_of_those_who_call_it_needs(self, slowest: float, until: float) -> None:
        sightings = (Sighting("Service web", Presence.ABSENT), _let_go("eureka", slowest), _let_go("consul", 1))
        decision = decided(*BOTH_NEW_SERVE, old("a", draining(0), having(sightings=sightings)))
        assert (wait_of(decision, "a").reason, decision.wake_at) == ("Settling", within(until))
        settled = old("a", draining(until), having(sightings=sightings))
        assert moves(decided(*BOTH_NEW_SERVE, settled)) == {"a": Verb.MARK_DRAINED}

    def test_a_clock_that_went_back_a_little_only_makes_it_wait_longer(self) -> None:
        decision = decided(*BOTH_NEW_SERVE, old("a", draining(-2)))
        assert wait_of(decision, "a").until == within(7)

    def test_no_settle_asked_for_means_none(self) -> None:
        decision = decided(asking(drain={"settle": "0s"}), *BOTH_NEW_SERVE, old("a", withdrawn(1), unlisted()))
        assert moves(decision) == {"a": Verb.MARK_DRAINED}


class TestInFlight:
    @pytest.mark.parametrize("answer", [having(), working_on(None), working_on(3)])
    def test_it_is_asked_every_second_until_it_works_on_nothing(self, answer: PodModifier) -> None:
        decision = decided(ASKED_FOR_IN_FLIGHT, *BOTH_NEW_SERVE, old("a", draining(6), answer))
        assert wait_of(decision, "a").reason == "InFlight"
        assert decision.wake_at == within(1)

    def test_then_it_is_drained(self) -> None:
        decision = decided(ASKED_FOR_IN_FLIGHT, *BOTH_NEW_SERVE, old("a", draining(6), working_on(0)))
        assert moves(decision) == {"a": Verb.MARK_DRAINED}


class TestHeldByOthers:
    def test_somebody_else_may_keep_the_door_out_shut(self) -> None:
        decision = decided(*BOTH_NEW_SERVE, old("a", draining(6), held("out: heap dump")))
        assert wait_of(decision, "a").message == "exporter keeps the door out shut: heap dump"

    def test_also_of_a_pod_that_never_came_in(self) -> None:
        decision = decided(*BOTH_NEW_SERVE, old("a", warming(), held("out: heap dump")))
        assert moves(decision) == {}
        assert decision.wake_at == within(540)

    def test_a_hold_on_the_way_in_does_not_matter_on_the_way_out(self) -> None:
        decision = decided(*BOTH_NEW_SERVE, old("a", draining(6), held("in: target group")))
        assert moves(decision) == {"a": Verb.MARK_DRAINED}


class TestTimeout:
    def test_hold_keeps_it_and_says_that_it_is_overdue(self) -> None:
        decision = decided(*BOTH_NEW_SERVE, old("a", withdrawn(600)))
        assert wait_of(decision, "a").overdue
        assert decision.status.phase == "Stalled"
        assert Verb.MARK_DRAINED not in moves(decision).values()

    def test_release_lets_it_go_and_says_so(self) -> None:
        decision = decided(asking(drain={"onTimeout": "Release"}), *BOTH_NEW_SERVE, old("a", withdrawn(600)))
        released = move(decision, "a")
        assert released.verb is Verb.MARK_DRAINED
        assert released.event
        assert released.event.reason == "DrainTimedOut"
        assert "still in Service web" in released.message

    @pytest.mark.parametrize(("on_timeout", "verb"), [("Hold", Verb.NOTE), ("Release", Verb.MARK_DRAINED)])
    def test_so_is_a_source_that_never_answers(self, on_timeout: str, verb: Verb) -> None:
        unseen = old("a", withdrawn(600), unlisted(), unanswered_by("Registry"))
        moved = move(decided(asking(drain={"onTimeout": on_timeout}), *BOTH_NEW_SERVE, unseen), "a")
        assert moved.verb is verb
        assert "no answer from Registry" in moved.message

    def test_a_hold_by_somebody_else_is_bounded_too(self) -> None:
        a = old("a", draining(9), passing(withdrawn_at=ago(600)), held("out: dump"))
        assert moves(decided(asking(drain={"onTimeout": "Release"}), *BOTH_NEW_SERVE, a)) == {"a": Verb.MARK_DRAINED}

    def test_a_wait_that_would_outlast_the_timeout_is_looked_at_again_at_the_timeout(self) -> None:
        decision = decided(*BOTH_NEW_SERVE, old("a", draining(1), passing(withdrawn_at=ago(598))))
        assert decision.wake_at == within(2)

    def test_what_is_overdue_is_not_written_down_at_every_look(self) -> None:
        first = move(decided(*BOTH_NEW_SERVE, old("a", withdrawn(600))), "a").passage
        assert moves(decided(*BOTH_NEW_SERVE, old("a", withdrawn(600), having(passage=first)))) == {}


class TestWantedAgain:
    def test_a_withdrawn_pod_is_let_in_again_at_once(self) -> None:
        readmitted = move(decided(wanted(2), new("a", draining(3)), new("b", serving())), "a")
        assert (readmitted.verb, readmitted.gate, readmitted.passage.stage) == (Verb.READMIT, True, Stage.ADMITTED)
        assert readmitted.passage.gone_at is None

    def test_so_is_one_that_is_drained_but_still_there(self) -> None:
        decision = decided(wanted(2), keeping(new=1), new("a", drained(3)), new("b", serving()))
        readmitted = move(decision, "a")
        assert (readmitted.verb, readmitted.passage.drained_at, readmitted.cost) == (Verb.READMIT, None, 0)
        assert [type(step).__name__ for step in decision.steps] == ["SetKeep", "Move"]

    def test_the_users_own_deletion_cost_is_put_back(self) -> None:
        assert move(decided(new("a", drained(), passing(cost_before="42"))), "a").cost == 42

    @pytest.mark.parametrize("garbage", ["", "--5", "9" * 5000, "99999999999", "x", "٣"])
    def test_whatever_stands_in_place_of_that_cost_is_read_as_none(self, garbage: str) -> None:
        assert move(decided(new("a", drained(), passing(cost_before=garbage))), "a").cost == 0

    def test_one_that_was_restarted_meanwhile_goes_through_the_way_in(self) -> None:
        back = move(decided(warm_up(), new("a", draining(3), restarted())), "a")
        assert (back.verb, back.gate, back.passage.stage) == (Verb.READMIT, None, Stage.STARTING)

    def test_so_does_one_that_never_came_in(self) -> None:
        never = new("a", warming(), passing(stage=Stage.DRAINED, drained_at=ago(1), cost_before=""))
        back = move(decided(warm_up(), never), "a")
        assert (back.verb, back.passage.stage, back.passage.drained_at) == (Verb.READMIT, Stage.STARTING, None)

    def test_pausing_a_release_lets_the_old_ones_in_again(self) -> None:
        assert moves(decided(paused(), *BOTH_NEW_SERVE, old("a", draining(3)))) == {"a": Verb.READMIT}


class TestSomebodyElseAtTheGate:
    def test_a_gate_opened_on_the_way_out_is_closed_and_everything_seen_before_is_worth_nothing(self) -> None:
        again = move(decided(*BOTH_NEW_SERVE, old("a", draining(3), having(gate_open=True))), "a")
        assert (again.verb, again.gate, again.passage.gone_at) == (Verb.WITHDRAW, False, None)

    def test_one_that_is_let_in_again_when_it_was_drained_already_is_not_drained_any_more(self) -> None:
        drained_and_open = old(
            "a", drained(3), having(gate_open=True, deletion_cost=-(2**31)), passing(cost_before="7")
        )
        decision = decided(*BOTH_NEW_SERVE, keeping(old=0), drained_and_open)
        again = move(decision, "a").passage
        assert (again.stage, again.drained_at, again.gone_at) == (Stage.WITHDRAWN, None, None)
        assert again.cost_before == "7"
        remarked = old("a", draining(6), having(deletion_cost=-(2**31)), passing(cost_before="7"))
        assert move(decided(*BOTH_NEW_SERVE, remarked), "a").passage.cost_before == "7"

    def test_a_mark_that_a_person_has_written_is_left_alone(self) -> None:
        broken_glass = old("a", serving(), passing(drained_at=ago(1)))
        assert moves(decided(*BOTH_NEW_SERVE, broken_glass)) == {}


class TestFrozen:
    @pytest.mark.parametrize("stage", [serving(), withdrawn(9), draining(9)])
    def test_nobody_goes_out_before_the_controller_has_seen_the_latest_spec(self, stage: PodModifier) -> None:
        decision = decided(unobserved(), *BOTH_NEW_SERVE, old("a", stage))
        assert moves(decision) == {}

    def test_but_pods_come_in(self) -> None:
        assert moves(decided(unobserved(), new("a", containers_ready()))) == {"a": Verb.ADMIT}


class TestPodsThatAreGoingAnyway:
    def test_one_that_is_being_deleted_is_left_alone_and_said_to_have_skipped_the_door(self) -> None:
        decision = decided(*BOTH_NEW_SERVE, old("a", serving(), deleting()))
        assert moves(decision) == {}
        assert [event.reason for event in decision.events] == ["SkippedTheDoor"]

    def test_one_whose_node_is_lost_is_said_to_be_so(self) -> None:
        decision = decided(new("a", serving(), having(node_lost=True)), new("b", serving()))
        assert [event.reason for event in decision.events] == ["NodeLost"]

    def test_one_that_was_drained_first_has_not_skipped_it(self) -> None:
        assert decided(*BOTH_NEW_SERVE, old("a", drained(), deleting())).events == ()

    @pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
    def test_one_that_has_ended_is_nobodys_replica(self, phase: str) -> None:
        decision = decided(*BOTH_NEW_SERVE, old("a", serving(), having(phase=phase)))
        assert moves(decision) == {}
        assert decision.status.pods.out == 0


@pytest.mark.parametrize(
    ("waiting_for", "since"),
    [
        ("NotSeen: no answer from nacos", within(0)),
        ("Telling: nacos must be told (no answer)", within(0)),
        ("StillListed: still in Service web", None),
        ("", None),
    ],
)
def test_a_source_that_gives_no_answer_may_have_been_out_of_reach_since_the_pod_was_withdrawn(
    waiting_for: str, since: datetime | None
) -> None:
    passage = Passage(stage=Stage.WITHDRAWN, withdrawn_at=within(0), waiting_for=waiting_for)
    assert way_out.unanswered_since(passage) == since
    assert way_out.unanswered_since(replace(passage, stage=Stage.DRAINING)) is None
