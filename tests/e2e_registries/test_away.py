"""The registry, the operator or the LosslessRollout goes away in mid-release; or the registry goes wrong."""

from __future__ import annotations

import time
from datetime import datetime
from functools import partial

import pytest

from localcluster.load import Plan, running
from lossless.api import names
from tests.e2e.operators import Operator, wait_for_leader
from tests.e2e_registries.faulty_proxy import Fault
from tests.e2e_registries.registries import MisheardConsulRegistry
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


def noted(shop: FollowedShop, name: str) -> list[str]:
    """What stands in an annotation of its pods."""
    return [notes[name] for notes in shop.notes().values() if name in notes]


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


@only(["etcd"])
def test_an_outage_that_nobody_but_a_killed_operator_has_seen_is_known_to_the_next_one(
    shop: Make, operator: Operator
) -> None:
    """Consumers may not hear of the pods that left for twice as long as it lasted."""
    app, lasts = shop().cared_for(), 8
    with running(app.box, Plan(rate=RATE, callers=app.followers()), namespace=app.namespace) as run:
        wait_until_answered(run)
        app.release("2")
        wait_until_one_is("Withdrawn", app)
        app.registry.away()
        run.mark("away")
        away_at = time.time()
        app.box.wait_until(lambda: any("etcd" in said for said in noted(app, names.WAITING_FOR)), 60, "it is noted")
        time.sleep(max(0, away_at + lasts - time.time()))
        operator.kill_long_ago()
        app.registry.back()
        run.mark("back")
        back_at = time.time()
        operator.start()
        gone_at = min(app.box.wait_until(lambda: noted(app, names.GONE_AT), 60, "one is gone"))
        app.wait_until_rolled_out()
        outcome = run.finish()
    assert not outcome.lost, outcome.explain()
    assert datetime.fromisoformat(gone_at).timestamp() >= back_at + 2 * lasts


FAULTS = (
    (Fault.HANGS, "gave no answer within 1 s"),
    (Fault.FORGETS, ""),  # After an answer it is soon asked again.
    (Fault.UNAVAILABLE, ""),
    (Fault.CUT_OFF, ""),
    (Fault.SIGN_IN, "that is not JSON"),
    (Fault.FORGETS, "not registered in consul any more, though nobody took it out"),
    (Fault.FORBIDDEN, "the catalog does not accept the token (403)"),
)
"""One after the other, and what the status says of those that last for a while."""


@only(["consul-misheard"])
def test_whatever_a_registry_answers_in_mid_release_nobody_goes_whom_it_still_hands_out(
    shop: Make, operator: Operator
) -> None:
    """Whom it really hands out is asked of the real one, behind the fake: every old pod all the time, as nobody can
    tell it otherwise. So whoever went would be missed."""
    app = shop().cared_for()
    app.wait_until_nothing_is_left()
    registry = app.registry
    assert isinstance(registry, MisheardConsulRegistry)
    old, called = app.uids(), app.addresses()

    def nobody_goes() -> None:
        handed_out = {address for address, other in registry.held(app.namespace).items() if not other}
        assert handed_out >= called
        assert not {"Draining", "Drained"} & set(app.stages().values()), "nobody was seen to be out"
        assert app.uids() >= old

    with running(app.box, Plan(rate=RATE, callers=app.followers()), namespace=app.namespace) as run:
        wait_until_answered(run)
        registry.go_wrong(Fault.FORGETS)
        app.release("2")
        app.box.wait_until(partial(app.says, "let in, but not in consul (not registered)"), 60, "the status says so")
        assert "Withdrawn" not in app.stages().values(), "a new pod that nobody is handed stands in for no old one"
        for fault, words in FAULTS:
            registry.go_wrong(fault)
            run.mark(fault)
            app.box.wait_until(registry.has_gone_wrong, 30, f"the operator has met {fault}")
            if words:
                app.box.wait_until(partial(app.says, words), 30, f"the status says {words!r}")
            nobody_goes()
        assert "Withdrawn" in app.stages().values(), "somebody was about to go all the time"
        registry.go_wrong(Fault.NONE)
        run.mark("right again")
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
