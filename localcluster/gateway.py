"""What makes Traefik the gateway of a box: CRDs, its rights, a GatewayClass and a Gateway, an IngressClass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localcluster import crds
from localcluster.cache import Say
from localcluster.components import GATEWAY_PORT

if TYPE_CHECKING:
    from localcluster.box import Box
    from localcluster.process import Process

AWAITED = (
    *(f"{kind}.gateway.networking.k8s.io" for kind in ("gatewayclasses", "gateways", "httproutes", "tlsroutes")),
    *(f"{kind}.traefik.io" for kind in ("ingressroutes", "traefikservices", "middlewares")),
)
"""The CRDs that must be served before Traefik starts."""
USER = "traefik"
CLASS = NAME = NAMESPACE = "gateway"
INGRESS_CLASS = "nginx"


def crd_directories(say: Say) -> tuple[Path, ...]:
    """The CRDs of the Gateway API and of Traefik itself (IngressRoute, TraefikService …).

    Raises:
        BinariesError: they are not to be had.
    """
    return crds.fetch(crds.GATEWAY_API, say), crds.fetch(crds.TRAEFIK, say)


def start(box: Box, traefik: Process, crds: Sequence[Path]) -> None:
    """Traefik must not start before the CRDs are served: it would wait for a minute before it looks again."""

    def has(condition: str, kind: str, name: str, ns: str = "") -> bool:
        conditions = box.get(kind, name, ns).get("status", {}).get("conditions") or []
        return any(one["type"] == condition and one["status"] == "True" for one in conditions)

    where = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    for definition in definitions(crds):
        box.api.request("POST", where, definition, "application/yaml")
    for name in AWAITED:
        box.wait_until(partial(has, "Established", "crd", name), describe=f"{name} is served")
    box.apply(manifests())
    traefik.start()
    box.wait_until(lambda: has("Programmed", "gateway", NAME, NAMESPACE), 60, "the gateway is programmed")


def definitions(directories: Sequence[Path]) -> Iterator[str]:
    """Each CRD in those directories, in YAML."""
    for directory in directories:
        for path in sorted(directory.glob("*.yaml")):
            yield from (text for text in path.read_text().split("\n---\n") if "kind: CustomResourceDefinition" in text)


def manifests() -> list[dict[str, Any]]:
    """Rights for Traefik's user, a GatewayClass, a Gateway for routes of every namespace, and an IngressClass.

    The rights are those that Traefik's documentation asks for, for all of its providers.
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
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IngressClass",
            "metadata": {"name": INGRESS_CLASS},
            # Of which Traefik serves everything here. It is nobody's default.
            "spec": {"controller": "k8s.io/ingress-nginx"},
        },
    ]
