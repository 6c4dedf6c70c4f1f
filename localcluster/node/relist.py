"""When a node notices what its containers do.

A kubelet does not see a container end: its pod lifecycle event generator lists all containers once a second and
compares (pkg/kubelet/pleg/generic.go, genericPlegRelistPeriod). A crashed container so keeps its place in every
Service for up to a second. What the kubelet itself has just done it looks at immediately (PLEGOnDemandRelist, on by
default from 1.36). Only ticks at which something has changed are ever waited for: an idle node sleeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Relist:
    """Calls back at the next tick of a clock that started with the node."""

    def __init__(self, period: float = 1.0) -> None:
        self._period = period
        self._loop = asyncio.get_running_loop()
        self._start = self._loop.time()

    def next_tick(self, callback: Callable[[], None]) -> None:
        since = self._loop.time() - self._start
        self._loop.call_at(self._start + (since // self._period + 1) * self._period, callback)
