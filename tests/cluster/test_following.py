"""Which pods registries are looked at for. The API and the book are fakes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lossless.api import names
from lossless.cluster.resources import PODS, ROLLOUTS
from lossless.core.passage import format_time
from lossless.core.world import Presence, Registered, Sighting
from lossless.traffic.registries.book import View
from tests.cluster import objects
from tests.cluster.test_reconcile import NOON, Quiet, Shop, shop, starting

ETCD = {"name": "keys", "etcd": {"endpoints": ["http://etcd:2379"], "prefix": "web/"}}


class FakeBook(Quiet):
    """Remembers whom it was asked to follow, and has seen everybody so."""

    def __init__(self, presence: Presence | None = None) -> None:
        super().__init__()
        self.followed: Mapping[str, Sequence[str]] = {}
        self.told: list[tuple[str, float]] = []
        self._presence = presence

    def follow(self, key: Any, namespace: str, specs: Any, instances: Any) -> None:
        self.followed = {name: list(pods) for name, pods in instances.items()}

    def views(self, key: Any, uid: str) -> tuple[Any, ...]:
        if self._presence is None:
            return ()
        fraction = 1.0 if self._presence is Presence.PRESENT else None
        registered = Registered("keys", fraction, blind=True, present=fraction == 1)
        return (View(Sighting("keys", self._presence), registered),)

    def tell(self, key: Any, source: str, uid: str, fraction: float) -> None:
        self.told.append((source, fraction))


def admitted(**annotations: str) -> objects.Raw:
    notes = {names.STAGE: "Admitted", names.ADMITTED_AT: str(format_time(NOON)), **annotations}
    return objects.pod("web-1-a", metadata={"annotations": notes})


async def followed(pod: objects.Raw, presence: Presence | None = None, **spec: Any) -> Mapping[str, Sequence[str]]:
    """At which registries this pod is looked at in a turn."""
    made = shop(pod, **{"traffic": {"registries": [ETCD]}, **spec})
    book = FakeBook(presence)
    made.reconciler.registries = book
    await made.turn()
    return book.followed


async def test_nobody_looks_for_a_pod_that_serves() -> None:
    assert await followed(admitted()) == {"keys": []}
    assert await followed(admitted(), Presence.PRESENT) == {"keys": []}


@pytest.mark.parametrize("presence", [Presence.ABSENT, Presence.UNANSWERED])
async def test_one_that_is_let_in_is_looked_for_until_it_has_registered_itself(presence: Presence) -> None:
    assert await followed(admitted(), presence) == {"keys": ["uid-web-1-a"]}


@pytest.mark.parametrize(
    "annotations",
    [{names.ORIGINALS: '{"keys": "k=v"}'}, {names.TOLD: "keys"}, {names.STAGE: "Withdrawn"}, {names.STAGE: "Warming"}],
)
async def test_one_that_is_under_way_or_not_back_yet_is_looked_for(annotations: dict[str, str]) -> None:
    assert await followed(admitted(**annotations)) == {"keys": ["uid-web-1-a"]}


@pytest.mark.parametrize(("stage", "pods"), [("Admitted", {"old": ["uid-web-1-a"]}), ("Draining", {}), ("Warming", {})])
async def test_a_registry_that_is_named_no_more_is_followed_until_it_has_back_what_it_had_of_a_pod_that_is_let_in(
    stage: str, pods: Mapping[str, Sequence[str]]
) -> None:
    kept = {names.ORIGINALS: '{"old": "k=v"}', names.REGISTRIES: json.dumps([{**ETCD, "name": "old"}])}
    pod = admitted(**{names.STAGE: stage}, **kept)
    assert await followed(pod, traffic={}) == pods


async def test_what_it_had_is_read_from_the_pod_and_forgotten_when_it_is_back() -> None:
    kept = {names.ORIGINALS: '{"keys": "k=v"}', names.REGISTRIES: json.dumps([ETCD])}
    made = shop(admitted(**kept))
    book = FakeBook(Presence.ABSENT)
    made.reconciler.registries = book
    made.reconciler.actor = replace(made.reconciler.actor, registries=book)
    await made.turn()
    assert book.told == [("keys", 1.0)]
    annotations = made.api.objects[PODS, "web-1-a"]["metadata"]["annotations"]
    assert annotations[names.ORIGINALS] == kept[names.ORIGINALS]
    made.reconciler.registries = FakeBook(Presence.PRESENT)
    await made.turn()
    assert not {names.ORIGINALS, names.REGISTRIES, names.TOLD} & annotations.keys()


async def test_nobody_waits_for_the_word_of_a_registry_that_is_named_no_more() -> None:
    made = shop(admitted())
    made.reconciler.registries = FakeBook(Presence.ABSENT)
    await made.turn()
    assert made.api.objects[ROLLOUTS, "web"]["status"]["pods"]["serving"] == 1


def early(made: Shop) -> list[str]:
    found = made.api.objects[ROLLOUTS, "web"]["status"]["findings"]
    return [one["message"] for one in found if one["reason"] == "RegisteredEarly"]


async def test_that_a_pod_was_handed_out_before_it_was_let_in_is_said_as_long_as_it_is_there() -> None:
    made = shop(starting(), traffic={"registries": [ETCD]}, warmup={"delay": "60s"})
    book = FakeBook(Presence.PRESENT)
    made.reconciler.registries = book
    made.reconciler.actor = replace(made.reconciler.actor, registries=book)
    await made.first_turns()
    assert "handed out by keys before they were let in:" in early(made)[0]
    made.now += timedelta(seconds=90)
    await made.first_turns()
    assert "for up to 128 s each" in early(made)[0]
    del made.api.objects[PODS, "new"]
    made.store.pods.remove("uid-new", int(made.store.pods.version("uid-new")))
    await made.turn()
    assert early(made) == []


async def test_who_only_observes_asks_no_registry() -> None:
    assert await followed(admitted(**{names.STAGE: "Warming"}), mode="Observe") == {}
