"""Apps that register themselves before they are fit, or long after."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from localcluster.load import Outcome, Plan, running
from tests.e2e.operators import Operator
from tests.e2e_registries.shops import FollowedShop, Make, only, wait_until_answered
from tests.side_by_side import side_by_side

EARLY = ("--register-at", "start", "--start-delay", "3", "--deregister", "first", "--linger", "2")
SLOW = ("--register-at", "start", "--start-delay", "15", "--deregister", "first", "--linger", "2")
LISTENS_AFTER_12_S = ("--start-delay", "12", "--deregister", "last")
LATE = ("--register-delay", "4", "--deregister", "first", "--linger", "2")


def under_load(shop: FollowedShop, change: Callable[[], None]) -> Outcome:
    with running(shop.box, Plan(rate=50, callers=shop.followers()[:1]), namespace=shop.namespace) as run:
        wait_until_answered(run)
        change()
        shop.wait_until_rolled_out()
        time.sleep(1)
        return run.finish()


def released(shop: FollowedShop) -> Outcome:
    return under_load(shop, lambda: shop.release("2"))


def is_found(shop: FollowedShop) -> bool:
    """It is said that pods were handed out too early."""
    return "RegisteredEarly" in [one["reason"] for one in shop.lossless()["status"]["findings"]]


@only(["etcd"])
def test_an_app_that_registers_before_it_is_fit_is_taken_out_as_soon_as_it_is_seen(
    shop: Make, operator: Operator
) -> None:
    """Until then it is called: that cannot be helped from outside. It is a fraction of what it would be."""
    at_once = {"maxSurge": "100%"}
    natively, behind = side_by_side(
        lambda: released(shop(app=SLOW, strategy=at_once).deploy()),
        lambda: released(shop(app=SLOW, strategy=at_once).cared_for()),
    )
    assert len(natively.lost) > 3 * len(behind.lost), behind.explain()


@only(["etcd"])
def test_who_registers_before_it_is_fit_is_a_finding_until_a_release_has_mended_it(
    shop: Make, operator: Operator
) -> None:
    early = shop(app=EARLY, replicas=1).cared_for()
    early.box.wait_until(lambda: is_found(early), 20, "it is said")
    mended = replace(early, app=LATE)
    mended.box.apply(mended.deployment("2"))
    mended.wait_until_rolled_out()
    mended.wait_until_nothing_is_left()
    assert not is_found(mended)


@only(["etcd"])
def test_a_pod_that_has_not_registered_yet_does_not_serve_so_the_old_ones_stay(shop: Make, operator: Operator) -> None:
    late = shop(app=LATE, replicas=2, strategy={"maxSurge": "100%"}).cared_for()
    outcome = released(late)
    assert not outcome.lost, outcome.explain()
    assert not is_found(late), "who has registered after it was let in was not early"


@only(["etcd"])
def test_a_pod_that_is_not_wanted_any_more_while_it_starts_goes_when_it_has_registered_and_is_out(
    shop: Make, operator: Operator
) -> None:
    """It may not be drained before it has registered: nobody could take it out any more."""
    app = shop(app=LISTENS_AFTER_12_S, replicas=1).cared_for()

    def scaled_out_and_in() -> None:
        app.scale(2)
        app.box.wait_until(lambda: [pod["status"].get("phase") for pod in app.pods()] == ["Running"] * 2)
        app.scale(1)
        (drained,) = app.box.wait_until(app.drained, 60, "a pod is drained", every=0.05)
        assert '"did": "registered"' in app.box.pod_logs(app.namespace, drained)

    outcome = under_load(app, scaled_out_and_in)
    assert not outcome.lost, outcome.explain()
    app.wait_until_nothing_is_left()
