"""Where kube-proxy sends the connections to a Service: what is in the kernel, not what the API server says."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Sequence
from typing import Any, Protocol

_CHAIN = re.compile(r"\tchain service-[^-]+-(?P<service>[^/\s]+/[^/\s]+)/\S+ \{\n(?P<rules>.*?)\n\t\}", re.DOTALL)
_BACKEND = re.compile(r"\d : (?:goto endpoint-\S+__)?(?P<address>\d+\.\d+\.\d+\.\d+)(?: \. |/)(?P<port>\d+)")
"""An entry of the map a connection is drawn from: an address, or in older versions a chain named after one."""


class RoutedBox(Protocol):
    """What is needed of a box."""

    def run(self, argv: Sequence[str]) -> subprocess.CompletedProcess[str]: ...
    def kubectl(self, *arguments: str) -> str: ...
    def wait_until(self, predicate: Callable[[], object], timeout: float = ..., describe: str = ...) -> object: ...


def parse(rules: str, service: str, ns: str) -> set[str]:
    """The `<ip>:<port>` that `nft list table ip kube-proxy` names for a Service."""
    return {
        f"{backend['address']}:{backend['port']}"
        for chain in _CHAIN.finditer(rules)
        if chain["service"] == f"{ns}/{service}"
        for backend in _BACKEND.finditer(chain["rules"])
    }


def routed(box: RoutedBox, service: str, ns: str = "default") -> set[str]:
    """The `<ip>:<port>` that connections to a Service's ClusterIP are sent to at this moment."""
    return parse(box.run(["nft", "list", "table", "ip", "kube-proxy"]).stdout, service, ns)


def ready(box: RoutedBox, service: str, ns: str = "default") -> set[str]:
    """The `<ip>:<port>` that the EndpointSlices of a Service call ready."""
    label = f"kubernetes.io/service-name={service}"
    slices: list[dict[str, Any]] = json.loads(
        box.kubectl("get", "endpointslices", "-n", ns, "-l", label, "-o", "json")
    )["items"]
    return {
        f"{address}:{port['port']}"
        for each in slices
        for endpoint in each.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready") is not False
        for address in endpoint["addresses"]
        for port in each.get("ports") or ()
    }


def wait_until_routed(box: RoutedBox, count: int, services: Sequence[str], ns: str = "default") -> None:
    """Wait until so many pods can be reached by each of these Services, headless ones included.

    A Deployment is available before that: its pods are Ready, then the EndpointSlice controller writes each Service's
    slices, and kube-proxy writes its rules at most once a second. Who opens connections in between and keeps them is
    with the pods that were there first, for as long as they live.

    Raises BoxError after half a minute.
    """

    def everywhere() -> bool:
        for service in services:
            found = ready(box, service, ns)
            headless = box.kubectl("get", "service", service, "-n", ns, "-o", "jsonpath={.spec.clusterIP}") == "None"
            if len(found) != count or not (headless or routed(box, service, ns) == found):
                return False
        return True

    box.wait_until(everywhere, timeout=30, describe=f"{count} pods can be reached by {', '.join(services)}")
