"""A hook whose host has several addresses: each replica speaks for itself alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from lossless.api.traffic import Expect, Hook, Http
from lossless.core.world import Presence
from lossless.traffic.registries.client import MAX_ADDRESSES, Client
from lossless.traffic.registries.http import HookRegistry
from tests.traffic.registries.pods import pod
from tests.traffic.registries.test_http import registry, seen

ADDRESSES = ("127.0.0.1", "127.0.0.2")


@dataclass
class Replicas:
    """Two of them at one port, each with a list of its own of those that it calls."""

    port: int = 0
    calls: dict[str, str] = field(default_factory=lambda: dict.fromkeys(ADDRESSES, "10.0.0.1 10.0.0.9"))
    asked: list[tuple[str, str]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        here = request.transport.get_extra_info("sockname")[0]
        self.asked.append((here, request.headers["Host"]))
        return web.Response(text=self.calls[here])


class Names(AbstractResolver):
    """Every name has these addresses."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        if not self._addresses:
            raise OSError("no such name")
        return [
            {"hostname": host, "host": each, "port": port, "family": family, "proto": 0, "flags": 0}
            for each in self._addresses
        ]

    async def close(self) -> None:
        pass


@pytest.fixture
async def replicas() -> AsyncIterator[Replicas]:
    made = Replicas()
    app = web.Application()
    app.router.add_get("/", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    for address in ADDRESSES:
        await web.TCPSite(runner, address, made.port).start()
        made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


def hooks(client: Client, port: int, *addresses: str) -> HookRegistry:
    """Asks `gateways.edge`, which has these addresses."""
    gone = Hook(url=f"http://gateways.edge:{port}/", expect=Expect(lacks="{ip}"))
    return registry(replace(client, resolver=lambda allowed: Names(*addresses)), Http(gone=gone))


async def test_a_pod_is_gone_when_all_of_them_say_so(client: Client, replicas: Replicas) -> None:
    asking = hooks(client, replicas.port, *ADDRESSES)
    replicas.calls["127.0.0.1"] = "10.0.0.9"
    still = await seen(asking, pod())
    assert (still.presence, still.evidence) == (Presence.PRESENT, "not gone: 200, of 2")
    replicas.calls["127.0.0.2"] = "10.0.0.9"
    assert (await seen(asking, pod())).presence is Presence.ABSENT
    named = f"gateways.edge:{replicas.port}"
    assert sorted(replicas.asked) == [("127.0.0.1", named)] * 2 + [("127.0.0.2", named)] * 2


async def test_one_that_does_not_answer_leaves_it_open_unless_another_has_the_pod(
    client: Client, replicas: Replicas
) -> None:
    asking = hooks(client, replicas.port, "127.0.0.1", "127.0.0.3")
    assert (await seen(asking, pod())).presence is Presence.PRESENT
    replicas.calls["127.0.0.1"] = "10.0.0.9"
    open_still = await seen(asking, pod())
    assert open_still.presence is Presence.UNANSWERED
    assert "127.0.0.3" in open_still.evidence


async def test_a_name_that_is_not_found_says_nothing(client: Client, replicas: Replicas) -> None:
    assert (await seen(hooks(client, replicas.port), pod())).presence is Presence.UNANSWERED


async def test_a_name_with_very_many_addresses_is_refused(client: Client, replicas: Replicas) -> None:
    many = [f"127.0.1.{number}" for number in range(MAX_ADDRESSES + 1)]
    said = await seen(hooks(client, replicas.port, *many), pod())
    assert said.presence is Presence.UNANSWERED
    assert f"at most {MAX_ADDRESSES}" in said.evidence


async def test_each_address_is_looked_at_before_it_is_gone_to(client: Client, replicas: Replicas) -> None:
    """Names may have other addresses the next time: the one that is gone to is the one that was looked at."""
    guarded = replace(client, allowed=lambda address: address != "127.0.0.1")
    said = await seen(hooks(guarded, replicas.port, *ADDRESSES), pod())
    assert said.presence is Presence.UNANSWERED or replicas.asked == [("127.0.0.2", f"gateways.edge:{replicas.port}")]
    assert "127.0.0.1" not in [here for here, _ in replicas.asked]
