"""Follows a service in Nacos by asking for its list again and again, as a 1.x client whose UDP pushes do not arrive.

The answer says after how long to ask again (`cacheMillis`, 10 s by default); of what it lists, a client selects what is
enabled, healthy and of a weight above 0 (com.alibaba.nacos.client.naming.NacosNamingService.selectInstances, 1.4).
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import aiohttp

from localcluster.consumers.addresses import Emit, Weighted

DEFAULT_EVERY = 10.0


async def follow(
    session: aiohttp.ClientSession,
    url: str,
    service: str,
    emit: Emit,
    every: float | None = None,
    group: str = "DEFAULT_GROUP",
    namespace: str = "public",
) -> None:
    """For ever. While Nacos does not answer the old list stays.

    Args:
        every: seconds between two readings; none means as the answers say.
    """
    query = {"serviceName": f"{group}@@{service}", "groupName": group, "namespaceId": namespace, "healthyOnly": "false"}
    pause = every or DEFAULT_EVERY
    while True:
        try:
            async with session.get(
                f"{url}/nacos/v1/ns/instance/list", params=query, timeout=aiohttp.ClientTimeout(total=5)
            ) as answer:
                answer.raise_for_status()
                read: dict[str, Any] = await answer.json(content_type=None)
            emit(selected(read))
            pause = every or read.get("cacheMillis", DEFAULT_EVERY * 1000) / 1000
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            print(f"nacos: {error!r}", file=sys.stderr, flush=True)
        await asyncio.sleep(pause)


def selected(answer: dict[str, Any]) -> list[Weighted]:
    """What a client would choose among."""
    return [
        Weighted(f"{host['ip']}:{host['port']}", float(host["weight"]))
        for host in answer.get("hosts") or ()
        if host.get("enabled", True) and host.get("healthy", True) and host["weight"] > 0
    ]
