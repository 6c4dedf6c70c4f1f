"""Argo Rollouts under load: their controller says how many pods of which revision, and nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from localcluster.box import Box
from localcluster.load import Outcome
from localcluster.servers.argo_rollouts import ArgoRollouts
from tests.e2e.argo import Argo
from tests.e2e.operators import Operator
from tests.e2e.owned import under_load
from tests.side_by_side import side_by_side

BLUE_GREEN = {"activeService": "web", "previewService": "web-preview", "scaleDownDelaySeconds": 1}
AUTOSCALER = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "spec": {
        "scaleTargetRef": {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web"},
        "maxReplicas": 10,
        "behavior": {"scaleDown": {"selectPolicy": "Max"}},
    },
}
MakeArgo = Callable[..., Argo]


def steps(*every: Any, **limits: Any) -> dict[str, Any]:
    return {"canary": {"maxSurge": "50%", "maxUnavailable": 0, **limits, "steps": list(every)}}


@pytest.fixture(scope="module")
def controller(box: Box) -> Iterator[ArgoRollouts]:
    with ArgoRollouts(box) as running:
        yield running


@pytest.fixture
def argo(box: Box, make_namespace: Callable[[], str]) -> MakeArgo:
    """Makes one in a namespace of its own."""

    def make(**changes: Any) -> Argo:
        return Argo(box, make_namespace(), **changes)

    return make


def test_where_there_is_no_such_kind_it_is_said(argo: MakeArgo, operator: Operator) -> None:
    app = argo().protect()
    app.box.wait_until(lambda: app.condition("Accepted")["status"] == "False", 30, "it is said")
    assert app.condition("Accepted")["reason"] == "TargetKindNotServed"


def test_plain_ones_lose_requests(argo: MakeArgo, controller: ArgoRollouts) -> None:
    """The negative controls: without them, the zeros below would prove nothing. Each is scaled in as well: on an
    idle machine blue-green's delay of a second is enough for kube-proxy, and its release loses nothing."""

    def released(plain: Argo) -> Outcome:
        plain.deploy()
        return under_load(
            plain,
            ("release", lambda: plain.release("2")),
            ("until it is there", plain.wait_until_rolled_out),
            ("scale in", lambda: plain.scale(1)),
            ("until it is there", plain.wait_until_rolled_out),
        )

    canary, blue_green = argo(strategy=steps()), argo(strategy={"blueGreen": BLUE_GREEN})
    for outcome in side_by_side(lambda: released(canary), lambda: released(blue_green)):
        assert outcome.lost, outcome.summary()


def test_a_canary_loses_nothing_in_a_storm(argo: MakeArgo, controller: ArgoRollouts, operator: Operator) -> None:
    """A pause at which both revisions are wanted; another release on top, aborted and tried again; scale 4→6→2."""
    app = argo(strategy=steps({"setWeight": 50}, {"pause": {}})).gated()
    seen: list[Any] = []
    outcome = under_load(
        app,
        ("release", lambda: app.release("2")),
        ("until it pauses", lambda: app.wait_for("Paused")),
        ("at rest", app.wait_until_cared_for),
        ("look", lambda: seen.append((app.versions(), app.lossless()["status"]["revision"]["old"]))),
        ("another on top", lambda: app.release("3")),
        ("and on", lambda: time.sleep(3)),
        ("abort", app.abort),
        ("until it is aborted", lambda: app.box.wait_until(lambda: app.versions() == {"1": 4}, 60, "all are back")),
        ("retry", app.retry),
        ("until it pauses", lambda: app.wait_for("Paused")),
        ("promote", app.promote),
        ("scale out", lambda: app.scale(6)),
        ("until it is there", app.wait_until_rolled_out),
        ("scale in", lambda: app.scale(2)),
        ("until it is there", app.wait_until_rolled_out),
    )
    assert not outcome.lost, outcome.explain()
    assert seen == [({"1": 2, "2": 2}, 2)]
    app.wait_until_cared_for()


def test_a_canary_by_its_defaults_loses_nothing(argo: MakeArgo, controller: ArgoRollouts, operator: Operator) -> None:
    """25 % more and 25 % less at a time: its controller is refused deletions here, since it won't wait for the hold."""
    app = argo(strategy={"canary": {}}).gated()
    outcome = under_load(
        app,
        ("release", lambda: app.release("2")),
        ("until it is there", app.wait_until_rolled_out),
        ("scale in", lambda: app.scale(2)),
        ("until it is there", app.wait_until_rolled_out),
    )
    assert not outcome.lost, outcome.explain()


def test_a_blue_green_one_loses_nothing_in_a_storm(
    argo: MakeArgo, controller: ArgoRollouts, operator: Operator
) -> None:
    """A release, another on top, and back to the first while its pods are on their way out; scale 4→2. Its autoscaler
    is held meanwhile."""
    app = argo(strategy={"blueGreen": BLUE_GREEN}).gated()
    app.box.apply(AUTOSCALER | {"metadata": {"name": "web", "namespace": app.namespace}})
    outcome = under_load(
        app,
        ("release", lambda: app.release("2")),
        ("until its autoscaler is held", lambda: app.box.wait_until(lambda: _scale_in(app) == "Disabled", 30, "held")),
        ("until it is there", app.wait_until_rolled_out),
        ("another", lambda: app.release("3")),
        ("and on", lambda: time.sleep(1)),
        ("another on top", lambda: app.release("4")),
        ("until the old ones go", lambda: app.box.wait_until(lambda: _leave(app, "2"), 60, "they go")),
        ("undo", lambda: app.release("2")),
        ("until it is there", app.wait_until_rolled_out),
        ("scale in", lambda: app.scale(2)),
        ("until it is there", app.wait_until_rolled_out),
    )
    assert not outcome.lost, outcome.explain()
    assert app.refused() == 0, "the hold keeps its ReplicaSet controller from knocking at the door"
    app.wait_until_cared_for()
    app.box.kubectl("delete", "losslessrollout", "web", "-n", app.namespace)
    app.box.wait_until(lambda: not _marks(app), 30, "nothing of ours is left")
    app.box.wait_until(lambda: _scale_in(app) == "Max", 30, "its autoscaler is its owner's again")


def _marks(app: Argo) -> set[str]:
    """What of ours is on its ReplicaSets, pods and autoscaler."""
    every = [*app.box.listed("replicasets.apps", app.namespace), *app.pods(), *app.box.listed("hpa", app.namespace)]
    marks = {key for one in every for kind in ("labels", "annotations") for key in one["metadata"].get(kind, {})}
    return {key for key in marks if key.startswith("lossless.dev/")}


def _scale_in(app: Argo) -> Any:
    return app.box.get("hpa", "web", app.namespace)["spec"]["behavior"]["scaleDown"]["selectPolicy"]


def _leave(app: Argo, version: str) -> bool:
    stages = app.stages()
    mine = [pod for pod in app.pods() if pod["spec"]["containers"][0]["env"][0]["value"] == version]
    return any(stages.get(pod["metadata"]["name"]) in ("Withdrawn", "Draining") for pod in mine)
