"""An etcd for registrations: a second one, which the cluster knows nothing of."""

from __future__ import annotations

from localcluster import binaries
from localcluster.cache import Say
from localcluster.servers.server import Server, ServerBox, fresh_directory

ADDRESS = "10.0.1.30"
PORT, PEER_PORT = 2379, 2380


def etcd(box: ServerBox, address: str = ADDRESS, say: Say = print) -> Server:
    """An etcd of one member. Its HTTP JSON gateway is below `<url>/v3`, gRPC is on the same port.

    Raises:
        BinariesError: it could not be built.
    """
    client, peer = f"http://{address}:{PORT}", f"http://{address}:{PEER_PORT}"
    argv = [
        str(binaries.etcd(say)),
        "--name=registry",
        f"--data-dir={fresh_directory(box, 'etcd')}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=registry={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]
    return Server(box, "registry-etcd", f"{address}:{PORT}", argv, _is_healthy)


def _is_healthy(server: Server) -> bool:
    return b'"true"' in (server.ask("/health") or b"")
