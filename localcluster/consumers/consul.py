"""Follows a service in Consul by blocking queries, as its clients do: passing instances only.

https://developer.hashicorp.com/consul/api-docs/features/blocking says how the index is to be handled: one that is not
above 0, or goes backwards, means to begin anew.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import aiohttp

from localcluster.consumers.addresses import Emit, Weighted
from localcluster.consumers.pauses import Pauses

WAIT_SECONDS = 30
"""How long Consul may hold a query back; it adds up to a sixteenth of that."""


async def follow(session: aiohttp.ClientSession, url: str, service: str, emit: Emit) -> None:
    """For ever. While Consul does not answer the old list stays."""
    index = 0
    pauses = Pauses()
    while True:
        query = {"passing": "true", "index": str(index), "wait": f"{WAIT_SECONDS}s"}
        timeout = aiohttp.ClientTimeout(total=WAIT_SECONDS * 17 / 16 + 10)
        try:
            async with session.get(f"{url}/v1/health/service/{service}", params=query, timeout=timeout) as answer:
                answer.raise_for_status()
                read = int(answer.headers["X-Consul-Index"])
                entries: list[dict[str, Any]] = await answer.json()
        except (aiohttp.ClientError, TimeoutError) as error:
            print(f"consul: {error!r}", file=sys.stderr, flush=True)
            index = 0
            await asyncio.sleep(pauses.after_failure())
            continue
        pauses.over()
        emit(address_of(entry) for entry in entries)
        index = next_index(index, read)


def next_index(asked: int, read: int) -> int:
    """What to ask for after an answer."""
    return 0 if read < asked or read < 1 else read


def address_of(entry: dict[str, Any]) -> Weighted:
    """Of an entry of `/v1/health/service`. A service without an address of its own has its node's."""
    service = entry["Service"]
    address = service.get("Address") or entry["Node"]["Address"]
    return Weighted(f"{address}:{service['Port']}", float((service.get("Weights") or {}).get("Passing", 1)))
