"""What a client-side balancer knows: the ready addresses of a headless Service, as of its last reading."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from localcluster.load.callers import Address, Client
from localcluster.load.plan import CachedAddresses
from localcluster.reader import ApiReader, ReadError

log = logging.getLogger(__name__)

ReadAddresses = Callable[[CachedAddresses], Awaitable[tuple[Address, ...]]]
"""Reads the ready addresses of the Service that such a caller names."""


def ready_addresses(slices: Iterable[Mapping[str, Any]], port: int | str) -> tuple[Address, ...]:
    """The addresses DNS would publish for a headless Service with these EndpointSlices: the ready ones, in order.

    `ready` that is not set means ready (EndpointConditions in discovery.k8s.io/v1). A terminating endpoint is never
    ready, so it is not published, though it may still be serving.
    """
    found: set[Address] = set()
    for endpoint_slice in slices:
        for wanted in endpoint_slice.get("ports") or ():
            if port not in (wanted.get("port"), wanted.get("name")):
                continue
            for endpoint in endpoint_slice.get("endpoints") or ():
                if (endpoint.get("conditions") or {}).get("ready") is not False:
                    found.update((address, wanted["port"]) for address in endpoint["addresses"])
    return tuple(sorted(found))


def from_cluster(api: ApiReader) -> ReadAddresses:
    """Readings from the EndpointSlices of a cluster."""

    async def read(caller: CachedAddresses) -> tuple[Address, ...]:
        path = f"/apis/discovery.k8s.io/v1/namespaces/{caller.namespace}/endpointslices"
        listed = await api.list(path, labelSelector=f"kubernetes.io/service-name={caller.service}")
        return ready_addresses(listed.items, caller.port)

    return read


@asynccontextmanager
async def keep_reading(
    caller: CachedAddresses, client: Client, read: ReadAddresses, phase: float
) -> AsyncIterator[asyncio.Task[None]]:
    """Tell the client the addresses now, again after `phase` seconds, and then every `caller.every` seconds."""
    client.learn(await read(caller))

    async def go_on() -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + (phase or caller.every)
        while True:
            await asyncio.sleep(due - loop.time())
            due += caller.every
            try:
                client.learn(await read(caller))
            except ReadError as error:
                log.warning("%s keeps its old addresses: %s", caller.name, error)

    task = asyncio.create_task(go_on())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
