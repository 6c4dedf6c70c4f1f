"""A workload that a route of every kind with weights leads to, each through a gateway that obeys it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from localcluster.load import Caller, Fresh
from localcluster.servers import istio
from localcluster.servers.istio import Istio
from tests.e2e.workloads import Manifest, Web

KINDS: Final = ("HTTPRoute", "GRPCRoute", "TraefikService", "VirtualService")
WARMUP: Final = "web-warmup"


@dataclass(frozen=True, kw_only=True)
class Routed(Web):
    """A Web behind Traefik and behind Istio's Envoy. Its GRPCRoute is one that Traefik takes, and nobody calls."""

    mesh: Istio

    def routes(self) -> list[Manifest]:
        """One of each kind, named `web`, and what leads to the TraefikService. An owner's notes are on all of them."""
        found = [self.route(), self._grpc_route(), *self._traefik_service(), self._virtual_service()]
        for one in found:
            one["metadata"]["annotations"] = {"owner": "shop"}
        return found

    def host_of(self, kind: str) -> str:
        """By which its route of this kind is called."""
        return self.host if kind == "HTTPRoute" else f"{kind.lower()}.{self.host}"

    def traefik_callers(self) -> tuple[Caller, ...]:
        """One for each kind of route, named after it."""
        kinds = ("HTTPRoute", "TraefikService")
        return tuple(Fresh(f"http://{self.box.gateway_address}/", host=self.host_of(kind), name=kind) for kind in kinds)

    def envoy_callers(self) -> tuple[Caller, ...]:
        kind = "VirtualService"
        return (Fresh(f"http://{self.mesh.address}/", host=self.host_of(kind), name=kind),)

    def written(self) -> dict[str, tuple[Manifest, Manifest]]:
        """Of each route, by its kind, all that its owner writes: spec and annotations."""
        routes = {kind: self.box.get(kind, "web", self.namespace) for kind in KINDS}
        return {kind: (one["spec"], one["metadata"].get("annotations", {})) for kind, one in routes.items()}

    def warmups(self) -> dict[str, int]:
        """Of each route, by its kind, the weight of its warm-up backend; 0 where it has none."""
        return {
            kind: sum(one["weight"] for one in _backends(kind, spec) if _service(one) == WARMUP)
            for kind, (spec, _) in self.written().items()
        }

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
