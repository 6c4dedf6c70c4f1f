"""The registry, the operator or the LosslessRollout goes away in mid-release."""

from __future__ import annotations

import time

import pytest

from localcluster.load import Plan, running
from tests.e2e.operators import Operator, wait_for_leader
from tests.e2e_registries.shops import (
    FollowedShop,
    Make,
    go_on_without_registry,
    only,
    wait_until_answered,
    wait_until_one_is,
)

RATE = 50


def labelled(shop: FollowedShop) -> list[str]:
    """The pods that are not being deleted and bear our label."""
    metadata = [pod["metadata"] for pod in shop.pods()]
    return [
        one["name"] for one in metadata if "lossless.dev/rollout" in one["labels"] and "deletionTimestamp" not in one
    ]


@only(["etcd", "consul", "eureka-pair", "nacos-protected"])
def test_a_release_waits_for_a_registry_that_is_away_for_20_s(shop: Make, operator: Operator) -> None:
    """ZooKeeper has its own in test_dubbo.py. A lone Eureka or rnacos forgets everybody when it is killed, and those
    who believe it have nobody to call then, whatever becomes of the release."""
    app = shop().cared_for()
    with running(app.box, Plan(rate=RATE, callers=app.followers()), namespace=app.namespace) as run:
        wait_until_answered(run)
        app.release("2")
        go_on_without_registry(app, run, seconds=20)
        app.wait_until_rolled_out()
        time.sleep(2)
        outcome = run.finish()
    assert not outcome.lost, outcome.explain()
    app.wait_until_nothing_is_left()


@pytest.mark.parametrize(
    ("registry", "down"), [("etcd", False), ("etcd", True), ("consul", True), ("eureka", False)], indirect=["registry"]
)
def test_a_losslessrollout_that_is_deleted_in_mid_release_leaves_nothing(
    shop: Make, operator: Operator, down: bool
) -> None:
    """Nothing is promised for the requests meanwhile: the release goes on as Kubernetes does it."""
    app = shop().cared_for()
    app.release("2")
    wait_until_one_is("Draining", app)
    # As nothing of it goes on, what was told of the pods that are out has to be taken back.
    app.box.kubectl("rollout", "undo", "deployment/web", "-n", app.namespace)
    app.box.kubectl("rollout", "pause", "deployment/web", "-n", app.namespace)
    if down:
        operator.kill()
    app.box.kubectl("delete", "losslessrollout", "web", "-n", app.namespace, "--wait=false")
    if down:
        time.sleep(1)
        operator.start()
        wait_for_leader(app.box)
    app.wait_until_nothing_is_left()
    app.box.wait_until(lambda: not labelled(app), 30, "no pod that stays bears our label")
