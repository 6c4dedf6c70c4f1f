"""The Node object and its heartbeat: pkg/kubelet/kubelet_node_status.go and the node Lease."""

from __future__ import annotations

import asyncio
import logging
import platform
from dataclasses import dataclass
from datetime import UTC, datetime

from localcluster.node.api import Api, ApiError, ApiUnreachable
from localcluster.node.objects import Json, find_condition, micro_timestamp, timestamp

log = logging.getLogger(__name__)

LEASE_SECONDS = 40
HEARTBEAT = 10.0
"""nodeStatusUpdateFrequency and the Lease's renewal: seconds."""
STATUS_EVERY = 300.0
"""nodeStatusReportFrequency: an unchanged status is written this often."""

_CONDITIONS = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "the process node is posting ready status"),
)

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """What the node says of itself."""

    name: str
    address: str
    pod_cidr: str
    cpu: str
    memory: str
    pods: int
    version: str
    labels: dict[str, str]
    api_port: int | None = None
    """Where its kubelet API listens; None when it has none."""
    declared_features: tuple[str, ...] = ()
    """What the API server may rely on, sorted; servers before 1.35 do not know the field."""

    def node(self) -> Json:
        arch = _ARCHITECTURES.get(platform.machine(), platform.machine())
        labels = {
            "kubernetes.io/hostname": self.name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": arch,
            **self.labels,
        }
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": labels},
            "spec": {"podCIDR": self.pod_cidr, "podCIDRs": [self.pod_cidr]},
        }

    def status(self, previous: Json, now: datetime) -> Json:
        resources = {"cpu": self.cpu, "memory": self.memory, "pods": str(self.pods), "ephemeral-storage": "100Gi"}
        conditions = []
        for kind, status, reason, message in _CONDITIONS:
            before = find_condition(previous, kind)
            same = before is not None and before["status"] == status
            conditions.append(
                {
                    "type": kind,
                    "status": status,
                    "reason": reason,
                    "message": message,
                    "lastHeartbeatTime": timestamp(now),
                    "lastTransitionTime": before["lastTransitionTime"] if same and before else timestamp(now),
                }
            )
        status_object: Json = {
            "capacity": resources,
            "allocatable": resources,
            "conditions": conditions,
            # No Hostname, unlike a kubelet: the API server would prefer it, and nobody can resolve it here.
            "addresses": [{"type": "InternalIP", "address": self.address}],
            "nodeInfo": {
                "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
                "operatingSystem": "linux",
                "kernelVersion": platform.release(),
                "osImage": "a process node of localcluster",
                "containerRuntimeVersion": "localcluster://1",
                "kubeletVersion": self.version,
                "kubeProxyVersion": self.version,
                "machineID": "",
                "systemUUID": "",
                "bootID": "",
            },
        }
        if self.api_port is not None:
            status_object["daemonEndpoints"] = {"kubeletEndpoint": {"Port": self.api_port}}
            status_object["declaredFeatures"] = list(self.declared_features)
        return status_object


class NodeObject:
    """Registers the node and keeps it alive."""

    def __init__(self, api: Api, spec: NodeSpec) -> None:
        self._api = api
        self._spec = spec
        self._path = f"/api/v1/nodes/{spec.name}"
        self._written = -STATUS_EVERY

    async def register(self) -> None:
        """Creates the Node or takes over the one that is there; tries until the API server lets it."""
        while True:
            try:
                try:
                    node = await self._api.create("/api/v1/nodes", self._spec.node())
                except ApiError as error:
                    if error.status != 409:
                        raise
                    node = await self._api.get(self._path)
                await self._write_status(node)
            except (ApiError, ApiUnreachable) as error:
                log.info("cannot register yet: %s", error)
                await asyncio.sleep(0.5)
            else:
                return

    async def _write_status(self, node: Json) -> None:
        status = self._spec.status(node.get("status") or {}, datetime.now(UTC))
        # addresses merge by type and are the same each time; conditions merge by type.
        await self._api.patch(self._path + "/status", {"status": status})
        self._written = asyncio.get_running_loop().time()

    async def heartbeat(self) -> None:
        """Renews the Lease every ten seconds; writes the status when it is not what it should be, or is old."""
        while True:
            try:
                await self._renew_lease()
                node = await self._api.get(self._path)
                ready = find_condition(node.get("status") or {}, "Ready")
                stale = asyncio.get_running_loop().time() - self._written >= STATUS_EVERY
                if stale or ready is None or ready["status"] != "True":
                    await self._write_status(node)
            except ApiError as error:
                log.warning("heartbeat: %s", error)
                if error.status == 404:
                    await self.register()
            except ApiUnreachable as error:
                log.warning("heartbeat: %s", error)
            await asyncio.sleep(HEARTBEAT)

    async def _renew_lease(self) -> None:
        leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        spec = {
            "holderIdentity": self._spec.name,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": micro_timestamp(datetime.now(UTC)),
        }
        try:
            await self._api.patch(f"{leases}/{self._spec.name}", {"spec": spec})
        except ApiError as error:
            if error.status != 404:
                raise
            await self._api.create(leases, {"metadata": {"name": self._spec.name}, "spec": spec})
