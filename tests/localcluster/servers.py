"""Pods that a test makes by hand: sample apps at addresses of the pod range, in EndpointSlices of its own writing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from localcluster import Box
from tests.localcluster.inside import endpoint_slice

PORT = 8080


class HandMadePods:
    """Sample apps without a node: their names are told in `X-Pod`, and a test says which Service has which of them."""

    def __init__(self, box: Box, network: str) -> None:
        """
        Args:
            network: the first three numbers of their addresses, of the pod range and of no node: "10.244.201".
        """
        self._box = box
        self._network = network
        self.addresses: dict[str, str] = {}
        """By name."""
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *names: str) -> None:
        for name in names:
            address = f"{self._network}.{len(self.addresses) + 1}"
            self.addresses[name] = address
            argv = [sys.executable, "-m", "localcluster.apps.sample", "--host", address, "--latency-ms", "0"]
            self._processes[name] = self._box.popen(argv, env={"POD_NAME": name}, log=f"pod-{name}")

    def publish(self, service: str, ns: str, *names: str) -> None:
        """Write the Service's EndpointSlice: these pods, all ready."""
        self._box.apply(self.slice(service, ns, *names))

    def slice(self, service: str, ns: str, *names: str) -> dict[str, Any]:
        """The Service's EndpointSlice with these pods."""
        return endpoint_slice(service, ns, [self.addresses[name] for name in names])

    def named(self, shares: Mapping[str, float]) -> dict[str, float]:
        """A gateway's view of `<ip>:<port>`, by the names of the pods."""
        names = {f"{address}:{PORT}": name for name, address in self.addresses.items()}
        return {names[address]: share for address, share in shares.items()}

    def kill(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()
