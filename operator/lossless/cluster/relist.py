"""Finds out what vanished unseen: lists a kind once, and forgets what is not there any more.

Kopf re-lists a kind when a watch has expired, and says nothing of objects that were deleted meanwhile. That it did so
shows: its events then have no type. A moment after the last of those, one LIST of our own settles it. So it is at the
start, where a decision must not be made before everything is known, and once an hour in case anything else was missed.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any, Final

from lossless.cluster.errors import ClusterError, NotFound
from lossless.cluster.gateway import Gateway
from lossless.cluster.resources import PODS, ROLLOUTS, Resource
from lossless.cluster.scope import OPTIONAL, Scope
from lossless.cluster.store import Change, Store

QUIET: Final = 1.0
"""Seconds without another event of Kopf's own list, before we list."""
RETRY: Final = 2.0
RESYNC: Final = 3600.0
"""Seconds from one full resync to the next, up to a quarter more or less."""

_log = logging.getLogger(__name__)


class Relister:
    """Keeps the store honest about what is not there."""

    def __init__(self, gateway: Gateway, scope: Scope, store: Store, changed: Callable[[Change[Any]], None]) -> None:
        self._gateway = gateway
        self._scope = scope
        self._store = store
        self._changed = changed
        self._wanted: dict[Resource, float] = {}
        self._woken = asyncio.Event()
        self._missing = set(scope.watched)
        self.synced = asyncio.Event()
        """Every kind was listed at least once: what is known is all there is."""

    def all_soon(self) -> None:
        """List every kind: anything may have happened."""
        for resource in self._scope.watched:
            self.soon(resource)

    def soon(self, resource: Resource) -> None:
        """List this kind once it has been quiet for a moment."""
        self._wanted[resource] = asyncio.get_running_loop().time() + QUIET
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled. The first round is made at once."""
        loop = asyncio.get_running_loop()
        self._wanted = dict.fromkeys(self._scope.watched, loop.time())
        resync_at = _next_resync(loop.time())
        while True:
            now = loop.time()
            if now >= resync_at:
                self.all_soon()
                resync_at = _next_resync(now)
            for resource in [one for one, at in self._wanted.items() if at <= now]:
                del self._wanted[resource]
                await self._list(resource)
            wake_at = min([*self._wanted.values(), resync_at])
            self._woken.clear()
            try:
                async with asyncio.timeout_at(wake_at):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def _list(self, resource: Resource) -> None:
        try:
            for namespace in self._scope.parts:
                await self._list_part(resource, namespace)
            self._is_served(resource, True)
        except NotFound:
            # Its CRD is not installed (yet): then there is none of them.
            _log.log(logging.DEBUG if resource in OPTIONAL else logging.WARNING, "%s is not served here", resource)
            self._is_served(resource, False)
        except ClusterError as error:
            _log.warning("could not list %s: %s", resource, error)
            self._wanted[resource] = asyncio.get_running_loop().time() + RETRY
            return
        self._missing.discard(resource)
        if not self._missing:
            self.synced.set()

    def _is_served(self, resource: Resource, served: bool) -> None:
        """Whoever names such a workload has something else to say of it, once that changes."""
        if served != (resource in self._store.unserved):
            return
        self._store.unserved ^= {resource}
        for rollout in tuple(self._store.rollouts):
            self._changed(Change(ROLLOUTS, rollout, rollout))

    async def _list_part(self, resource: Resource, namespace: str | None) -> None:
        def concerns(seen: Any) -> bool:
            # Pods that do not carry our label yet are known from elsewhere, and are not in this list.
            return (namespace is None or seen.namespace == namespace) and (resource is not PODS or bool(seen.rollout))

        table, listed, version = self._store.table(resource), set[str](), ""
        async for page in self._gateway.pages(resource, namespace, self._scope.label_selector(resource)):
            if page.begins:
                listed.clear()
            version = page.resource_version
            for raw in page.items:
                listed.add(raw["metadata"]["uid"])
                if change := table.put(raw):
                    self._changed(change)
        for change in table.forget_others(listed, version, concerns):
            self._changed(change)


def _next_resync(now: float) -> float:
    return now + RESYNC * random.uniform(0.75, 1.25)
