"""A gateway's own word for whom it calls, as evidence: with no time to settle at all, that is what is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable

from localcluster.load import Outcome, Plan, running
from tests.e2e.operators import Operator
from tests.e2e.workloads import Web

HURRIED = {"settle": "0s"}


def released(web: Web, version: str) -> Outcome:
    """The app dies at once on SIGTERM, so whoever is still called loses what it is asked."""
    with running(web.box, Plan(rate=150, callers=web.gateway_callers()), namespace=web.namespace) as run:
        time.sleep(2)
        web.release(version)
        web.wait_until_rolled_out()
        time.sleep(2)
        return run.finish()


def test_without_it_and_in_a_hurry_requests_are_lost(web: Callable[..., Web], operator: Operator) -> None:
    """The negative control: Traefik puts changes into effect every two seconds."""
    app = web(app=["--on-term", "die"]).gated(drain=HURRIED)
    assert any(released(app, version).lost for version in ("2", "3", "4"))


def test_nobody_dies_whom_the_gateway_still_calls(web: Callable[..., Web], operator: Operator) -> None:
    app = web(app=["--on-term", "die"])
    services = f"http://10.0.0.1:8080/api/http/services?per_page=1000&search={app.namespace}"
    traefik = {"name": "traefik", "http": {"gone": {"url": services, "expect": {"lacks": "{ip}:8080"}}}}
    app.gated(drain=HURRIED, traffic={"registries": [traefik]})
    outcome = released(app, "2")
    assert not outcome.lost, outcome.explain()
