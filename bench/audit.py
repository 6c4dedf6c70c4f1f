"""Who asked the API server for what: its audit log, read back.

It is the API server's own word, so nothing that the operator does escapes it: neither Kopf's watches nor what a metric
of ours forgot to count. And it has both ends of each request to the microsecond, by one clock.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

OPERATOR: Final = "system:serviceaccount:lossless-system:lossless-operator"
REPLICASET_CONTROLLER: Final = "system:serviceaccount:kube-system:replicaset-controller"
POLICY: Final[dict[str, Any]] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "users": [OPERATOR]},
        {
            "level": "Metadata",
            "users": [REPLICASET_CONTROLLER],
            "verbs": ["delete", "create"],
            "resources": [{"group": "", "resources": ["pods"]}],
        },
        {"level": "None"},
    ],
}
"""What is logged: all that the operator asks for, and the pods that the ReplicaSet controller makes and deletes. As
little as that costs the API server nothing that could be measured."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request. Times are seconds since the epoch."""

    began: float
    ended: float
    """When it was answered; of a watch: when the answer began."""
    user: str
    verb: str
    resource: str
    """`pods`, `pods/status`; of what is no resource, the path."""
    namespace: str
    code: int

    @property
    def refused(self) -> bool:
        """It was understood and not done. What is gone already (404) was not refused."""
        return 400 <= self.code < 500 and self.code != 404

    @property
    def kind(self) -> str:
        """`patch pods/status`."""
        return f"{self.verb} {self.resource}"


class Audit:
    """The log of an API server that runs with `flags`."""

    def __init__(self, directory: Path) -> None:
        """The directory must be there, and outside the box's own."""
        self._policy = directory / "policy.json"
        self._log = directory / "audit.log"
        self._policy.write_text(json.dumps(POLICY))

    @property
    def flags(self) -> tuple[str, ...]:
        """For the API server's command line."""
        return f"--audit-policy-file={self._policy}", f"--audit-log-path={self._log}"

    def calls(self, start: float, end: float) -> tuple[Call, ...]:
        """The requests that began between these moments and have been answered."""
        with self._log.open() as lines:
            return tuple(call for call in parse(lines) if start <= call.began < end)


def parse(lines: Iterable[str]) -> Iterable[Call]:
    """The log's lines; one that is still being written is left out, and so is the end of a watch."""
    for line in lines:
        if not line.endswith("\n"):
            return
        event = json.loads(line)
        if event["verb"] == "watch" and event["stage"] != "ResponseStarted":
            continue
        if event["verb"] != "watch" and event["stage"] == "ResponseStarted":
            continue
        reference = event.get("objectRef") or {}
        parts = [reference.get("resource") or event["requestURI"].split("?")[0], reference.get("subresource")]
        yield Call(
            began=_seconds(event["requestReceivedTimestamp"]),
            ended=_seconds(event["stageTimestamp"]),
            user=event["user"]["username"],
            verb=event["verb"],
            resource="/".join(part for part in parts if part),
            namespace=reference.get("namespace", ""),
            code=(event.get("responseStatus") or {}).get("code", 0),
        )


def by(user: str, calls: Iterable[Call]) -> tuple[Call, ...]:
    """The calls of one user."""
    return tuple(call for call in calls if call.user == user)


def of_work(calls: Iterable[Call]) -> tuple[Call, ...]:
    """Without what goes on whether there is work or not: the Lease and watches."""
    return tuple(call for call in calls if call.verb != "watch" and call.resource != "leases")


def by_kind(calls: Iterable[Call]) -> dict[str, int]:
    """How many of each, the most frequent first."""
    return dict(Counter(call.kind for call in calls).most_common())


def refused_deletes(calls: Sequence[Call], namespace: str) -> int:
    """Deletes of pods of this namespace that the ReplicaSet controller was refused."""
    return sum(
        1
        for call in by(REPLICASET_CONTROLLER, calls)
        if call.kind == "delete pods" and call.namespace == namespace and call.refused
    )


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
