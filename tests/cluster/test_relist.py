"""What vanished unseen is found out by a list, and nothing is decided before everything was seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from lossless.cluster import relist
from lossless.cluster.errors import NotFound, Unavailable
from lossless.cluster.gateway import Listing, Page
from lossless.cluster.relist import Relister
from lossless.cluster.resources import ARGO_ROLLOUTS, PODS, ROLLOUTS, Resource
from lossless.cluster.scope import Scope
from lossless.cluster.store import Store
from tests.cluster import objects
from tests.cluster.fake_api import FakeApi


class Api(FakeApi):
    """Lists only; the first lists of a kind may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: dict[Resource, list[Exception]] = {}

    async def list(self, resource: Resource, namespace: str | None = None, label_selector: str = "") -> Listing:
        if self.broken.get(resource):
            raise self.broken[resource].pop(0)
        return await super().list(resource, namespace, label_selector)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relist, "QUIET", 0.05)
    monkeypatch.setattr(relist, "RETRY", 0.02)


@asynccontextmanager
async def running(api: FakeApi, store: Store, scope: Scope | None = None) -> AsyncIterator[Relister]:
    relister = Relister(api, scope or Scope(), store, lambda change: None)
    task = asyncio.create_task(relister.run())
    try:
        yield relister
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_every_kind_is_listed_before_anything_is_decided() -> None:
    api, store = Api(), Store()
    api.broken[PODS] = [Unavailable("LIST pods", "away")]
    async with running(api, store) as relister:
        await asyncio.sleep(0.01)
        assert not relister.synced.is_set()
        await asyncio.wait_for(relister.synced.wait(), 2)
    assert {what for _, what, _ in api.calls} == {resource.plural for resource in Scope().watched}


async def test_of_pods_only_those_with_our_label_are_asked_for() -> None:
    api = Api()
    async with running(api, Store()) as relister:
        await asyncio.wait_for(relister.synced.wait(), 2)
    assert [(what, selector) for _, what, selector in api.calls if selector] == [("pods", "lossless.dev/rollout")]


async def test_a_crd_that_is_not_there_is_no_reason_to_wait() -> None:
    api = Api()
    api.broken[ROLLOUTS] = [NotFound("LIST losslessrollouts", "no such kind", 404)]
    async with running(api, Store()) as relister:
        await asyncio.wait_for(relister.synced.wait(), 2)


async def test_of_a_list_that_begins_anew_the_first_pages_do_not_count() -> None:
    """It took so long that the rest of them was no longer kept, and meanwhile a pod has vanished."""

    class Slow(Api):
        async def pages(
            self, resource: Resource, namespace: str | None = None, label_selector: str = ""
        ) -> AsyncIterator[Page]:
            if resource is PODS:
                yield Page((objects.pod("gone"),), "1000000", begins=True)
                yield Page((objects.pod("stays"),), "1000001", begins=True)
            else:
                yield Page((), "1000001", begins=True)

    store = Store()
    async with running(Slow(), store) as relister:
        await asyncio.wait_for(relister.synced.wait(), 2)
    assert [pod.name for pod in store.pods] == ["stays"]


async def test_after_kopfs_own_list_one_list_of_ours_finds_what_vanished() -> None:
    api, store = Api(), Store()
    api.has(PODS, objects.pod("stays"))
    async with running(api, store) as relister:
        await asyncio.wait_for(relister.synced.wait(), 2)
        store.pods.put(objects.pod("ghost"))
        api.calls.clear()
        for _ in range(5):
            relister.soon(PODS)
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
    assert [(verb, what) for verb, what, _ in api.calls] == [("list", "pods")]
    assert [pod.name for pod in store.pods] == ["stays"]


async def test_pods_that_no_watch_tells_of_are_not_taken_for_vanished() -> None:
    api, store = Api(), Store()
    store.pods.put(objects.pod("unlabelled", rollout=None))
    async with running(api, store) as relister:
        await asyncio.wait_for(relister.synced.wait(), 2)
    assert [pod.name for pod in store.pods] == ["unlabelled"]


async def test_namespaces_are_listed_one_by_one_and_nodes_not_at_all() -> None:
    api = Api()
    async with running(api, Store(), Scope(("a", "b"))) as relister:
        await asyncio.wait_for(relister.synced.wait(), 2)
    listed = [what for _, what, _ in api.calls]
    assert "nodes" not in listed
    assert listed.count("pods") == 2


async def test_whoever_names_a_kind_looks_again_once_it_is_served() -> None:
    api, store = Api(), Store()
    api.broken[ARGO_ROLLOUTS] = [NotFound("LIST rollouts", "no such kind")]
    store.rollouts.put(objects.rollout())
    api.has(ROLLOUTS, objects.rollout())
    async with running(api, store) as relister:
        await asyncio.wait_for(relister.synced.wait(), 2)
        assert store.unserved == {ARGO_ROLLOUTS}
        woken: list[str] = []
        relister._changed = lambda change: woken.append(change.resource.plural)
        relister.all_soon()
        await asyncio.sleep(0.3)
    assert store.unserved == set()
    assert ROLLOUTS.plural in woken
