"""One of several processes leads: an elector over a ``coordination.k8s.io`` Lease.

It trusts no clock but its own monotonic one. Who leads is never decided by others' times in the Lease: what counts is
how long ago *we* saw it change. Every update carries the resourceVersion it was decided on, so of two that try
only one succeeds. Who leads gives up at ``renew_deadline``, well before anybody else may take over at ``duration``.

With 10 s, 7 s and 1 s a standby has the Lease at most 12 s after the leader was killed.
"""

import asyncio
import logging
import math
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from lossless.api import names
from lossless.cluster.errors import ClusterError, Conflict, NotFound
from lossless.cluster.gateway import Gateway
from lossless.cluster.resources import LEASES, Raw
from lossless.core.passage import format_time, parse_time

NAME: Final = "lossless-operator"
PROCESS: Final = f"{names.GROUP}/process"
"""An annotation on the Lease: two processes may be called by one name, and must not take each other's for their own."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """Seconds."""

    duration: float = 10.0
    """For how long nobody else may lead after a renewal was seen."""
    renew_deadline: float = 7.0
    """For how long the leader goes on without a renewal: what remains up to `duration` is its time to stop."""
    renew_every: float = 2.0
    retry_every: float = 0.5
    """How soon it tries again when a renewal has failed."""
    look_every: float = 1.0
    """How often a standby looks."""


class LeaseLost(Exception):
    """Somebody else may be leading by now: stop everything."""


class Leader:
    """Takes the Lease, keeps it, gives it back."""

    def __init__(
        self,
        gateway: Gateway,
        namespace: str,
        identity: str,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], datetime],
        sleep: Callable[[float], Any] = asyncio.sleep,
        terms: Terms | None = None,
        found: Callable[[datetime], None] = lambda renewed_at: None,
    ) -> None:
        """`gateway` must not itself ask whether we lead. `clock` is monotonic, `wall_clock` only for people to read.

        `found` is told once, when we see the Lease of others first, at what time they renewed or released it last.
        """
        self._gateway = gateway
        self._namespace = namespace
        self._identity = identity
        self._process = uuid.uuid4().hex
        self._clock = clock
        self._wall_clock = wall_clock
        self._sleep = sleep
        self._terms = terms or Terms()
        self._found: Callable[[datetime], None] | None = found
        self._lease: Raw | None = None
        """As last seen."""
        self._seen_at = -math.inf
        """When we saw it in this version first."""
        self._renewed_at = -math.inf
        """When the last successful renewal was begun: others count from later."""
        self._alive_at = clock()

    @property
    def leads(self) -> bool:
        """Whether we may act right now. True only while nobody else can believe to lead."""
        return self._clock() < self._renewed_at + self._terms.renew_deadline

    @property
    def silent_for(self) -> float:
        """Seconds since the elector last did anything at all: it hangs if this grows."""
        return self._clock() - self._alive_at

    async def acquire(self) -> None:
        """Wait until we lead."""
        told = ""
        while True:
            self._alive_at = self._clock()
            try:
                await self._look()
                self._tell_found()
                holder = self._holder()
                if self._is_free() and await self._take():
                    return
                if holder and holder != told:
                    _log.info("standing by: %s leads", holder)
                    told = holder
            except ClusterError as error:
                _log.warning("could not read the Lease: %s", error)
            await self._sleep(self._terms.look_every * random.uniform(0.8, 1.0))

    async def keep(self) -> None:
        """Renew until that fails for too long, or somebody else has taken it. Always ends with LeaseLost."""
        pause = self._terms.renew_every
        while True:
            self._alive_at = self._clock()
            await self._sleep(pause)
            self._alive_at = self._clock()
            left = self._renewed_at + self._terms.renew_deadline - self._clock()
            if left <= 0:
                raise LeaseLost(f"not renewed for {self._terms.renew_deadline:g} s")
            try:
                async with asyncio.timeout(left):
                    await self._renew()
                pause = self._terms.renew_every
            except (ClusterError, TimeoutError) as error:
                _log.warning("could not renew the Lease: %s", error or "no answer in time")
                pause = self._terms.retry_every

    async def release(self) -> None:
        """Give it back, so that a standby need not wait. Only after everything that acts has stopped."""
        if not self._is_ours() or not self.leads:
            return
        self._renewed_at = -math.inf
        try:
            async with asyncio.timeout(self._terms.duration - self._terms.renew_deadline):
                await self._look()  # A renewal may have been cut off with its answer.
                if self._lease is None or not self._is_ours():
                    return
                now = format_time(self._wall_clock())
                spec = {**self._lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": now}
                await self._gateway.replace(LEASES, self._namespace, NAME, {**self._lease, "spec": spec})
            _log.info("the Lease is given back")
        except (ClusterError, TimeoutError) as error:
            _log.warning("could not give the Lease back: %s", error)

    async def _look(self) -> None:
        try:
            lease = await self._gateway.get(LEASES, self._namespace, NAME)
        except NotFound:
            self._lease = None
            return
        self._saw(lease)

    def _tell_found(self) -> None:
        found, self._found = self._found, None
        at = parse_time((self._lease or {}).get("spec", {}).get("renewTime"))
        if found and at:
            found(at)

    def _saw(self, lease: Raw) -> None:
        before = self._lease["metadata"]["resourceVersion"] if self._lease else None
        if lease["metadata"]["resourceVersion"] != before:
            self._seen_at = self._clock()
        self._lease = lease

    def _holder(self) -> str:
        return str((self._lease or {}).get("spec", {}).get("holderIdentity") or "")

    def _is_ours(self) -> bool:
        annotations = (self._lease or {}).get("metadata", {}).get("annotations") or {}
        return self._holder() == self._identity and annotations.get(PROCESS) == self._process

    def _is_free(self) -> bool:
        if self._lease is None or not self._holder():
            return True
        # The holder may have been told another duration than we were: its own word counts.
        duration = float(self._lease["spec"].get("leaseDurationSeconds") or self._terms.duration)
        return self._clock() >= self._seen_at + duration

    async def _take(self) -> bool:
        began = self._clock()
        now = format_time(self._wall_clock())
        spec = (self._lease or {}).get("spec", {})
        taken = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": math.ceil(self._terms.duration),
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": int(spec.get("leaseTransitions") or 0) + (1 if self._lease else 0),
        }
        try:
            if self._lease is None:
                metadata: Raw = {"name": NAME, "annotations": {PROCESS: self._process}}
                body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": taken}
                lease = await self._gateway.create(LEASES, self._namespace, body)
            else:
                annotations = {**(self._lease["metadata"].get("annotations") or {}), PROCESS: self._process}
                body = {
                    **self._lease,
                    "metadata": {**self._lease["metadata"], "annotations": annotations},
                    "spec": {**spec, **taken},
                }
                lease = await self._gateway.replace(LEASES, self._namespace, NAME, body)
        except Conflict:
            return False
        self._saw(lease)
        self._renewed_at = began
        return True

    async def _renew(self) -> None:
        if self._lease is None:
            raise LeaseLost("it was never held")
        began = self._clock()
        spec = {**self._lease["spec"], "renewTime": format_time(self._wall_clock())}
        try:
            self._saw(await self._gateway.replace(LEASES, self._namespace, NAME, {**self._lease, "spec": spec}))
        except NotFound as error:
            raise LeaseLost("the Lease was deleted") from error
        except Conflict as error:
            # Ours may have come through with its answer lost; or somebody else wrote it.
            await self._look()
            if not self._is_ours():
                raise LeaseLost(f"{self._holder() or 'nobody'} holds it now") from error
            return  # The next renewal counts.
        self._renewed_at = began
