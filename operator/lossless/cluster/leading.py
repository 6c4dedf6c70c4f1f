"""What a process does while it leads: watches feed the store, the store wakes keys, workers reconcile them."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from lossless.cluster.errors import ClusterError, NotLeading, Outdated
from lossless.cluster.gateway import Gateway
from lossless.cluster.interest import Key, concerned
from lossless.cluster.reconcile import Reconciler
from lossless.cluster.relist import Relister
from lossless.cluster.resources import Raw, Resource
from lossless.cluster.scope import OPTIONAL, Scope
from lossless.cluster.store import Change, Store, version_of
from lossless.cluster.watches import Watches
from lossless.cluster.workload import kind_of
from lossless.cluster.workqueue import WorkQueue

WORKERS: Final = 16
"""They mostly wait for the API server."""
STUCK_AFTER: Final = 60.0
TURN: Final = 50.0
"""Seconds. A turn that takes longer is cut off and begun anew: a slow API server is no reason to restart us, so a key
that is stuck for longer is a defect."""

_log = logging.getLogger(__name__)


class Gauge(Protocol):
    """What of `lossless.telemetry.metrics.Metrics` is needed here."""

    def reconcile_took(self, seconds: float) -> None:
        """One reconcile has ended, well or not."""
        ...

    def reconcile_failed(self, reason: str) -> None:
        """One reconcile has failed."""
        ...

    def queue(self, depth: int, oldest_seconds: float) -> None:
        """How many keys wait, and how long the oldest has."""
        ...


@dataclass
class Leading:
    """Everything that runs only in the process that leads."""

    scope: Scope
    kubeconfig: Path | None
    gateway: Gateway
    store: Store
    queue: WorkQueue[Key]
    metrics: Gauge
    clock: Callable[[], float]

    def __post_init__(self) -> None:
        self._relister = Relister(self.gateway, self.scope, self.store, self.changed)
        self._watches = Watches(
            self.scope, self.kubeconfig, self._saw, self._relister.all_soon, self.gateway.serves, self._needed
        )

    def changed(self, change: Change[Any]) -> None:
        """Something is different: wake whom it concerns."""
        for key in concerned(change, self.store):
            self.queue.add(key)
        self._measure()

    @property
    def synced(self) -> bool:
        """Whether everything was seen at least once."""
        return self._relister.synced.is_set()

    def stuck(self) -> str | None:
        """Why this process had better be restarted; None: it had not."""
        if self._watches.silent_for >= STUCK_AFTER:
            return f"the watches have given no sign of life for {self._watches.silent_for:.0f} s"
        oldest = self.queue.oldest()
        if oldest is None or not self.synced or oldest.seconds < STUCK_AFTER:
            return None
        return f"{'/'.join(oldest.key)} has been waiting, or worked on, for {oldest.seconds:.0f} s"

    async def run(self, reconciler: Reconciler) -> None:
        """Until cancelled. Turns begin once everything has been seen: half a world makes wrong decisions."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watches.run())
            group.create_task(self._relister.run())
            group.create_task(self._reconcile_all(reconciler))

    def _needed(self, resource: Resource) -> bool:
        """Always; a kind of others while somebody names it as a target."""
        if resource not in OPTIONAL:
            return True
        kinds = (kind_of(one.target) for one in self.store.rollouts)
        return any(kind.resource == resource for kind in kinds if kind)

    def _saw(self, resource: Resource, kind: str | None, raw: Raw) -> None:
        """An event of a watch."""
        table = self.store.table(resource)
        if kind is None:
            self._relister.soon(resource)
        change = table.remove(raw["metadata"]["uid"], version_of(raw)) if kind == "DELETED" else table.put(raw)
        if change is not None:
            self.changed(change)

    async def _reconcile_all(self, reconciler: Reconciler) -> None:
        await self._relister.synced.wait()
        for rollout in self.store.rollouts:
            self.queue.add(rollout.key)
        for pod in self.store.pods:
            if pod.rollout:
                self.queue.add((pod.namespace, pod.rollout))  # Its LosslessRollout may have gone while nobody led.

        for key in await self._left_over(reconciler):
            self.queue.add(key)

        async def one(key: Key) -> None:
            await self._turn(reconciler, key)

        await self.queue.work(one, WORKERS)

    async def _left_over(self, reconciler: Reconciler) -> set[Key]:
        """What LosslessRollouts have left in routes and autoscalers that went while nobody led. It keeps nobody
        waiting."""
        try:
            held = await reconciler.autoscaling.left_over(self.scope.parts)
            return held | await reconciler.ramping.left_over(self.scope.parts)
        except ClusterError as error:
            _log.warning("could not look for what was left over: %s", error)
            return set()

    async def _turn(self, reconciler: Reconciler, key: Key) -> None:
        began = self.clock()
        try:
            async with asyncio.timeout(TURN):
                wait = await reconciler.reconcile(key)
        except TimeoutError:
            self.metrics.reconcile_failed("Timeout")
            self.queue.failed(key)
            _log.warning("cut off after %.0f s", TURN, extra={"rollout": "/".join(key)})
        except NotLeading:
            return  # The elector is about to end all this.
        except Outdated as reason:
            _log.debug("decide again: %s", reason, extra={"rollout": "/".join(key)})
            self.queue.failed(key)  # Soon; and if it goes on so, with growing pauses.
        except ClusterError as error:
            self.metrics.reconcile_failed(type(error).__name__)
            seconds = self.queue.failed(key)
            _log.warning("failed, again in %.1f s: %s", seconds, error, extra={"rollout": "/".join(key)})
        except Exception:  # noqa: BLE001 - a defect of ours must stop one rollout, not all of them
            self.metrics.reconcile_failed("Defect")
            self.queue.failed(key)
            _log.exception("failed", extra={"rollout": "/".join(key)})
        else:
            self.queue.succeeded(key)
            if wait is not None:
                self.queue.add_after(key, wait)
        finally:
            self.metrics.reconcile_took(self.clock() - began)
            self._measure()

    def _measure(self) -> None:
        oldest = self.queue.oldest()
        self.metrics.queue(self.queue.depth, oldest.seconds if oldest else 0.0)
