"""Kubernetes 1.34 serves no MutatingAdmissionPolicy: the door out holds, and the way in is the user's to add."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from localcluster.box import Box
from tests.installed import install
from tests.older import OLDER, needs_older
from tests.policies.bench import CONTROLLER_MANAGER_FLAGS, GATE, Bench, gates, make_node, ready, replica

pytestmark = needs_older
ROLLOUT = {
    "apiVersion": "lossless.dev/v1alpha1",
    "kind": "LosslessRollout",
    "metadata": {"name": "web"},
    "spec": {"targetRef": {"name": "web"}},
}


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    with Box(nodes=0, version=OLDER, controller_manager_flags=CONTROLLER_MANAGER_FLAGS) as box:
        make_node(box)
        install(box, "install-before-1.36")
        yield box


@pytest.fixture
def held(bench: Bench) -> list[str]:
    """Three admitted pods, labelled by the operator, of which one is wanted. The gate is from the pod template."""
    bench.box.api.request("POST", f"/apis/lossless.dev/v1alpha1/namespaces/{bench.ns}/losslessrollouts", ROLLOUT)
    bench.tell_policies()
    pods = bench.deployment(replicas=3, readinessGates=[GATE])
    for name in pods:
        bench.patch_status("pods", name, {"metadata": {"labels": {"lossless.dev/rollout": "web"}}})
    bench.run(*pods)
    bench.admit(*pods)
    bench.until(lambda: bench.refusal(pods[0]), "the door is shut")
    bench.scale(1)
    bench.until(lambda: bench.events("FailedDelete"), "the controller has tried")
    return pods


def test_nothing_is_put_on_pods(bench: Bench) -> None:
    bench.box.api.request("POST", f"/apis/lossless.dev/v1alpha1/namespaces/{bench.ns}/losslessrollouts", ROLLOUT)
    bench.tell_policies()
    assert gates(bench.created(replica())) == []
    assert gates(bench.created(replica(readinessGates=[GATE]))) == [GATE["conditionType"]]


def test_the_door_out_holds_and_opens(bench: Bench, held: list[str]) -> None:
    assert bench.names() == held
    bench.drain(held[1])
    bench.until_pods(2)
    bench.drain(held[0])
    assert bench.until_pods(1) == [held[2]]


def test_with_the_rollout_deleted_held_pods_go(bench: Bench, held: list[str]) -> None:
    bench.kubectl("delete", "lr", "web")
    bench.until_pods(1, timeout=60)


def test_a_withdrawn_pod_without_a_gate_is_kept_out(bench: Bench, held: list[str]) -> None:
    name = bench.withdrawn()
    bench.until(lambda: bench.refuses_status(name, ready("True")), "it is kept out")
    assert not bench.refuses_status(name, ready("False"))


def test_one_patch_of_the_status_carries_everything(bench: Bench) -> None:
    pod = bench.running()
    conditions = [{"type": GATE["conditionType"], "status": "True"}]
    body = {"metadata": {"annotations": {"lossless.dev/stage": "Ready"}}, "status": {"conditions": conditions}}
    patched = bench.patch_status("pods", pod, body)
    assert patched["metadata"]["annotations"]["lossless.dev/stage"] == "Ready"
    assert GATE["conditionType"] in {item["type"] for item in patched["status"]["conditions"]}
