"""Releases on top of releases, undo and scaling at any moment."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

from localcluster.load import Caller, Outcome, Plan, running
from tests.e2e.operators import Operator, sleep_until
from tests.e2e.workloads import Web, fewest_ready


def storm(web: Web, *callers: Caller) -> tuple[Outcome, int]:
    """Release, another on top after 4 s, undo 5 s later, scale 4→6→2. The outcome, and the fewest ready endpoints
    until the last scale-in."""
    fewest: list[int] = []
    with running(web.box, Plan(rate=120, callers=callers or web.callers()), namespace=web.namespace) as run:
        start = time.time() + 2
        watcher = threading.Thread(target=lambda: fewest.append(fewest_ready(web.box, web.namespace, 20)))
        watcher.start()
        sleep_until(start)
        web.release("2")
        sleep_until(start + 4)
        web.release("3")
        sleep_until(start + 9)
        web.undo()
        sleep_until(start + 13)
        web.scale(6)
        watcher.join()
        sleep_until(start + 22)
        web.scale(2)
        web.wait_until_rolled_out()
        time.sleep(3)
        return run.finish(), fewest[0]


def test_a_storm_over_a_plain_deployment_loses_requests(web: Callable[..., Web]) -> None:
    outcome, _ = storm(web().deploy())
    assert outcome.lost


def test_a_storm_loses_nothing_and_never_falls_below_the_floor(web: Callable[..., Web], operator: Operator) -> None:
    app = web().gated()
    outcome, fewest = storm(app, *app.callers(), *app.gateway_callers())
    assert not outcome.lost, outcome.explain()
    assert fewest >= 4
    app.wait_until_cared_for()
    assert app.lossless()["status"]["pods"]["serving"] == 2
    events = json.loads(app.box.kubectl("get", "events", "-n", app.namespace, "-o", "json"))["items"]
    refused = [event for event in events if event["reason"] == "FailedDelete"]
    assert not refused, "the hold keeps controllers from knocking at the door"


def test_a_paused_release_keeps_both_revisions_and_goes_on_when_resumed(
    web: Callable[..., Web], operator: Operator
) -> None:
    app = web().deploy().protect().wait_until_cared_for()
    with running(app.box, Plan(rate=100, callers=app.callers()), namespace=app.namespace) as run:
        app.release("2")
        time.sleep(1)
        app.box.kubectl("rollout", "pause", "deployment/web", "-n", app.namespace)
        time.sleep(6)
        assert len({pod["metadata"]["labels"]["pod-template-hash"] for pod in app.pods()}) == 2, "both revisions stay"
        app.box.kubectl("rollout", "resume", "deployment/web", "-n", app.namespace)
        app.wait_until_rolled_out()
        outcome = run.finish()
    assert not outcome.lost, outcome.explain()
