"""Which pods registries are looked at for. The API and the book are fakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from lossless.api import names
from lossless.core.passage import format_time
from lossless.core.world import Presence, Registered, Sighting
from lossless.traffic.registries.book import View
from tests.cluster import objects
from tests.cluster.test_reconcile import NOON, Quiet, shop

ETCD = {"name": "keys", "etcd": {"endpoints": ["http://etcd:2379"], "prefix": "web/"}}


class FakeBook(Quiet):
    """Remembers whom it was asked to follow, and has seen everybody so."""

    def __init__(self, presence: Presence | None = None) -> None:
        super().__init__()
        self.followed: Mapping[str, Sequence[str]] = {}
        self._presence = presence

    def follow(self, key: Any, namespace: str, specs: Any, instances: Any) -> None:
        self.followed = {name: list(pods) for name, pods in instances.items()}

    def views(self, key: Any, uid: str) -> tuple[Any, ...]:
        if self._presence is None:
            return ()
        return (View(Sighting("keys", self._presence), Registered("keys", blind=True)),)

    def tell(self, key: Any, source: str, uid: str, fraction: float) -> None:
        pass


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


async def test_who_only_observes_asks_no_registry() -> None:
    assert await followed(admitted(**{names.STAGE: "Warming"}), mode="Observe") == {}
