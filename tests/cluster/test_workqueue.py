"""The work queue keeps the promises of client-go's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from lossless.cluster.workqueue import FIRST_BACK_OFF, LONGEST_BACK_OFF, WorkQueue
from tests.cluster.clocks import settle


@asynccontextmanager
async def working(
    queue: WorkQueue[str], one: Callable[[str], Awaitable[None]], workers: int = 2
) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.work(one, workers))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


class Recorder:
    """Records what is worked on; a key on hold is worked on until it is released."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.at_once = 0
        self.most_at_once: dict[str, int] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self._active: list[str] = []

    def hold(self, key: str) -> asyncio.Event:
        self.gates[key] = asyncio.Event()
        return self.gates[key]

    async def __call__(self, key: str) -> None:
        self._active.append(key)
        self.most_at_once[key] = max(self.most_at_once.get(key, 0), self._active.count(key))
        self.at_once = max(self.at_once, len(self._active))
        if key in self.gates:
            await self.gates[key].wait()
        self._active.remove(key)
        self.done.append(key)


async def test_a_key_added_many_times_is_worked_on_once() -> None:
    queue: WorkQueue[str] = WorkQueue(asyncio.get_running_loop().time)
    record = Recorder()
    for _ in range(5):
        queue.add("web")
    async with working(queue, record):
        await settle()
    assert record.done == ["web"]


async def test_a_key_is_never_worked_on_twice_at_once_and_again_afterwards() -> None:
    queue: WorkQueue[str] = WorkQueue(asyncio.get_running_loop().time)
    record = Recorder()
    gate = record.hold("web")
    async with working(queue, record):
        queue.add("web")
        await settle()
        queue.add("web")
        queue.add("web")
        await settle()
        assert record.done == []
        gate.set()
        await settle()
    assert record.done == ["web", "web"]
    assert record.most_at_once["web"] == 1


async def test_no_more_keys_at_once_than_there_are_workers() -> None:
    queue: WorkQueue[str] = WorkQueue(asyncio.get_running_loop().time)
    record = Recorder()
    gates = [record.hold(key) for key in "abc"]
    async with working(queue, record, workers=2):
        for key in "abc":
            queue.add(key)
        await settle()
        assert queue.depth == 1
        for gate in gates:
            gate.set()
        await settle()
    assert record.at_once == 2
    assert sorted(record.done) == ["a", "b", "c"]


async def test_groups_take_turns_so_that_nobody_waits_for_all_of_another() -> None:
    queue: WorkQueue[str] = WorkQueue(asyncio.get_running_loop().time, group=lambda key: key[0])
    record = Recorder()
    for key in ("a1", "a2", "a3", "b1", "c1", "b2"):
        queue.add(key)
    async with working(queue, record, workers=1):
        await settle()
    assert record.done == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert queue.depth == 0


async def test_of_two_delayed_adds_the_earlier_counts_and_the_later_is_no_second_one() -> None:
    queue: WorkQueue[str] = WorkQueue(asyncio.get_running_loop().time)
    record = Recorder()
    async with working(queue, record):
        queue.add_after("web", 0.2)
        queue.add_after("web", 0.02)
        queue.add_after("web", 5)
        await asyncio.sleep(0.1)
        assert record.done == ["web"]
        await asyncio.sleep(0.2)
    assert record.done == ["web"]


async def test_a_plain_add_fulfils_a_delayed_one() -> None:
    queue: WorkQueue[str] = WorkQueue(asyncio.get_running_loop().time)
    record = Recorder()
    queue.add_after("web", 0.05)
    queue.add("web")
    async with working(queue, record):
        await asyncio.sleep(0.15)
    assert record.done == ["web"]


async def test_a_delayed_add_made_while_the_key_is_worked_on_comes_afterwards() -> None:
    queue: WorkQueue[str] = WorkQueue(asyncio.get_running_loop().time)
    record = Recorder()
    gate = record.hold("web")
    async with working(queue, record):
        queue.add("web")
        await settle()
        queue.add_after("web", 0.01)
        await asyncio.sleep(0.05)
        assert record.done == []
        gate.set()
        await settle()
    assert record.done == ["web", "web"]


def test_failures_back_off_each_key_for_itself_until_one_succeeds() -> None:
    queue: WorkQueue[str] = WorkQueue(lambda: 0.0)
    assert [queue.failed("web") for _ in range(3)] == [FIRST_BACK_OFF, FIRST_BACK_OFF * 2, FIRST_BACK_OFF * 4]
    assert queue.failed("other") == FIRST_BACK_OFF
    assert [queue.failed("web") for _ in range(20)][-1] == LONGEST_BACK_OFF
    queue.succeeded("web")
    assert queue.failed("web") == FIRST_BACK_OFF


async def test_the_oldest_is_what_has_waited_or_been_worked_on_for_longest() -> None:
    now = 100.0
    queue: WorkQueue[str] = WorkQueue(lambda: now)
    record = Recorder()
    record.hold("stuck")
    assert queue.oldest() is None
    async with working(queue, record, workers=1):
        queue.add("stuck")
        await settle()
        now = 130.0
        queue.add("waiting")
        now = 170.0
        oldest = queue.oldest()
    assert oldest is not None
    assert (oldest.key, oldest.seconds) == ("stuck", 70.0)
    assert queue.depth == 1


async def test_what_is_only_due_later_is_not_old() -> None:
    queue: WorkQueue[str] = WorkQueue(lambda: 0.0)
    queue.add_after("web", 3600)
    assert queue.oldest() is None
    assert queue.depth == 0
