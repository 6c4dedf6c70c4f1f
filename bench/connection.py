"""One kept-alive connection to the API server, for figures in which a TLS handshake would drown what is measured."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit


class Connection:
    """As the user of a kubeconfig of the box. A context manager."""

    def __init__(self, kubeconfig: Path, impersonates: str = "") -> None:
        """`impersonates` is a user in whose name everything is asked."""
        config = json.loads(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        where = urlsplit(cluster["server"])
        self._headers = {"Authorization": f"Bearer {user['token']}", "Content-Type": "application/json"}
        if impersonates:
            self._headers["Impersonate-User"] = impersonates
        self._connection = http.client.HTTPSConnection(
            where.netloc, context=ssl.create_default_context(cadata=authority), timeout=30
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def request(self, method: str, path: str, body: str = "") -> None:
        """Raises RuntimeError when it is not done."""
        self._connection.request(method, path, body, self._headers)
        response = self._connection.getresponse()
        answer: Any = response.read()
        if response.status not in (200, 201):
            raise RuntimeError(f"{method} {path}: {response.status}: {answer[:300]!r}")
