"""Real Java clients that follow a registry. Each prints the lines that addresses.py describes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

from localcluster import javabuild
from localcluster.cache import Say


def eureka(app: str, urls: Sequence[str], *, fetch_seconds: int = 30, say: Say = print) -> list[str]:
    """The command of Netflix' client as Spring Cloud uses it: the instances that are UP in its cache.

    Args:
        urls: of the servers, `Server.url` of localcluster.servers.eureka; another one is asked when one fails.
        fetch_seconds: how often it fetches (`registryFetchIntervalSeconds`); the default is its own. The cache of a
            load balancer would come on top.

    Raises:
        BinariesError: the Java clients are not to be had.
    """
    servers = ",".join(f"{url}/eureka/" for url in urls)
    properties: dict[str, str | float] = {
        "localcluster.app": app,
        "localcluster.servers": servers,
        "localcluster.fetch-seconds": fetch_seconds,
    }
    return javabuild.command("eureka", "localcluster.eureka.Consumer", properties, say=say)


def nacos(
    service: str, url: str, *, group: str = "DEFAULT_GROUP", push_empty_protection: bool = False, say: Say = print
) -> list[str]:
    """The command of nacos-client 2.x subscribed to a service: what `selectInstances` would give, with weights.

    Args:
        url: of the server, `Server.url` of localcluster.servers.nacos. It is asked on that port, and by gRPC on the one
            1000 above it.
        push_empty_protection: it goes on with the list that it has when an empty one comes
            (namingPushEmptyProtection). The client's own default is False.

    Raises:
        BinariesError: the Java clients are not to be had.
    """
    properties = {**_nacos(service, url, group), "namingPushEmptyProtection": str(push_empty_protection).lower()}
    return javabuild.command("nacos", "localcluster.nacos.Subscriber", properties, say=say)


def nacos_registrar(
    service: str, url: str, ip: str, port: int, *, weight: float = 1.0, group: str = "DEFAULT_GROUP", say: Say = print
) -> list[str]:
    """The command that registers an address by nacos-client 2.x, so over gRPC; it says `registered` when it is.

    The registration lives as long as its connection, and is made again on a new one. SIGTERM takes it back.

    Raises:
        BinariesError: the Java clients are not to be had.
    """
    properties = _nacos(service, url, group)
    properties |= {"localcluster.ip": ip, "localcluster.port": port, "localcluster.weight": weight}
    return javabuild.command("nacos", "localcluster.nacos.Registrar", properties, say=say)


def _nacos(service: str, url: str, group: str) -> dict[str, str | float]:
    return {
        "localcluster.server": url.removeprefix("http://"),
        "localcluster.service": service,
        "localcluster.group": group,
        # Nothing is left in the home directory of who runs this; what it keeps it reads at no start.
        "JM.SNAPSHOT.PATH": tempfile.gettempdir(),
        "nacos.logging.default.config.enabled": "false",
    }
