"""StatefulSets and DaemonSets under load: each by its own rule, and nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from localcluster.box import Box
from tests.e2e.operators import Operator
from tests.e2e.owned import Owned, under_load

PARALLEL = {"podManagementPolicy": "Parallel"}
MakeOwned = Callable[..., Owned]


def rolling(**limits: Any) -> dict[str, Any]:
    return {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": limits}}


@pytest.fixture
def owned(box: Box, make_namespace: Callable[[], str]) -> MakeOwned:
    """Makes one in a namespace of its own."""

    def make(kind: str, **changes: Any) -> Owned:
        return Owned(box, make_namespace(), kind=kind, **changes)

    return make


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_a_plain_one_loses_requests(owned: MakeOwned, kind: str) -> None:
    """The negative control: without it, the zeros below would prove nothing."""
    plain = owned(kind, replicas=2).deploy()
    outcome = under_load(plain, ("release", lambda: plain.release("2")), ("wait", plain.wait_until_rolled_out))
    assert outcome.lost, outcome.summary()


def test_a_plain_on_delete_loses_requests_when_a_pod_is_deleted(owned: MakeOwned) -> None:
    plain = owned("StatefulSet", replicas=2, spec={**PARALLEL, "updateStrategy": {"type": "OnDelete"}}).deploy()
    deletions = [("delete", lambda: delete(plain, "web-0")), ("wait", lambda: time.sleep(4))]  # a few: one may go well
    outcome = under_load(plain, *deletions * 4)
    assert outcome.lost, outcome.summary()


def test_a_stateful_set_in_order_loses_nothing_in_a_storm(owned: MakeOwned, operator: Operator) -> None:
    """Release, another on top, undo, scale 4→6→2: each in the middle of the one before. One pod is missing at most."""
    app = owned("StatefulSet").gated()
    assert findings(app) == {"NoSurge"}
    outcome = under_load(
        app,
        ("release", lambda: app.release("2")),
        ("until one is new", lambda: app.box.wait_until(lambda: "2" in app.versions().values(), 60, "one is new")),
        ("another on top", lambda: app.release("3")),
        ("and on", lambda: time.sleep(6)),
        ("undo", app.undo),
        ("and on", lambda: time.sleep(3)),
        ("scale out", lambda: app.scale(6)),
        ("until it is there", app.wait_until_rolled_out),
        ("scale in", lambda: app.scale(2)),
        ("until it is there", app.wait_until_rolled_out),
    )
    assert not outcome.lost, outcome.explain()
    assert set(app.versions()) == {"web-0", "web-1"}
    app.wait_until_cared_for()


def test_a_parallel_stateful_set_loses_nothing_and_keeps_to_its_strategy(owned: MakeOwned, operator: Operator) -> None:
    """A release down to a partition, and to the end; then one OnDelete, where people delete; then a scale-in.

    Who is deleted by hand is past the door: its preStop sleep saves what there is to save.
    """
    app = owned("StatefulSet", replicas=3, spec={**PARALLEL, **rolling(partition=2)}).gated()
    seen: list[dict[str, str]] = []
    outcome = under_load(
        app,
        ("release of one", lambda: app.release("2")),
        ("until it is there", app.wait_until_rolled_out),
        ("at rest", app.wait_until_cared_for),
        ("look", lambda: seen.append(app.versions())),
        ("release of all", lambda: app.patch(**rolling(partition=0))),
        ("until it is there", app.wait_until_rolled_out),
        ("on delete", lambda: app.patch(updateStrategy={"type": "OnDelete", "rollingUpdate": None})),
        ("release", lambda: app.release("3")),
        ("nothing happens", lambda: time.sleep(3)),
        ("at rest", app.wait_until_cared_for),
        ("look", lambda: seen.append(app.versions())),
        ("delete", lambda: delete(app, "web-0")),
        ("until it is back", lambda: app.box.wait_until(lambda: "3" in app.versions().values(), 60, "one is new")),
        ("at rest", app.wait_until_cared_for),
        ("scale in", lambda: app.scale(2)),
        ("until it is gone", lambda: app.box.wait_until(lambda: len(app.pods()) == 2, 60, "one has gone")),
    )
    assert not outcome.lost, outcome.explain()
    assert seen == [{"web-0": "1", "web-1": "1", "web-2": "2"}, {"web-0": "2", "web-1": "2", "web-2": "2"}]
    assert app.versions() == {"web-0": "3", "web-1": "2"}


def test_a_daemon_set_loses_nothing_with_and_without_surge(owned: MakeOwned, operator: Operator) -> None:
    """Pods that ran before are released without surge; then one with it, undone; then one OnDelete, where people delete
    (past the door, as above); then a node may have none any more.
    """
    app = owned("DaemonSet").deploy().protect()
    app.wait_until_cared_for()
    assert findings(app) >= {"UngatedPods", "NoSurge"}
    node = app.box.node_names[1]
    app.box.kubectl("label", "node", *app.box.node_names, f"{app.namespace}=yes")
    seen: list[set[str]] = []
    outcome = under_load(
        app,
        ("release", lambda: app.release("2")),
        ("until it is there", app.wait_until_rolled_out),
        ("surge", lambda: app.patch(**rolling(maxSurge=1, maxUnavailable=0))),
        ("release", lambda: app.release("3")),
        ("and on", lambda: time.sleep(4)),
        ("undo", app.undo),
        ("until it is there", app.wait_until_rolled_out),
        ("on delete", lambda: app.patch(updateStrategy={"type": "OnDelete", "rollingUpdate": None})),
        ("release", lambda: app.release("4")),
        ("nothing happens", lambda: time.sleep(3)),
        ("at rest", app.wait_until_cared_for),
        ("look", lambda: seen.append(set(app.versions().values()))),
        ("delete", lambda: delete(app, next(iter(app.versions())))),
        ("until it is back", lambda: app.box.wait_until(lambda: "4" in app.versions().values(), 60, "one is new")),
        ("at rest", app.wait_until_cared_for),
        ("look", lambda: seen.append(set(app.versions().values()))),
        ("by itself again", lambda: app.patch(**rolling(maxSurge=1, maxUnavailable=0))),
        ("until it is there", app.wait_until_rolled_out),
        ("only where labelled", lambda: app.patch(template={"spec": {"nodeSelector": {app.namespace: "yes"}}})),
        ("until it is there", app.wait_until_rolled_out),
        ("wanted there no more", lambda: app.box.kubectl("label", "node", node, f"{app.namespace}-")),
        ("until it has gone", lambda: app.box.wait_until(lambda: len(app.pods()) == 1, 60, "one has gone")),
    )
    assert not outcome.lost, outcome.explain()
    assert seen == [{"2"}, {"2", "4"}]
    assert set(app.versions().values()) == {"4"}


def test_one_that_is_given_back_is_its_own_controllers_again(owned: MakeOwned, operator: Operator) -> None:
    app = owned("StatefulSet", replicas=2, spec=PARALLEL).gated()
    app.release("2")
    app.box.wait_until(lambda: set(app.stages().values()) != {"Admitted"}, 30, "one is under way")
    app.box.kubectl("delete", "losslessrollout", "web", "-n", app.namespace)
    app.wait_until_rolled_out(60)
    assert not any("lossless.dev/rollout" in pod["metadata"]["labels"] for pod in app.pods())


def findings(app: Owned) -> set[str]:
    return {one["reason"] for one in app.lossless()["status"].get("findings", [])}


def delete(app: Owned, pod: str) -> None:
    app.box.kubectl("delete", "pod", pod, "-n", app.namespace, "--wait=false")
