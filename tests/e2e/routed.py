"""A workload that a route of every kind leads to, each through a gateway that obeys it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from localcluster.gateway import INGRESS_CLASS
from localcluster.load import Caller, Fresh
from localcluster.servers import istio
from localcluster.servers.istio import Istio
from tests.e2e.workloads import Manifest, Web

WEIGHTED: Final = ("HTTPRoute", "GRPCRoute", "TraefikService", "VirtualService")
"""Kinds that have weights of their own."""
KINDS: Final = (*WEIGHTED, "Ingress")
WARMUP: Final = "web-warmup"


@dataclass(frozen=True, kw_only=True)
class Routed(Web):
    """A Web behind Traefik and behind Istio's Envoy. Its GRPCRoute is one that Traefik takes, and nobody calls."""

    mesh: Istio

    def routes(self) -> list[Manifest]:
        """One of each kind, named `web`, and what leads to the TraefikService. An owner's notes are on all of them."""
        weighted = [self.route(), self._grpc_route(), *self._traefik_service(), self._virtual_service()]
        found = [*weighted, ingress(self, self.host_of("Ingress"))]
        for one in found:
            one["metadata"]["annotations"] = {"owner": "shop"}
        return found

    def host_of(self, kind: str) -> str:
        """By which its route of this kind is called."""
        return self.host if kind == "HTTPRoute" else f"{kind.lower()}.{self.host}"

    def traefik_callers(self) -> tuple[Caller, ...]:
        """One for each kind of route, named after it."""
        kinds = ("HTTPRoute", "TraefikService", "Ingress")
        return tuple(Fresh(f"http://{self.box.gateway_address}/", host=self.host_of(kind), name=kind) for kind in kinds)

    def envoy_callers(self) -> tuple[Caller, ...]:
        kind = "VirtualService"
        return (Fresh(f"http://{self.mesh.address}/", host=self.host_of(kind), name=kind),)

    def written(self) -> dict[str, tuple[Manifest, Manifest]]:
        """Of each route, by its kind, all that its owner writes: spec and annotations."""
        routes = {kind: self.box.get(kind, "web", self.namespace) for kind in KINDS}
        return {kind: (one["spec"], one["metadata"].get("annotations", {})) for kind, one in routes.items()}

    def canaries(self) -> list[Manifest]:
        """Ingresses beside its own."""
        return [one for one in self.box.listed("ingresses", self.namespace) if one["metadata"]["name"] != "web"]

    def warmups(self) -> dict[str, int]:
        """Of each route, by its kind, the weight of its warm-up backend or of its canary; 0 where it has none."""
        written = self.written()
        weights = {
            kind: sum(one["weight"] for one in _backends(kind, written[kind][0]) if _service(one) == WARMUP)
            for kind in WEIGHTED
        }
        marks = [one["metadata"]["annotations"] for one in self.canaries()]
        return weights | {"Ingress": sum(int(each["nginx.ingress.kubernetes.io/canary-weight"]) for each in marks)}

    def _grpc_route(self) -> Manifest:
        like = self.route()
        return {**like, "kind": "GRPCRoute", "spec": {**like["spec"], "hostnames": [self.host_of("GRPCRoute")]}}

    def _traefik_service(self) -> list[Manifest]:
        rule = {
            "kind": "Rule",
            "match": f"Host(`{self.host_of('TraefikService')}`)",
            "services": [{"kind": "TraefikService", "name": "web"}],
        }
        return [
            self._object(
                "traefik.io/v1alpha1",
                "TraefikService",
                {"weighted": {"services": [{"name": "web", "port": 80, "weight": 3}]}},
            ),
            self._object("traefik.io/v1alpha1", "IngressRoute", {"entryPoints": ["web"], "routes": [rule]}),
        ]

    def _virtual_service(self) -> Manifest:
        destination = {"host": f"web.{self.namespace}.svc.cluster.local"}
        spec = {
            "hosts": [self.host_of("VirtualService")],
            "gateways": [f"{istio.NAMESPACE}/{istio.GATEWAY}"],
            "http": [{"route": [{"destination": destination}]}],
        }
        return self._object("networking.istio.io/v1", "VirtualService", spec)

    def _object(self, version: str, kind: str, spec: Manifest) -> Manifest:
        metadata = {"name": "web", "namespace": self.namespace}
        return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def ingress(app: Web, host: str) -> Manifest:
    """An Ingress `web` of that host to its Service, of ingress-nginx's class."""
    path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"name": "http"}}}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "web", "namespace": app.namespace},
        "spec": {"ingressClassName": INGRESS_CLASS, "rules": [{"host": host, "http": {"paths": [path]}}]},
    }


def _backends(kind: str, spec: Manifest) -> list[dict[str, Any]]:
    """Of its only rule."""
    found: list[dict[str, Any]]
    match kind:
        case "TraefikService":
            found = spec["weighted"]["services"]
        case "VirtualService":
            found = spec["http"][0]["route"]
        case _:
            found = spec["rules"][0]["backendRefs"]
    return found


def _service(backend: Manifest) -> str:
    """The name of the Service that it names."""
    host: str = backend.get("name") or backend["destination"]["host"]
    return host.partition(".")[0]
