"""A load begins when there is somebody to ask."""

from __future__ import annotations

import asyncio
import socket

from localcluster.load.addresses import ReadAddresses
from localcluster.load.answering import ENOUGH, wait_until_answering
from localcluster.load.callers import Address
from localcluster.load.plan import CachedAddresses, Fresh, KeptAlive, Plan
from tests.localcluster.listening import listening

from .misbehaving import Misbehaving, misbehaving


def addresses(*readings: tuple[Address, ...]) -> ReadAddresses:
    left = list(readings)

    async def read(_: CachedAddresses) -> tuple[Address, ...]:
        return left.pop(0) if len(left) > 1 else left[0]

    return read


async def test_every_target_is_asked_until_it_answers_and_these_requests_have_no_id() -> None:
    with socket.socket() as late:
        late.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{late.getsockname()[1]}/"
        waiting = asyncio.create_task(wait_until_answering(Plan(1, (Fresh(url), KeptAlive(url, name="again")))))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        server = Misbehaving()
        late.listen()
        async with listening(server.serve, sock=late.dup()):
            assert await waiting
    assert server.connections == 2 * ENOUGH
    assert server.asked == []


async def test_an_error_is_no_answer_and_waiting_has_an_end() -> None:
    async with misbehaving() as server:
        for path in ("/503", "/502-of-a-gateway", "/reset", "/stall"):
            assert not await wait_until_answering(Plan(1, (Fresh(server.url(path)),), ready_within=0.25))


async def test_a_caller_with_a_list_of_addresses_waits_until_there_is_one() -> None:
    plan = Plan(1, (CachedAddresses("web", 80),), ready_within=5)
    assert await wait_until_answering(plan, addresses((), (("127.0.0.1", 1),)))
    assert not await wait_until_answering(Plan(1, plan.callers, ready_within=0.25), addresses(()))
