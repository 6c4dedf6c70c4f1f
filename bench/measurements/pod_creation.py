"""What the doors cost each pod that is created or deleted, whoever's it is."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
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


CONTROLLER = "system:serviceaccount:kube-system:replicaset-controller"


@dataclass(slots=True)
class Case:
    """What is asked for, as if in earnest."""

    name: str
    means: str
    method: str
    path: str
    body: str = ""
    seconds: list[float] = field(default_factory=list)


def pod_creation(bed: Testbed) -> Iterator[Figure]:
    """Dry runs (everything but the write to etcd) by the ReplicaSet controller in namespaces with 0 to 200
    LosslessRollouts, in turns, over one kept-alive connection."""
    rounds = bed.choose(150, 40)
    with ExitStack() as stack:
        creations, deletions = [], []
        for count in COUNTS:
            namespace = stack.enter_context(bed.namespace(f"creation-{count}", wait=False))
            if count:
                items = [workload.lossless(f"web-{number}", namespace) for number in range(count)]
                bed.box.kubectl("apply", "-f", "-", input=as_list(items))
            target, there = f"web-{max(0, count - 1)}", f"{count} LosslessRollouts in its namespace"
            creations.append(_creation(f"targeted-{count}", f"a targeted pod, {there}", namespace, target))
            deletions.append(_deletion(bed, f"targeted-{count}", f"a targeted pod, {there}", namespace, target))
        creations.append(
            _creation(f"other-deployment-{count}", f"another Deployment's pod, {there}", namespace, "else")
        )
        creations.append(_creation(f"no-deployment-{count}", f"a pod of no Deployment, {there}", namespace, None))
        deletions.append(_deletion(bed, f"other-{count}", f"another pod, {there}", namespace, None))
        time.sleep(5)  # Admission knows of them through watches; the operator has said its word on each.
        with Connection(bed.box.kubeconfig, impersonates=CONTROLLER) as connection:
            for number in range(rounds + 5):
                for case in (*creations, *deletions):
                    began = time.perf_counter()
                    connection.request(case.method, case.path, case.body)
                    if number >= 5:  # The first ones warm everything up.
                        case.seconds.append(time.perf_counter() - began)
        for cases in (creations, deletions):
            yield from _figures(cases)


def _figures(cases: Sequence[Case]) -> Iterator[Figure]:
    """The first of them is that with no LosslessRollout."""
    bare = Spread.of(cases[0].seconds).median * 1000
    for case in cases:
        spread = Spread.of(each * 1000 for each in case.seconds)
        bar = bare + COST_BAR if case.name.endswith(f"targeted-{COUNTS[-1]}") else None
        detail = {"times_that_without": spread.median / bare}
        yield Figure(f"pod-creation.{case.name}", case.means, spread.median, "ms", bar, spread, detail)


def _creation(name: str, means: str, namespace: str, owner: str | None) -> Case:
    metadata: dict[str, Any] = {"name": "pod"}
    if owner is not None:
        reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{owner}-{HASH}", "uid": "0"}
        metadata |= {"labels": {"pod-template-hash": HASH}, "ownerReferences": [{**reference, "controller": True}]}
    path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
    return Case(f"create-{name}", f"creation of {means}", "POST", path, json.dumps(_pod(metadata)))


def _deletion(bed: Testbed, name: str, means: str, namespace: str, rollout: str | None) -> Case:
    """Of a pod that is on no node, so that the door is open for it."""
    labels = {"lossless.dev/rollout": rollout} if rollout else {}
    pod = _pod({"name": name, "namespace": namespace, "labels": labels})
    bed.box.api.request("POST", f"/api/v1/namespaces/{namespace}/pods", pod)
    path = f"/api/v1/namespaces/{namespace}/pods/{name}?dryRun=All"
    return Case(f"delete-{name}", f"deletion of {means}", "DELETE", path)


def _pod(metadata: dict[str, Any]) -> dict[str, Any]:
    spec = {"schedulerName": "nobody", "containers": [{"name": "app", "image": "none"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
