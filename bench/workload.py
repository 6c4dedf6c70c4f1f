"""What runs in the test bed: Deployments of a small HTTP server or of nothing at all, and what protects them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

PORT = 8080
Manifest = dict[str, Any]
SLEEP = ["sh", "-c", "trap 'exit 0' TERM; sleep infinity & wait"]
"""As light as a pod can be. The trap: process 1 of a container ignores a SIGTERM that it has no handler for."""


def serving(
    name: str, namespace: str, replicas: int, strategy: Mapping[str, Any], flags: Sequence[str] = ()
) -> list[Manifest]:
    """A Deployment of sample apps (with these flags) with a readiness probe, and its Service."""
    container: Manifest = {
        "name": "app",
        "image": "sample",
        "command": ["sample-app", *flags],
        "env": [
            {"name": "VERSION", "value": "1"},
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ],
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1},
    }
    service: Manifest = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": "http"}]},
    }
    return [deployment(name, namespace, replicas, container, strategy), service]


def sleeping(
    name: str, namespace: str, replicas: int, annotations: Mapping[str, str] | None = None, command: Any = None
) -> Manifest:
    """A Deployment of pods that do nothing, with no probes. `annotations` go on each pod."""
    container = {"name": "sleep", "image": "none", "command": command or SLEEP}
    return deployment(name, namespace, replicas, container, {}, annotations, grace=5)


def deployment(
    name: str,
    namespace: str,
    replicas: int,
    container: Manifest,
    strategy: Mapping[str, Any],
    annotations: Mapping[str, str] | None = None,
    grace: int = 30,
) -> Manifest:
    """A Deployment with pods of one container."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": dict(strategy)},
            "template": {
                "metadata": {"labels": labels, "annotations": dict(annotations or {})},
                "spec": {"terminationGracePeriodSeconds": grace, "containers": [container]},
            },
        },
    }


def lossless(name: str, namespace: str, **spec: Any) -> Manifest:
    """A LosslessRollout for the Deployment of the same name."""
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    return {
        "apiVersion": "lossless.dev/v1alpha1",
        "kind": "LosslessRollout",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"targetRef": target, **spec},
    }


def route(name: str, namespace: str, host: str) -> Manifest:
    """An HTTPRoute from the box's gateway to the Service of that name."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "parentRefs": [{"name": "gateway", "namespace": "gateway"}],
            "hostnames": [host],
            "rules": [{"backendRefs": [{"name": name, "port": 80}]}],
        },
    }
