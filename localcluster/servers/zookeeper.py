"""ZooKeeper: one server, as Apache ships it."""

from __future__ import annotations

import base64
import socket
import subprocess

from localcluster import javabuild
from localcluster.box import Box
from localcluster.cache import Say
from localcluster.errors import BoxError
from localcluster.servers.server import ANSWER_WITHIN, Server, fresh_directory

ADDRESS = "10.0.1.50"
PORT = 2181
TICK_MS = 500
"""Sessions last 2 to 20 ticks, whatever the client asks for: 1 to 10 s here, so a provider that was killed is gone from
the registry after 10 s (Dubbo asks for 60). ZooKeeper's own default, 3000, would make it a minute."""


class ZooKeeper(Server):
    """`with ZooKeeper(box) as zookeeper: …`. What it stores stays over `restart` and `kill`; sessions do too."""

    def __init__(self, box: Box, address: str = ADDRESS, tick_ms: int = TICK_MS, say: Say = print) -> None:
        """Nothing runs before `start`, or `with`.

        Raises:
            BinariesError: the Java servers are not to be had.
        """
        directory = fresh_directory(box, "zookeeper")
        config = directory / "zoo.cfg"
        settings = {
            "dataDir": directory / "data",
            "clientPort": PORT,
            "clientPortAddress": address,
            "tickTime": tick_ms,
            "maxClientCnxns": 0,  # everybody in a box has the same address
            "admin.enableServer": "false",
            "4lw.commands.whitelist": "ruok",
        }
        config.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        argv = javabuild.command(
            "dubbo",
            "org.apache.zookeeper.server.ZooKeeperServerMain",
            {"zookeeper.forceSync": "no"},  # as with etcd: what a disk takes to sync is not ours to measure
            say=say,
        )
        super().__init__(box, "zookeeper", f"{address}:{PORT}", [*argv, str(config)], _says_imok)
        self.connect_string = f"{address}:{PORT}"
        """For clients inside the box."""
        self._inside = box
        self._say = say
        self._nodes: subprocess.Popen[bytes] | None = None

    @property
    def connect_string_outside(self) -> str:
        """For clients outside the box, such as a test itself."""
        return self.outside.removeprefix("http://")

    def children(self, path: str) -> list[str]:
        """The names below a node, sorted; none when it does not exist."""
        return sorted((self._ask("ls", path) or "").splitlines())

    def read(self, path: str) -> str | None:
        """The data of a node; None when it does not exist."""
        return self._ask("get", path)

    def write(self, path: str, data: str) -> None:
        """Set the data of a node; it and those above it are made if they do not exist."""
        self._ask("set", path, data)

    def delete(self, path: str) -> None:
        """Delete a node, also another client's ephemeral one, if it exists."""
        self._ask("delete", path)

    def _ask(self, verb: str, path: str, data: str = "") -> str | None:
        """Told by a client of its own, which is kept. Raises BoxError."""
        if self._nodes is None or self._nodes.poll() is not None:
            properties = {"localcluster.server": self.connect_string, "zookeeper.sasl.client": "false"}
            argv = javabuild.command("dubbo", "localcluster.dubbo.Nodes", properties, say=self._say)
            self._nodes = self._inside.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, log="zookeeper-nodes")
        assert self._nodes.stdin is not None
        assert self._nodes.stdout is not None
        self._nodes.stdin.write(f"{verb} {path} {base64.b64encode(data.encode()).decode()}\n".encode())
        self._nodes.stdin.flush()
        word, _, rest = self._nodes.stdout.readline().decode().strip().partition(" ")
        if word not in ("ok", "none"):
            raise BoxError(f"ZooKeeper did not {verb} {path}: {word} {rest}")
        return base64.b64decode(rest).decode() if word == "ok" else None

    def kill(self) -> None:
        if self._nodes is not None:
            self._nodes.kill()
            self._nodes.communicate()
            self._nodes = None
        super().kill()


def _says_imok(server: Server) -> bool:
    """The four-letter word `ruok` of the administrator's guide."""
    host, _, port = server.outside.removeprefix("http://").rpartition(":")
    try:
        with socket.create_connection((host, int(port)), ANSWER_WITHIN) as connection:
            connection.sendall(b"ruok")
            return connection.recv(16) == b"imok"
    except OSError:
        return False
