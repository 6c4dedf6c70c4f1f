"""The book: what it asks of registries in the background, and what it says of them meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from lossless.api.traffic import Consul, Etcd, Hook, Http, Preset, PresetHook
from lossless.api.traffic import Registry as Spec
from lossless.core.world import Presence
from lossless.traffic.outages import FIRST_WAIT
from lossless.traffic.registries import book as module
from lossless.traffic.registries.book import EVERY, LONGEST_PAUSE, Book, View
from lossless.traffic.registries.errors import Changed, Nonsense, Refused, RegistryError, Unreachable
from lossless.traffic.registries.registry import Instance, Registration

KEY = ("shop", "web")


@dataclass
class FakeRegistry:
    """A fake: keeps a fraction of each pod, and fails when told to."""

    held: dict[str, float] = field(default_factory=dict)
    done: list[tuple[str, str]] = field(default_factory=list)
    looked: list[tuple[Instance, ...]] = field(default_factory=list)
    failure: Exception | None = None
    """Of a look."""
    refusals: dict[str, Exception] = field(default_factory=dict)
    """Of what is told, by uid."""
    instead: Registration | None = None
    """What is seen of every pod, whatever it holds."""
    closed: int = 0
    looked_at: list[float] = field(default_factory=list)
    tried_at: list[float] = field(default_factory=list)
    """When it was looked at, and when it was to be told something, by the event loop's clock."""
    settle: timedelta = timedelta(seconds=7)
    weighs: bool = True

    async def look(self, instances: Sequence[Instance]) -> Mapping[str, Registration]:
        await asyncio.sleep(0)
        self.looked.append(tuple(instances))
        self.looked_at.append(asyncio.get_running_loop().time())
        if self.failure:
            raise self.failure
        return {one.uid: self.instead or self._seen(self.held.get(one.uid)) for one in instances}

    async def withdraw(self, instance: Instance) -> None:
        await self._told("withdraw", instance, 0.0)

    async def restore(self, instance: Instance) -> None:
        await self._told("restore", instance, 1.0)

    async def weigh(self, instance: Instance, fraction: float) -> None:
        await self._told("weigh", instance, fraction)

    async def close(self) -> None:
        self.closed += 1

    async def _told(self, what: str, instance: Instance, fraction: float) -> None:
        await asyncio.sleep(0)
        self.tried_at.append(asyncio.get_running_loop().time())
        if instance.uid in self.refusals:
            raise self.refusals[instance.uid]
        self.done.append((what, instance.uid))
        self.held[instance.uid] = fraction

    @staticmethod
    def _seen(fraction: float | None) -> Registration:
        if fraction is None:
            return Registration(Presence.ABSENT, "not registered")
        presence = Presence.PRESENT if fraction else Presence.ABSENT
        return Registration(presence, f"fraction {fraction}", fraction, "{}")


class Desk:
    """A book, the fake registries that it was made, and whom it told of."""

    def __init__(self) -> None:
        self.registries = {"one": FakeRegistry(), "two": FakeRegistry()}
        self.made: list[str] = []
        self.unmakable: dict[str, RegistryError] = {}
        self.changed: list[str] = []
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.book = Book(self._make, self.changed.append, clock=lambda: self.now)

    async def _make(self, namespace: str, spec: Spec) -> FakeRegistry:
        self.made.append(spec.name)
        if spec.name in self.unmakable:
            raise self.unmakable[spec.name]
        return self.registries[spec.name]

    def follow(self, *uids: str, at: Sequence[str] = ("one",), specs: Sequence[Spec] | None = None) -> None:
        pods = {uid: pod(uid) for uid in uids}
        self.book.follow(KEY, "shop", specs or [spec(name) for name in at], dict.fromkeys(at, pods))

    def view(self, uid: str, at: str = "one") -> View:
        return next(view for view in self.book.views(KEY, uid) if view.sighting.source == at)

    def presence(self, uid: str, at: str = "one") -> Presence:
        return self.view(uid, at).sighting.presence


def spec(name: str, prefix: str = "web/") -> Spec:
    return Spec(name=name, etcd=Etcd(endpoints=["http://etcd:2379"], prefix=prefix))


def pod(uid: str) -> Instance:
    return Instance(uid, "shop", f"web-{uid}", "node-1", ("10.0.0.7",), 8080)


async def until(so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not so():  # noqa: ASYNC110 - what is waited for is in a fake, which tells nobody
            await asyncio.sleep(0.002)


async def rounds(registry: FakeRegistry, count: int = 3) -> None:
    """So many more looks."""
    before = len(registry.looked)
    await until(lambda: len(registry.looked) >= before + count)


@pytest.fixture
async def desk(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    monkeypatch.setattr(module, "EVERY", 0.005)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.02)
    made = Desk()
    yield made
    await made.book.close()


@pytest.fixture
def one(desk: Desk) -> FakeRegistry:
    return desk.registries["one"]


async def test_a_pod_is_unanswered_until_it_was_looked_at(desk: Desk, one: FakeRegistry) -> None:
    one.held["a"] = 1.0
    desk.follow("a")
    assert desk.view("a").sighting.evidence == "not looked at yet"
    assert desk.presence("a") is Presence.UNANSWERED
    await until(lambda: desk.presence("a") is Presence.PRESENT)
    view = desk.view("a")
    assert (view.registered.fraction, view.registered.original) == (1.0, "{}")
    assert view.sighting.settle == timedelta(seconds=7), "as long as its usual consumers take"


async def test_whoever_waits_is_told_of_what_is_new_and_of_nothing_else(desk: Desk, one: FakeRegistry) -> None:
    desk.follow("a", "b")
    await rounds(one)
    assert sorted(desk.changed) == ["a", "b"]
    one.held["b"] = 1.0
    await rounds(one)
    assert sorted(desk.changed) == ["a", "b", "b"]


async def test_since_when_it_hands_a_pod_out_or_does_not_is_known(desk: Desk, one: FakeRegistry) -> None:
    first = desk.now
    one.held["a"] = 1.0
    desk.follow("a")
    assert desk.view("a").registered.since is None
    await until(lambda: desk.view("a").registered.since == first)
    desk.now += timedelta(seconds=3)
    await rounds(one)
    assert desk.view("a").registered.since == first, "nothing is new"
    one.failure = Unreachable("no answer")
    await until(lambda: desk.view("a").registered.since is None)
    one.failure = None
    one.held["a"] = 0.0
    await until(lambda: desk.view("a").registered.since == desk.now)


@pytest.mark.parametrize(
    ("kind", "missing"),
    [
        ({"consul": Consul(server="http://consul:8500", service="web")}, True),
        ({"etcd": Etcd(endpoints=["http://etcd:2379"], prefix="web/")}, True),
        ({"http": Http(gone=Hook(url="http://gateway/pools/{ip}"))}, False),
        ({"preset": PresetHook(name=Preset.EDAS_AGENT)}, False),
    ],
    ids=["consul", "etcd", "http", "preset"],
)
async def test_who_is_not_registered_is_missing_where_applications_register_themselves(
    desk: Desk, one: FakeRegistry, kind: dict[str, Any], missing: bool
) -> None:
    desk.follow("a", specs=[Spec(name="one", **kind)])
    assert not desk.view("a").registered.missing, "nobody has looked yet"
    await until(lambda: desk.presence("a") is Presence.ABSENT)
    assert desk.view("a").registered.missing is missing
    one.held["a"] = 0.0
    await rounds(one)
    assert not desk.view("a").registered.missing, "it is known, and out"


async def test_a_registry_that_is_not_wanted_costs_nothing(desk: Desk, one: FakeRegistry) -> None:
    desk.follow()
    await asyncio.sleep(0.03)
    assert not desk.made
    desk.follow("a")
    await rounds(one)
    desk.follow()
    await asyncio.sleep(0.02)
    looks = len(one.looked)
    await asyncio.sleep(0.03)
    assert len(one.looked) == looks, "nobody is of interest any more"
    assert desk.book.views(KEY, "a") == ()


@pytest.mark.parametrize(("fraction", "what"), [(0.0, "withdraw"), (0.25, "weigh"), (1.0, "restore")])
async def test_it_is_told_and_looked_at_again(desk: Desk, one: FakeRegistry, fraction: float, what: str) -> None:
    one.held["a"] = 0.5
    desk.follow("a")
    desk.book.tell(KEY, "one", "a", fraction)
    assert desk.view("a").registered.asked == fraction
    await until(lambda: desk.view("a").registered.asked is None)
    assert one.done == [(what, "a")]
    assert desk.view("a").registered.fraction == fraction, "what was told is over only when it has been seen"
    await rounds(one)
    assert one.done == [(what, "a")], "told once is told"


def caught_up_at(desk: Desk) -> datetime | None:
    return desk.view("a").sighting.followers_caught_up_at


@pytest.mark.parametrize("failure", [Unreachable("no answer"), Nonsense("no list")])
async def test_after_an_outage_those_who_follow_a_registry_need_time_to_hear_of_it(
    desk: Desk, one: FakeRegistry, failure: RegistryError
) -> None:
    desk.follow("a")
    await rounds(one)
    assert caught_up_at(desk) is None
    one.failure = failure
    await until(lambda: desk.presence("a") is Presence.UNANSWERED)
    desk.now += timedelta(seconds=20)
    one.failure = None
    await until(lambda: desk.presence("a") is Presence.ABSENT)
    assert caught_up_at(desk) == desk.now + 2 * (timedelta(seconds=20) + FIRST_WAIT)


@pytest.mark.parametrize("answers", [True, False])
async def test_an_outage_that_is_written_on_a_pod_is_known_to_who_has_not_seen_it(
    desk: Desk, one: FakeRegistry, answers: bool
) -> None:
    began = desk.now
    desk.now += timedelta(seconds=20)
    one.failure = None if answers else Unreachable("no answer")
    waits = replace(pod("a"), unanswered_since=began)
    desk.book.follow(KEY, "shop", [spec("one")], {"one": {"a": waits}})
    await rounds(one)
    one.failure = None
    await until(lambda: desk.presence("a") is Presence.ABSENT)
    assert caught_up_at(desk) == desk.now + 2 * (timedelta(seconds=20) + FIRST_WAIT)
    desk.now += timedelta(seconds=1)
    desk.book.follow(KEY, "shop", [spec("one")], {"one": {"a": waits, "b": waits}})
    await rounds(one)
    assert caught_up_at(desk) == desk.now - timedelta(seconds=1) + 2 * (timedelta(seconds=20) + FIRST_WAIT), "once"


async def test_a_registry_that_refuses_us_does_answer_those_who_follow_it(desk: Desk, one: FakeRegistry) -> None:
    one.failure = Refused("the token is not accepted")
    desk.follow("a")
    await rounds(one)
    desk.now += timedelta(seconds=20)
    one.failure = None
    await until(lambda: desk.presence("a") is Presence.ABSENT)
    assert caught_up_at(desk) is None


@pytest.mark.parametrize("failure", [Unreachable("no answer"), Refused("no"), Changed("another key")])
async def test_what_a_registry_does_not_take_is_told_again(
    desk: Desk, one: FakeRegistry, failure: RegistryError
) -> None:
    one.refusals["a"] = failure
    desk.follow("a")
    desk.book.tell(KEY, "one", "a", 0.0)
    await rounds(one, 5)
    assert (one.done, desk.view("a").registered.asked) == ([], 0.0)
    assert (str(failure) in desk.view("a").sighting.evidence) is not isinstance(failure, Changed), "it is said why"
    one.refusals.clear()
    await until(lambda: one.done == [("withdraw", "a")])
    await until(lambda: desk.view("a").sighting.evidence == "fraction 0.0")


async def test_what_is_told_and_not_seen_yet_is_told_again_no_sooner_than_it_is_looked_at_again(
    desk: Desk, one: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some registries show only later what they were told."""
    monkeypatch.setattr(module, "EVERY", 1000.0)
    monkeypatch.setattr(module, "LONGEST_PAUSE", 1000.0)
    desk.follow("a")
    desk.book.tell(KEY, "one", "a", 0.0)
    await until(lambda: desk.view("a").registered.asked is None)
    desk.book.tell(KEY, "one", "a", 0.0)
    await asyncio.sleep(0.02)
    assert (one.done, desk.view("a").registered.asked) == ([("withdraw", "a")], 0.0)
    desk.book.tell(KEY, "one", "a", 1.0)
    await until(lambda: one.done == [("withdraw", "a"), ("restore", "a")])


async def test_the_latest_word_counts(desk: Desk, one: FakeRegistry) -> None:
    one.failure = Unreachable("no answer")
    one.refusals["a"] = one.failure
    desk.follow("a")
    desk.book.tell(KEY, "one", "a", 0.0)
    await rounds(one)
    desk.book.tell(KEY, "one", "a", 1.0)
    one.failure = None
    one.refusals.clear()
    await until(lambda: desk.view("a").registered.asked is None)
    assert one.done == [("restore", "a")]


async def test_one_pod_that_is_refused_holds_up_no_other(
    desk: Desk, one: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_PAUSE", 1000.0)
    one.refusals["a"] = Refused("its lease has ended")
    desk.follow("a", "b")
    desk.book.tell(KEY, "one", "a", 1.0)
    await rounds(one, 8)
    desk.book.tell(KEY, "one", "b", 0.0)
    await until(lambda: one.done == [("withdraw", "b")])
    assert desk.presence("b") is Presence.ABSENT


async def test_a_registry_that_does_not_answer_leaves_its_pods_unanswered(desk: Desk, one: FakeRegistry) -> None:
    one.held["a"] = 1.0
    desk.follow("a")
    await until(lambda: desk.presence("a") is Presence.PRESENT)
    one.failure = Unreachable("no connection")
    await until(lambda: desk.presence("a") is Presence.UNANSWERED)
    assert desk.view("a").sighting.evidence == "no connection"
    assert desk.view("a").registered.fraction is None
    assert desk.view("a").sighting.settle == timedelta(seconds=7), "known from before"
    one.failure = None
    await until(lambda: desk.presence("a") is Presence.PRESENT)


async def test_after_a_refusal_the_registry_is_made_anew_since_a_secret_may_have_changed(
    desk: Desk, one: FakeRegistry
) -> None:
    one.failure = Refused("the login is not accepted")
    desk.follow("a")
    await until(lambda: desk.made == ["one", "one"])
    assert one.closed >= 1, "its connections were let go"
    one.failure = None
    await until(lambda: desk.presence("a") is Presence.ABSENT)
    before = len(desk.made)
    one.failure = Unreachable("no answer")
    await rounds(one)
    assert len(desk.made) == before, "that would not help where there is no answer"


async def test_one_that_will_not_say_of_any_pod_has_refused_us_as_well(desk: Desk, one: FakeRegistry) -> None:
    one.instead = Registration(Presence.UNANSWERED, "401: we are not let in", refused=True)
    desk.follow("a")
    await until(lambda: len(desk.made) > 1)
    desk.now += timedelta(seconds=20)
    one.instead = None
    await until(lambda: desk.presence("a") is Presence.ABSENT)
    assert caught_up_at(desk) is None


async def test_one_that_cannot_be_made_is_tried_again(desk: Desk, one: FakeRegistry) -> None:
    desk.unmakable["one"] = Refused("there is no Secret login")
    desk.follow("a")
    await until(lambda: desk.view("a").sighting.evidence == "there is no Secret login")
    desk.unmakable.clear()
    await until(lambda: desk.presence("a") is Presence.ABSENT)


async def test_a_defect_in_one_does_not_stop_the_others(desk: Desk, one: FakeRegistry) -> None:
    one.failure = ZeroDivisionError("division by zero")
    desk.registries["two"].held["a"] = 1.0
    desk.follow("a", at=("one", "two"))
    await until(lambda: desk.presence("a", "two") is Presence.PRESENT)
    await until(lambda: desk.view("a").sighting.evidence == "a defect (ZeroDivisionError)")
    assert desk.presence("a") is Presence.UNANSWERED
    one.failure = None
    await until(lambda: desk.presence("a") is Presence.ABSENT)


async def test_what_cannot_be_seen_is_remembered_and_given_back_to_the_registry(desk: Desk, one: FakeRegistry) -> None:
    desk.follow("a")
    desk.book.tell(KEY, "one", "a", 0.0)
    await until(lambda: desk.view("a").registered.told_out)
    desk.follow("a")  # as the pod has it, which does not say so yet
    await rounds(one)
    assert one.looked[-1][0].told
    desk.book.tell(KEY, "one", "a", 1.0)
    await until(lambda: not desk.view("a").registered.told_out)
    await rounds(one)
    assert not one.looked[-1][0].told


async def test_after_a_crash_it_is_known_from_the_pod(desk: Desk) -> None:
    desk.book.follow(KEY, "shop", [spec("one")], {"one": {"a": replace(pod("a"), told=True)}})
    assert desk.view("a").registered.told_out


async def test_a_live_look_returns_when_it_is_known(desk: Desk, one: FakeRegistry) -> None:
    desk.follow("a", at=("one", "two"))
    one.held["a"] = desk.registries["two"].held["a"] = 1.0
    await desk.book.look_now(KEY)
    assert desk.presence("a") is desk.presence("a", "two") is Presence.PRESENT
    one.held["a"] = 0.0
    await desk.book.look_now(KEY)
    assert desk.presence("a") is Presence.ABSENT
    await desk.book.look_now(("shop", "somebody else"))


async def test_a_registry_that_is_named_otherwise_is_another_one(desk: Desk, one: FakeRegistry) -> None:
    desk.follow("a")
    await rounds(one)
    desk.follow("a", specs=[spec("one", prefix="other/")])
    assert desk.presence("a") is Presence.UNANSWERED
    await until(lambda: one.closed == 1)
    await until(lambda: desk.presence("a") is Presence.ABSENT)
    assert desk.made == ["one", "one"]


async def test_nothing_is_told_of_a_pod_that_is_of_no_interest(desk: Desk, one: FakeRegistry) -> None:
    desk.follow("a")
    desk.book.tell(KEY, "one", "b", 0.0)
    desk.book.tell(KEY, "two", "a", 0.0)
    await rounds(one)
    assert not one.done


async def test_a_pod_is_put_back_where_nobody_follows(desk: Desk, one: FakeRegistry) -> None:
    await desk.book.restore("shop", spec("one"), pod("a"))
    assert (one.done, one.closed) == ([("restore", "a")], 1)
    one.refusals["a"] = Refused("no")
    with pytest.raises(Refused):
        await desk.book.restore("shop", spec("one"), pod("a"))
    assert one.closed == 2, "its connections are let go all the same"


async def test_what_is_forgotten_or_closed_is_looked_at_no_more(desk: Desk, one: FakeRegistry) -> None:
    desk.follow("a", at=("one", "two"))
    await rounds(one)
    desk.book.forget(KEY)
    assert desk.book.views(KEY, "a") == ()
    desk.follow("a", at=("two",))
    await rounds(desk.registries["two"])
    await desk.book.close()
    looks = len(one.looked), len(desk.registries["two"].looked)
    assert (one.closed, desk.registries["two"].closed) == (1, 2)
    await asyncio.sleep(0.02)
    assert (len(one.looked), len(desk.registries["two"].looked)) == looks
    assert len(asyncio.all_tasks()) == 1


# -- how often a registry is tried -------------------------------------------------------------------------------------


@pytest.fixture
async def hasty(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    """A desk in a time that passes at once while everybody waits, and without chance."""
    loop: Any = asyncio.get_running_loop()
    select, now = loop._selector.select, 0.0

    def at_once(timeout: float | None) -> object:
        nonlocal now
        now += timeout or 0
        return select(0)

    monkeypatch.setattr(loop, "time", lambda: now)
    monkeypatch.setattr(loop._selector, "select", at_once)
    monkeypatch.setattr("random.uniform", lambda least, most: most)
    made = Desk()
    yield made
    await made.book.close()


def pauses(moments: Sequence[float]) -> list[float]:
    return [later - sooner for sooner, later in pairwise(moments)]


async def test_a_registry_that_does_not_answer_is_tried_more_and_more_seldom_up_to_a_limit(hasty: Desk) -> None:
    one = hasty.registries["one"]
    one.failure = Unreachable("no answer")
    hasty.follow("a")
    await asyncio.sleep(50)
    assert pauses(one.looked_at) == [1, 2, 4, 8, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]
    one.failure = None
    await asyncio.sleep(15)
    assert pauses(one.looked_at)[-9:] == [EVERY] * 9, "it answers, so it is looked at once a moment"


async def test_what_it_does_not_take_is_told_more_and_more_seldom_while_it_is_looked_at_as_ever(hasty: Desk) -> None:
    one = hasty.registries["one"]
    one.refusals["a"] = Unreachable("no answer")
    hasty.follow("a", "b")
    hasty.book.tell(KEY, "one", "a", 0.0)
    await asyncio.sleep(50)
    assert pauses(one.tried_at) == [1, 2, 4, 8, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]
    assert set(pauses(one.looked_at)) == {EVERY}
    hasty.book.tell(KEY, "one", "b", 0.0)
    hasty.book.tell(KEY, "one", "a", 1.0)
    before = len(one.tried_at)
    await asyncio.sleep(EVERY)
    assert len(one.tried_at) == before + 2, "another word is not put off"


async def test_one_that_answers_again_is_told_at_once_what_it_has_not_taken(
    hasty: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda least, most: least)
    one = hasty.registries["one"]
    one.failure = one.refusals["a"] = Refused("no right to exec")
    hasty.follow("a")
    hasty.book.tell(KEY, "one", "a", 0.0)
    await asyncio.sleep(50)
    one.failure = None
    one.refusals.clear()
    looks = len(one.looked_at)
    await asyncio.sleep(2 * LONGEST_PAUSE)
    assert one.done == [("withdraw", "a")]
    assert one.tried_at[-1] <= one.looked_at[looks] + EVERY
