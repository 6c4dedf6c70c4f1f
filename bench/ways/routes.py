"""Routes, each with the gateway that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from bench import workload
from bench.testbed import Testbed
from bench.ways.way import NAME, Called, Make, Way
from bench.workload import Manifest
from localcluster.gateway import INGRESS_CLASS
from localcluster.load import Fresh, Plan, running
from localcluster.servers import istio
from localcluster.servers.istio import Istio


@contextmanager
def _http_route(bed: Testbed) -> Iterator[Make]:
    def routes(namespace: str) -> list[Manifest]:
        return [workload.route(NAME, namespace, _host(namespace))]

    yield _make(bed, "HTTPRoute", routes, bed.box.gateway_address)


@contextmanager
def _traefik_service(bed: Testbed) -> Iterator[Make]:
    def routes(namespace: str) -> list[Manifest]:
        metadata = {"name": NAME, "namespace": namespace}
        service = {
            "apiVersion": "traefik.io/v1alpha1",
            "kind": "TraefikService",
            "metadata": metadata,
            "spec": {"weighted": {"services": [{"name": NAME, "port": 80}]}},
        }
        rule = {
            "kind": "Rule",
            "match": f"Host(`{_host(namespace)}`)",
            "services": [{"kind": "TraefikService", "name": NAME}],
        }
        ingress = {
            "apiVersion": "traefik.io/v1alpha1",
            "kind": "IngressRoute",
            "metadata": metadata,
            "spec": {"entryPoints": ["web"], "routes": [rule]},
        }
        return [service, ingress]

    yield _make(bed, "TraefikService", routes, bed.box.gateway_address)


@contextmanager
def _ingress(bed: Testbed) -> Iterator[Make]:
    def routes(namespace: str) -> list[Manifest]:
        path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": NAME, "port": {"number": 80}}}}
        ingress = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"name": NAME, "namespace": namespace},
            "spec": {
                "ingressClassName": INGRESS_CLASS,
                "rules": [{"host": _host(namespace), "http": {"paths": [path]}}],
            },
        }
        return [ingress]

    yield _make(bed, "Ingress", routes, bed.box.gateway_address)


@contextmanager
def _virtual_service(bed: Testbed) -> Iterator[Make]:
    def routes(namespace: str) -> list[Manifest]:
        destination = {"host": f"{NAME}.{namespace}.svc.cluster.local"}
        service = {
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {"name": NAME, "namespace": namespace},
            "spec": {
                "hosts": [_host(namespace)],
                "gateways": [f"{istio.NAMESPACE}/{istio.GATEWAY}"],
                "http": [{"route": [{"destination": destination}]}],
            },
        }
        return [service]

    with Istio(bed.box, say=bed.say) as mesh:
        # Envoy gives each request an id of its own, so pods' logs can't be compared with what was asked.
        yield _make(bed, "VirtualService", routes, mesh.address, reconciled=False)


def _make(
    bed: Testbed, kind: str, routes: Callable[[str], list[Manifest]], gateway: str, reconciled: bool = True
) -> Make:
    """Called by the gateway at that address, on a new connection for each request."""

    def make(namespace: str, replicas: int) -> Called:
        caller = Fresh(f"http://{gateway}/", host=_host(namespace), name="gateway")
        return Called(
            [*workload.serving(NAME, namespace, replicas, {}), *routes(namespace)],
            {"routes": [{"kind": kind, "name": NAME}]},
            lambda rate: running(bed.box, Plan(rate, (caller,)), namespace=namespace, reconciled=reconciled),
        )

    return make


def _host(namespace: str) -> str:
    return f"{namespace}.example.com"


HTTP_ROUTE: Final = Way("HTTPRoute", "in an HTTPRoute, through Traefik", _http_route)
TRAEFIK_SERVICE: Final = Way("TraefikService", "in a TraefikService, through Traefik", _traefik_service)
INGRESS: Final = Way(
    "Ingress", "in whole percents of a canary beside an Ingress, through Traefik", _ingress, grain=0.01
)
VIRTUAL_SERVICE: Final = Way(
    "VirtualService", "in a VirtualService, through Istio's Envoy", _virtual_service, by_lot=True
)
