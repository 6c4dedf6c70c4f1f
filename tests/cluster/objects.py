"""Kubernetes objects as the API server would give them, with just what a test is about."""

from __future__ import annotations

import itertools
from typing import Any

from lossless.api import names

Raw = dict[str, Any]
_versions = itertools.count(1000)
NAMESPACE = "shop"
CREATED = "2026-01-01T12:00:00Z"


def metadata(name: str, **fields: Any) -> Raw:
    return {
        "name": name,
        "namespace": NAMESPACE,
        "uid": f"uid-{name}",
        "resourceVersion": str(next(_versions)),
        "creationTimestamp": CREATED,
        **fields,
    }


def owned_by(kind: str, name: str) -> list[Raw]:
    return [{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": f"uid-{name}", "controller": True}]


def condition(kind: str, status: str, since: str = "2026-01-01T12:00:05Z", **fields: Any) -> Raw:
    return {"type": kind, "status": status, "lastTransitionTime": since, **fields}


def pod(name: str, replica_set: str = "web-1", rollout: str | None = "web", ip: str = "10.0.0.7", **fields: Any) -> Raw:
    """A pod that serves, behind our gate."""
    labels = {"app": "web", "pod-template-hash": replica_set.rsplit("-", 1)[-1]}
    if rollout:
        labels[names.ROLLOUT_LABEL] = rollout
    changes: Raw = {"labels": labels, "ownerReferences": owned_by("ReplicaSet", replica_set)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata(name, **{**changes, **fields.pop("metadata", {})}),
        "spec": {
            "nodeName": "node-1",
            "readinessGates": [{"conditionType": names.GATE}],
            "containers": [{"name": "app", "ports": [{"name": "http", "containerPort": 8080}]}],
            **fields.pop("spec", {}),
        },
        "status": {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "conditions": [
                condition("PodScheduled", "True"),
                condition("ContainersReady", "True"),
                condition("Ready", "True"),
                condition(names.GATE, "True", reason="Admitted"),
            ],
            "containerStatuses": [{"name": "app", "restartCount": 0}],
            **fields.pop("status", {}),
        },
        **fields,
    }


def replica_set(name: str = "web-1", deployment: str = "web", revision: int = 1, **status: Any) -> Raw:
    return {
        "metadata": metadata(
            name,
            labels={"app": "web", "pod-template-hash": name.rsplit("-", 1)[-1]},
            annotations={"deployment.kubernetes.io/revision": str(revision)},
            ownerReferences=owned_by("Deployment", deployment),
            generation=1,
        ),
        "spec": {"replicas": 1},
        "status": {"observedGeneration": 1, **status},
    }


def deployment(name: str = "web", revision: int = 1, **spec: Any) -> Raw:
    return {
        "metadata": metadata(name, generation=3, annotations={"deployment.kubernetes.io/revision": str(revision)}),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app"}]}},
            **spec,
        },
        "status": {"observedGeneration": 3},
    }


def rollout(name: str = "web", target: str = "web", created: str = CREATED, **spec: Any) -> Raw:
    return {
        "metadata": metadata(name, generation=1, creationTimestamp=created),
        "spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}, **spec},
    }


def autoscaler(name: str = "web", behavior: Raw | None = None, cpu: int | None = 50, **fields: Any) -> Raw:
    """By CPU, with a target of 100 % and this at the moment."""
    source = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 100}}
    spec: Raw = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "metrics": [{"type": "Resource", "resource": source}],
    }
    current = {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": cpu}}}
    return {
        "metadata": metadata(name, uid=f"uid-hpa-{name}", **fields.pop("metadata", {})),
        "spec": {**spec, **({"behavior": behavior} if behavior is not None else {}), **fields.pop("spec", {})},
        "status": {"currentMetrics": [current] if cpu is not None else []},
    }


def budget(name: str = "own", **selector: Any) -> Raw:
    return {"metadata": metadata(name, uid=f"uid-pdb-{name}"), "spec": {"selector": selector or None}}


def node(name: str = "node-1", *taints: str, **spec: Any) -> Raw:
    """With these taints, all of them NoSchedule."""
    told = [{"key": key, "effect": "NoSchedule"} for key in taints]
    raw = {"metadata": metadata(name), "spec": {"taints": told, **spec}}
    del raw["metadata"]["namespace"]
    return raw


def service(name: str = "web", **spec: Any) -> Raw:
    return {"metadata": metadata(name), "spec": {"selector": {"app": "web"}, **spec}}


def endpoint_slice(name: str, service: str | None, *endpoints: Raw) -> Raw:
    labels = {"kubernetes.io/service-name": service} if service else {}
    return {"metadata": metadata(name, labels=labels), "endpoints": list(endpoints)}


def endpoint(pod: str | None, address: str = "10.0.0.7", **conditions: Any) -> Raw:
    raw: Raw = {"addresses": [address], "conditions": conditions}
    return raw | ({"targetRef": {"kind": "Pod", "name": pod, "uid": f"uid-{pod}"}} if pod else {})


def listing(*items: Raw) -> Raw:
    return {"metadata": {"resourceVersion": str(next(_versions))}, "items": list(items)}
