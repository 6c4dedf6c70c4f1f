"""The elector, with a Lease in memory and time that passes when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lossless.cluster.errors import Conflict, NotFound, Unavailable
from lossless.cluster.gateway import Gateway
from lossless.cluster.leader import NAME, Leader, LeaseLost, Terms
from lossless.cluster.resources import Resource
from tests.cluster.clocks import FakeTime

Raw = dict[str, Any]
TERMS = Terms()
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Leases(Gateway):
    """One Lease, kept as an API server keeps it: every write is a new version, and old versions are refused."""

    def __init__(self) -> None:
        self.lease: Raw | None = None
        self.down = False
        self.lose_answers = False
        self._version = 0

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Raw:
        self._reachable()
        if self.lease is None:
            raise NotFound("GET lease", "not there", 404)
        return deepcopy(self.lease)

    async def create(self, resource: Resource, namespace: str | None, body: Raw) -> Raw:
        self._reachable()
        if self.lease is not None:
            raise Conflict("POST lease", "exists", 409)
        return self._write(body)

    async def replace(self, resource: Resource, namespace: str | None, name: str, body: Raw) -> Raw:
        self._reachable()
        assert name == NAME
        if self.lease is None:
            raise NotFound("PUT lease", "not there", 404)
        if body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise Conflict("PUT lease", "changed", 409)
        return self._write(body)

    @property
    def holder(self) -> str:
        return str(self.lease["spec"]["holderIdentity"]) if self.lease else ""

    def _write(self, body: Raw) -> Raw:
        self._version += 1
        self.lease = deepcopy(body)
        self.lease["metadata"]["resourceVersion"] = str(self._version)
        if self.lose_answers:
            self.lose_answers = False
            raise Unavailable("PUT lease", "the answer was lost")
        return deepcopy(self.lease)

    def _reachable(self) -> None:
        if self.down:
            raise Unavailable("lease", "the API server is away")


class Candidate:
    """One process: acquires, keeps, and says what became of it."""

    def __init__(self, leases: Leases, time: FakeTime, identity: str, skew: timedelta = timedelta(0)) -> None:
        self.leader = Leader(
            leases,
            "system",
            identity,
            clock=time,
            wall_clock=lambda: EPOCH + timedelta(seconds=time.now) + skew,
            sleep=time.sleep,
            found=lambda at: self.found.append((at - EPOCH).total_seconds()),
        )
        self.found: list[float] = []
        """When the Lease had been renewed last, each time it was told."""
        self.acquired_at: float | None = None
        self.lost_at: float | None = None
        self._time = time
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        await self.leader.acquire()
        self.acquired_at = self._time.now
        try:
            await self.leader.keep()
        except LeaseLost:
            self.lost_at = self._time.now

    def die(self) -> None:
        """SIGKILL."""
        self.task.cancel()


@asynccontextmanager
async def candidates(leases: Leases, time: FakeTime, *identities: str) -> AsyncIterator[list[Candidate]]:
    made = []
    for identity in identities:
        made.append(Candidate(leases, time, identity))
        await time.advance(0.01)
    yield made
    for one in made:
        one.task.cancel()
    await asyncio.gather(*(one.task for one in made), return_exceptions=True)


async def test_the_first_one_leads_and_the_second_stands_by() -> None:
    leases, time = Leases(), FakeTime()
    async with candidates(leases, time, "one", "two") as (one, two):
        await time.advance(60)
        assert one.leader.leads
        assert not two.leader.leads
        assert leases.holder == "one"


async def test_after_a_kill_the_standby_leads_within_15_seconds_and_not_before_the_lease_is_over() -> None:
    leases, time = Leases(), FakeTime()
    async with candidates(leases, time, "one", "two") as (one, two):
        await time.advance(31.7)
        one.die()
        killed_at = time.now
        await time.advance(TERMS.duration - TERMS.renew_every)
        assert two.acquired_at is None
        await time.advance(15 - (TERMS.duration - TERMS.renew_every))
        assert two.acquired_at is not None
        assert two.acquired_at - killed_at <= 13


async def test_who_comes_is_told_once_since_when_nobody_was_there() -> None:
    leases, time = Leases(), FakeTime()
    async with candidates(leases, time, "one") as (one,):
        await time.advance(20)
        one.die()
        killed_at = time.now
        await time.advance(30)
        async with candidates(leases, time, "two") as (two,):
            await time.advance(30)
            assert two.leader.leads
            assert two.found == [pytest.approx(killed_at, abs=TERMS.renew_every)]
            assert one.found == [], "there was no Lease"


async def test_a_lease_that_is_given_back_says_when() -> None:
    leases, time = Leases(), FakeTime()
    async with candidates(leases, time, "one") as (one,):
        await time.advance(20)
        one.die()
        await time.advance(1)
        await one.leader.release()
        released_at = time.now
        await time.advance(30)
        async with candidates(leases, time, "two") as (two,):
            assert two.found == [pytest.approx(released_at, abs=0.1)]


async def test_a_lease_given_back_is_taken_at_once() -> None:
    leases, time = Leases(), FakeTime()
    async with candidates(leases, time, "one", "two") as (one, two):
        await time.advance(30)
        one.die()
        await one.leader.release()
        assert not one.leader.leads
        await time.advance(TERMS.look_every)
        assert two.leader.leads


async def test_a_renewal_cut_off_with_its_answer_does_not_keep_it_from_giving_the_lease_back() -> None:
    leases, time = Leases(), FakeTime()
    async with candidates(leases, time, "one") as (one,):
        await time.advance(3)
        leases.lose_answers = True
        await time.advance(TERMS.renew_every)
        one.die()
        await one.leader.release()
        assert leases.holder == ""


async def test_in_an_outage_the_leader_stops_before_anybody_else_may_begin() -> None:
    leases, time = Leases(), FakeTime()
    async with candidates(leases, time, "one", "two") as (one, two):
        await time.advance(30)
        leases.down = True
        for _ in range(300):
            await time.advance(0.1)
            assert not (one.leader.leads and two.leader.leads)
        assert one.lost_at is not None
        assert one.lost_at - 1030 <= TERMS.renew_deadline + TERMS.renew_every
        leases.down = False
        await time.advance(TERMS.duration + 2)
        assert two.leader.leads
        assert leases.holder == "two"


async def test_a_short_outage_is_sat_out() -> None:
    leases, time = Leases(), FakeTime()
    async with candidates(leases, time, "one", "two") as (one, two):
        await time.advance(30)
        leases.down = True
        await time.advance(TERMS.renew_deadline - TERMS.renew_every - 1)
        leases.down = False
        await time.advance(20)
        assert one.leader.leads
        assert two.acquired_at is None


async def test_an_answer_lost_on_the_way_is_no_loss_of_the_lease() -> None:
    leases, time = Leases(), FakeTime()
    async with candidates(leases, time, "one", "two") as (one, two):
        await time.advance(30)
        leases.lose_answers = True
        await time.advance(20)
        assert one.leader.leads
        assert two.acquired_at is None


async def test_of_two_that_try_at_once_only_one_succeeds() -> None:
    leases, time = Leases(), FakeTime()
    async with candidates(leases, time, "gone") as (gone,):
        gone.die()
        async with candidates(leases, time, "one", "two") as both:
            await time.advance(60)
            assert sum(one.leader.leads for one in both) == 1


async def test_who_finds_another_holder_in_the_lease_has_lost_it() -> None:
    leases, time = Leases(), FakeTime()
    async with candidates(leases, time, "one") as (one,):
        await time.advance(5)
        assert leases.lease is not None
        leases.lease["spec"]["holderIdentity"] = "intruder"
        leases.lease["metadata"]["resourceVersion"] = "999"
        await time.advance(TERMS.renew_every)
        assert one.lost_at is not None
        assert leases.holder == "intruder"


async def test_a_deleted_lease_is_lost() -> None:
    leases, time = Leases(), FakeTime()
    async with candidates(leases, time, "one") as (one,):
        await time.advance(5)
        leases.lease = None
        await time.advance(TERMS.renew_every)
        assert one.lost_at is not None


async def test_two_processes_of_one_name_do_not_take_each_others_lease_for_their_own() -> None:
    leases, time = Leases(), FakeTime()
    async with candidates(leases, time, "twin", "twin") as (one, two):
        await time.advance(60)
        assert one.leader.leads
        assert two.acquired_at is None
        await two.leader.release()
        assert leases.holder == "twin"


@pytest.mark.parametrize("skew", [timedelta(hours=-5), timedelta(hours=5)])
async def test_clocks_that_disagree_by_hours_change_nothing(skew: timedelta) -> None:
    leases, time = Leases(), FakeTime()
    async with candidates(leases, time, "one") as (one,):
        two = Candidate(leases, time, "two", skew)
        await time.advance(60)
        assert one.leader.leads
        assert two.acquired_at is None
        two.die()


async def test_a_process_that_was_frozen_knows_at_once_that_it_may_not_act() -> None:
    leases, time = Leases(), FakeTime()
    async with candidates(leases, time, "one") as (one,):
        await time.advance(5)
        time.now += 60  # SIGSTOP … SIGCONT: nothing ran meanwhile
        assert not one.leader.leads
