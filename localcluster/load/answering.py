"""Waiting, before a load begins, until there is anybody to ask.

A Service is not routed the moment its pods are available: the EndpointSlice controller, kube-proxy and gateways each
take up to a second to hear of it. Requests lost to that say nothing about what a test is about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from localcluster.load.addresses import ReadAddresses
from localcluster.load.callers import set_to_work
from localcluster.load.connection import Connection, Failed, Request
from localcluster.load.following import Follower
from localcluster.load.plan import CachedAddresses, Caller, FollowedAddresses, Plan
from localcluster.reader import ReadError

EVERY_SECONDS = 0.1
ENOUGH = 3
"""So many answers in a row: while a data plane is being changed, one alone may be luck."""


async def wait_until_answering(
    plan: Plan,
    read_addresses: ReadAddresses | None = None,
    followers: Mapping[str, Sequence[Follower]] | None = None,
) -> bool:
    """Ask each caller's target until it answers well, at most `plan.ready_within` seconds in all; whether it did.

    These requests have no id and are no part of the load.
    """
    try:
        async with asyncio.timeout(plan.ready_within):
            for caller in plan.callers:
                answers = 0
                while answers < ENOUGH:
                    answers = answers + 1 if await _answers(caller, read_addresses, followers or {}) else 0
                    if answers < ENOUGH:
                        await asyncio.sleep(EVERY_SECONDS)
    except TimeoutError:
        return False
    return True


async def _answers(
    caller: Caller, read_addresses: ReadAddresses | None, followers: Mapping[str, Sequence[Follower]]
) -> bool:
    if isinstance(caller, FollowedAddresses):
        return all(follower.weights for follower in followers[caller.name])
    if isinstance(caller, CachedAddresses):
        try:
            return read_addresses is not None and bool(await read_addresses(caller))
        except ReadError:
            return False
    working = set_to_work(caller)
    try:
        connection = await Connection.open(working.clients[0].choose())
    except Failed:
        return False
    try:
        answer = await connection.ask(Request("", working.host or "", working.path, keep_alive=False))
    except Failed:
        return False
    finally:
        connection.close()
    return answer.status < 400
