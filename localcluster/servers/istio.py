"""A mesh's gateway: the real istiod, with Envoy for the gateway that it directs.

Istio's own Envoy has filters of its own for telemetry between proxies, which a gateway that leads out of the mesh does
not need: they are switched off, and the Envoy is that of its own project. There are no sidecars: pods are reached in
plain HTTP, as a mesh reaches those outside of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import yaml

from localcluster import crds
from localcluster.cache import Say
from localcluster.servers import envoy, go_tool
from localcluster.servers.server import Running, Server, ServerBox, fresh_directory

VERSION = "1.31-20260827"
"""A commit of the branch of 1.31, 27 August 2026: the one that is among the published modules."""
COMMAND = "istio.io/istio/pilot/cmd/pilot-discovery"
NAMESPACE = "istio-system"
ISTIOD_ADDRESS, GATEWAY_ADDRESS = "10.0.1.60", "10.0.1.61"
PORT, GATEWAY_API_PORT = 8001, 8002
GATEWAY = "gateway"
"""The Gateway that VirtualServices name (`istio-system/gateway`), and the other kind's that HTTPRoutes name."""
LABELS = {"istio": "gateway"}


class IstioBox(ServerBox, Protocol):
    """What is needed of a box."""

    @property
    def kubeconfig_inside(self) -> Path: ...
    def kubectl(self, *arguments: str, input: str | None = None) -> str: ...
    def apply(self, manifest: Sequence[Mapping[str, Any]]) -> None: ...


def binary(say: Say) -> Path:
    """istiod, from the cache, else built with Go: about 6 minutes on two cores.

    Raises:
        BinariesError: it could not be built.
    """
    variables = {"istio.io/istio/pkg/version.buildVersion": VERSION}
    tool = go_tool.prepared("istiod", VERSION, COMMAND, say, minutes=6, subject="istio", variables=variables)
    return tool / "pilot-discovery"


class Istio(Running):
    """istiod and one Envoy: `with Istio(box) as mesh: …`. It may run beside the box's Traefik."""

    def __init__(self, box: IstioBox, retries: bool = False, say: Say = print) -> None:
        """Nothing runs before `start`, or `with`.

        Args:
            retries: whether a request that no pod has answered is sent to another one, as Istio does by default (twice,
                https://istio.io/latest/docs/concepts/traffic-management/#retries). Off, because that hides a loss.

        Raises:
            BinariesError: istiod or Envoy is not to be had.
        """
        self._box = box
        self._crds = crds.fetch(crds.ISTIO, say), crds.fetch(crds.GATEWAY_API, say)
        self.istiod = _istiod(box, binary(say), retries)
        bootstrap = fresh_directory(box, "istio-gateway") / "bootstrap.json"
        bootstrap.write_text(json.dumps(_bootstrap()))
        self.envoy = envoy.envoy(box, "istio-gateway", GATEWAY_ADDRESS, bootstrap)
        self.address = f"{GATEWAY_ADDRESS}:{PORT}"
        """`<ip>:<port>` inside the box of the Gateway that VirtualServices name: `gateways: [istio-system/gateway]`."""
        self.gateway_api_address = f"{GATEWAY_ADDRESS}:{GATEWAY_API_PORT}"
        """The same for the Gateway that HTTPRoutes name as their parent: `gateway` in the namespace `istio-system`."""

    def start(self) -> None:
        """Returns when Envoy has its configuration, and istiod calls the Gateway programmed. Raises BoxError."""
        for directory in self._crds:
            self._box.kubectl("apply", "--server-side", "--force-conflicts", f"--filename={directory}")
        self._box.kubectl("wait", "--for=condition=Established", "--timeout=30s", *(f"crd/{name}" for name in AWAITED))
        self._box.apply(manifests())
        self.istiod.start()
        self.envoy.start()
        self._box.kubectl(
            "wait",
            "--for=condition=Programmed",
            "--timeout=60s",
            f"--namespace={NAMESPACE}",
            f"gateways.gateway.networking.k8s.io/{GATEWAY}",
        )

    def kill(self) -> None:
        self.envoy.kill()
        self.istiod.kill()

    def routed(self, host: str) -> Mapping[str, float]:
        """What Envoy itself says, see envoy.py: the part of a host's requests that each `<ip>:<port>` has."""
        return envoy.routed(self.envoy, host)


AWAITED = (
    *(f"{kind}.networking.istio.io" for kind in ("destinationrules", "gateways", "virtualservices")),
    *(f"{kind}.gateway.networking.k8s.io" for kind in ("gatewayclasses", "gateways", "httproutes")),
)


def manifests() -> list[dict[str, Any]]:
    """The gateway's Service, by whose labels istiod knows the Envoy, and a Gateway of either kind."""
    ports = {"http": PORT, "gateway-api": GATEWAY_API_PORT}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": GATEWAY, "namespace": NAMESPACE, "labels": LABELS},
            "spec": {
                "selector": LABELS,
                "ports": [
                    {"name": name, "port": port, "targetPort": port, "appProtocol": "http"}
                    for name, port in ports.items()
                ],
            },
        },
        {
            # The Envoy is no pod, so that the EndpointSlice controller does not know it.
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{GATEWAY}-hand-made",
                "namespace": NAMESPACE,
                "labels": {"kubernetes.io/service-name": GATEWAY},
            },
            "addressType": "IPv4",
            "ports": [{"name": name, "port": port, "protocol": "TCP"} for name, port in ports.items()],
            "endpoints": [{"addresses": [GATEWAY_ADDRESS], "conditions": {"ready": True}}],
        },
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "Gateway",
            "metadata": {"name": GATEWAY, "namespace": NAMESPACE},
            "spec": {
                "selector": LABELS,
                "servers": [{"port": {"number": PORT, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}],
            },
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": GATEWAY, "namespace": NAMESPACE},
            "spec": {
                "gatewayClassName": "istio",  # istiod makes that class
                # Without it istiod would start a gateway of its own, in a container.
                "addresses": [{"type": "Hostname", "value": f"{GATEWAY}.{NAMESPACE}.svc.cluster.local"}],
                "listeners": [
                    {
                        "name": "http",
                        "protocol": "HTTP",
                        "port": GATEWAY_API_PORT,
                        "allowedRoutes": {"namespaces": {"from": "All"}},
                    }
                ],
            },
        },
    ]


def _istiod(box: IstioBox, found: Path, retries: bool) -> Server:
    mesh: dict[str, Any] = {"enableAutoMtls": False}  # it is for sidecars, and nobody gives out certificates here
    if not retries:
        mesh["defaultHttpRetryPolicy"] = {"attempts": 0}
    settings = fresh_directory(box, "istiod") / "mesh.yaml"
    settings.write_text(yaml.safe_dump(mesh))
    argv = [
        str(found),
        "discovery",
        f"--kubeconfig={box.kubeconfig_inside}",
        f"--namespace={NAMESPACE}",
        f"--meshConfig={settings}",
        f"--httpAddr={ISTIOD_ADDRESS}:8080",
        f"--monitoringAddr={ISTIOD_ADDRESS}:15014",
        f"--grpcAddr={ISTIOD_ADDRESS}:15010",
        # Certificates are for sidecars.
        "--secureGRPCAddr=",
        "--httpsAddr=",
        "--log_output_level=all:warn",
    ]
    env = {
        "POD_NAMESPACE": NAMESPACE,
        "POD_NAME": "istiod-0",
        "ENABLE_CA_SERVER": "false",
        "PILOT_CERT_PROVIDER": "none",
        "ENABLE_LEADER_ELECTION": "false",
        "INJECTION_WEBHOOK_CONFIG_NAME": "",
        "VALIDATION_WEBHOOK_CONFIG_NAME": "",
        # Filters that only Istio's own build of Envoy has.
        "PILOT_ENABLE_METADATA_EXCHANGE": "false",
        "PILOT_ENABLE_ALPN_FILTER": "false",
    }
    return Server(box, "istiod", f"{ISTIOD_ADDRESS}:8080", argv, lambda server: server.ask("/ready") is not None, env)


def _bootstrap() -> dict[str, Any]:
    """What Istio's agent writes for a gateway, without certificates and telemetry.

    Source: tools/packaging/common/envoy_bootstrap.json in istio/istio.
    """
    stream = {
        "api_type": "DELTA_GRPC",
        "transport_api_version": "V3",
        "set_node_on_first_message_only": True,
        "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
    }
    by_stream = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    return {
        "node": {
            # Kind of proxy, address, name, DNS domain.
            "id": f"router~{GATEWAY_ADDRESS}~{GATEWAY}.{NAMESPACE}~{NAMESPACE}.svc.cluster.local",
            "cluster": f"{GATEWAY}.{NAMESPACE}",
            "metadata": {
                "CLUSTER_ID": "Kubernetes",
                "INSTANCE_IPS": GATEWAY_ADDRESS,
                "ISTIO_VERSION": "1.31.0",
                "LABELS": LABELS,
                "NAMESPACE": NAMESPACE,
            },
        },
        "admin": {"address": _socket_address(GATEWAY_ADDRESS, envoy.ADMIN_PORT)},
        "dynamic_resources": {"ads_config": stream, "cds_config": by_stream, "lds_config": by_stream},
        "static_resources": {
            "clusters": [
                {
                    "name": "xds-grpc",
                    "type": "STATIC",
                    "connect_timeout": "1s",
                    "load_assignment": {
                        "cluster_name": "xds-grpc",
                        "endpoints": [
                            {"lb_endpoints": [{"endpoint": {"address": _socket_address(ISTIOD_ADDRESS, 15010)}}]}
                        ],
                    },
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                            "explicit_http_config": {"http2_protocol_options": {}},
                        }
                    },
                }
            ]
        },
    }


def _socket_address(address: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port}}
