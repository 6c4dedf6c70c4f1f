"""A real etcd of one member on this machine, and what an application does with it."""

import base64
import json
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from localcluster import binaries

APP = {"app": "sesame"}
"""Who there is, if nobody else is asked for."""


@dataclass(frozen=True, slots=True)
class Etcd:
    url: str

    def ask(self, what: str, said: dict[str, Any], token: str = "") -> dict[str, Any]:
        headers = {"Authorization": token} if token else {}
        request = urllib.request.Request(f"{self.url}/v3/{what}", json.dumps(said).encode(), headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            content: dict[str, Any] = json.load(answer)
            return content

    def lease(self, seconds: int = 600) -> int:
        return int(self.ask("lease/grant", {"TTL": seconds})["ID"])

    def revoke(self, lease: int) -> None:
        self.ask("lease/revoke", {"ID": lease})

    def put(self, key: str, value: str | bytes, lease: int = 0) -> None:
        value = value.encode() if isinstance(value, str) else value
        self.ask("kv/put", {"key": b64(key), "value": base64.b64encode(value).decode(), "lease": lease})

    def get(self, key: str) -> tuple[bytes, int] | None:
        """Value and lease."""
        found = self.ask("kv/range", {"key": b64(key)}).get("kvs")
        return (base64.b64decode(found[0].get("value", "")), int(found[0].get("lease", 0))) if found else None

    @contextmanager
    def with_users(self, users: Mapping[str, str] = APP, prefix: str = "/app/") -> Iterator[None]:
        """Authentication is on, and these users (their passwords by name) may do anything below the prefix."""
        begin, end = b64(prefix), b64(prefix.removesuffix("/") + "0")
        steps: list[tuple[str, dict[str, Any]]] = [
            ("user/add", {"name": "root", "password": "root"}),
            ("user/grant", {"user": "root", "role": "root"}),
            ("role/add", {"name": "app"}),
            ("role/grant", {"name": "app", "perm": {"permType": "READWRITE", "key": begin, "range_end": end}}),
            *(("user/add", {"name": name, "password": password}) for name, password in users.items()),
            *(("user/grant", {"user": name, "role": "app"}) for name in users),
            ("enable", {}),
        ]
        for what, said in steps:
            self.ask(f"auth/{what}", said)
        try:
            yield
        finally:
            token = self.ask("auth/authenticate", {"name": "root", "password": "root"})["token"]
            self.ask("auth/disable", {}, token)
            for user in (*users, "root"):
                self.ask("auth/user/delete", {"name": user})
            self.ask("auth/role/delete", {"role": "app"})


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@contextmanager
def running() -> Iterator[Etcd]:
    client, peer = _free_ports()
    with tempfile.TemporaryDirectory() as directory:
        argv = [
            str(binaries.etcd(print)),
            f"--data-dir={directory}/data",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--auth-token-ttl=1",
            "--log-level=error",
        ]
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            etcd = Etcd(client)
            while True:
                assert process.poll() is None, "etcd ended"
                try:
                    etcd.ask("kv/range", {"key": b64("x")})
                    break
                except OSError:
                    time.sleep(0.05)
            yield etcd
        finally:
            process.kill()
            process.wait()


def _free_ports() -> tuple[str, str]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        return f"http://127.0.0.1:{one.getsockname()[1]}", f"http://127.0.0.1:{two.getsockname()[1]}"
