"""What the door in costs each pod that is created, whoever's it is."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from bench import workload
from bench.connection import Connection
from bench.figure import Figure
from bench.spread import Spread
from bench.testbed import Testbed, as_list

HASH = "5d4c8b7f9"
COUNTS = (0, 1, 10, 100, 200)
COST_BAR = 10
"""Milliseconds more with the most of them (issue 5)."""


@dataclass(slots=True)
class Case:
    """A pod, and where it is created."""

    name: str
    means: str
    path: str
    body: str
    seconds: list[float] = field(default_factory=list)


def pod_creation(bed: Testbed) -> Iterator[Figure]:
    """Dry-run creations (everything but the write to etcd) in namespaces with 0 to 200 LosslessRollouts, in turns, over
    one kept-alive connection."""
    rounds = bed.choose(150, 40)
    with ExitStack() as stack:
        cases = []
        for count in COUNTS:
            namespace = stack.enter_context(bed.namespace(f"creation-{count}", wait=False))
            if count:
                items = [workload.lossless(f"web-{number}", namespace) for number in range(count)]
                bed.box.kubectl("apply", "-f", "-", input=as_list(items))
            means = f"creation of a targeted pod, {count} LosslessRollouts in its namespace"
            cases.append(_case(f"targeted-{count}", means, namespace, owner=f"web-{max(0, count - 1)}"))
        means = f"creation of a pod of another Deployment, {count} LosslessRollouts in its namespace"
        cases.append(_case(f"other-deployment-{count}", means, namespace, owner="somebody-else"))
        means = f"creation of a pod of no Deployment, {count} LosslessRollouts in its namespace"
        cases.append(_case(f"no-deployment-{count}", means, namespace, owner=None))
        time.sleep(5)  # Admission knows of them through watches; the operator has said its word on each.
        with Connection(bed.box.kubeconfig) as connection:
            for number in range(rounds + 5):
                for case in cases:
                    began = time.perf_counter()
                    connection.post(case.path, case.body)
                    if number >= 5:  # The first ones warm everything up.
                        case.seconds.append(time.perf_counter() - began)
        bare = Spread.of(cases[0].seconds).median
        for case in cases:
            spread = Spread.of(each * 1000 for each in case.seconds)
            detail = {"times_that_without": spread.median / 1000 / bare}
            bar = bare * 1000 + COST_BAR if case.name == f"targeted-{COUNTS[-1]}" else None
            yield Figure(f"pod-creation.{case.name}", case.means, spread.median, "ms", bar, spread, detail)


def _case(name: str, means: str, namespace: str, owner: str | None) -> Case:
    metadata: dict[str, Any] = {"name": "pod"}
    if owner is not None:
        reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{owner}-{HASH}", "uid": "0"}
        metadata |= {"labels": {"pod-template-hash": HASH}, "ownerReferences": [{**reference, "controller": True}]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [{"name": "app", "image": "none"}]},
    }
    return Case(name, means, f"/api/v1/namespaces/{namespace}/pods?dryRun=All", json.dumps(pod))
