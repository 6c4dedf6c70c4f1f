"""A Dubbo provider as a pod: the container that a manifest needs. Its registry is a ZooKeeper of the box."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from localcluster import javabuild
from localcluster.cache import Say

PORT = 20880
QOS_PORT = 22222
INTERFACE = "localcluster.dubbo.Web"
QOS_LOOPBACK = "127.${POD_IP#10.}"
"""For a shell in the pod: where its QoS listens with `Provider.qos = "loopback"`."""

Registers = Literal["interface", "instance", "all"]
"""What Dubbo calls register-mode: interface-level, application-level, or both, which is its default."""


@dataclass(frozen=True, slots=True)
class Provider:
    """How a provider is to be. Times are milliseconds, as in Dubbo."""

    registry: str
    """`ZooKeeper.connect_string`."""
    app: str = "web"
    """Of Dubbo's application: what rules are named after."""
    registers: Registers = "all"
    group: str = ""
    """Of the service: a consumer finds the providers of its own group only, so tests can share a ZooKeeper."""
    weight: int | None = None
    warmup: int = 0
    """How long a consumer raises a new provider's weight. Dubbo's own default is 10 minutes."""
    delay: int | None = None
    """How long after its start it is registered and serves."""
    shutdown_wait: int = 10_000
    """How long a shutdown waits for what is in the works (`dubbo.service.shutdown.wait`); Dubbo's own default."""
    qos: Literal["loopback", "pod", "off"] = "loopback"
    """On which address QoS listens, on port 22222: a loopback address, as the whole right to command needs, or the
    pod's own, where a caller is a stranger. Pods share one loopback in a box, so each has an address of its own there:
    QOS_LOOPBACK, 127.244.1.7 for 10.244.1.7."""
    latency_ms: int = 5
    cold_requests: int = 0
    """So many first answers take `cold_ms`."""
    cold_ms: int = 800
    more: Mapping[str, str | float] = field(default_factory=dict)
    """Further system properties, Dubbo's own among them: `dubbo.application.qos-anonymous-access-permission-level`."""

    def container(self, name: str = "app", *, say: Say = print, **more: Any) -> dict[str, Any]:
        """The container of a pod: serves `INTERFACE` on port 20880 of the pod's address, ready when that is open.

        Args:
            more: further fields of the container, or other values for those it has.

        Raises:
            BinariesError: the Java servers are not to be had.
        """
        return {
            "name": name,
            "image": "dubbo",  # not looked at
            "command": ["sh", "-c", self.shell(say)],
            "env": [
                {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            ],
            "ports": [{"name": "dubbo", "containerPort": PORT}],
            "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
            **more,
        }

    def shell(self, say: Say = print) -> str:
        """Its command line for a shell that has POD_IP and POD_NAME; the shell becomes the provider."""
        return "exec " + " ".join(f'"{word}"' for word in self._command(say))

    def _command(self, say: Say) -> list[str]:
        properties: dict[str, str | float] = {
            **common(self.app, self.registry),
            "dubbo.application.register-mode": self.registers,
            "dubbo.protocol.name": "dubbo",
            "dubbo.protocol.host": "${POD_IP}",
            "dubbo.protocol.port": PORT,
            "dubbo.provider.warmup": self.warmup,
            "dubbo.service.shutdown.wait": self.shutdown_wait,
            "dubbo.application.qos-enable": str(self.qos != "off").lower(),
            "dubbo.application.qos-host": QOS_LOOPBACK if self.qos == "loopback" else "${POD_IP}",
            "dubbo.application.qos-port": QOS_PORT,
            "localcluster.latency-ms": self.latency_ms,
            "localcluster.cold-requests": self.cold_requests,
            "localcluster.cold-ms": self.cold_ms,
            **self.more,
        }
        if self.group:
            properties["dubbo.provider.group"] = self.group
        if self.weight is not None:
            properties["dubbo.provider.weight"] = self.weight
        if self.delay is not None:
            properties["dubbo.provider.delay"] = self.delay
        return javabuild.command("dubbo", "localcluster.dubbo.Provider", properties, say=say)


def common(app: str, registry: str) -> dict[str, str | float]:
    """What a provider and a consumer have in common."""
    return {
        "dubbo.application.name": app,
        "dubbo.application.logger": "slf4j",
        "dubbo.application.enable-file-cache": "false",  # nothing in the home directory, nothing from another run
        # It would look up the names of addresses, and wait for a DNS that a box does not have.
        "zookeeper.sasl.client": "false",
        "dubbo.registry.address": f"zookeeper://{registry}",
    }


def qos(command: str, address: str = QOS_LOOPBACK) -> list[str]:
    """The command that says something to the QoS of a pod, for an exec in it or a preStop hook: `qos("offline")`."""
    ask = f"import urllib.request as u; print(u.urlopen('http://{address}:{QOS_PORT}/{command}').read().decode())"
    return ["sh", "-c", f'python3 -I -S -c "{ask}"']
