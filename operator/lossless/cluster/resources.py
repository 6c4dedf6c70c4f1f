"""The kinds of objects that we read and write, and where the API server has them."""

from dataclasses import dataclass
from typing import Any, Final

from lossless.api import names

Raw = dict[str, Any]
"""An object as JSON has it."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of object, as the API server names it in URLs."""

    group: str
    version: str
    plural: str
    namespaced: bool = True

    @property
    def root(self) -> str:
        """The URL path under which the API server says what it has of this group and version."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def path(self, namespace: str | None = None, name: str = "", subresource: str = "") -> str:
        """The URL path of all of them, those of a namespace, one of them, or a subresource of it."""
        parts = [self.root]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


PODS: Final = Resource("", "v1", "pods")
NODES: Final = Resource("", "v1", "nodes", namespaced=False)
SERVICES: Final = Resource("", "v1", "services")
ENDPOINT_SLICES: Final = Resource("discovery.k8s.io", "v1", "endpointslices")
DEPLOYMENTS: Final = Resource("apps", "v1", "deployments")
REPLICA_SETS: Final = Resource("apps", "v1", "replicasets")
STATEFUL_SETS: Final = Resource("apps", "v1", "statefulsets")
DAEMON_SETS: Final = Resource("apps", "v1", "daemonsets")
CONTROLLER_REVISIONS: Final = Resource("apps", "v1", "controllerrevisions")
AUTOSCALERS: Final = Resource("autoscaling", "v2", "horizontalpodautoscalers")
INGRESSES: Final = Resource("networking.k8s.io", "v1", "ingresses")
INGRESS_CLASSES: Final = Resource("networking.k8s.io", "v1", "ingressclasses", namespaced=False)
DESTINATION_RULES: Final = Resource("networking.istio.io", "v1", "destinationrules")
BUDGETS: Final = Resource("policy", "v1", "poddisruptionbudgets")
SECRETS: Final = Resource("", "v1", "secrets")
LIMIT_RANGES: Final = Resource("", "v1", "limitranges")
LEASES: Final = Resource("coordination.k8s.io", "v1", "leases")
ARGO_ROLLOUTS: Final = Resource("argoproj.io", "v1alpha1", "rollouts")
"""Argo Rollouts, where they are installed. Not ours."""
ROLLOUTS: Final = Resource(names.GROUP, names.VERSION, names.PLURAL)
