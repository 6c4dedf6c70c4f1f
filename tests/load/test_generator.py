"""The load generator against a server that misbehaves."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from localcluster.load.callers import Address
from localcluster.load.generator import run
from localcluster.load.plan import CachedAddresses, Caller, Fresh, KeptAlive, Plan
from localcluster.load.result import Cause, Result

from .misbehaving import Misbehaving, misbehaving


@pytest.fixture
async def server() -> AsyncIterator[Misbehaving]:
    async with misbehaving() as server:
        yield server


async def load(*callers: Caller, requests: int = 4, rate: float = 100, timeout: float = 5) -> list[Result]:
    """Put so many requests on and return what became of them, in the order in which they were due."""
    results: list[Result] = []
    plan = Plan(rate, callers, duration=(requests - 0.5) / rate, timeout=timeout)
    ending = await run(plan, results.append, asyncio.Event(), run_id="t", read_addresses=nobody)
    assert ending.sent == len(results) == requests
    return sorted(results, key=lambda result: result.at)


async def nobody(_: CachedAddresses) -> tuple[Address, ...]:
    return ()


def causes(results: list[Result]) -> set[Cause]:
    return {result.cause for result in results}


async def test_a_good_answer_is_ok_and_names_its_pod(server: Misbehaving) -> None:
    results = await load(Fresh(server.url()), KeptAlive(server.url()))
    assert causes(results) == {Cause.OK}
    assert {result.pod for result in results} == {"web-1"}
    assert {result.status for result in results} == {200}


async def test_a_streamed_answer_is_read_to_its_end(server: Misbehaving) -> None:
    results = await load(Fresh(server.url("/streams")), KeptAlive(server.url("/streams")))
    assert causes(results) == {Cause.OK}


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("/reset", Cause.RESET),
        ("/close", Cause.CLOSED),
        ("/close-in-answer", Cause.CLOSED_IN_ANSWER),
        ("/close-in-head", Cause.CLOSED_IN_ANSWER),
        ("/reset-in-answer", Cause.RESET_IN_ANSWER),
        ("/garbled", Cause.GARBLED),
        ("/503", Cause.STATUS),
        ("/502-of-a-gateway", Cause.GATEWAY_STATUS),
    ],
)
async def test_each_way_of_losing_a_request_has_its_own_cause(server: Misbehaving, path: str, cause: Cause) -> None:
    assert causes(await load(Fresh(server.url(path)))) == {cause}
    assert causes(await load(KeptAlive(server.url(path)))) == {cause}


async def test_nobody_listening_is_refused() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can have this port meanwhile
        results = await load(Fresh(f"http://127.0.0.1:{held.getsockname()[1]}/"))
    assert causes(results) == {Cause.REFUSED}
    assert {result.detail for result in results} == {"ECONNREFUSED"}


async def test_a_stalled_answer_is_a_timeout_and_does_not_hold_up_the_asking(server: Misbehaving) -> None:
    results = await load(Fresh(server.url("/stall")), requests=20, timeout=1)
    assert causes(results) == {Cause.TIMEOUT}
    assert len(server.asked) == 20
    gaps = [later.at - earlier.at for earlier, later in pairwise(results)]
    assert gaps == pytest.approx([0.01] * 19, abs=1e-5)


async def test_a_connection_that_is_never_accepted_is_a_connect_timeout() -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for held in (first, second):  # fill its queue; what comes after gets no answer to its SYN
            held.setblocking(False)
            held.connect_ex(full.getsockname())
        results = await load(Fresh(f"http://127.0.0.1:{full.getsockname()[1]}/"), timeout=0.3)
    assert causes(results) == {Cause.CONNECT_TIMEOUT}


@pytest.mark.parametrize("path", ["/hangs-up-on-the-second", "/resets-the-second"])
async def test_a_kept_alive_connection_closed_in_flight_loses_the_request_and_is_not_retried(
    server: Misbehaving, path: str
) -> None:
    results = await load(KeptAlive(server.url(path), connections=1), requests=6, rate=10)
    # Whoever was due while the one connection was in use has opened another: on a slow machine, not in turn.
    assert [result.cause for result in results] == [
        Cause.KEPT_ALIVE_CLOSED if result.reused else Cause.OK for result in results
    ]
    assert [result.reused for result in results[:2]] == [False, True]
    lost = [result for result in results if result.lost]
    assert {result.pod for result in lost} == {"web-1"}, "a lost request names who answered before on the connection"
    assert max(Counter(server.asked).values()) == 1


async def test_a_connection_closed_while_idle_is_not_used_again(server: Misbehaving) -> None:
    results = await load(KeptAlive(server.url("/closes-when-idle"), connections=1), requests=6)
    assert causes(results) == {Cause.OK}
    assert not any(result.reused for result in results)
    assert server.connections == 6


async def test_connection_close_is_respected(server: Misbehaving) -> None:
    results = await load(KeptAlive(server.url("/says-close"), connections=1))
    assert causes(results) == {Cause.OK}
    assert server.connections == 4


async def test_kept_alive_connections_are_used_again_and_fresh_ones_are_not(server: Misbehaving) -> None:
    kept = await load(KeptAlive(server.url(), connections=3), requests=12)
    assert sum(result.reused for result in kept) == 9
    assert server.connections == 3
    fresh = await load(Fresh(server.url()), requests=5)
    assert not any(result.reused for result in fresh)
    assert server.connections == 8


async def test_every_request_is_sent_once_with_an_id_of_its_own(server: Misbehaving) -> None:
    results = await load(Fresh(server.url()), KeptAlive(server.url()), requests=20)
    assert sorted(server.asked) == sorted(result.id for result in results)
    assert len(set(server.asked)) == 20


async def test_it_stops_when_told_and_lets_what_is_in_flight_end(server: Misbehaving) -> None:
    results: list[Result] = []
    stop = asyncio.Event()

    def take(result: Result) -> None:
        results.append(result)
        stop.set()

    ending = await run(Plan(100, (Fresh(server.url("/streams")),)), take, stop, run_id="t")
    assert 1 < ending.sent == len(results), "the second was in flight when the first told it to stop"
    assert causes(results) == {Cause.OK}


async def test_a_balancer_asks_the_addresses_it_knows_in_turn_until_it_reads_again(server: Misbehaving) -> None:
    async with misbehaving() as other:
        readings = 0

        async def read(_: CachedAddresses) -> tuple[Address, ...]:
            nonlocal readings
            readings += 1
            return (("127.0.0.1", server.port), ("127.0.0.1", other.port)) if readings == 1 else ()

        results: list[Result] = []
        plan = Plan(100, (CachedAddresses("web", 80, every=0.05),), duration=0.195)
        await run(plan, results.append, asyncio.Event(), run_id="t", read_addresses=read)
    assert readings > 1, "it read again, nothing, and did not believe it"
    assert causes(results) == {Cause.OK}
    assert len(server.asked) == len(other.asked) == 10


async def test_a_balancer_with_an_old_list_loses_what_it_sends_to_who_has_gone(server: Misbehaving) -> None:
    with socket.socket() as gone:
        gone.bind(("127.0.0.1", 0))

        async def read(_: CachedAddresses) -> tuple[Address, ...]:
            return (("127.0.0.1", server.port), gone.getsockname())

        results: list[Result] = []
        plan = Plan(100, (CachedAddresses("web", 80),), duration=0.095)
        await run(plan, results.append, asyncio.Event(), run_id="t", read_addresses=read)
    assert Counter(result.cause for result in results) == {Cause.OK: 5, Cause.REFUSED: 5}


async def test_a_balancer_that_never_knew_an_address_says_so(server: Misbehaving) -> None:
    assert causes(await load(CachedAddresses("web", 80))) == {Cause.NO_ADDRESS}
