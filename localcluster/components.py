"""The command lines of what runs in a box, and why each unusual flag is there. Nothing here does anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from localcluster.init import HOST_IP, POD_CIDR, SERVICE_CIDR
from localcluster.pki import Pki

ETCD_CLIENT_PORT, ETCD_PEER_PORT, ETCD_HEALTH_PORT = 2379, 2380, 2381
API_PORT = 6443
CONTROLLER_MANAGER_PORT, SCHEDULER_PORT, KUBE_PROXY_HEALTH_PORT = 10257, 10259, 10256
GATEWAY_PORT, GATEWAY_ADMIN_PORT = 8000, 8080

API_URL = f"https://{HOST_IP}:{API_PORT}"
KUBERNETES_SERVICE_IP = "10.96.0.1"
"""The first address of the service range, which the API server takes for the Service `kubernetes`."""
API_NAMES = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
API_ADDRESSES = [HOST_IP, KUBERNETES_SERVICE_IP, "127.0.0.1"]


def etcd(binary: Path, data: Path) -> list[str]:
    client, peer = f"http://127.0.0.1:{ETCD_CLIENT_PORT}", f"http://127.0.0.1:{ETCD_PEER_PORT}"
    return [
        str(binary),
        "--name=box",
        f"--data-dir={data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=box={peer}",
        # Health apart from the data: only the former can be reached from outside the box.
        f"--listen-metrics-urls=http://{HOST_IP}:{ETCD_HEALTH_PORT}",
        # The data never outlives the box, so a power cut may take it; what a disk takes to sync is not ours to measure.
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def kube_apiserver(binary: Path, pki: Pki, tokens: Path, version: str, extra: Sequence[str]) -> list[str]:
    """`version` is that of the binary, such as 1.36.3."""
    # It counts the sizes of what is stored once a minute and, told to stop meanwhile, goes on asking caches that have
    # ended, up to 3 s each ("Too large resource version" in its log): a stop would take 15 s and more.
    counts_sizes = tuple(int(part) for part in version.split(".")[:2]) >= (1, 34)
    return [
        str(binary),
        f"--etcd-servers=http://127.0.0.1:{ETCD_CLIENT_PORT}",
        f"--bind-address={HOST_IP}",
        f"--advertise-address={HOST_IP}",
        f"--secure-port={API_PORT}",
        f"--service-cluster-ip-range={SERVICE_CIDR}",
        f"--tls-cert-file={pki.server_cert}",
        f"--tls-private-key-file={pki.server_key}",
        f"--token-auth-file={tokens}",
        # As on a real cluster: a node may touch its own pods only.
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={pki.service_account_key}",
        f"--service-account-signing-key-file={pki.service_account_key}",
        # Aggregated API servers, such as metrics-server, ask for these.
        f"--requestheader-client-ca-file={pki.proxy_ca}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki.proxy_cert}",
        f"--proxy-client-key-file={pki.proxy_key}",
        "--enable-aggregator-routing=true",
        # Without it an open watch delays the end by a minute.
        "--shutdown-watch-termination-grace-period=1s",
        *(["--feature-gates=SizeBasedListCostEstimate=false"] if counts_sizes else []),
        *extra,
    ]


def kube_controller_manager(binary: Path, kubeconfig: Path, pki: Pki, extra: Sequence[str]) -> list[str]:
    return [
        str(binary),
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--bind-address={HOST_IP}",
        # Each controller under its own name, as admission policies and audit logs expect it.
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={pki.service_account_key}",
        f"--root-ca-file={pki.ca}",
        "--leader-elect=false",
        *extra,
    ]


def kube_scheduler(binary: Path, kubeconfig: Path) -> list[str]:
    return [
        str(binary),
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        f"--bind-address={HOST_IP}",
        "--leader-elect=false",
    ]


def kube_proxy(binary: Path, kubeconfig: Path, node: str) -> list[str]:
    """One for the whole box: its nodes share one network, so one set of rules serves them all."""
    return [
        str(binary),
        f"--kubeconfig={kubeconfig}",
        "--proxy-mode=nftables",
        f"--cluster-cidr={POD_CIDR}",
        # It waits for ever unless this Node has an InternalIP.
        f"--hostname-override={node}",
        f"--bind-address={HOST_IP}",
        f"--healthz-bind-address={HOST_IP}:{KUBE_PROXY_HEALTH_PORT}",
        f"--metrics-bind-address={HOST_IP}:10249",
        # The limits of connection tracking belong to the machine, not to a namespace: 0 is hands off.
        "--conntrack-max-per-core=0",
        "--conntrack-min=0",
        "--conntrack-tcp-timeout-established=0s",
        "--conntrack-tcp-timeout-close-wait=0s",
        "--conntrack-udp-timeout=0s",
        "--conntrack-udp-timeout-stream=0s",
    ]


def traefik(binary: Path) -> list[str]:
    """It takes its kubeconfig from the environment."""
    return [
        str(binary),
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
        "--log.level=INFO",
        "--log.nocolor=true",
        f"--entrypoints.web.address={HOST_IP}:{GATEWAY_PORT}",
        f"--entrypoints.traefik.address={HOST_IP}:{GATEWAY_ADMIN_PORT}",
        "--ping=true",
        # Without a password, but on an address that only this box has: it tells what Traefik routes, see traefik.py.
        "--api=true",
        "--api.insecure=true",
        "--api.dashboard=false",
        # IngressRoute and TraefikService, in the form of CRDs.
        "--providers.kubernetescrd=true",
        "--providers.kubernetesgateway=true",
        f"--providers.kubernetesgateway.statusaddress.ip={HOST_IP}",
        # Ingresses whose class is that of ingress-nginx, with its annotations, and no others.
        "--providers.kubernetesingressnginx=true",
        # Its retries would hide a loss.
        "--providers.kubernetesingressnginx.proxynextupstream=off",
    ]
