"""The registries in the box, each with what a release of an app that registers there needs."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from localcluster.consumers import java
from localcluster.servers.consul import Consul
from localcluster.servers.server import Server
from tests.e2e_registries.faulty_proxy import Fault
from tests.traffic.registries.real_etcd import Etcd

SETTLE = "1s"
"""How long the consumers here lag behind their registry, and more: each is told at once."""
NODES = ("node-1", "node-2")


class Registry(Protocol):
    """One kind of registry in the box, as a test needs it."""

    kind: str

    def spec(self, service: str) -> Mapping[str, Any]:
        """The registry in a LosslessRollout."""
        ...

    def away(self) -> None:
        """It answers nobody from now on."""
        ...

    def back(self) -> None:
        """It answers again, with nothing but what it has kept on its disk."""
        ...

    def held(self, service: str) -> Mapping[str, str]:
        """Everything that it holds of this service: by address what is not as the app has registered it; empty where it
        all is."""
        ...


class FollowedRegistry(Registry, Protocol):
    """One with which the sample app registers, and whose consumers hold a list of addresses."""

    def flags(self, service: str) -> Sequence[str]:
        """With which the sample app registers as this service."""
        ...

    def consumer(self, service: str) -> Sequence[str]:
        """The command of a consumer."""
        ...


class WeighingRegistry(Registry, Protocol):
    """One that gives each pod a weight."""

    def parts(self, service: str) -> Mapping[str, float]:
        """By address, the part of its full weight that consumers give it. Who is left out by them may be missing."""
        ...


@dataclass(frozen=True)
class OfOneServer:
    """A registry that is a single process."""

    server: Server

    def away(self) -> None:
        self.server.kill()

    def back(self) -> None:
        self.server.start()


class EtcdRegistry(OfOneServer):
    """An etcd: keys under leases of 4 s, so that a pod that dies is gone soon."""

    kind = "etcd"

    def flags(self, service: str) -> Sequence[str]:
        return (f"--service={service}", f"--register=etcd={self.server.url}?ttl=4")

    def spec(self, service: str) -> Mapping[str, Any]:
        etcd = {"endpoints": [self.server.url], "prefix": f"services/{service}/"}
        return {"name": "etcd", "settle": SETTLE, "etcd": etcd}

    def consumer(self, service: str) -> Sequence[str]:
        return (sys.executable, "-m", "localcluster.consumers", "etcd", self.server.url, service)

    def held(self, service: str) -> Mapping[str, str]:
        begin = f"services/{service}/".encode()
        asked = {"key": _b64(begin), "range_end": _b64(begin[:-1] + b"0")}
        pairs = self.ask("kv/range", asked).get("kvs") or []
        return {
            base64.b64decode(pair["key"]).decode().rpartition("/")[2]: "" if pair.get("lease") else "under no lease"
            for pair in pairs
        }

    def ask(self, what: str, said: dict[str, Any]) -> dict[str, Any]:
        return Etcd(self.server.outside).ask(what, said)


class ConsulRegistry(OfOneServer):
    """A Consul server and an agent for each node, with TTL checks."""

    kind = "consul"

    def __init__(self, consul: Consul) -> None:
        super().__init__(consul.server)
        self.consul = consul

    def flags(self, service: str) -> Sequence[str]:
        agents = [f"--register=consul={self.consul.agent(node).url}?ttl=6&node={node}" for node in NODES]
        return (f"--service={service}", *agents)

    def spec(self, service: str) -> Mapping[str, Any]:
        return {
            "name": "consul",
            "settle": SETTLE,
            "consul": {"server": self.server.url, "service": service},
        }

    def consumer(self, service: str) -> Sequence[str]:
        return (sys.executable, "-m", "localcluster.consumers", "consul", self.server.url, service)

    def held(self, service: str) -> Mapping[str, str]:
        answer = self.server.ask(f"/v1/health/service/{service}")
        assert answer is not None
        return {
            f"{one['Service']['Address']}:{one['Service']['Port']}": ", ".join(
                f"{check['CheckID']} {check['Status']}" for check in one["Checks"] if check["Status"] != "passing"
            )
            for one in json.loads(answer)
        }


class MisheardConsulRegistry(ConsulRegistry):
    """The same; but whom the operator asks is a fake in front of it, that goes wrong when it is told to. Applications
    and consumers go to the real one."""

    kind = "consul-misheard"

    def __init__(self, consul: Consul, proxy: Server) -> None:
        super().__init__(consul)
        self._proxy = proxy

    def spec(self, service: str) -> Mapping[str, Any]:
        whole = super().spec(service)
        return {**whole, "timeout": "1s", "consul": {**whole["consul"], "server": self._proxy.url}}

    def go_wrong(self, fault: Fault) -> None:
        """From now on, whoever is asked."""
        assert self._proxy.ask(f"/fake/{fault}", "PUT") is not None

    def has_gone_wrong(self) -> bool:
        """The operator has met it."""
        return int(self._proxy.ask("/fake/met") or 0) > 0


class NacosRegistry(OfOneServer):
    """rnacos, with a consumer that asks twice a second."""

    kind = "nacos"
    weights: tuple[int, ...] = (2,)

    def flags(self, service: str) -> Sequence[str]:
        # rnacos takes a weight of exactly 1 for none at all (see its word of caution).
        return (f"--service={service}", f"--register=nacos={self.server.url}?beat=2", "--register-weight=2")

    def spec(self, service: str) -> Mapping[str, Any]:
        nacos = {"servers": [f"{self.server.url}/nacos"], "service": service}
        return {"name": "nacos", "settle": "2s", "nacos": nacos}

    def consumer(self, service: str) -> Sequence[str]:
        argv = (sys.executable, "-m", "localcluster.consumers", "nacos-http", self.server.url, service)
        return (*argv, "--every=0.5")

    def held(self, service: str) -> Mapping[str, str]:
        return {
            f"{one['ip']}:{one['port']}": ""
            if one["enabled"] and one["weight"] in self.weights
            else f"enabled={one['enabled']}, weight {one['weight']}"
            for one in self._listed(service)
        }

    def parts(self, service: str) -> Mapping[str, float]:
        return {f"{one['ip']}:{one['port']}": one["weight"] / self.weights[0] for one in self._listed(service)}

    def _listed(self, service: str) -> list[dict[str, Any]]:
        """Whom it hands out."""
        answer = self.server.ask(f"/nacos/v1/ns/instance/list?serviceName={service}")
        assert answer is not None
        found: list[dict[str, Any]] = json.loads(answer)["hosts"]
        return found


class ProtectedNacosRegistry(NacosRegistry):
    """The same server; its consumers are Nacos' own clients, which do not believe a server that knows nobody."""

    kind = "nacos-protected"
    # Of whom it has forgotten it makes an instance anew by a beat alone, and takes no weight from that.
    weights = (2, 1)

    def consumer(self, service: str) -> Sequence[str]:
        return java.nacos(service, self.server.url, push_empty_protection=True)


class EurekaRegistry(OfOneServer):
    """Spring Cloud's Eureka, with Netflix' client; caches and fetches of a second each instead of 30.

    Of several that replicate to each other, the first goes away, and the last is asked what they hold.
    """

    kind = "eureka"

    def __init__(self, *servers: Server) -> None:
        super().__init__(servers[-1])
        self._first = servers[0]
        self._urls = [server.url for server in servers]

    def flags(self, service: str) -> Sequence[str]:
        return (f"--service={service}", *(f"--register=eureka={url}/eureka?heartbeat=2&lease=6" for url in self._urls))

    def spec(self, service: str) -> Mapping[str, Any]:
        eureka = {"servers": [f"{url}/eureka" for url in self._urls], "application": service}
        return {"name": "eureka", "settle": "8s", "eureka": eureka}

    def consumer(self, service: str) -> Sequence[str]:
        return java.eureka(service, self._urls, fetch_seconds=1)

    def away(self) -> None:
        self._first.kill()

    def back(self) -> None:
        self._first.start()

    def held(self, service: str) -> Mapping[str, str]:
        answer = self.server.ask("/eureka/apps")
        assert answer is not None
        found: dict[str, str] = {}
        for app in json.loads(answer)["applications"]["application"]:
            if app["name"] == service.upper():
                for one in app["instance"]:
                    override = one.get("overriddenStatus") or one.get("overriddenstatus") or "UNKNOWN"
                    plain = one["status"] == "UP" and override in ("UNKNOWN", "UP")
                    found[f"{one['ipAddr']}:{one['port']['$']}"] = "" if plain else f"{one['status']}, {override}"
        return found


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
