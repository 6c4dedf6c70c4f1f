"""What is watched, of a fake API server whose discovery is late."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kopf._cogs.clients import watching

from lossless.api import names
from lossless.cluster import watches
from lossless.cluster.resources import ARGO_ROLLOUTS, NODES, PODS, ROLLOUTS, SERVICES, STATEFUL_SETS, Raw, Resource
from lossless.cluster.scope import Scope
from lossless.cluster.watches import Watches

ROLLOUT = {
    "apiVersion": names.API_VERSION,
    "kind": names.KIND,
    "metadata": {"name": "web", "namespace": "shop", "uid": "1", "resourceVersion": "7"},
}
NAMESPACES = Resource("", "v1", "namespaces", namespaced=False)


class Late:
    """As much of an API server as Kopf asks for at its start. Our group is in the list of all groups, which the
    aggregator makes, later than it is served: as on a real one, only longer."""

    served: Collection[Resource] = (NAMESPACES, PODS, NODES, SERVICES, ROLLOUTS)

    def __init__(self) -> None:
        self.listed = False
        self.asked_for_groups = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            return await self.watch(request)
        return web.json_response(self.document(request.path))

    async def watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.sleep(60)
        return response

    def document(self, path: str) -> Any:
        if path == "/api":
            return {"versions": ["v1"]}
        if path == "/apis":
            self.asked_for_groups.set()
            versions = {one.group: {"version": one.version} for one in self.served if one.group}
            groups = [{"name": name, "versions": [it], "preferredVersion": it} for name, it in versions.items()]
            return {"groups": groups if self.listed else []}
        if path in {one.root for one in self.served}:
            return {"resources": [_kind(one) for one in self.served if one.root == path]}
        items = [ROLLOUT] if path.endswith(names.PLURAL) else []
        return {"metadata": {"resourceVersion": "7"}, "items": items}


def _kind(one: Resource) -> Raw:
    kind = names.KIND if one == ROLLOUTS else one.plural
    verbs = ["list", "watch"]
    return {"name": one.plural, "singularName": kind.lower(), "kind": kind, "namespaced": True, "verbs": verbs}


class Restarted(Late):
    """Its connections are cut, as when an API server is restarted. Then one kind's watches fail, and those of the
    others wait for an answer."""

    served = (NAMESPACES, *Scope().watched)

    def __init__(self) -> None:
        super().__init__()
        self.listed = True
        self.cut = asyncio.Event()
        self.waiting = 0

    async def watch(self, request: web.Request) -> web.StreamResponse:
        if not self.cut.is_set():
            response = web.StreamResponse()
            await response.prepare(request)
            await self.cut.wait()
            return response
        if request.path.endswith(names.PLURAL):
            return web.json_response({"kind": "Status", "code": 500}, status=500)
        self.waiting += 1
        await asyncio.sleep(60)
        return web.Response()


class Seen(asyncio.Queue[tuple[Resource, str]]):
    """What is seen, by these watches."""

    watches: Watches


@asynccontextmanager
async def watched(api: Late, folder: Path, scope: Scope, asked: set[Resource] | None = None) -> AsyncIterator[Seen]:
    """What is seen of it. With `asked`, nobody needs Argo Rollouts, and it has the kinds that were asked for."""
    app = web.Application()
    app.router.add_route("GET", "/{path:.*}", api.answer)
    async with TestServer(app) as server:
        config = {
            "clusters": [{"name": "one", "cluster": {"server": str(server.make_url("")).rstrip("/")}}],
            "users": [{"name": "one", "user": {"token": "secret"}}],
            "contexts": [{"name": "one", "context": {"cluster": "one", "user": "one"}}],
            "current-context": "one",
        }
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(json.dumps(config))
        seen = Seen()

        def saw(resource: Resource, kind: str | None, raw: Raw) -> None:
            seen.put_nowait((resource, raw["metadata"]["name"]))

        async def serves(resource: Resource) -> bool:
            if asked is not None:
                asked.add(resource)
            return resource is ROLLOUTS

        def needed(resource: Resource) -> bool:
            return asked is None or resource is not ARGO_ROLLOUTS

        seen.watches = Watches(scope, kubeconfig, saw, lambda: None, serves, needed)
        task = asyncio.create_task(seen.watches.run())
        try:
            yield seen
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("scope", [Scope(), Scope(("shop",))], ids=["everywhere", "one-namespace"])
async def test_a_kind_that_discovery_is_late_with_is_watched_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scope: Scope
) -> None:
    monkeypatch.setattr(watches, "MISSED_EVERY", 0.1)
    api = Late()
    async with watched(api, tmp_path, scope) as seen:
        await asyncio.wait_for(api.asked_for_groups.wait(), 20)
        api.listed = True
        assert await asyncio.wait_for(seen.get(), 20) == (ROLLOUTS, "web")


async def test_nobody_is_started_anew_while_nothing_has_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind that is missing, and not served either, keeps nobody from watching the others."""
    monkeypatch.setattr(watches, "MISSED_EVERY", 0.1)
    api = Late()
    api.listed = True
    async with watched(api, tmp_path, Scope()) as seen:
        assert await asyncio.wait_for(seen.get(), 20) == (ROLLOUTS, "web")
        await asyncio.sleep(1)
        assert seen.empty(), "it was listed once"


async def test_a_kind_of_others_that_nobody_names_is_not_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "MISSED_EVERY", 0.1)
    api, asked = Late(), set[Resource]()
    api.listed = True
    async with watched(api, tmp_path, Scope(), asked) as seen:
        assert await asyncio.wait_for(seen.get(), 20) == (ROLLOUTS, "web")
        await asyncio.sleep(0.5)
    assert STATEFUL_SETS in asked
    assert ARGO_ROLLOUTS not in asked


async def test_watches_that_wait_for_an_answer_do_not_keep_the_others_from_being_started_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kopf gives up when one of its watches fails, and cancels the others all at once. One that has had no answer yet
    takes that for a pause, every other time, and goes on: Kopf then waits for it for ever, deaf."""
    monkeypatch.setattr(watches, "ENDING", 1)
    api = Restarted()
    async with watched(api, tmp_path, Scope()) as seen:
        assert await asyncio.wait_for(seen.get(), 20) == (ROLLOUTS, "web")
        api.cut.set()
        assert await asyncio.wait_for(seen.get(), 30) == (ROLLOUTS, "web")
        assert api.waiting
    await until(lambda: all(one.name != "watches" for one in threading.enumerate()))  # What it leaves behind ends too.


async def test_a_watch_that_is_gone_without_a_word_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it goes when a watch's own timeout strikes while it hands an event on: Kopf takes the cancelled task for one
    that it has cancelled itself."""
    monkeypatch.setattr(watches, "BEAT", 0.1)
    struck = threading.Event()
    infinite_watch = watching.infinite_watch

    async def struck_once(*, resource: Any, **rest: Any) -> AsyncIterator[Any]:
        async for event in infinite_watch(resource=resource, **rest):
            yield event
            if resource.plural == names.PLURAL and isinstance(event, watching.Bookmark) and not struck.is_set():
                await asyncio.sleep(1)
                struck.set()
                raise asyncio.CancelledError

    monkeypatch.setattr(watching, "infinite_watch", struck_once)
    api = Late()
    api.listed = True
    async with watched(api, tmp_path, Scope()) as seen:
        assert await asyncio.wait_for(seen.get(), 20) == (ROLLOUTS, "web")
        assert await asyncio.wait_for(seen.get(), 20) == (ROLLOUTS, "web")
        assert struck.is_set()


async def test_watches_whose_thread_hangs_are_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watches, "BEAT", 0.1)
    hangs, infinite_watch = threading.Event(), watching.infinite_watch

    async def hang(**rest: Any) -> AsyncIterator[Any]:
        async for event in infinite_watch(**rest):
            yield event
            await asyncio.sleep(1)
            hangs.wait(20)

    monkeypatch.setattr(watching, "infinite_watch", hang)
    api = Late()
    api.listed = True
    async with watched(api, tmp_path, Scope()) as seen:
        await until(lambda: seen.watches.silent_for > 3)
        hangs.set()
        await until(lambda: seen.watches.silent_for < 1)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 - what changes is in another thread
            await asyncio.sleep(0.1)
