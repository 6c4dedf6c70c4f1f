"""What makes Traefik the gateway of a box: the Gateway API's CRDs, its rights, a GatewayClass and a Gateway."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from localcluster import cache, gobuild
from localcluster.cache import Say
from localcluster.components import GATEWAY_PORT

MODULE = "sigs.k8s.io/gateway-api"
VERSION = "v1.6.3"
"""Of the CRDs. Traefik 3.7 waits for TLSRoute, which the standard channel has since 1.5, and answers 404 until then."""
USER = "traefik"
CLASS = NAME = NAMESPACE = "gateway"


def crds(say: Say) -> Path:
    """The directory with the CRDs of the standard channel: in the cache, else taken from the published Go module.

    Raises:
        BinariesError: they are not to be had.
    """
    target = cache.root() / f"gateway-api-{VERSION}"
    if not target.exists():
        with cache.locked(target.name, say), cache.draft(target) as draft:
            if not target.exists():
                say(f"Fetching {MODULE} {VERSION}")
                source = gobuild.module_directory("gateway-api", MODULE, say) / "config" / "crd" / "standard"
                shutil.copytree(source, draft / "crds", copy_function=shutil.copyfile)
                (draft / "crds").chmod(0o755)  # Go's module cache is read-only, and so would be the copy
                (draft / "crds").rename(target)
    return target


def manifests() -> list[dict[str, Any]]:
    """Rights for Traefik's user, a GatewayClass, and a Gateway for HTTPRoutes of every namespace."""
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
