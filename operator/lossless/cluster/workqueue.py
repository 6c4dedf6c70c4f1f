"""A queue of keys with the promises of client-go's workqueue, for asyncio.

A key waits at most once; it is never worked on twice at the same time; added while it is worked on, it is worked on
again afterwards; delayed adds collapse to the earliest; failures back off exponentially, each key for itself.

And one more: groups of keys take turns, so that a key never waits for all those of another group.
"""

import asyncio
import contextlib
import heapq
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

K = TypeVar("K")

FIRST_BACK_OFF: Final = 0.1
LONGEST_BACK_OFF: Final = 30.0
"""Seconds. A key that fails is tried again after 0.1, 0.2, 0.4 … and at the latest this long."""


@dataclass(frozen=True, slots=True)
class Oldest(Generic[K]):
    """The key that has been due, or worked on, for longest, and for how many seconds."""

    key: K
    seconds: float


@dataclass
class WorkQueue(Generic[K]):
    """Keys to work on. Everything happens on one event loop. `clock` is its monotonic time in seconds; `group` says
    which keys share a turn."""

    clock: Callable[[], float]
    group: Callable[[K], Hashable] = lambda key: None
    _due: OrderedDict[Hashable, deque[K]] = field(default_factory=OrderedDict)
    """By group, the one whose turn is next first; within it as they came."""
    _since: dict[K, float] = field(default_factory=dict)
    """Of each key that is due: since when."""
    _working: dict[K, float] = field(default_factory=dict)
    """Of each key that is worked on: since when."""
    _again: set[K] = field(default_factory=set)
    """Added while worked on."""
    _later: dict[K, float] = field(default_factory=dict)
    _timers: list[tuple[float, int, K]] = field(default_factory=list)
    _failures: dict[K, int] = field(default_factory=dict)
    _count: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, key: K) -> None:
        """Work on this key as soon as a worker is free."""
        self._later.pop(key, None)
        if key in self._working:
            self._again.add(key)
        elif key not in self._since:
            self._since[key] = self.clock()
            self._due.setdefault(self.group(key), deque()).append(key)
            self._changed.set()

    def add_after(self, key: K, seconds: float) -> None:
        """Work on this key after so long; of several such wishes the earliest counts, and a plain `add` fulfils all."""
        if seconds <= 0:
            self.add(key)
            return
        if key in self._since:
            return
        at = self.clock() + seconds
        if key in self._later and self._later[key] <= at:
            return
        self._later[key] = at
        self._count += 1
        heapq.heappush(self._timers, (at, self._count, key))
        self._changed.set()

    def failed(self, key: K) -> float:
        """It did not work out: it is tried again later. Says in how many seconds."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        seconds = min(LONGEST_BACK_OFF, FIRST_BACK_OFF * 2.0 ** min(failures, 16))
        self.add_after(key, seconds)
        return seconds

    def succeeded(self, key: K) -> None:
        """The next failure of this key starts from the shortest wait again."""
        self._failures.pop(key, None)

    async def work(self, one: Callable[[K], Awaitable[None]], workers: int) -> None:
        """Hand every due key to `one`, as many at a time as there are workers, until cancelled.

        `one` handles its own errors: one that escapes ends everything.
        """
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(self._worker(one))

    async def _worker(self, one: Callable[[K], Awaitable[None]]) -> None:
        while True:
            key = await self._next()
            try:
                await one(key)
            finally:
                self._done(key)

    async def _next(self) -> K:
        while True:
            wait = self._promote()
            if self._due:
                group, keys = self._due.popitem(last=False)
                key = keys.popleft()
                if keys:
                    self._due[group] = keys
                del self._since[key]
                self._working[key] = self.clock()
                return key
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    def _done(self, key: K) -> None:
        del self._working[key]
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _promote(self) -> float | None:
        """Make due what was delayed until now. Says how many seconds there are to the next one, if there is one."""
        while self._timers:
            at, _, key = self._timers[0]
            if self._later.get(key) != at:
                heapq.heappop(self._timers)  # It was added sooner, or done since.
                continue
            if at > self.clock():
                return at - self.clock()
            heapq.heappop(self._timers)
            self.add(key)
        return None

    @property
    def depth(self) -> int:
        """How many keys are due and wait for a worker."""
        return len(self._since)

    def oldest(self) -> Oldest[K] | None:
        """What has been waiting or worked on for longest: a queue that is stuck shows here."""
        since = [*self._since.items(), *self._working.items()]
        if not since:
            return None
        key, at = min(since, key=lambda one: one[1])
        return Oldest(key, self.clock() - at)
