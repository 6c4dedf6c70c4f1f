"""The load itself: an open loop. When a request is due it is sent, whatever became of the ones before."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import chain

from localcluster.load.addresses import ReadAddresses, keep_reading
from localcluster.load.callers import Client, FollowingClient, WorkingCaller, set_to_work
from localcluster.load.connection import Connection, Failed, Request
from localcluster.load.following import Follower
from localcluster.load.plan import CachedAddresses, FollowedAddresses, Plan, turns
from localcluster.load.result import Cause, Ending, HarnessBroken, Result

Sink = Callable[[Result], None]


async def run(
    plan: Plan,
    sink: Sink,
    stop: asyncio.Event,
    *,
    run_id: str,
    read_addresses: ReadAddresses | None = None,
    followers: Mapping[str, Sequence[Follower]] | None = None,
) -> Ending:
    """Carry out the plan until its duration is over or `stop` is set; each result goes to `sink` as it is known.

    What is in flight then is let end, which takes at most the plan's timeout.

    Args:
        read_addresses: reads a headless Service's ready addresses; needed by callers that cache them.
        followers: one for each client of each caller with followed addresses, by the caller's name.

    Raises:
        HarnessBroken: the generator failed, or a follower did.
    """
    followers = followers or {}
    callers = tuple(set_to_work(caller) for caller in plan.callers)
    async with AsyncExitStack() as stack:
        for planned, caller in zip(plan.callers, callers, strict=True):
            if isinstance(planned, CachedAddresses):
                if read_addresses is None:
                    raise ValueError(f"{planned.name} needs a way to read addresses")
                for number, client in enumerate(caller.clients):
                    phase = planned.every * number / planned.clients
                    await stack.enter_async_context(keep_reading(planned, client, read_addresses, phase))
            if isinstance(planned, FollowedAddresses):
                for client, follower in zip(caller.clients, followers[planned.name], strict=True):
                    assert isinstance(client, FollowingClient)
                    client.follow(follower)
        loop = OpenLoop(plan, callers, sink, run_id)
        ending = await loop.run(stop)
    for caller in callers:
        for client in caller.clients:
            client.connections.close_idle()
    for follower in chain.from_iterable(followers.values()):
        follower.check()
    return ending


class OpenLoop:
    """The schedule: request n is due at n / rate seconds after the start, and belongs to a caller by turns."""

    def __init__(self, plan: Plan, callers: tuple[WorkingCaller, ...], sink: Sink, run_id: str) -> None:
        self._plan = plan
        self._callers = callers
        self._sink = sink
        self._run_id = run_id
        self._turns = turns(plan.callers)
        self._sent = 0
        self._in_flight: set[asyncio.Task[None]] = set()
        self._start = self._wall_start = 0.0
        self._broken: BaseException | None = None

    async def run(self, stop: asyncio.Event) -> Ending:
        loop = asyncio.get_running_loop()
        cpu_start = _cpu_seconds()
        self._start, self._wall_start = loop.time(), time.time()
        over = asyncio.Event()
        timer: list[asyncio.TimerHandle] = []

        def send_what_is_due() -> None:
            """A timer that sets itself for the next request due: one that comes late sends all it has missed, each with
            the time at which it was due, so a stall of ours shows in the figures and never thins the load."""
            timer.clear()
            while (due := self._due(self._sent)) <= loop.time():
                if self._plan.duration is not None and due >= self._start + self._plan.duration:
                    over.set()
                    return
                self._send(due)
            timer.append(loop.call_at(due, send_what_is_due))

        send_what_is_due()
        waits = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(over.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        for handle in timer:
            handle.cancel()
        while self._in_flight:
            await asyncio.wait(tuple(self._in_flight))
        if self._broken:
            raise HarnessBroken(f"the load generator failed: {self._broken!r}") from self._broken
        return Ending(self._sent, loop.time() - self._start, _cpu_seconds() - cpu_start)

    def _due(self, number: int) -> float:
        return self._start + number / self._plan.rate

    def _send(self, due: float) -> None:
        caller = self._callers[next(self._turns)]
        client = caller.clients[self._sent % len(caller.clients)]
        key = next(caller.keys) if caller.keys else None
        task = asyncio.ensure_future(self._ask(f"{self._run_id}-{self._sent}", due, caller, client, key))
        self._sent += 1
        self._in_flight.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._broken = self._broken or error

    async def _ask(self, request_id: str, due: float, caller: WorkingCaller, client: Client, key: str | None) -> None:
        """One request, from due to its result."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        connection: Connection | None = None
        address: tuple[str, int] | None = None
        reused = False
        status: int | None = None
        cause, detail = Cause.OK, ""
        try:
            async with asyncio.timeout_at(due + self._plan.timeout):
                address = client.choose()
                connection = client.connections.take(address)
                reused = connection is not None
                if connection is None:
                    connection = await Connection.open(address)
                    client.connections.opened(connection)
                host = caller.host or f"{address[0]}:{address[1]}"
                request = Request(request_id, host, caller.path, caller.keep_alive, caller.header, key)
                answer = await connection.ask(request)
                status = answer.status
                if status >= 400:
                    cause = Cause.STATUS if answer.pod else Cause.GATEWAY_STATUS
        except Failed as failed:
            cause, detail = failed.cause, failed.detail
        except TimeoutError:
            cause = Cause.TIMEOUT if connection else Cause.CONNECT_TIMEOUT
        took = loop.time() - began
        if connection is not None:
            client.connections.give_back(connection)
        self._sink(
            Result(
                id=request_id,
                caller=caller.name,
                at=self._wall_start + (due - self._start),
                late_ms=(began - due) * 1000,
                took_ms=took * 1000,
                cause=cause,
                status=status,
                pod=connection.pod if connection else None,
                address=f"{address[0]}:{address[1]}" if address else None,
                reused=reused,
                detail=detail,
                key=key,
            )
        )


def _cpu_seconds() -> float:
    used = os.times()
    return used.user + used.system
