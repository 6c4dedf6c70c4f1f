"""Nodes that are drained or taken away, under load."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from localcluster.box import Box
from localcluster.load import Plan, running
from tests.e2e.operators import Operator
from tests.e2e.workloads import Web
from tests.e2e_disruptions.nodes import NODES, drain, heal, on, reasons, taint, watching

QUICK = {"settle": "3s"}


@pytest.fixture(autouse=True)
def _nodes_come_back(box: Box) -> Iterator[None]:
    yield
    heal(box)


def budgets(app: Web) -> list[str]:
    return [one["metadata"]["name"] for one in app.box.listed("poddisruptionbudgets", app.namespace)]


def drain_in_turn(app: Web) -> None:
    """Each node is emptied and comes back, as in an upgrade of the cluster."""
    for node in NODES:
        drain(app.box, node)
        assert not [pod for pod in app.pods() if pod["spec"].get("nodeName") == node and not going(pod)]
        app.box.kubectl("uncordon", node)
        app.box.wait_until(app.quiet, 40, "all wanted pods are there")


def going(pod: dict[str, object]) -> bool:
    return "deletionTimestamp" in pod["metadata"]  # type: ignore[operator]


def test_draining_nodes_of_a_plain_deployment_loses_requests(web: Callable[..., Web]) -> None:
    plain = web().deploy()
    with running(plain.box, Plan(rate=100, callers=plain.callers()), namespace=plain.namespace) as run:
        for node in NODES[:2]:
            drain(plain.box, node)
            plain.box.kubectl("uncordon", node)
        time.sleep(1)
        outcome = run.finish()
    assert outcome.lost


def test_nodes_drained_in_turn_lose_nothing(web: Callable[..., Web], operator: Operator, box: Box) -> None:
    app = web().gated(drain=QUICK)
    with running(box, Plan(rate=100, callers=app.callers()), namespace=app.namespace) as run:
        drain_in_turn(app)
        outcome = run.finish()
    assert not outcome.lost, outcome.explain()


def test_with_the_gate_never_fewer_serve_than_are_wanted(web: Callable[..., Web], operator: Operator, box: Box) -> None:
    app = web().gated(drain={**QUICK, "disruption": "Gate"})
    box.wait_until(lambda: budgets(app) == ["web-lossless"], 10, "evictions wait")
    with running(box, Plan(rate=100, callers=app.callers()), namespace=app.namespace) as run, watching(app) as seen:
        drain_in_turn(app)
        outcome = run.finish()
    assert not outcome.lost, outcome.explain()
    assert seen.fewest == 4
    assert "SkippedTheDoor" not in reasons(app)
    assert "CalculateExpectedPodCountFailed" not in reasons(app)


def test_pods_go_through_the_doors_before_an_autoscaler_takes_their_node(
    web: Callable[..., Web], operator: Operator, box: Box
) -> None:
    app = web().gated(drain=QUICK)
    taint(box, "node-1", "DeletionCandidateOfClusterAutoscaler", "PreferNoSchedule")
    there = on(app, "node-1")
    assert there
    with running(box, Plan(rate=100, callers=app.callers()), namespace=app.namespace) as run, watching(app) as seen:
        time.sleep(2)
        assert on(app, "node-1") == there, "a candidate may stay"
        taint(box, "node-1", "ToBeDeletedByClusterAutoscaler")
        box.wait_until(lambda: not on(app, "node-1"), 60, "the node is empty, and nobody has evicted anybody")
        taint(box, "node-2", "karpenter.sh/disrupted")
        box.wait_until(lambda: not on(app, "node-2"), 60, "so is the other one")
        box.wait_until(app.quiet, 30, "as many as are wanted, and no more")
        outcome = run.finish()
    assert not outcome.lost, outcome.explain()
    assert seen.fewest == 4
    assert "SkippedTheDoor" not in reasons(app)


def test_a_budget_of_the_user_is_respected_and_never_doubled(
    web: Callable[..., Web], operator: Operator, box: Box
) -> None:
    app = web().gated(drain={**QUICK, "disruption": "Gate"})
    box.wait_until(lambda: budgets(app) == ["web-lossless"], 10, "evictions wait")
    box.kubectl("create", "pdb", "own", "--selector=app=web", "--max-unavailable=1", "-n", app.namespace)
    box.wait_until(lambda: budgets(app) == ["own"], 10, "ours is gone")
    box.wait_until(
        lambda: "EvictionsNotGated" in [one["reason"] for one in app.lossless()["status"]["findings"]], 10, "it is said"
    )
    with running(box, Plan(rate=100, callers=app.callers()), namespace=app.namespace) as run, watching(app) as seen:
        drain(box, "node-1")
        outcome = run.finish()
    assert not outcome.lost, outcome.explain()
    assert seen.fewest >= 3
    box.kubectl("delete", "pdb", "own", "-n", app.namespace)
    box.wait_until(lambda: budgets(app) == ["web-lossless"], 10, "evictions wait again")


def test_a_node_that_comes_back_keeps_its_pods_and_a_change_of_mind_leaves_nothing(
    web: Callable[..., Web], operator: Operator, box: Box
) -> None:
    app = web().gated(drain={**QUICK, "disruption": "Gate"})
    box.kubectl("cordon", "node-1")
    box.wait_until(lambda: len(app.pods()) > 4, 20, "another one comes first")
    box.kubectl("uncordon", "node-1")
    box.kubectl("delete", "losslessrollout", "web", "-n", app.namespace)
    box.wait_until(lambda: app.quiet() and not budgets(app), 40, "as many as are wanted, and evictions pass")
    assert not [pod for pod in app.pods() if "lossless.dev/inside" in pod["metadata"]["labels"]]
