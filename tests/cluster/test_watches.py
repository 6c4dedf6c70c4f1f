"""What is watched, of a fake API server whose discovery is late."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from lossless.api import names
from lossless.cluster import watches
from lossless.cluster.resources import ARGO_ROLLOUTS, ROLLOUTS, STATEFUL_SETS, Raw, Resource
from lossless.cluster.scope import Scope
from lossless.cluster.watches import Watches

ROLLOUT = {
    "apiVersion": names.API_VERSION,
    "kind": names.KIND,
    "metadata": {"name": "web", "namespace": "shop", "uid": "1", "resourceVersion": "7"},
}


class Late:
    """As much of an API server as Kopf asks for at its start. Our group is in the list of all groups, which the
    aggregator makes, later than it is served: as on a real one, only longer."""

    def __init__(self) -> None:
        self.listed = False
        self.asked_for_groups = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            response = web.StreamResponse()
            await response.prepare(request)
            await asyncio.sleep(60)
            return response
        return web.json_response(self.document(request.path))

    def document(self, path: str) -> Any:
        if path == "/api":
            return {"versions": ["v1"]}
        if path == "/api/v1":
            kinds = {"namespaces": "Namespace", "pods": "Pod", "nodes": "Node", "services": "Service"}
            return {"resources": [_kind(plural, kind) for plural, kind in kinds.items()]}
        if path == "/apis":
            self.asked_for_groups.set()
            version = {"version": names.VERSION}
            ours = {"name": names.GROUP, "versions": [version], "preferredVersion": version}
            return {"groups": [ours] if self.listed else []}
        if path == ROLLOUTS.root:
            return {"resources": [_kind(names.PLURAL, names.KIND)]}
        items = [ROLLOUT] if path.endswith(names.PLURAL) else []
        return {"metadata": {"resourceVersion": "7"}, "items": items}


def _kind(plural: str, kind: str) -> Raw:
    verbs = ["list", "watch"]
    return {"name": plural, "singularName": kind.lower(), "kind": kind, "namespaced": True, "verbs": verbs}


@asynccontextmanager
async def watched(
    api: Late, folder: Path, scope: Scope, asked: set[Resource] | None = None
) -> AsyncIterator[asyncio.Queue[tuple[Resource, str]]]:
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
        seen: asyncio.Queue[tuple[Resource, str]] = asyncio.Queue()

        def saw(resource: Resource, kind: str | None, raw: Raw) -> None:
            seen.put_nowait((resource, raw["metadata"]["name"]))

        async def serves(resource: Resource) -> bool:
            if asked is not None:
                asked.add(resource)
            return resource is ROLLOUTS

        def needed(resource: Resource) -> bool:
            return asked is None or resource is not ARGO_ROLLOUTS

        task = asyncio.create_task(Watches(scope, kubeconfig, saw, lambda: None, serves, needed).run())
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
