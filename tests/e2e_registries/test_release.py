"""Releases of apps that register themselves, under the load of consumers that go by the registry and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable

from localcluster.load import Outcome, Plan, running
from localcluster.load.running import LoadRun
from tests.e2e.operators import Operator
from tests.e2e_registries.registries import NacosRegistry
from tests.e2e_registries.shops import (
    RAMP,
    FollowedShop,
    Make,
    delete_in_mid_ramp,
    kill_in_each,
    only,
    ramp_through_a_kill,
    storm,
    wait_until_answered,
)
from tests.side_by_side import side_by_side

RATE = 50


STAGES = ("Warming", "Admitted", "Withdrawn", "Draining", "Drained")
WARM = {"requests": [{"port": "http", "path": "/slow?s=0.1", "count": 10, "concurrency": 1}]}


def released(shop: FollowedShop, meanwhile: Callable[[LoadRun], None] = lambda run: None) -> Outcome:
    """One release under load."""
    with running(shop.box, Plan(rate=RATE, callers=shop.followers()), namespace=shop.namespace) as run:
        wait_until_answered(run)
        run.mark("release")
        shop.release("2")
        meanwhile(run)
        shop.wait_until_rolled_out()
        run.mark("released")
        time.sleep(2)
        return run.finish()


def released_and_killed(shop: FollowedShop, operator: Operator) -> Outcome:
    """One release under load; in each stage the operator is killed, and started again."""
    old = shop.uids()
    return released(shop, lambda run: kill_in_each(STAGES, shop, operator, old, run))


def stormed(shop: FollowedShop) -> Outcome:
    with running(shop.box, Plan(rate=RATE, callers=shop.followers()), namespace=shop.namespace) as run:
        wait_until_answered(run)
        storm(shop)
        return run.finish()


@only(["etcd", "consul", "nacos", "eureka"])
def test_a_release_in_which_the_operator_is_killed_in_each_stage_loses_nothing_and_leaves_nothing(
    shop: Make, operator: Operator
) -> None:
    """By itself it loses requests: the app leaves its registry by the rule, last of all, when its server is down."""
    plain, app = side_by_side(lambda: shop().deploy(), lambda: shop().cared_for(warmup=WARM))
    by_itself, outcome = side_by_side(lambda: released(plain), lambda: released_and_killed(app, operator))
    assert by_itself.lost, "the harness proves nothing if a plain Deployment loses nothing"
    assert not outcome.lost, outcome.explain()
    app.wait_until_nothing_is_left()


@only(["etcd", "consul", "nacos", "eureka"])
def test_a_storm_loses_nothing_and_leaves_nothing_of_ours(shop: Make, operator: Operator) -> None:
    app = shop().cared_for()
    outcome = stormed(app)
    assert not outcome.lost, outcome.explain()
    app.wait_until_nothing_is_left()


@only(["nacos"])
def test_a_ramp_outlives_a_killed_operator_and_its_weights_outlive_neither_the_ramp_nor_the_losslessrollout(
    shop: Make, nacos_registry: NacosRegistry, operator: Operator
) -> None:
    """In Dubbo as well, in test_dubbo.py."""
    at_once = {"maxSurge": "100%", "maxUnavailable": 0}
    app = shop(replicas=2, strategy=at_once).cared_for(warmup={"ramp": {"duration": f"{RAMP:g}s"}})
    with running(app.box, Plan(rate=RATE, callers=app.followers()), namespace=app.namespace) as run:
        wait_until_answered(run)
        ramp_through_a_kill(app, nacos_registry, operator, run)
        time.sleep(2)
        outcome = run.finish()
    assert not outcome.lost, outcome.explain()
    app.wait_until_nothing_is_left()
    delete_in_mid_ramp(app, nacos_registry)
    app.wait_until_nothing_is_left()
