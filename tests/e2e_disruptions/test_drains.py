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
from tests.side_by_side import side_by_side

QUICK = {"settle": "3s"}


@pytest.fixture(autouse=True)
def _nodes_come_back(box: Box) -> Iterator[None]:
    yield
    heal(box)


def budgets(app: Web) -> list[str]:
    return [one["metadata"]["name"] for one in app.box.listed("poddisruptionbudgets", app.namespace)]


def drain_in_turn(box: Box, *apps: Web) -> None:
    """Each node is emptied and comes back, as in an upgrade of the cluster."""
    for node in NODES:
        drain(box, node)
        for app in apps:
            assert not [pod for pod in app.pods() if pod["spec"].get("nodeName") == node and not going(pod)]
        box.kubectl("uncordon", node)
        box.wait_until(lambda: all(app.quiet() for app in apps), 40, "all wanted pods are there")


def going(pod: dict[str, object]) -> bool:
    return "deletionTimestamp" in pod["metadata"]  # type: ignore[operator]


def test_nodes_drained_in_turn_lose_nothing_and_with_the_gate_all_that_are_wanted_serve(
    web: Callable[..., Web], operator: Operator, box: Box
) -> None:
    plain, graceful = side_by_side(web().deploy, lambda: web().gated(drain=QUICK))
    gate = web().gated(drain={**QUICK, "disruption": "Gate"})
    box.wait_until(lambda: budgets(gate) == ["web-lossless"], 10, "evictions wait")
    with (
        running(box, Plan(rate=50, callers=plain.callers()), namespace=plain.namespace) as without,
        running(box, Plan(rate=50, callers=graceful.callers()), namespace=graceful.namespace) as gracefully,
        running(box, Plan(rate=50, callers=gate.callers()), namespace=gate.namespace) as waiting,
        watching(gate) as seen,
    ):
        drain_in_turn(box, plain, graceful, gate)
        lost, outcome, gated = without.finish(), gracefully.finish(), waiting.finish()
    assert lost.lost
    assert not outcome.lost, outcome.explain()
    assert not gated.lost, gated.explain()
    assert seen.fewest == 4
    assert "SkippedTheDoor" in reasons(graceful)
    assert not {"SkippedTheDoor", "CalculateExpectedPodCountFailed"} & set(reasons(gate))
    for app in (plain, graceful, gate):
        box.kubectl("delete", "deployment", "web", "-n", app.namespace, "--wait=false")


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
