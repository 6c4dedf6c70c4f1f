"""Consul: a server, and a client agent for each node, as it is laid out on Kubernetes.

An app registers with the agent of its node, and that agent alone can change the registration
(https://developer.hashicorp.com/consul/docs/architecture, "Client agents").
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from localcluster.cache import Say
from localcluster.errors import BoxError
from localcluster.servers import go_tool
from localcluster.servers.server import Running, Server, ServerBox, fresh_directory

VERSION = "1.19.2"
MODULE = "github.com/hashicorp/consul"
NETWORK = "10.0.1"
SERVER_ADDRESS = f"{NETWORK}.10"
"""The agents' addresses follow it."""
PORT = 8500


def binary(say: Say) -> Path:
    """From the cache, else built with Go: about 6 minutes on two cores.

    Raises:
        BinariesError: it could not be built.
    """
    return go_tool.prepared("consul", f"v{VERSION}", MODULE, say, minutes=6) / "consul"


class Consul(Running):
    """One server and an agent for each node, together: `with Consul(box) as consul: …`."""

    def __init__(self, box: ServerBox, nodes: Sequence[str] = ("node-1", "node-2"), say: Say = print) -> None:
        """Nothing runs before `start`, or `with`.

        Args:
            nodes: each gets an agent; Consul's own node has the same name.

        Raises:
            BinariesError: Consul is not to be had.
        """
        found = binary(say)
        self.server = _agent(box, found, "consul-server", SERVER_ADDRESS, ["-server", "-bootstrap-expect=1"])
        self._agents = {
            node: _agent(box, found, node, f"{NETWORK}.{number}", [f"-retry-join={SERVER_ADDRESS}"])
            for number, node in enumerate(nodes, start=int(SERVER_ADDRESS.rpartition(".")[2]) + 1)
        }

    def agent(self, node: str) -> Server:
        """The agent of a node: who registers there is changed there, and nowhere else."""
        try:
            return self._agents[node]
        except KeyError:
            raise BoxError(f"Consul has no agent on {node!r}; it has {', '.join(self._agents) or 'none'}") from None

    @property
    def everything(self) -> tuple[Server, ...]:
        """The server first."""
        return (self.server, *self._agents.values())

    def start(self) -> None:
        """Returns when there is a leader and every agent has joined. Raises BoxError."""
        for each in self.everything:
            each.process.start(wait=False)
        for each in self.everything:
            each.process.wait_ready()

    def kill(self) -> None:
        for each in reversed(self.everything):
            each.kill()


def _agent(box: ServerBox, found: Path, node: str, address: str, role: Sequence[str]) -> Server:
    name = node if node.startswith("consul") else f"consul-{node}"
    config = {
        "disable_update_check": True,
        # Elections and failure detection as fast as in production, not as for the smallest machines.
        "performance": {"raft_multiplier": 1},
        "retry_interval": "1s",
    }
    directory = fresh_directory(box, name)
    settings = directory / "settings.json"
    settings.write_text(json.dumps(config))
    argv = [
        str(found),
        "agent",
        f"-node={node}",
        f"-bind={address}",
        f"-client={address}",
        f"-data-dir={directory / 'data'}",
        f"-config-file={settings}",
        "-log-level=warn",
        *role,
    ]
    return Server(box, name, f"{address}:{PORT}", argv, _knows_the_leader)


def _knows_the_leader(server: Server) -> bool:
    """An agent asks a server who leads, so the answer also says that it has joined."""
    return bool(json.loads(server.ask("/v1/status/leader") or b'""'))
