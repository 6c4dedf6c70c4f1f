"""Eureka: Spring Cloud's server, alone or several that replicate to each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from localcluster import javabuild
from localcluster.cache import Say
from localcluster.servers.server import Server, ServerBox

ADDRESS = "10.0.1.80"
"""Peers have the addresses that follow it."""
PORT = 8761
APPS = "/eureka/apps"


def eureka(
    box: ServerBox,
    address: str = ADDRESS,
    peers: Sequence[str] = (),
    *,
    cache_update_ms: int = 30_000,
    self_preservation: bool = True,
    eviction_ms: int = 60_000,
    say: Say = print,
) -> Server:
    """One Eureka server. Its API is below `<url>/eureka`; what it knows is in memory and ends with it.

    Args:
        peers: the addresses of the others, to which it tells what it is told. It starts whether they run or not, and
            asks them for what they know.
        cache_update_ms: how old the answers may be that clients fetch (`responseCacheUpdateIntervalMs`); the default
            is Eureka's own. `GET /eureka/apps/<app>/<id>` is always true at once.
        self_preservation: whether it stops evicting once too few renewals come in. Eureka's own default is True.
        eviction_ms: how often it looks for leases that have run out.

    Raises:
        BinariesError: the Java servers are not to be had.
    """
    others = ",".join(f"http://{peer}:{PORT}/eureka/" for peer in peers)
    properties: dict[str, str | float] = {
        "server.address": address,
        "server.port": PORT,
        "spring.application.name": "eureka",
        "spring.main.banner-mode": "off",
        "eureka.instance.hostname": address,
        "eureka.instance.prefer-ip-address": "true",
        "eureka.instance.ip-address": address,
        # A lone server would try to register with itself.
        "eureka.client.register-with-eureka": "false",
        "eureka.client.fetch-registry": str(bool(peers)).lower(),
        "eureka.client.service-url.defaultZone": others or f"http://{address}:{PORT}/eureka/",
        "eureka.server.response-cache-update-interval-ms": cache_update_ms,
        "eureka.server.enable-self-preservation": str(self_preservation).lower(),
        "eureka.server.eviction-interval-timer-in-ms": eviction_ms,
        # Else a server that finds no peer's registry at its start serves nobody for 5 minutes.
        "eureka.server.wait-time-in-ms-when-sync-empty": 0,
        "eureka.server.registry-sync-retry-wait-ms": 1000,
        "eureka.server.max-threads-for-peer-replication": 2,
    }
    argv = javabuild.command("eureka", "localcluster.eureka.Server", properties, heap_mb=128, say=say)
    return Server(box, f"eureka-{address}", f"{address}:{PORT}", argv, lambda server: server.ask(APPS) is not None)


def peers(box: ServerBox, count: int = 2, first: str = ADDRESS, **options: Any) -> list[Server]:
    """Several servers that replicate to each other, none of them started; their addresses follow the first one's.

    `options` are those of `eureka`.

    Raises:
        BinariesError: the Java servers are not to be had.
    """
    network, _, last = first.rpartition(".")
    addresses = [f"{network}.{int(last) + number}" for number in range(count)]
    return [eureka(box, each, [other for other in addresses if other != each], **options) for each in addresses]
