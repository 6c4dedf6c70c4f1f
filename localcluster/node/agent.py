"""The node process: it ties the watch of its pods to their workers."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from localcluster.node import relist, status, volumes
from localcluster.node.addresses import AddressPool
from localcluster.node.api import Api, ApiError
from localcluster.node.environment import ConfigError, Sources, quantity
from localcluster.node.events import EventRecorder
from localcluster.node.kubelet_api import DECLARED_FEATURE, KubeletApi
from localcluster.node.node_object import NodeObject, NodeSpec
from localcluster.node.objects import Json, is_being_deleted, key, name, namespace, uid
from localcluster.node.pod_worker import PodWorker
from localcluster.node.probes import spread_after_start
from localcluster.node.status_manager import StatusManager

log = logging.getLogger(__name__)

_APPS = Path(__file__).parent.parent / "apps" / "bin"


@dataclass(frozen=True, slots=True)
class Directories:
    logs: Path
    run: Path


class Agent:
    """One node. It offers its pods what NodeServices in pod_worker.py asks for."""

    def __init__(self, api: Api, spec: NodeSpec, directories: Directories, *, relist_period: float = 1.0) -> None:
        self.host_ip = spec.address
        self._api = api
        self._spec = spec
        self._directories = directories
        self._addresses = AddressPool(spec.pod_cidr)
        self._relist = relist.Relist(relist_period)
        self._started = asyncio.get_running_loop().time()
        self._pods: dict[str, Json] = {}
        self._workers: dict[str, PodWorker] = {}
        self._statuses = StatusManager(api, self._pods.get)
        self._events = EventRecorder(api, spec.name)
        self._volumes = volumes.Volumes(api)
        self._service_variables: Mapping[str, str] | None = None

    async def run(self, api_port: int) -> None:
        """Until it is cancelled. Then all its pods die at once, as when a machine is switched off.

        `api_port` is where the kubelet's API listens; 0 takes a free port, since the nodes of a box share an address.
        """
        server = KubeletApi(self.find, self.workers)
        try:
            port = await server.start(self.host_ip, api_port, self._spec.name)
            node = NodeObject(self._api, replace(self._spec, api_port=port, declared_features=(DECLARED_FEATURE,)))
            async with asyncio.TaskGroup() as tasks:
                await node.register()
                tasks.create_task(node.heartbeat())
                tasks.create_task(self._statuses.run())
                tasks.create_task(self._events.run())
                await self._api.watch(
                    "/api/v1/pods",
                    {"fieldSelector": f"spec.nodeName={self._spec.name}"},
                    on_list=self._on_list,
                    on_event=self._on_event,
                )
        finally:
            for worker in self._workers.values():
                worker.kill_now()
            await server.stop()

    def workers(self) -> list[PodWorker]:
        return list(self._workers.values())

    def find(self, pod_namespace: str, pod_name: str) -> PodWorker | None:
        for worker in self._workers.values():
            if namespace(worker.pod) == pod_namespace and name(worker.pod) == pod_name:
                return worker
        return None

    # ------------------------------------------------------------------ the watch

    def _on_list(self, pods: list[Json]) -> None:
        listed = {uid(pod) for pod in pods}
        for gone in set(self._pods) - listed:
            self._removed(gone)
        for pod in pods:
            self._changed(pod)

    def _on_event(self, kind: str, pod: Json) -> None:
        if kind == "DELETED":
            self._removed(uid(pod))
        else:
            self._changed(pod)

    def _changed(self, pod: Json) -> None:
        before = self._pods.get(uid(pod))
        self._pods[uid(pod)] = pod
        worker = self._workers.get(uid(pod))
        if worker is None:
            log.info("pod %s is new", key(pod))
            self._workers[uid(pod)] = PodWorker(
                pod, self, logs=self._directories.logs, run=self._directories.run / "pods"
            )
        elif before is None or _differs(before, pod) or status.needs_readiness_reconcile(pod):
            worker.update(pod)
        else:
            worker.refresh(pod)
        if is_being_deleted(pod):
            self._statuses.look_again()

    def _removed(self, pod_uid: str) -> None:
        pod = self._pods.pop(pod_uid, None)
        worker = self._workers.pop(pod_uid, None)
        self._statuses.forget(pod_uid)
        if pod is not None:
            log.info("pod %s is gone", key(pod))
        if worker is not None and not worker.done:
            worker.remove()
            self._workers[pod_uid] = worker  # until its containers have stopped
            worker.when_done(lambda: self._workers.pop(pod_uid, None))

    # ------------------------------------------------------------------ what pods ask for

    def take_address(self) -> str:
        return self._addresses.take()

    def give_back_address(self, address: str) -> None:
        self._addresses.give_back(address)

    def next_relist(self, callback: Callable[[], None]) -> None:
        self._relist.next_tick(callback)

    def first_probe_delay(self, period: float) -> float:
        return spread_after_start(self._started, asyncio.get_running_loop().time())(period)

    def status_of(self, pod_uid: str) -> Json | None:
        return self._statuses.get(pod_uid)

    def report(self, pod: Json, new: Json, *, force: bool = False) -> None:
        self._statuses.set(pod, new, force=force)

    def report_finished(self, pod: Json) -> None:
        self._statuses.finish(pod)

    def event(self, pod: Json, container: str | None, kind: str, reason: str, message: str) -> None:
        self._events.record(pod, container, kind, reason, message)

    async def sources(self, pod: Json, needed: set[tuple[str, str]]) -> Sources:
        found: dict[tuple[str, str], Mapping[str, str] | None] = {}
        for kind, object_name in needed:
            resource = {"ConfigMap": "configmaps", "Secret": "secrets"}[kind]
            try:
                path = f"/api/v1/namespaces/{namespace(pod)}/{resource}/{object_name}"
                data = (await self._api.get_of_pod(path)).get("data") or {}
            except ApiError as error:
                if error.status != 404:
                    raise ConfigError(str(error)) from error
                found[kind, object_name] = None
                continue
            if kind == "Secret":
                data = {k: base64.b64decode(v).decode("utf-8", "replace") for k, v in data.items()}
            found[kind, object_name] = data
        return Sources(found)

    async def service_variables(self) -> Mapping[str, str]:
        """Those of the API server's own Service, which in-cluster clients need.

        A kubelet adds those of the namespace's other Services too; nothing here is written for them.
        """
        if self._service_variables is None:
            spec = (await self._api.get("/api/v1/namespaces/default/services/kubernetes"))["spec"]
            address, port = spec["clusterIP"], str(spec["ports"][0]["port"])
            self._service_variables = {
                "KUBERNETES_SERVICE_HOST": address,
                "KUBERNETES_SERVICE_PORT": port,
                "KUBERNETES_SERVICE_PORT_HTTPS": port,
                "KUBERNETES_PORT": f"tcp://{address}:{port}",
                f"KUBERNETES_PORT_{port}_TCP": f"tcp://{address}:{port}",
                f"KUBERNETES_PORT_{port}_TCP_PROTO": "tcp",
                f"KUBERNETES_PORT_{port}_TCP_PORT": port,
                f"KUBERNETES_PORT_{port}_TCP_ADDR": address,
            }
        return self._service_variables

    async def volumes(self, pod: Json, directory: Path, pod_ip: str) -> Mapping[str, Path]:
        return await self._volumes.make(pod, directory, pod_ip=pod_ip, host_ip=self.host_ip)

    def base_environment(self, pod: Json) -> Mapping[str, str]:
        """What an image would bring: a PATH, with this Python's programs and the sample apps in front."""
        own = [str(Path(sys.executable).parent), str(_APPS), os.environ.get("PATH", os.defpath)]
        return {
            "PATH": os.pathsep.join(own),
            "HOME": "/root" if os.access("/root", os.W_OK) else "/tmp",
            "HOSTNAME": pod["spec"].get("hostname") or name(pod)[:63],
        }

    def allocatable(self) -> Mapping[str, float]:
        return {"cpu": quantity(self._spec.cpu), "memory": quantity(self._spec.memory)}


def _differs(before: Json, pod: Json) -> bool:
    """podsDifferSemantically in pkg/kubelet/config/config.go: what makes a kubelet sync, status aside."""
    if before["spec"] != pod["spec"]:
        return True
    old, new = before["metadata"], pod["metadata"]
    return any(
        old.get(field) != new.get(field)
        for field in ("labels", "annotations", "deletionTimestamp", "deletionGracePeriodSeconds")
    )
