"""Kubeconfigs: written as JSON, which is YAML."""

from __future__ import annotations

import base64
import json
from pathlib import Path


def write(path: Path, *, server: str, ca: Path, user: str, token: str, namespace: str = "default") -> Path:
    """One cluster, one user with a bearer token, readable by its owner only."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "localcluster",
        "contexts": [
            {
                "name": "localcluster",
                "context": {"cluster": "localcluster", "user": user, "namespace": namespace},
            }
        ],
        "clusters": [
            {
                "name": "localcluster",
                "cluster": {
                    "server": server,
                    # Inline, so that the file can be copied and still works.
                    "certificate-authority-data": base64.b64encode(ca.read_bytes()).decode(),
                },
            }
        ],
        "users": [{"name": user, "user": {"token": token}}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path
