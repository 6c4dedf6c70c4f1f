"""A turn that hangs is cut off, and whoever would be better restarted says so. Time passes when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lossless import main
from lossless.cluster import leading
from lossless.cluster.errors import Unavailable
from lossless.cluster.interest import Key
from lossless.cluster.leader import Leader
from lossless.cluster.leading import STUCK_AFTER, Leading
from lossless.cluster.reconcile import Reconciler
from lossless.cluster.resources import PODS
from lossless.cluster.scope import Scope
from lossless.cluster.store import Store
from lossless.cluster.workqueue import WorkQueue
from tests.cluster.clocks import FakeTime, settle
from tests.cluster.fake_api import FakeApi

WEB, OTHER = ("shop", "web"), ("shop", "other")


class FakeWatches:
    """See nothing, and are silent for as long as they are told."""

    silent_for = 0.0

    def __init__(self, *_: object) -> None:
        pass

    async def run(self) -> None:
        await asyncio.Event().wait()


class Turns:
    """A reconciler whose turns of a key hang, so many times."""

    def __init__(self, **hangs: int) -> None:
        self.hangs = hangs
        self.begun: list[Key] = []
        self.ended: list[Key] = []
        self.autoscaling = self.ramping = self

    async def left_over(self, parts: object) -> set[Key]:
        return set()

    async def reconcile(self, key: Key) -> float | None:
        self.begun.append(key)
        if self.hangs.get(key[1], 0) > 0:
            self.hangs[key[1]] -= 1
            await asyncio.Event().wait()
        self.ended.append(key)
        return None


class Measured:
    """Why turns have failed."""

    def __init__(self) -> None:
        self.failures: list[str] = []

    def reconcile_took(self, seconds: float) -> None:
        pass

    def reconcile_failed(self, reason: str) -> None:
        self.failures.append(reason)

    def queue(self, depth: int, oldest_seconds: float) -> None:
        pass


@pytest.fixture(autouse=True)
def watches(monkeypatch: pytest.MonkeyPatch) -> type[FakeWatches]:
    monkeypatch.setattr(leading, "Watches", FakeWatches)
    monkeypatch.setattr(FakeWatches, "silent_for", 0.0)
    return FakeWatches


def leads(clock: Callable[[], float], api: FakeApi | None = None) -> Leading:
    return Leading(Scope(), None, api or FakeApi(), Store(), WorkQueue(clock), Measured(), clock)


@asynccontextmanager
async def running(one: Leading, turns: Turns) -> AsyncIterator[None]:
    """Everything was seen, and turns are taken."""
    task = asyncio.create_task(one.run(cast(Reconciler, turns)))
    try:
        await settle()
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_a_turn_that_hangs_is_cut_off_and_begun_anew_and_keeps_nobody_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leading, "TURN", 0.05)
    turns, one = Turns(web=1), leads(asyncio.get_running_loop().time)
    async with running(one, turns), asyncio.timeout(10):
        one.queue.add(WEB)
        one.queue.add(OTHER)
        while WEB not in turns.ended:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert turns.begun == [WEB, OTHER, WEB]
    assert turns.ended == [OTHER, WEB]
    assert cast(Measured, one.metrics).failures == ["Timeout"]


def test_a_turn_is_cut_off_before_it_counts_as_stuck() -> None:
    """Else a slow API server had the operator restarted, which makes it no faster."""
    assert leading.TURN < STUCK_AFTER


async def test_a_key_that_is_worked_on_for_a_minute_is_stuck() -> None:
    clock = FakeTime()
    turns, one = Turns(web=1), leads(clock)
    async with running(one, turns):
        assert one.stuck() is None
        one.queue.add(WEB)
        await clock.advance(STUCK_AFTER - 1)
        assert turns.begun == [WEB]
        assert one.stuck() is None
        await clock.advance(1)
        assert one.stuck() == "shop/web has been waiting, or worked on, for 60 s"


async def test_who_waits_for_the_first_lists_is_not_stuck() -> None:
    """The API server is away: a restart would not bring it back."""
    clock, api = FakeTime(), FakeApi()
    api.failures["list", Scope.label_selector(PODS)] = Unavailable("LIST pods", "away")
    one = leads(clock, api)
    async with running(one, Turns()):
        one.queue.add(WEB)
        await clock.advance(STUCK_AFTER)
        assert not one.synced
        assert one.stuck() is None


async def test_watches_that_are_silent_for_a_minute_are_stuck(watches: type[FakeWatches]) -> None:
    one = leads(FakeTime())
    watches.silent_for = STUCK_AFTER - 1
    assert one.stuck() is None
    watches.silent_for = STUCK_AFTER
    assert one.stuck() == "the watches have given no sign of life for 60 s"


@pytest.fixture
def operator() -> main.Operator:
    return main.Operator(
        main.Options(kubeconfig=Path("none"), namespaces=(), lease_namespace="here", identity="one", http_port=0)
    )


class TestLivez:
    """Whether the kubelet is to restart it."""

    def test_who_has_not_begun_is_well(self, operator: main.Operator) -> None:
        assert operator._livez() is None

    def test_an_elector_that_hangs_wants_a_restart_also_of_a_standby(self, operator: main.Operator) -> None:
        operator._leader = _elector(silent_for=30.0)
        assert operator._livez() is None
        operator._leader = _elector(silent_for=31.0)
        assert operator._livez() == "the elector has not done anything for 31 s"

    async def test_a_leader_that_is_stuck_wants_a_restart(
        self, operator: main.Operator, watches: type[FakeWatches]
    ) -> None:
        operator._leader, operator._leading = _elector(silent_for=0.0), leads(FakeTime())
        assert operator._livez() is None
        watches.silent_for = STUCK_AFTER
        assert operator._livez() == operator._leading.stuck()


class TestReadyz:
    """Whether it can do its work."""

    def test_a_standby_is_ready(self, operator: main.Operator) -> None:
        assert operator._readyz() is None

    async def test_a_leader_is_ready_once_it_has_seen_everything(self, operator: main.Operator) -> None:
        operator._leading = one = leads(FakeTime())
        assert operator._readyz() == "not everything has been seen yet"
        async with running(one, Turns()):
            assert operator._readyz() is None


def _elector(silent_for: float) -> Leader:
    return cast(Leader, cast(Any, SimpleNamespace(silent_for=silent_for)))
