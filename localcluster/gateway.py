"""What makes Traefik the gateway of a box: the CRDs it reads, its rights, a GatewayClass and a Gateway."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from localcluster import crds
from localcluster.cache import Say
from localcluster.components import GATEWAY_PORT

AWAITED = (
    *(f"{kind}.gateway.networking.k8s.io" for kind in ("gatewayclasses", "gateways", "httproutes", "tlsroutes")),
    *(f"{kind}.traefik.io" for kind in ("ingressroutes", "traefikservices", "middlewares")),
)
"""The CRDs that must be served before Traefik starts."""
USER = "traefik"
CLASS = NAME = NAMESPACE = "gateway"


def crd_directories(say: Say) -> tuple[Path, ...]:
    """The CRDs of the Gateway API and of Traefik itself (IngressRoute, TraefikService …).

    Raises:
        BinariesError: they are not to be had.
    """
    return crds.fetch(crds.GATEWAY_API, say), crds.fetch(crds.TRAEFIK, say)


def definitions(directories: Sequence[Path]) -> Iterator[str]:
    """Each CRD in those directories, in YAML."""
    for directory in directories:
        for path in sorted(directory.glob("*.yaml")):
            yield from (text for text in path.read_text().split("\n---\n") if "kind: CustomResourceDefinition" in text)


def manifests() -> list[dict[str, Any]]:
    """Rights for Traefik's user, a GatewayClass, and a Gateway for routes of every namespace.

    The rights are those that Traefik's documentation asks for, for both of its providers.
    """
    api = "gateway.networking.k8s.io"
    rbac = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": USER},
            "rules": [
                {
                    "apiGroups": [""],
                    "resources": ["namespaces", "services", "secrets", "configmaps", "nodes"],
                    "verbs": ["get", "list", "watch"],
                },
                {
                    "apiGroups": ["discovery.k8s.io"],
                    "resources": ["endpointslices"],
                    "verbs": ["get", "list", "watch"],
                },
                {"apiGroups": [api], "resources": ["*"], "verbs": ["get", "list", "watch"]},
                {"apiGroups": ["traefik.io"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
                {
                    "apiGroups": ["networking.k8s.io"],
                    "resources": ["ingresses", "ingressclasses"],
                    "verbs": ["get", "list", "watch"],
                },
                {
                    "apiGroups": [api],
                    "resources": [
                        f"{kind}/status"
                        for kind in (
                            "backendtlspolicies",
                            "gatewayclasses",
                            "gateways",
                            "grpcroutes",
                            "httproutes",
                            "listenersets",
                            "tcproutes",
                            "tlsroutes",
                            "udproutes",
                        )
                    ],
                    "verbs": ["update", "patch"],
                },
            ],
        },
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": USER},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": USER},
            "subjects": [{"apiGroup": rbac, "kind": "User", "name": USER}],
        },
        {
            "apiVersion": f"{api}/v1",
            "kind": "GatewayClass",
            "metadata": {"name": CLASS},
            "spec": {"controllerName": "traefik.io/gateway-controller"},
        },
        {
            "apiVersion": f"{api}/v1",
            "kind": "Gateway",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {
                "gatewayClassName": CLASS,
                "listeners": [
                    {
                        "name": "http",
                        "protocol": "HTTP",
                        # Traefik wants it to be the port of one of its entry points.
                        "port": GATEWAY_PORT,
                        "allowedRoutes": {"namespaces": {"from": "All"}},
                    }
                ],
            },
        },
    ]
