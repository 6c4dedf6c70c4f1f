"""The door in for pods that a StatefulSet or a DaemonSet owns itself, on a real API server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.policies.bench import HASH, Bench, gates, owner, pod, replica, sleeps

OURS = "lossless.dev/admitted"
LABEL = "lossless.dev/rollout"
KINDS = ("StatefulSet", "DaemonSet")


def of(kind: str, name: str = "web", api_version: str = "apps/v1") -> dict[str, Any]:
    """A pod as the controller of that kind makes it."""
    made = pod()
    made["metadata"]["labels"] = {"app": name, "controller-revision-hash": HASH}
    made["metadata"]["ownerReferences"] = [owner(kind, name, api_version)]
    return made


def protect(bench: Bench, kind: str, name: str = "web") -> None:
    """A LosslessRollout for it, and one more to see when admission knows of both."""
    bench.box.apply(
        {
            "apiVersion": "lossless.dev/v1alpha1",
            "kind": "LosslessRollout",
            "metadata": {"name": name, "namespace": bench.ns},
            "spec": {"targetRef": {"kind": kind, "name": name}},
        }
    )
    bench.rollout(name="marker", target="marker")


def untouched(bench: Bench, made: dict[str, Any]) -> bool:
    created = bench.created(made)
    return not gates(created) and LABEL not in created["metadata"].get("labels", {}) and not sleeps(created)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pod_of_the_target_gets_the_gate_the_label_and_a_sleep(bench: Bench, kind: str) -> None:
    protect(bench, kind)
    created = bench.created(of(kind))
    assert gates(created) == [OURS]
    assert created["metadata"]["labels"][LABEL] == "web"
    assert sleeps(created) == {"app": {"sleep": {"seconds": 5}}}


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_else_is_touched(bench: Bench, elsewhere: Bench, kind: str) -> None:
    protect(bench, kind)
    (other,) = set(KINDS) - {kind}
    assert untouched(bench, of(other)), "another kind of the same name"
    assert untouched(bench, of(kind, "web-2")), "a longer name"
    assert untouched(bench, of(kind, "we")), "a shorter name"
    assert untouched(bench, of(kind, api_version="apps.example.com/v1")), "somebody else's kind of the same name"
    assert untouched(bench, replica("web")), "a Deployment of the same name"
    assert untouched(elsewhere, of(kind)), "another namespace"


def test_the_pods_that_a_real_stateful_set_makes_have_it(bench: Bench) -> None:
    protect(bench, "StatefulSet")
    labels = {"app": "web"}
    template = {"nodeName": "by-hand", "containers": [{"name": "app", "image": "app"}]}
    spec = {"replicas": 1, "serviceName": "web", "selector": {"matchLabels": labels}}
    bench.box.apply(
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": "web", "namespace": bench.ns},
            "spec": {**spec, "template": {"metadata": {"labels": labels}, "spec": template}},
        }
    )
    bench.until_pods(1)
    (made,) = bench.pods()
    assert gates(made) == [OURS]
    assert made["metadata"]["labels"][LABEL] == "web"
