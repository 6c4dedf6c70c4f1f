"""Nacos, as rnacos: a server in Rust that speaks Nacos' v1 HTTP and its gRPC API (https://github.com/nacos-group/r-nacos).

The official server is not on Maven Central. rnacos differs from it: there are no lists of v2 and v3, and that of v1 for
administrators (`/v1/ns/catalog/instances`) leaves out what is disabled, as that for consumers does; `GET
/v1/ns/instance` shows a disabled one.
"""

from __future__ import annotations

from pathlib import Path

from localcluster import binaries, cache, cargobuild
from localcluster.cache import Say
from localcluster.servers.server import Server, ServerBox, fresh_directory

VERSION = "0.8.8"
ADDRESS = "10.0.1.40"
PORT = 8848
"""gRPC is 1000 above it, as with the official server; the console, not used here, has a port of its own."""


def binary(say: Say) -> Path:
    """From the cache, else built with cargo: about 10 minutes on two cores.

    Raises:
        BinariesError: there is no cargo, or it could not be built.
    """

    def build(directory: Path) -> None:
        say(f"Building rnacos {VERSION}: about 10 minutes on two cores, once per version")
        cargobuild.install("rnacos", VERSION, directory, say)

    name = f"rnacos-v{VERSION}-linux-{binaries.architecture()}"
    return cache.prepared(cache.root() / "bin" / name, say, build) / "bin" / "rnacos"


def nacos(box: ServerBox, address: str = ADDRESS, say: Say = print) -> Server:
    """A Nacos of one node. Its HTTP API is below `<url>/nacos`.

    Raises:
        BinariesError: rnacos is not to be had.
    """
    env = {
        "RNACOS_HTTP_API_HOST": address,
        "RNACOS_HTTP_PORT": str(PORT),
        "RNACOS_GRPC_PORT": str(PORT + 1000),
        "RNACOS_RAFT_NODE_ADDR": f"{address}:{PORT + 1000}",
        "RNACOS_DATA_DIR": str(fresh_directory(box, "nacos")),
        "RNACOS_ENABLE_NO_AUTH_CONSOLE": "true",
        "RUST_LOG": "warn",
    }
    return Server(box, "nacos", f"{address}:{PORT}", [str(binary(say))], _takes_registrations, env)


def _takes_registrations(server: Server) -> bool:
    return server.ask("/nacos/v1/ns/instance/list?serviceName=nobody") is not None
