"""The three ways to release, and all that is applied for each: the same app, strategy and Services for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Manifest = dict[str, Any]

PORT = 8080
REPLICAS = 4
COLD_REQUESTS = 20
COLD_MS = 800
PRE_STOP_SECONDS = 5
WARM_UP_REQUESTS = 25
LIST_AGE_SECONDS = 15
SETTLE_SECONDS = LIST_AGE_SECONDS + 1
"""A pod may go once every list of addresses has been read again since it was withdrawn."""
NAME = "web"
HEADLESS = "web-headless"


@dataclass(frozen=True, slots=True)
class Way:
    """How a release is done. `key` is also the namespace it is done in."""

    key: str
    title: str
    says: str
    pre_stop_seconds: int | None = None
    lossless: bool = False


WAYS = (
    Way("native", "Plain Deployment", "A Deployment as Kubernetes rolls it by itself."),
    Way(
        "prestop",
        f"preStop: sleep {PRE_STOP_SECONDS}",
        f"The best practice of today: each old pod sleeps {PRE_STOP_SECONDS} s before it is told to stop.",
        pre_stop_seconds=PRE_STOP_SECONDS,
    ),
    Way(
        "lossless",
        "Plain Deployment, LosslessRollout beside it",
        f"The same Deployment as the first, untouched. Each new pod is warmed with {WARM_UP_REQUESTS} requests before "
        f"it gets any traffic; each old one stays for {SETTLE_SECONDS} s after it was taken off every list.",
        lossless=True,
    ),
)


def around(way: Way) -> list[Manifest]:
    """What is there before the Deployment: the namespace, its Services; for the lossless way the LosslessRollout."""
    objects = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": way.key}},
        _service(way, NAME),
        _service(way, HEADLESS, clusterIP="None"),
    ]
    return [*objects, lossless_rollout(way)] if way.lossless else objects


def deployment(way: Way) -> Manifest:
    container: Manifest = {
        "name": "app",
        "image": "sample",
        "command": ["sample-app", "--cold-requests", f"{COLD_REQUESTS}", "--cold-ms", f"{COLD_MS}"],
        "env": [
            {"name": "VERSION", "value": "1"},
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1},
    }
    if way.pre_stop_seconds is not None:
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": way.pre_stop_seconds}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": way.key},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": {"app": NAME}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "50%", "maxUnavailable": 0}},
            "template": {"metadata": {"labels": {"app": NAME}}, "spec": {"containers": [container]}},
        },
    }


def lossless_rollout(way: Way) -> Manifest:
    return {
        "apiVersion": "lossless.dev/v1alpha1",
        "kind": "LosslessRollout",
        "metadata": {"name": NAME, "namespace": way.key},
        "spec": {
            "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME},
            "warmup": {
                "requests": [{"port": PORT, "path": "/", "count": WARM_UP_REQUESTS, "concurrency": 5}],
                "maxParallel": "100%",
            },
            "drain": {"settle": f"{SETTLE_SECONDS}s"},
        },
    }


def new_version() -> Manifest:
    """A patch of the Deployment: a new pod template, which is what every deployment tool makes of a release."""
    container = {"name": "app", "env": [{"name": "VERSION", "value": "2"}]}
    return {"spec": {"template": {"spec": {"containers": [container]}}}}


def _service(way: Way, name: str, **spec: Any) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": way.key},
        "spec": {
            "selector": {"app": NAME},
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
            **spec,
        },
    }
