"""The door out, on a real API server: who may delete which pod, and what it says when it may not."""

from __future__ import annotations

import pytest

from localcluster.api import ApiError
from tests.policies.bench import DEPLOYMENT_CONTROLLER, GATE, LABELS, NOW, Bench, pod

CONTROLLERS = (
    "system:serviceaccount:kube-system:replicaset-controller",
    "system:serviceaccount:kube-system:statefulset-controller",
    "system:serviceaccount:kube-system:daemon-set-controller",
)
OTHERS = (
    "system:admin",
    "system:serviceaccount:kube-system:generic-garbage-collector",
    "system:serviceaccount:kube-system:namespace-controller",
    "system:serviceaccount:kube-system:pod-garbage-collector",
    "system:serviceaccount:kube-system:node-controller",
)


@pytest.mark.parametrize("controller", CONTROLLERS)
def test_a_pod_that_had_traffic_is_not_deleted_by_its_controller_before_it_is_drained(
    bench: Bench, controller: str
) -> None:
    bench.rollout()
    pod = bench.running(labels=LABELS, admitted_at=NOW)
    bench.until(lambda: bench.refusal(pod, controller), "it is refused")
    bench.drain(pod)
    assert bench.refusal(pod, controller) is None


def test_a_controller_manager_without_service_accounts_is_held_too(bench: Bench) -> None:
    bench.box.kubectl(
        "create", "clusterrolebinding", f"manager-{bench.ns}", "--clusterrole=cluster-admin",
        "--user=system:kube-controller-manager",
    )  # fmt: skip
    bench.rollout()
    pod = bench.running(labels=LABELS, admitted_at=NOW)
    bench.until(lambda: bench.refusal(pod, "system:kube-controller-manager"), "it is refused")
    bench.drain(pod)
    assert bench.refusal(pod, "system:kube-controller-manager") is None


def test_the_refusal_says_what_the_pod_waits_for(bench: Bench) -> None:
    bench.rollout()
    waiting = "address 10.244.1.7 is still in EndpointSlice web-abc\nand in another"
    pod = bench.running(labels=LABELS, admitted_at=NOW, stage="Withdrawn", waiting_for=waiting)
    refusal = bench.until(lambda: bench.refusal(pod), "it is refused")
    said = waiting.replace("\n", " ")
    assert f"waiting until the pod is drained: Withdrawn: {said}" in refusal
    assert "lossless-door-out" in refusal


def test_the_refusal_of_a_pod_that_nobody_has_withdrawn_yet_says_so(bench: Bench) -> None:
    bench.rollout()
    pod = bench.running(labels=LABELS, admitted_at=NOW)
    refusal = bench.until(lambda: bench.refusal(pod), "it is refused")
    assert "waiting until the pod is drained: not withdrawn yet: the operator" in refusal


def test_a_pod_that_was_never_admitted_has_nothing_to_drain(bench: Bench) -> None:
    held = held_door(bench)
    assert bench.refusal(bench.running("never", labels=LABELS, stage="Warming")) is None
    assert bench.refusal(held)


ETCD = {"name": "keys", "etcd": {"endpoints": ["http://etcd.default:2379"], "prefix": "web/"}}


@pytest.mark.parametrize("runs", [True, False], ids=["running", "pending"])
def test_a_pod_that_registers_itself_is_held_as_soon_as_it_is_on_a_node(bench: Bench, runs: bool) -> None:
    """Nobody in the cluster knows whether it has called itself fit, and been believed."""
    bench.rollout(traffic={"registries": [ETCD]})
    body = pod("pod", terminationGracePeriodSeconds=0)
    body["metadata"]["labels"] = dict(LABELS)
    bench.box.api.request("POST", f"/api/v1/namespaces/{bench.ns}/pods", body)
    if runs:
        bench.run("pod")
    assert "not withdrawn yet" in bench.until(lambda: bench.refusal("pod"), "it is refused")
    bench.drain("pod")
    assert bench.refusal("pod") is None


def test_one_that_is_on_no_node_yet_has_registered_itself_nowhere(bench: Bench) -> None:
    bench.rollout(traffic={"registries": [ETCD]})
    body = pod("pod", nodeName=None, nodeSelector={"there-is": "none"})
    body["metadata"]["labels"] = dict(LABELS)
    bench.box.api.request("POST", f"/api/v1/namespaces/{bench.ns}/pods", body)
    assert bench.refusal("pod") is None


def test_a_pod_that_does_not_run_is_not_held(bench: Bench) -> None:
    held = held_door(bench)
    for phase in ("Pending", "Succeeded", "Failed"):
        pod = bench.running(phase.lower(), labels=LABELS, admitted_at=NOW)
        bench.patch_status("pods", pod, {"status": {"phase": phase}})
        assert bench.refusal(pod) is None, phase
    assert bench.refusal(held)


def test_pods_of_others_are_not_held(bench: Bench) -> None:
    held = held_door(bench)
    assert bench.refusal(bench.running("bare", admitted_at=NOW)) is None
    assert bench.refusal(bench.running("other", labels={"lossless.dev/rollout": "other"}, admitted_at=NOW)) is None
    assert bench.refusal(held)


def test_a_rollout_reaches_no_pod_of_another_namespace(bench: Bench, elsewhere: Bench) -> None:
    """Whoever may write LosslessRollouts in one namespace gains nothing in another, whatever their names."""
    held = held_door(bench)
    pod = elsewhere.running(labels=LABELS, admitted_at=NOW)
    assert elsewhere.refusal(pod) is None
    assert bench.refusal(held)


def test_everybody_else_may_delete_what_they_like(bench: Bench) -> None:
    held = held_door(bench)
    for user in OTHERS:
        refusal = bench.refusal(held, user)
        assert refusal is None or "cannot delete resource" in refusal, refusal  # whom RBAC forbids, we needn't allow
    bench.kubectl("delete", "pod", held, "--wait=false")
    assert held not in bench.names()


def test_an_eviction_passes(bench: Bench) -> None:
    held = held_door(bench)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": held}}
    bench.box.api.request("POST", f"/api/v1/namespaces/{bench.ns}/pods/{held}/eviction", eviction)
    bench.until(lambda: not bench.exists(f"/api/v1/namespaces/{bench.ns}/pods/{held}"), "it is gone")


def test_in_observe_nobody_is_held(bench: Bench) -> None:
    held = held_door(bench)
    bench.kubectl("patch", "lr", "web", "--type=merge", "-p", '{"spec": {"mode": "Observe"}}')
    bench.tell_policies()
    bench.until(lambda: bench.refusal(held) is None, "the door is open")


def test_a_rollout_that_is_being_deleted_holds_nobody_even_if_its_finalizer_is_stuck(bench: Bench) -> None:
    held = held_door(bench)
    bench.kubectl("patch", "lr", "web", "--type=merge", "-p", '{"metadata": {"finalizers": ["example.com/stuck"]}}')
    bench.kubectl("delete", "lr", "web", "--wait=false")
    bench.tell_policies()
    bench.until(lambda: bench.refusal(held) is None, "the door is open")
    bench.kubectl("patch", "lr", "web", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')


def test_the_gate_can_be_opened_by_hand(bench: Bench) -> None:
    """The break-glass way in when there is no operator."""
    bench.rollout()
    (pod,) = bench.deployment()
    bench.run(pod)
    opened = '{"status": {"conditions": [{"type": "lossless.dev/admitted", "status": "True"}]}}'
    bench.kubectl("patch", "pod", pod, "--subresource=status", "-p", opened)
    conditions = {item["type"]: item["status"] for item in bench.pods()[0]["status"]["conditions"]}
    assert conditions[GATE["conditionType"]] == "True"


def test_the_deployment_controller_is_not_who_deletes_pods(bench: Bench) -> None:
    held = held_door(bench)
    refusal = bench.refusal(held, DEPLOYMENT_CONTROLLER)
    assert refusal is None or "lossless" not in refusal


def test_one_patch_of_a_pods_status_carries_a_condition_and_annotations_and_labels(bench: Bench) -> None:
    """The operator's way to write: one atomic change, and no right to any pod's spec."""
    pod = bench.running()
    body = {
        "metadata": {"annotations": {"lossless.dev/stage": "Ready"}, "labels": {"lossless.dev/rollout": "web"}},
        "spec": {"activeDeadlineSeconds": 1},
        "status": {"conditions": [{"type": GATE["conditionType"], "status": "True"}]},
    }
    patched = bench.patch_status("pods", pod, body)
    assert patched["metadata"]["annotations"]["lossless.dev/stage"] == "Ready"
    assert patched["metadata"]["labels"]["lossless.dev/rollout"] == "web"
    assert {"ContainersReady", GATE["conditionType"]} <= {item["type"] for item in patched["status"]["conditions"]}
    assert "activeDeadlineSeconds" not in patched["spec"]
    gone = bench.patch_status("pods", pod, {"metadata": {"annotations": {"lossless.dev/stage": None}}})
    assert "annotations" not in gone["metadata"]
    for stale, status in (({"resourceVersion": "1"}, 409), ({"uid": "of another pod of that name"}, 422)):
        with pytest.raises(ApiError) as refused:
            bench.patch_status("pods", pod, {"metadata": {**stale, "annotations": {"lossless.dev/stage": "x"}}})
        assert refused.value.status == status


def held_door(bench: Bench) -> str:
    """A pod that is seen to be held: the policy is at work."""
    bench.rollout()
    pod = bench.running("held", labels=LABELS, admitted_at=NOW)
    bench.until(lambda: bench.refusal(pod), "it is refused")
    return pod
