"""What registries are told of a pod, and what is written on it before."""

from dataclasses import replace

import pytest

from lossless.core import moment
from lossless.core.passage import Passage, Stage
from lossless.core.steps import Verb
from lossless.core.tell import tell, wanted
from lossless.core.world import Pod, Presence, Registered, Sighting
from tests.core.given import (
    NOW,
    PodModifier,
    containers_ready,
    decided,
    having,
    moves,
    new,
    old,
    passing,
    running,
    serving,
    world,
)
from tests.core.given import wanted as replicas
from tests.core.given import withdrawn as withdrawn_pod

ORIGINAL = '{"weight": 2}'
SEEN = Registered("nacos", fraction=1.0, original=ORIGINAL, weighs=True, present=True)
OUT = replace(SEEN, fraction=0.0, original="", present=False)
KEY = Registered("etcd", fraction=1.0, original=ORIGINAL, present=True, blind=True)
NO_KEY = Registered("etcd", blind=True)


def told(pod: Pod) -> tuple[Passage, list[tuple[str, float]]]:
    """What is written on it, and what is told now."""
    passage, tells = tell(pod, moment.at(world(pod), NOW), pod.passage)
    return passage, [(one.source, one.fraction) for one in tells]


def at(one: Registered, *modifiers: PodModifier, kept: str | None = None, out: bool = False) -> Pod:
    """A pod that a registry is seen to hold so; `kept` and `out` are what is written on it."""
    pod = new("a", *modifiers)
    passage = pod.passage
    if kept is not None:
        passage = replace(passage, originals=((one.source, kept),))
    if out:
        passage = replace(passage, told=(one.source,))
    return replace(pod, passage=passage, registrations=(one,))


def unnamed(one: Registered, *modifiers: PodModifier) -> Pod:
    """A pod of which something is kept for a registry that was named once."""
    pod = at(one, *modifiers, kept=ORIGINAL, out=one.blind)
    return replace(pod, registrations=(), unnamed=pod.registrations)


class TestWhatItShouldGet:
    @pytest.mark.parametrize(
        ("stage", "fraction"),
        [
            (Stage.STARTING, 0.0),
            (Stage.SETTLING, 0.0),
            (Stage.WARMING, 0.0),
            (Stage.RAMPING, 0.0),
            (Stage.ADMITTED, 1.0),
            (Stage.WITHDRAWN, 0.0),
            (Stage.DRAINING, 0.0),
            (Stage.DRAINED, 0.0),
        ],
    )
    def test_it_follows_from_its_stage_alone(self, stage: Stage, fraction: float) -> None:
        pod = new("a", running(), passing(stage=stage))
        assert wanted(pod, moment.at(world(), NOW)) == fraction

    def test_a_pod_that_is_being_deleted_gets_nothing(self) -> None:
        pod = new("a", serving(), having(deleting_since=NOW))
        assert wanted(pod, moment.at(world(pod), NOW)) == 0


class TestOneThatCanBeSeen:
    def test_what_was_there_is_written_on_the_pod_before_anything_is_told(self) -> None:
        passage, said = told(at(SEEN, withdrawn_pod()))
        assert (passage.original("nacos"), said) == (ORIGINAL, [])
        assert told(at(SEEN, withdrawn_pod(), kept=ORIGINAL))[1] == [("nacos", 0.0)]

    def test_one_that_registers_before_it_is_let_in_is_taken_out(self) -> None:
        assert told(at(SEEN, running(), kept=ORIGINAL))[1] == [("nacos", 0.0)]

    def test_what_is_so_already_is_not_told(self) -> None:
        assert told(at(OUT, withdrawn_pod(), kept=ORIGINAL))[1] == []
        assert told(at(SEEN, serving()))[1] == []

    def test_what_has_come_undone_is_told_again(self) -> None:
        assert told(at(replace(SEEN, fraction=0.5), withdrawn_pod(), kept=ORIGINAL))[1] == [("nacos", 0.0)]

    def test_what_nobody_knows_is_left_alone(self) -> None:
        unanswered = replace(OUT, fraction=None)
        for pod in (at(unanswered, withdrawn_pod()), at(unanswered, serving(), kept=ORIGINAL)):
            assert told(pod) == (pod.passage, [])

    def test_one_that_is_let_in_is_put_back_and_what_was_kept_is_forgotten_once_that_is_seen(self) -> None:
        passage, said = told(at(OUT, serving(), kept=ORIGINAL))
        assert (passage.original("nacos"), said) == (ORIGINAL, [("nacos", 1.0)])
        passage, said = told(at(SEEN, serving(), kept=ORIGINAL))
        assert (passage.original("nacos"), said) == (None, [])

    @pytest.mark.parametrize("almost", [0.996, 0.99999])
    def test_almost_a_full_share_is_not_what_was_there_before(self, almost: float) -> None:
        """It is what the last step of a ramp may give, if that is a short one."""
        passage, said = told(at(replace(SEEN, fraction=almost), serving(), kept=ORIGINAL))
        assert (passage.original("nacos"), said) == (ORIGINAL, [("nacos", 1.0)])
        assert told(at(replace(SEEN, fraction=almost, asked=almost), serving(), kept=ORIGINAL))[1] == [("nacos", 1.0)]

    def test_what_another_has_taken_out_while_it_served_is_not_ours_to_put_back(self) -> None:
        pod = at(OUT, serving())
        assert told(pod) == (pod.passage, [])

    def test_the_first_that_was_seen_is_kept_unless_there_is_a_newer_one_of_the_owners_own(self) -> None:
        ours = replace(SEEN, fraction=0.5, original="ours")
        assert told(at(ours, withdrawn_pod(), kept=ORIGINAL))[0].original("nacos") == ORIGINAL
        passage, said = told(at(replace(ours, replaces=True), withdrawn_pod(), kept=ORIGINAL))
        assert (passage.original("nacos"), said) == ("ours", [])

    def test_of_a_pod_that_was_never_in_our_hands_nothing_is_told(self) -> None:
        pod = at(SEEN, withdrawn_pod(), having(managed=False))
        assert told(pod) == (pod.passage, [])

    def test_one_that_cannot_weigh_gives_all_or_nothing(self) -> None:
        ramping = at(replace(SEEN, weighs=False), running(), passing(stage=Stage.RAMPING), kept=ORIGINAL)
        assert told(ramping)[1] == [("nacos", 0.0)]


class TestWhatIsBeingTold:
    def test_it_is_not_told_twice(self) -> None:
        assert told(at(replace(SEEN, asked=0.0), withdrawn_pod(), kept=ORIGINAL))[1] == []

    @pytest.mark.parametrize("one", [replace(SEEN, asked=0.0), replace(KEY, asked=0.0)], ids=["seen", "blind"])
    def test_it_is_taken_back_when_the_pod_is_wanted_again(self, one: Registered) -> None:
        """Or it would be done later, to a pod that serves: the registry was away, say."""
        passage, said = told(at(one, serving(), kept=ORIGINAL))
        assert said == [(one.source, 1.0)]
        assert passage.original(one.source) == ORIGINAL, "until that is done as well"


class TestOneThatTellsNothingAfterwards:
    def test_that_it_was_told_is_written_on_the_pod(self) -> None:
        passage, said = told(at(replace(NO_KEY, told_out=True), withdrawn_pod(), kept=ORIGINAL))
        assert (passage.told, said) == (("etcd",), [])

    def test_one_on_the_way_out_is_told_even_if_it_is_not_there(self) -> None:
        """Nobody can see whether it is."""
        assert told(at(NO_KEY, withdrawn_pod()))[1] == [("etcd", 0.0)]

    def test_an_app_that_is_starting_is_told_nothing_but_its_key_is_taken_out(self) -> None:
        assert told(at(NO_KEY, running()))[1] == []
        assert told(at(KEY, running(), kept=ORIGINAL))[1] == [("etcd", 0.0)]

    def test_one_that_registers_only_after_it_was_told_has_its_key_kept_and_is_told_again(self) -> None:
        """It was withdrawn while it started: nothing was there, and that is what was kept."""
        early = replace(KEY, told_out=True)
        passage, now = told(at(early, withdrawn_pod(), kept="", out=True))
        assert (passage.original("etcd"), now) == (ORIGINAL, [])
        assert told(at(early, withdrawn_pod(), kept=ORIGINAL, out=True))[1] == [("etcd", 0.0)]

    def test_one_that_is_there_again_is_told_again(self) -> None:
        back = replace(KEY, told_out=True)
        assert told(at(back, withdrawn_pod(), kept=ORIGINAL, out=True))[1] == [("etcd", 0.0)]

    def test_one_that_is_let_in_is_put_back_and_that_is_written_too(self) -> None:
        out = replace(NO_KEY, told_out=True)
        passage, said = told(at(out, serving(), kept=ORIGINAL, out=True))
        assert (passage.told, passage.original("etcd"), said) == (("etcd",), ORIGINAL, [("etcd", 1.0)])
        passage, said = told(at(KEY, serving(), kept=ORIGINAL, out=True))
        assert (passage.told, passage.original("etcd"), said) == ((), None, [])

    def test_its_key_is_put_back_also_where_an_operator_was_killed_before_it_could_say_that_it_took_it(self) -> None:
        passage, said = told(at(NO_KEY, serving(), kept=ORIGINAL))
        assert (passage.original("etcd"), said) == (ORIGINAL, [("etcd", 1.0)])

    def test_of_one_without_a_key_nothing_is_kept_once_it_was_put_back(self) -> None:
        assert told(at(NO_KEY, serving(), kept="", out=True))[0] == new("a", serving()).passage


class TestOneThatIsNamedNoMore:
    @pytest.mark.parametrize("one", [OUT, replace(NO_KEY, told_out=True)], ids=["seen", "blind"])
    def test_a_pod_that_is_let_in_is_put_back_there(self, one: Registered) -> None:
        passage, said = told(unnamed(one, serving()))
        assert (passage.original(one.source), said) == (ORIGINAL, [(one.source, 1.0)])

    @pytest.mark.parametrize("one", [SEEN, KEY], ids=["seen", "blind"])
    def test_what_was_kept_is_forgotten_once_that_is_seen(self, one: Registered) -> None:
        assert told(unnamed(one, serving())) == (new("a", serving()).passage, [])

    @pytest.mark.parametrize("way", [running(), withdrawn_pod()], ids=["in", "out"])
    def test_one_that_is_not_in_stays_out_of_it(self, way: PodModifier) -> None:
        """Its callers would get a pod that is cold, or about to go."""
        pod = unnamed(OUT, way)
        assert told(pod) == (pod.passage, [])

    def test_one_that_has_come_back_by_itself_is_not_taken_out_again(self) -> None:
        pod = unnamed(SEEN, withdrawn_pod())
        assert told(pod) == (pod.passage, [])


class TestADecision:
    def test_a_pod_that_runs_may_register_itself_so_it_goes_the_whole_way_out(self) -> None:
        gone = Sighting("nacos", Presence.ABSENT, "not registered")
        nowhere = having(registrations=(replace(OUT, fraction=None),), sightings=(gone,))
        serve = (new("x", serving()), new("y", serving()))
        assert moves(decided(replicas(2), *serve, old("a", running(), nowhere)))["a"] is Verb.WITHDRAW
        on_its_node = having(node="node-1", registrations=(replace(OUT, fraction=None),))
        assert moves(decided(replicas(2), *serve, old("a", on_its_node)))["a"] is Verb.WITHDRAW

    @pytest.mark.parametrize("registered", [True, False])
    def test_one_that_is_on_no_node_and_one_that_cannot_register_itself_have_nothing_to_drain(
        self, registered: bool
    ) -> None:
        serve = (new("x", serving()), new("y", serving()))
        nowhere = having(node="", registrations=(replace(OUT, fraction=None),) if registered else ())
        going = old("a", nowhere) if registered else old("a", containers_ready())
        assert moves(decided(replicas(2), *serve, going))["a"] is Verb.MARK_DRAINED
