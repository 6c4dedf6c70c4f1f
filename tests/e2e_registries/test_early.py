"""Apps that register themselves before they are fit."""

from __future__ import annotations

import time
from collections.abc import Callable

from localcluster.load import Outcome, Plan, running
from tests.e2e.operators import Operator
from tests.e2e_registries.shops import Shop

EARLY = ("--register-at", "start", "--start-delay", "3", "--deregister", "first", "--linger", "2")


def released_early(shop: Shop) -> Outcome:
    with running(shop.box, Plan(rate=100, callers=shop.followers()[:1]), namespace=shop.namespace) as run:
        time.sleep(1)
        shop.release("2")
        shop.wait_until_rolled_out()
        time.sleep(1)
        return run.finish()


def test_an_app_that_registers_before_it_is_fit_is_taken_out_as_soon_as_it_is_seen(
    shop: Callable[..., Shop], operator: Operator
) -> None:
    """Until then it is called: that cannot be helped from outside. It is a fraction of what it would be."""
    natively = released_early(shop(app=EARLY).deploy())
    behind = released_early(shop(app=EARLY).cared_for())
    print(f"early: {natively.summary()} natively, {behind.summary()} behind the operator")
    assert len(natively.lost) > 3 * len(behind.lost), behind.explain()
