"""A caller that asks whom its consumer tells it to ask."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from localcluster.consumers.addresses import Weighted, line
from localcluster.load.following import following
from localcluster.load.generator import run
from localcluster.load.plan import FollowedAddresses, Plan
from localcluster.load.result import Cause, HarnessBroken, Result

from .misbehaving import Misbehaving, misbehaving

TELLS = """
import sys, time
told = ""
while True:
    said = open(sys.argv[1]).read()
    if "THE END" in said:
        sys.exit(3)
    sys.stdout.write(said[len(told):])
    sys.stdout.flush()
    told = said
    time.sleep(0.02)
"""
"""A consumer that tells what a test writes into a file, line by line."""


class Told:
    """What the consumer is to tell."""

    def __init__(self, file: Path) -> None:
        self.file = file
        file.write_text("")
        self.command = (sys.executable, "-I", "-S", "-c", TELLS, str(file))

    def tell(self, **weights: float) -> None:
        """Ports by name: `p8080=1.0`."""
        self.say(line(1.0, [Weighted(f"127.0.0.1:{port[1:]}", weight) for port, weight in weights.items()]) + "\n")

    def say(self, text: str) -> None:
        with self.file.open("a") as file:
            file.write(text)


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path / "told")


@pytest.fixture
async def servers() -> AsyncIterator[tuple[Misbehaving, Misbehaving]]:
    async with misbehaving() as one, misbehaving() as other:
        yield one, other


async def load(caller: FollowedAddresses, told: Told, *steps: dict[str, float], requests: int = 40) -> list[Result]:
    """Tell each list, wait until it was heard, and put so many requests on."""
    results: list[Result] = []
    stop = asyncio.Event()
    async with following(caller, stop) as follower:
        for weights in steps:
            before = follower.weights
            told.tell(**weights)
            while follower.weights is before:  # noqa: ASYNC110 - it is read by polling, so that is how it is waited for
                await asyncio.sleep(0.01)
            plan = Plan(400, (caller,), duration=(requests - 0.5) / 400)
            await run(plan, results.append, stop, run_id="t", followers={caller.name: [follower]})
    return results


def asked(results: list[Result]) -> Counter[str | None]:
    return Counter(result.address and f"p{result.address.rpartition(':')[2]}" for result in results)


async def test_requests_go_to_the_addresses_held_in_proportion_to_their_weights(
    servers: tuple[Misbehaving, Misbehaving], told: Told
) -> None:
    one, other = (f"p{server.port}" for server in servers)
    results = await load(FollowedAddresses(told.command), told, {one: 3, other: 1})
    assert asked(results) == {one: 30, other: 10}
    assert {result.cause for result in results} == {Cause.OK}


async def test_a_new_list_is_followed_at_once(servers: tuple[Misbehaving, Misbehaving], told: Told) -> None:
    one, other = (f"p{server.port}" for server in servers)
    results = await load(FollowedAddresses(told.command, keep_alive=True), told, {one: 1}, {other: 1}, {one: 1})
    assert [asked(results[start : start + 40]) for start in (0, 40, 80)] == [{one: 40}, {other: 40}, {one: 40}]


async def test_an_empty_list_is_believed_and_its_requests_are_lost(
    servers: tuple[Misbehaving, Misbehaving], told: Told
) -> None:
    results = await load(FollowedAddresses(told.command), told, {f"p{servers[0].port}": 1}, {})
    assert {result.cause for result in results[:40]} == {Cause.OK}
    assert {result.cause for result in results[40:]} == {Cause.NO_ADDRESS}


@pytest.mark.parametrize(("said", "complaint"), [("THE END", "ended with status 3"), ("{}\n", "can't be understood")])
async def test_a_consumer_that_fails_breaks_the_run_and_loses_nothing(told: Told, said: str, complaint: str) -> None:
    caller = FollowedAddresses(told.command)
    stop = asyncio.Event()
    told.say(said)
    async with following(caller, stop) as follower:
        plan = Plan(10, (caller,), duration=60)
        with pytest.raises(HarnessBroken, match=complaint):
            await run(plan, lambda _: None, stop, run_id="t", followers={caller.name: [follower]})


async def test_a_consumer_that_does_not_exist_breaks_the_run() -> None:
    with pytest.raises(HarnessBroken, match="can't be started"):
        async with following(FollowedAddresses(("/nowhere/at-all",)), asyncio.Event()):
            pass


async def test_a_consumer_ends_with_its_caller(told: Told) -> None:
    async with following(FollowedAddresses(told.command), asyncio.Event()) as follower:
        assert not follower.broken
    assert not with_argument(str(told.file))


def with_argument(argument: str) -> list[str]:
    """The command lines of this machine's processes that have this in them."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            found.append((process / "cmdline").read_text())
    return [each for each in found if argument in each]
