"""A gateway that keeps clients at their pods: Envoy with a ring hash on a header, fed by `ring_feed.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Protocol

from localcluster.servers import envoy, ring_feed
from localcluster.servers.ring_feed import ADDRESSES, SLOTS
from localcluster.servers.server import Running, ServerBox, fresh_directory

ADDRESS = "10.0.1.62"
PORTS = {ADDRESSES: 8001, SLOTS: 8002}
HEADER = "x-user"
_FILTERS = "type.googleapis.com/envoy.extensions.filters"


class RingBox(ServerBox, Protocol):
    """What is needed of a box."""

    @property
    def kubeconfig_inside(self) -> Path: ...


class Ring(Running):
    """Two rings of one Service in one Envoy, over addresses and over slots: `with Ring(box, …) as ring: …`.

    No retries: they would hide a loss.
    """

    def __init__(self, box: RingBox, namespace: str, service: str, annotation: str) -> None:
        """Nothing runs before `start`, or `with`.

        Args:
            annotation: of the pods: their slots.

        Raises:
            BinariesError: Envoy is not installed.
        """
        self._box = box
        self._directory = fresh_directory(box, "ring")
        bootstrap = self._directory / "bootstrap.json"
        bootstrap.write_text(json.dumps(_bootstrap(self._directory)))
        for name in PORTS:
            ring_feed.write(self._directory, name, {})
        self._feed_argv = [sys.executable, "-m", "localcluster.servers.ring_feed"]
        self._feed_argv += ["--kubeconfig", str(box.kubeconfig_inside), "--namespace", namespace]
        self._feed_argv += ["--service", service, "--annotation", annotation, "--directory", str(self._directory)]
        self._feed: subprocess.Popen[bytes] | None = None
        self.envoy = envoy.envoy(box, "ring", ADDRESS, bootstrap)
        self.urls = {name: f"http://{ADDRESS}:{port}/" for name, port in PORTS.items()}
        """By the name of the ring, inside the box."""

    def start(self) -> None:
        self._feed = self._box.popen(self._feed_argv, log="ring-feed")
        self.envoy.start()

    def kill(self) -> None:
        self.envoy.kill()
        if self._feed:
            self._feed.kill()
            self._feed.wait()


def _bootstrap(directory: Path) -> dict[str, Any]:
    return {
        "node": {"id": "ring", "cluster": "ring"},
        "admin": {"address": _socket_address(envoy.ADMIN_PORT)},
        "static_resources": {
            "listeners": [_listener(name, port) for name, port in PORTS.items()],
            "clusters": [_cluster(name, directory / f"{name}.json") for name in PORTS],
        },
    }


def _listener(name: str, port: int) -> dict[str, Any]:
    route = {"cluster": name, "hash_policy": [{"header": {"header_name": HEADER}}]}
    manager = {
        "@type": f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {
            "virtual_hosts": [{"name": name, "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": route}]}]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_FILTERS}.http.router.v3.Router"},
            }
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {"name": name, "address": _socket_address(port), "filter_chains": [{"filters": filters}]}


def _cluster(name: str, path: Path) -> dict[str, Any]:
    return {
        "name": name,
        "type": "EDS",
        "connect_timeout": "1s",
        "lb_policy": "RING_HASH",
        "eds_cluster_config": {"eds_config": {"resource_api_version": "V3", "path_config_source": {"path": str(path)}}},
    }


def _socket_address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": ADDRESS, "port_value": port}}
