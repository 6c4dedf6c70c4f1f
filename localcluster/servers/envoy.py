"""Envoy, and what it routes at this moment by its own word.

Its admin interface has no password and can stop it, so it belongs on an address that nobody else reaches; here that is
an address of the box. Two of its answers together say whom requests are sent to
(https://www.envoyproxy.io/docs/envoy/latest/operations/admin):

    /config_dump?resource=dynamic_route_configs
        {"configs": [{"route_config": {"name": …, "virtual_hosts": [{"domains": ["web.example"], "routes": [
            {"match": {…}, "route": {"cluster": "<name>"}
                                 or {"weighted_clusters": {"clusters": [{"name": "<name>", "weight": 9}, …]}}}]}]}}]}
    /clusters?format=json
        {"cluster_statuses": [{"name": "<name>", "host_statuses": [
            {"address": {"socket_address": {"address": "10.244.1.2", "port_value": 8080}},
             "health_status": {"eds_health_status": "HEALTHY"}, "weight": 1}, …]}]}

Both tell what Envoy's main thread has handed to its workers, which take it up between two events: milliseconds later
when they are busy. A share within a cluster is by the endpoints' weights: slow start and hashing are not in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localcluster import binaries
from localcluster.errors import BoxError
from localcluster.servers.server import Server, ServerBox

ADMIN_PORT = 15000
ROUTES, CLUSTERS = "/config_dump?resource=dynamic_route_configs", "/clusters?format=json"


def envoy(box: ServerBox, name: str, address: str, bootstrap: Path) -> Server:
    """An Envoy; its `Server` is the admin interface.

    Args:
        address: of the admin interface, `ADMIN_PORT`: the bootstrap must say the same.

    Raises:
        BinariesError: Envoy is not installed.
    """
    argv = [
        str(binaries.envoy()),
        "-c",
        str(bootstrap),
        # Several Envoys on one machine would share memory for hot restarts.
        "--disable-hot-restart",
        "--concurrency",
        "2",
        "--log-level",
        "warning",
    ]
    return Server(box, name, f"{address}:{ADMIN_PORT}", argv, _is_live)


def _is_live(server: Server) -> bool:
    return (server.ask("/ready") or b"").strip() == b"LIVE"


def routed(server: Server, host: str) -> Mapping[str, float]:
    """`shares` of a running Envoy at this moment. Raises BoxError when it says nothing of that host."""
    routes, clusters = server.ask(ROUTES), server.ask(CLUSTERS)
    if routes is None or clusters is None:
        raise BoxError("Envoy's admin interface does not answer")
    return shares(json.loads(routes), json.loads(clusters), host)


def shares(routes: Mapping[str, Any], clusters: Mapping[str, Any], host: str) -> Mapping[str, float]:
    """The part of a host's requests that is sent to each `<ip>:<port>`, by the weights of its first route.

    Less than 1 in all: a cluster without healthy endpoints answers its part with 503.

    Raises:
        BoxError: no virtual host, or more than one, is for that host, or its route leads to no cluster.
    """
    found = [
        virtual_host
        for config in routes.get("configs") or ()
        for virtual_host in config["route_config"].get("virtual_hosts") or ()
        if host in virtual_host["domains"]
    ]
    if len(found) != 1:
        raise BoxError(f"Envoy has {len(found)} virtual hosts for {host}")
    action = found[0]["routes"][0].get("route") or {}
    if "cluster" in action:
        weights = {action["cluster"]: 1}
    elif "weighted_clusters" in action:
        parts = action["weighted_clusters"]["clusters"]
        weights = {part["name"]: part.get("weight", 0) for part in parts if part.get("weight", 0)}
    else:
        raise BoxError(f"Envoy's first route for {host} leads to no cluster: {', '.join(found[0]['routes'][0])}")
    endpoints = {status["name"]: _healthy(status) for status in clusters.get("cluster_statuses") or ()}
    shared: dict[str, float] = {}
    for cluster, weight in weights.items():
        hosts = endpoints.get(cluster) or {}
        for address, host_weight in hosts.items():
            part = weight / sum(weights.values()) * host_weight / sum(hosts.values())
            shared[address] = shared.get(address, 0.0) + part
    return shared


def _healthy(status: Mapping[str, Any]) -> Mapping[str, int]:
    """The weight of each endpoint that Envoy sends requests to."""
    found = {}
    for host in status.get("host_statuses") or ():
        health = host.get("health_status") or {}
        failed = health.get("failed_outlier_check") or health.get("failed_active_health_check")
        if health.get("eds_health_status", "HEALTHY") == "HEALTHY" and not failed:
            where = host["address"]["socket_address"]
            found[f"{where['address']}:{where['port_value']}"] = host.get("weight", 1)
    return found
