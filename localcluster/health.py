"""Whether the parts of a box are well, by their own word."""

from __future__ import annotations

import ssl
from datetime import datetime

from localcluster.api import Api, ApiError
from localcluster.asking import answer_of

ANSWER_WITHIN = 5.0
"""Seconds."""


def answers(url: str) -> bool:
    """Whether a GET of this health endpoint succeeds."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # they sign their own
    return answer_of(url, ANSWER_WITHIN, context if url.startswith("https:") else None) is not None


def node_is_ready(api: Api, name: str, since: datetime) -> bool:
    """Whether pods can be sent there, by the word of an agent that was started at `since`.

    What an agent that was killed wrote still stands; a heartbeat after that moment tells the two apart.
    """
    try:
        node = api.request("GET", f"/api/v1/nodes/{name}")
        lease = api.request("GET", f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}")
    except ApiError:
        return False
    renewed = datetime.fromisoformat(lease["spec"]["renewTime"])
    conditions = {condition["type"]: condition["status"] for condition in node["status"].get("conditions", [])}
    return (
        renewed > since
        and conditions.get("Ready") == "True"
        and not node["spec"].get("taints")  # until it is gone the scheduler sends nothing there
    )
