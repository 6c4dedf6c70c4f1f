"""The doors and the hold for Argo Rollouts, on a real API server. Their controller is played by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.policies.bench import HASH, MERGE, Bench, gates, owner, pod, replica, sleeps

CONTROLLER = "system:serviceaccount:argo-rollouts:argo-rollouts"
DESIRED, ASKED, DEADLINE = "rollout.argoproj.io/desired-replicas", "lossless.dev/asked", "scale-down-deadline"
LABELS = {"app": "web", "rollouts-pod-template-hash": HASH}
Object = dict[str, Any]


def of_rollout(name: str = "web") -> Object:
    """A pod as the ReplicaSet of a Rollout makes it."""
    made = pod()
    made["metadata"]["labels"] = {"app": name, "rollouts-pod-template-hash": HASH}
    made["metadata"]["ownerReferences"] = [owner("ReplicaSet", f"{name}-{HASH}")]
    return made


def protect(bench: Bench, name: str = "web") -> None:
    """A LosslessRollout for it, and one more to see when admission knows of both."""
    target = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": name}
    bench.box.apply(
        {
            "apiVersion": "lossless.dev/v1alpha1",
            "kind": "LosslessRollout",
            "metadata": {"name": name, "namespace": bench.ns},
            "spec": {"targetRef": target},
        }
    )
    bench.rollout(name="marker", target="marker")


def test_a_pod_of_the_target_gets_the_gate_the_label_and_a_sleep(bench: Bench, elsewhere: Bench) -> None:
    protect(bench)
    created = bench.created(of_rollout())
    assert gates(created) == ["lossless.dev/admitted"]
    assert created["metadata"]["labels"]["lossless.dev/rollout"] == "web"
    assert sleeps(created) == {"app": {"sleep": {"seconds": 5}}}
    for who, made in (
        ("a longer name", of_rollout("web-2")),
        ("a shorter name", of_rollout("we")),
        ("a Deployment of the same name", replica("web")),
    ):
        assert not gates(bench.created(made)), who
    assert not gates(elsewhere.created(of_rollout())), "another namespace"


# -- the hold ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def held(bench: Bench) -> Bench:
    """A ReplicaSet of the Rollout that was scaled to 4, and is to keep 4."""
    protect(bench)
    subject = {"kind": "ServiceAccount", "name": "argo-rollouts", "namespace": "argo-rollouts"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    bench.box.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "argo-rollouts", "namespace": bench.ns},
            "roleRef": role,
            "subjects": [subject],
        }
    )
    body = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"web-{HASH}",
            "labels": {**LABELS, "lossless.dev/keep": "4"},
            "annotations": {DESIRED: "4", DEADLINE: "2026-01-01T00:00:00Z"},
            "ownerReferences": [owner("Rollout", "web", "argoproj.io/v1alpha1")],
        },
        "spec": {
            "replicas": 4,
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "app", "image": "app"}]}},
        },
    }
    bench.box.api.request("POST", f"/apis/apps/v1/namespaces/{bench.ns}/replicasets", body)
    bench.until(lambda: ask(bench, 1, dry=True)["spec"]["replicas"] == 4, "the hold is there")
    return bench


def ask(
    bench: Bench,
    count: int,
    user: str = CONTROLLER,
    annotations: Mapping[str, str | None] | None = None,
    dry: bool = False,
) -> Object:
    """The ReplicaSet, after that user has asked for so many of it."""
    body = {"metadata": {"annotations": {DESIRED: "4", **(annotations or {})}}, "spec": {"replicas": count}}
    path = f"/apis/apps/v1/namespaces/{bench.ns}/replicasets/web-{HASH}{'?dryRun=All' if dry else ''}"
    made: Object = bench.box.api.request("PATCH", path, body, MERGE, as_user=user)
    return made


def noted(replica_set: Object) -> dict[str, str]:
    return {key: value for key, value in replica_set["metadata"]["annotations"].items() if key in (ASKED, DESIRED)}


def test_what_its_controller_asks_for_is_noted_until_it_has_it(held: Bench) -> None:
    first = ask(held, 0, annotations={DEADLINE: None})
    assert first["spec"]["replicas"] == 4
    assert noted(first) == {ASKED: "0"}, "with desired-replicas, it would be taken for scaled"
    assert first["metadata"]["annotations"][DEADLINE], "its time is up and stays so"
    held.keep(f"web-{HASH}", "2")
    second = ask(held, 0)
    assert (second["spec"]["replicas"], noted(second)) == (2, {ASKED: "0"})
    third = ask(held, 2)
    assert (third["spec"]["replicas"], noted(third)) == (2, {DESIRED: "4"}), "it is content with what there is"
    fourth = ask(held, 3)
    assert (fourth["spec"]["replicas"], noted(fourth)) == (3, {DESIRED: "4"})
    assert ask(held, 2)["spec"]["replicas"] == 2, "no fewer than are to be kept: not held"


def test_asking_again_changes_nothing(held: Bench) -> None:
    """Else each attempt would be an event that leads to the next."""
    path = f"/apis/apps/v1/namespaces/{held.ns}/replicasets/web-{HASH}"
    held.until(lambda: held.box.api.request("GET", path)["status"]["replicas"] == 4, "nobody else writes to it")
    versions = {ask(held, 0)["metadata"]["resourceVersion"] for _ in range(3)}
    assert len(versions) == 1


def test_people_are_not_held(held: Bench) -> None:
    assert ask(held, 1, user="", dry=True)["spec"]["replicas"] == 1
