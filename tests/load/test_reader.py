"""Reading from an API server over its restarts, against a server that speaks the watch protocol as documented."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from localcluster.reader import ApiReader, Change, ReadError


def thing(name: str, value: int = 0) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": f"uid-{name}"}, "value": value}


class FakeApiServer:
    """Answers each list and each watch from a script, in turn."""

    def __init__(self, lists: list[Any], watches: list[list[dict[str, Any]]]) -> None:
        self._lists, self._watches = lists, watches
        self.versions: list[str] = []
        self.authorization: str | None = None

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.authorization = request.headers.get("Authorization")
        if "watch" not in request.query:
            items = self._lists.pop(0)
            if items is None:
                return web.Response(status=500, text="not now")
            return web.json_response({"items": items, "metadata": {"resourceVersion": f"{len(self._lists)}"}})
        self.versions.append(request.query["resourceVersion"])
        response = web.StreamResponse()
        await response.prepare(request)
        for event in self._watches.pop(0):
            await response.write(json.dumps(event).encode() + b"\n")
        return response

    @asynccontextmanager
    async def reader(self, folder: Path) -> AsyncIterator[ApiReader]:
        app = web.Application()
        app.router.add_get("/things", self.serve)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0]
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(
            json.dumps(
                {
                    "current-context": "box",
                    "contexts": [{"name": "box", "context": {"cluster": "c", "user": "u"}}],
                    "clusters": [{"name": "c", "cluster": {"server": f"http://{host}:{port}"}}],
                    "users": [{"name": "u", "user": {"token": "secret"}}],
                }
            )
        )
        try:
            async with ApiReader.connect(kubeconfig) as reader:
                yield reader
        finally:
            await runner.cleanup()


async def first(changes: AsyncIterator[Change], count: int) -> list[tuple[str, str, int]]:
    seen: list[tuple[str, str, int]] = []
    async for change in changes:
        seen.append((change.type, change.object["metadata"]["name"], change.object["value"]))
        if len(seen) == count:
            break
    return seen


async def test_following_goes_on_over_a_cut_watch_and_tells_what_changed_meanwhile(tmp_path: Path) -> None:
    added = {"type": "ADDED", "object": thing("b")}
    gone = {"type": "ERROR", "object": {"code": 410, "message": "too old resource version"}}
    server = FakeApiServer([[thing("a")], None, [thing("b", 1), thing("c")]], [[added, gone], []])
    async with server.reader(tmp_path) as reader:
        seen = await first(reader.follow("/things"), 5)
    assert seen[:3] == [("ADDED", "a", 0), ("ADDED", "b", 0), ("DELETED", "a", 0)]
    assert sorted(seen[3:]) == [("ADDED", "c", 0), ("MODIFIED", "b", 1)]
    assert server.versions[0] == "2"
    assert server.authorization == "Bearer secret"


async def test_a_line_of_any_length_is_read_whole(tmp_path: Path) -> None:
    large = {**thing("large"), "text": "x" * 1_000_000}
    server = FakeApiServer([], [[{"type": "ADDED", "object": large}]])
    async with server.reader(tmp_path) as reader:
        changes = [change async for change in reader.watch("/things", "0")]
    assert [len(change.object["text"]) for change in changes] == [1_000_000]


async def test_what_the_server_refuses_is_said(tmp_path: Path) -> None:
    server = FakeApiServer([None], [])
    async with server.reader(tmp_path) as reader:
        with pytest.raises(ReadError, match="/things: 500 not now"):
            await reader.list("/things")
