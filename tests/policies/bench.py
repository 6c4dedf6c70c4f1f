"""A namespace and what a test does in it by hand: there is no node, so a pod runs when a test says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, cast

from localcluster.api import Api, ApiError
from localcluster.box import Box
from localcluster.errors import CommandFailed
from lossless.cluster.gateway import Gateway
from lossless.cluster.parameters import Parameters
from lossless.cluster.resources import Resource
from lossless.cluster.store import Store

NODE = "by-hand"
"""The name of a Node that nobody runs: its pods do what the test says they do."""
HASH = "5d4c8b7f9"
KUBELET = {"as_user": f"system:node:{NODE}", "as_group": "system:nodes"}
REPLICASET_CONTROLLER = "system:serviceaccount:kube-system:replicaset-controller"
DEPLOYMENT_CONTROLLER = "system:serviceaccount:kube-system:deployment-controller"
GATE = {"conditionType": "lossless.dev/admitted"}
LABELS = {"lossless.dev/rollout": "web"}
"""Of a pod that is taken care of."""
NOW = "2026-01-01T00:00:00Z"
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
Object = dict[str, Any]


def pod(name: str = "pod", **spec: Any) -> Object:
    """A pod of nobody's."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {}},
        "spec": {"nodeName": NODE, "containers": [{"name": "app", "image": "app"}], **spec},
    }


def replica(deployment: str = "web", name: str = "pod", **spec: Any) -> Object:
    """A pod as the ReplicaSet of a Deployment makes it."""
    made = pod(name, **spec)
    made["metadata"]["labels"] = {"app": deployment[:63], "pod-template-hash": HASH}
    made["metadata"]["ownerReferences"] = [owner("ReplicaSet", f"{deployment}-{HASH}")]
    return made


def owner(kind: str, name: str, api_version: str = "apps/v1", controller: bool = True) -> Object:
    return {"apiVersion": api_version, "kind": kind, "name": name, "uid": "0", "controller": controller}


def gates(pod: Object) -> list[str]:
    """The readiness gates of a pod."""
    return [gate["conditionType"] for gate in pod["spec"].get("readinessGates", [])]


def sleeps(pod: Object) -> dict[str, Any]:
    """The preStop of each container that has one."""
    hooks = {
        container["name"]: container.get("lifecycle", {}).get("preStop") for container in pod["spec"]["containers"]
    }
    return {name: hook for name, hook in hooks.items() if hook is not None}


def ready(status: str, **more: str) -> Object:
    """What a kubelet writes of a pod without readiness gates."""
    conditions = [{"type": kind, "status": status} for kind in ("ContainersReady", "Ready")]
    return {"status": {"phase": "Running", "conditions": conditions, **more}}


class Bench:
    """One namespace."""

    def __init__(self, box: Box, ns: str) -> None:
        self.box = box
        self.ns = ns

    # The resource.

    def rollout(self, name: str = "web", target: str = "web", **spec: Any) -> None:
        """Makes a LosslessRollout, as if the operator ran, and returns when admission knows of it."""
        self.box.apply(
            {
                "apiVersion": "lossless.dev/v1alpha1",
                "kind": "LosslessRollout",
                "metadata": {"name": name, "namespace": self.ns},
                "spec": {"targetRef": {"name": target}, **spec},
            }
        )
        self.tell_policies()
        self.until_known(target)

    def tell_policies(self) -> None:
        """What the operator does at once when a LosslessRollout has changed."""
        tell_policies(self.box, self.ns)

    def until_known(self, target: str = "web") -> None:
        """Admission reads the resource through a watch, and a policy through another: both lag a little."""
        self.until(lambda: gates(self.created(replica(target))), "the door in is there")

    def until_forgotten(self, target: str = "web") -> None:
        self.until(lambda: not gates(self.created(replica(target))), "the door in is gone")

    def until(self, predicate: Any, what: str, timeout: float = 30) -> Any:
        return self.box.wait_until(predicate, timeout, what)

    # Pods.

    def created(self, pod: Object) -> Object:
        """The pod as admission leaves it. A dry run: it is not kept."""
        made: Object = self.box.api.request("POST", f"/api/v1/namespaces/{self.ns}/pods?dryRun=All", pod)
        return made

    def running(self, name: str = "pod", labels: Mapping[str, str] = {}, **annotations: str) -> str:
        """A running pod with these labels and `lossless.dev/` annotations (`admitted_at` is written `admitted-at`)."""
        made = pod(name, terminationGracePeriodSeconds=0)
        made["metadata"]["labels"] = dict(labels)
        made["metadata"]["annotations"] = {
            f"lossless.dev/{key.replace('_', '-')}": value for key, value in annotations.items()
        }
        self.box.api.request("POST", f"/api/v1/namespaces/{self.ns}/pods", made)
        self.run(name)
        return name

    def run(self, *names: str) -> None:
        """What a kubelet would report of running pods, their readiness gates aside."""
        for name in names:
            status = {"phase": "Running", "conditions": [{"type": "ContainersReady", "status": "True"}]}
            self.patch_status("pods", name, {"status": status})

    def admit(self, *names: str) -> None:
        """What the operator and then a kubelet would write."""
        conditions = [{"type": kind, "status": "True"} for kind in (GATE["conditionType"], "Ready")]
        for name in names:
            self.annotate(name, admitted_at=NOW)
            self.patch_status("pods", name, {"status": {"conditions": conditions}})

    def withdrawn(self, name: str = "pod", labels: Mapping[str, str] = LABELS, **spec: Any) -> str:
        """A pod that served, and was withdrawn by its Ready condition."""
        body = pod(name, terminationGracePeriodSeconds=0, **spec)
        body["metadata"]["labels"] = dict(labels)
        self.box.api.request("POST", f"/api/v1/namespaces/{self.ns}/pods", body)
        self.patch_status("pods", name, ready("True"))
        closed = {"conditions": [{"type": "Ready", "status": "False", "reason": "LosslessWithdrawn"}]}
        annotations = {"lossless.dev/stage": "Withdrawn", "lossless.dev/admitted-at": NOW}
        self.patch_status("pods", name, {"metadata": {"annotations": annotations}, "status": closed})
        return name

    def drain(self, name: str) -> None:
        """The operator's last write to a pod."""
        cost = {"controller.kubernetes.io/pod-deletion-cost": str(-(2**31))}
        self.patch_status("pods", name, {"metadata": {"annotations": {"lossless.dev/drained-at": NOW, **cost}}})

    def annotate(self, name: str, **annotations: str) -> None:
        body = {f"lossless.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
        self.patch_status("pods", name, {"metadata": {"annotations": body}})

    def refuses_status(self, name: str, body: Object, **as_whom: str) -> bool:
        """Whether the policy refuses this write of a pod's status, its kubelet's unless said otherwise (a dry run)."""
        path = f"/api/v1/namespaces/{self.ns}/pods/{name}/status?dryRun=All"
        try:
            self.box.api.request("PATCH", path, body, STRATEGIC, **(as_whom or KUBELET))
        except ApiError as error:
            if "lossless-kept-out" not in str(error):
                raise
            return True
        return False

    def patch_status(self, kind: str, name: str, body: Object) -> Object:
        group = "/api/v1" if kind == "pods" else "/apis/apps/v1"
        path = f"{group}/namespaces/{self.ns}/{kind}/{name}/status"
        patched: Object = self.box.api.request("PATCH", path, body, STRATEGIC)
        return patched

    def pods(self, app: str = "web") -> list[Object]:
        """The live pods of a Deployment, by name."""
        answer = self.box.api.request("GET", f"/api/v1/namespaces/{self.ns}/pods?labelSelector=app%3D{app}")
        return [item for item in answer["items"] if "deletionTimestamp" not in item["metadata"]]

    def names(self, app: str = "web") -> list[str]:
        return [item["metadata"]["name"] for item in self.pods(app)]

    def refusal(self, pod: str, user: str = REPLICASET_CONTROLLER) -> str | None:
        """What that user is told when it deletes the pod (a dry run); None when it may."""
        try:
            self.kubectl("delete", "pod", pod, "--dry-run=server", "--wait=false", "--as", user)
        except CommandFailed as error:
            return error.stderr
        return None

    # Deployments.

    def deployment(self, name: str = "web", replicas: int = 1, **spec: Any) -> list[str]:
        """Makes a Deployment, waits for its pods and returns their names."""
        labels = {"app": name}
        template = {
            "nodeName": NODE,
            # No kubelet confirms the end of a pod: without a grace period it is gone at once.
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "app", "image": "app"}],
            **spec,
        }
        self.box.apply(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": name, "namespace": self.ns},
                "spec": {
                    "replicas": replicas,
                    "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": template},
                },
            }
        )
        return self.until_pods(replicas, name)

    def until_pods(self, count: int, app: str = "web", timeout: float = 30) -> list[str]:
        self.until(lambda: len(self.pods(app)) == count, f"{app} has {count} pods", timeout)
        return self.names(app)

    def scale(self, replicas: int, name: str = "web") -> None:
        self.kubectl("scale", "deployment", name, f"--replicas={replicas}")

    def replicasets(self, app: str = "web") -> list[Object]:
        path = f"/apis/apps/v1/namespaces/{self.ns}/replicasets?labelSelector=app%3D{app}"
        found: list[Object] = self.box.api.request("GET", path)["items"]
        return found

    def keep(self, replicaset: str, count: str) -> None:
        self.patch_status("replicasets", replicaset, {"metadata": {"labels": {"lossless.dev/keep": count}}})

    def events(self, reason: str) -> list[str]:
        """The messages of the namespace's Events with this reason."""
        items = self.box.api.request("GET", f"/api/v1/namespaces/{self.ns}/events")["items"]
        return [item["message"] for item in items if item["reason"] == reason]

    def exists(self, path: str) -> bool:
        try:
            self.box.api.request("GET", path)
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    def kubectl(self, *arguments: str) -> str:
        return self.box.kubectl("-n", self.ns, *arguments)


def tell_policies(box: Box, namespace: str) -> None:
    """Have the admission policies know of the LosslessRollouts of a namespace, by the operator's own code."""
    store = Store()
    for raw in box.api.request("GET", f"/apis/lossless.dev/v1alpha1/namespaces/{namespace}/losslessrollouts")["items"]:
        store.rollouts.put(raw)
    asyncio.run(Parameters(cast(Gateway, _Applies(box.api)), store, time.monotonic).ensure(namespace))


class _Applies:
    """What of the operator's gateway is needed, with an administrator's rights."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def apply(self, resource: Resource, namespace: str, name: str, body: Object, manager: str) -> Object:
        path = f"{resource.path(namespace, name)}?fieldManager={manager}&force=true"
        applied: Object = self._api.request("PATCH", path, body, "application/apply-patch+yaml")
        return applied


def make_node(box: Box) -> None:
    """A Node that is Ready and will not be looked after: see `CONTROLLER_MANAGER_FLAGS`."""
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
    box.api.request("POST", "/api/v1/nodes", node)
    ready = {"type": "Ready", "status": "True", "reason": "ByHand", "message": "", "lastHeartbeatTime": NOW}
    box.api.request("PATCH", f"/api/v1/nodes/{NODE}/status", {"status": {"conditions": [ready]}}, MERGE)


CONTROLLER_MANAGER_FLAGS = ("--node-monitor-grace-period=24h",)
"""Nobody sends heartbeats for the Node."""
