"""metrics-server: what pods use, as `kubectl top` and the controller of HorizontalPodAutoscalers ask for it.

It reads `/metrics/resource` of each node, where the process nodes tell what the pods' processes use by the kernel's
account. The API server's flags for it are in every box, so a box without it starts no slower.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from localcluster.api import Api, ApiError
from localcluster.cache import Say
from localcluster.process import Process
from localcluster.servers import go_tool
from localcluster.servers.server import Running, ServerBox, fresh_directory

VERSION = "0.9.0"
COMMAND = "sigs.k8s.io/metrics-server/cmd/metrics-server"
ADDRESS, PORT = "10.0.1.90", 4443
RESOLUTION = 10
"""Seconds from one reading of all nodes to the next: the least that it accepts."""


class MetricsBox(ServerBox, Protocol):
    """What is needed of a box."""

    @property
    def kubeconfig_inside(self) -> Path: ...
    @property
    def api(self) -> Api: ...
    def apply(self, manifest: Sequence[Mapping[str, Any]]) -> None: ...


def binary(say: Say) -> Path:
    """From the cache, else built with Go: about 3 minutes on two cores.

    Raises:
        BinariesError: it could not be built.
    """
    return (
        go_tool.prepared("metrics-server", f"v{VERSION}", COMMAND, say, minutes=3, subject="kubernetes-sigs")
        / "metrics-server"
    )


class MetricsServer(Running):
    """`with MetricsServer(box): …`. What it has read stays in its memory and goes with it."""

    def __init__(self, box: MetricsBox, say: Say = print) -> None:
        """Nothing runs before `start`, or `with`.

        Raises:
            BinariesError: metrics-server is not to be had.
        """
        self._box = box
        argv = [
            str(binary(say)),
            f"--kubeconfig={box.kubeconfig_inside}",
            f"--authentication-kubeconfig={box.kubeconfig_inside}",
            f"--authorization-kubeconfig={box.kubeconfig_inside}",
            f"--bind-address={ADDRESS}",
            f"--secure-port={PORT}",
            f"--cert-dir={fresh_directory(box, 'metrics-server')}",
            f"--metric-resolution={RESOLUTION}s",
            "--kubelet-request-timeout=5s",  # It must be well below the resolution.
            "--kubelet-insecure-tls",  # Nodes sign their own certificates.
            "--kubelet-preferred-address-types=InternalIP",
            "--kubelet-use-node-status-port",  # All nodes have one address: only the port tells them apart.
        ]
        log = box.logs / "metrics-server.log"
        self.process = Process(
            "metrics-server", log, lambda: box.popen(argv, log="metrics-server"), self._answers, ready_within=90
        )

    def start(self) -> None:
        """Returns when the API server hands out what was read of every node, after half a minute. Raises BoxError."""
        self._box.apply(manifests())
        self.process.start()

    def kill(self) -> None:
        self.process.kill()

    def _answers(self) -> bool:
        try:
            nodes = self._box.api.request("GET", "/api/v1/nodes")["items"]
            read = self._box.api.request("GET", "/apis/metrics.k8s.io/v1beta1/nodes")["items"]
        except ApiError:
            return False
        return len(read) == len(nodes)


def manifests() -> list[dict[str, Any]]:
    return aggregated("metrics-server", ADDRESS, PORT, ("metrics.k8s.io", "v1beta1"))


def aggregated(name: str, address: str, port: int, *apis: tuple[str, str]) -> list[dict[str, Any]]:
    """How the API server finds one beside it: a Service that leads to it, and the groups that are asked there."""
    meta = {"name": name, "namespace": "kube-system"}
    https = {"name": "https", "protocol": "TCP"}
    ports = [{**https, "port": 443, "targetPort": port}]
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": ports}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**meta, "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": [{**https, "port": port}],
            "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        },
        *(
            {
                "apiVersion": "apiregistration.k8s.io/v1",
                "kind": "APIService",
                "metadata": {"name": f"{version}.{group}"},
                "spec": {
                    "group": group,
                    "version": version,
                    "groupPriorityMinimum": 100,
                    "versionPriority": 100,
                    "insecureSkipTLSVerify": True,
                    "service": meta,
                },
            }
            for group, version in apis
        ),
    ]
