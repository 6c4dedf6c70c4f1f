"""A withdrawn pod without a gate, on a real API server: its kubelet may not call it ready again."""

from __future__ import annotations

import pytest

from tests.policies.bench import GATE, LABELS, NOW, Bench, ready


def kept_out(bench: Bench) -> str:
    """With a LosslessRollout that admission knows of."""
    bench.rollout()
    name = bench.withdrawn()
    bench.until(lambda: bench.refuses_status(name, ready("True")), "it is kept out")
    return name


@pytest.mark.parametrize("stage", ["Withdrawn", "Draining", "Drained"])
def test_its_kubelet_may_not_call_it_ready_while_it_is_on_its_way_out(bench: Bench, stage: str) -> None:
    name = kept_out(bench)
    bench.annotate(name, stage=stage)
    assert bench.refuses_status(name, ready("True"))


def test_whatever_else_its_kubelet_says_of_it_passes(bench: Bench) -> None:
    name = kept_out(bench)
    assert not bench.refuses_status(name, ready("False", message="its containers have ended"))
    ended = {"phase": "Failed", "conditions": [{"type": "Ready", "status": "False"}]}
    assert not bench.refuses_status(name, {"status": ended})


def test_the_operator_says_of_it_what_it_likes(bench: Bench) -> None:
    assert not bench.refuses_status(kept_out(bench), ready("True"), as_user="system:admin", as_group="system:masters")


def test_let_in_again_it_is_as_ready_as_its_kubelet_says(bench: Bench) -> None:
    name = kept_out(bench)
    bench.annotate(name, stage="Admitted")
    assert not bench.refuses_status(name, ready("True"))


def test_other_pods_are_as_ready_as_their_kubelets_say(bench: Bench) -> None:
    kept = kept_out(bench)
    gated = bench.withdrawn("gated", readinessGates=[GATE])
    bare = bench.withdrawn("bare", labels={})
    other = bench.withdrawn("other", labels={"lossless.dev/rollout": "other"})
    serving = bench.running("serving", labels=LABELS, admitted_at=NOW, stage="Admitted")
    for name in (gated, bare, other, serving):
        assert not bench.refuses_status(name, ready("True")), name
    assert bench.refuses_status(kept, ready("True"))


def test_a_rollout_reaches_no_pod_of_another_namespace(bench: Bench, elsewhere: Bench) -> None:
    kept_out(bench)
    assert not elsewhere.refuses_status(elsewhere.withdrawn(), ready("True"))


def test_without_its_rollout_it_is_as_ready_as_its_kubelet_says(bench: Bench) -> None:
    """Nobody has to be there to let it in again: its kubelet does, at its next sync."""
    name = kept_out(bench)
    bench.kubectl("delete", "lr", "web")
    bench.until(lambda: not bench.refuses_status(name, ready("True")), "it may be called ready", timeout=60)


def test_in_observe_it_is_as_ready_as_its_kubelet_says(bench: Bench) -> None:
    name = kept_out(bench)
    bench.kubectl("patch", "lr", "web", "--type=merge", "-p", '{"spec": {"mode": "Observe"}}')
    bench.tell_policies()
    bench.until(lambda: not bench.refuses_status(name, ready("True")), "it may be called ready")
