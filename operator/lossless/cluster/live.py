"""Looks again before what cannot be undone: the workload, and every Service that could send requests to the pods.

The answers go into the store, so the second decision is made like the first, from the same tables, only newer. It costs
two calls however many pods are about to be marked drained; a third one only where the workload has moved on.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lossless.cluster.errors import NotFound
from lossless.cluster.gateway import Gateway
from lossless.cluster.gather import services_of
from lossless.cluster.observed import SeenRollout
from lossless.cluster.resources import ENDPOINT_SLICES
from lossless.cluster.store import Change, Store
from lossless.cluster.workload import kind_of
from lossless.traffic.services import SERVICE_NAME, EndpointSlice
from lossless.traffic.source import Subject


@dataclass(frozen=True, slots=True)
class LiveReader:
    """Brings the store up to date with what one decision rests on."""

    gateway: Gateway
    store: Store
    changed: Callable[[Change[Any]], None]

    async def look(self, rollout: SeenRollout, pods: Sequence[Subject]) -> None:
        """Read what says whether these pods may go. Raises ClusterError when it can't be read."""
        await asyncio.gather(self._workload(rollout), self._slices(rollout.namespace, pods))

    async def _workload(self, rollout: SeenRollout) -> None:
        kind = kind_of(rollout.target)
        if kind is None:
            return
        namespace, name = rollout.namespace, rollout.target.name
        table = self.store.table(kind.resource)
        try:
            self._told(table.put(await self.gateway.get(kind.resource, namespace, name)))
        except NotFound:
            return  # Its end is told by the watch; until then nothing is lost by leaving it as it is.
        if kind.is_stale(self.store, namespace, name):
            for part in kind.parts:
                listing = await self.gateway.list(part, namespace, kind.selector(self.store, namespace, name))
                for raw in listing.items:
                    self._told(self.store.table(part).put(raw))

    async def _slices(self, namespace: str, pods: Sequence[Subject]) -> None:
        services = services_of(self.store, namespace, pods).concerned(pods)
        if not services:
            return
        listing = await self.gateway.list(ENDPOINT_SLICES, namespace, f"{SERVICE_NAME} in ({','.join(services)})")

        def concerns(one: EndpointSlice) -> bool:
            return one.namespace == namespace and one.service in services

        known = self.store.slices.uids("service", *((namespace, service) for service in services))
        for change in self.store.slices.replace(listing, concerns, known):
            self._told(change)

    def _told(self, change: Change[Any] | None) -> None:
        if change is not None:
            self.changed(change)
