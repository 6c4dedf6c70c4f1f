"""One release under load: what a plain Deployment loses, and what is not lost behind the doors."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import dropwhile

from localcluster.box import Box
from localcluster.load import Caller, Fresh, Outcome, Plan, running
from localcluster.recorder import recording
from tests.e2e.operators import Operator
from tests.e2e.workloads import Web
from tests.side_by_side import side_by_side

RATE = 150
COLD = ["--cold-requests", "20", "--cold-ms", "800"]
WARM_UP = {"requests": [{"port": "http", "path": "/", "count": 25, "concurrency": 5}], "maxParallel": "100%"}


def released_under_load(web: Web, *callers: Caller, least: int = 0, rate: float = RATE) -> Outcome:
    """Load, a release in the middle of it, and the load's outcome; on until at least so many requests were sent."""
    with running(web.box, Plan(rate=rate, callers=callers), namespace=web.namespace) as run:
        begun = time.time()
        time.sleep(3)
        run.mark("release")
        web.release("2")
        web.wait_until_rolled_out()
        run.mark("released")
        time.sleep(max(2.0, begun + least / rate + 1 - time.time()))
        return run.finish()


def test_a_plain_deployment_loses_requests_and_a_pre_stop_sleep_those_of_old_lists(web: Callable[..., Web]) -> None:
    """The negative controls: without them, a zero below would prove nothing. Today's best practice is no cure for
    callers with old lists."""
    plain, best_practice = web(), web(pre_stop_sleep=5)
    by_itself, with_sleep = side_by_side(
        lambda: released_under_load(plain.deploy(), *plain.callers(), *plain.gateway_callers()),
        lambda: released_under_load(best_practice.deploy(), *best_practice.stale_callers()),
    )
    lost = by_itself.lost_by_caller
    gateway = sum(lost[caller.name] for caller in plain.gateway_callers())
    assert gateway, f"the harness proves nothing if a plain Deployment loses nothing through Traefik: {lost}"
    assert sum(lost.values()) > gateway, f"nor if it loses nothing through its ClusterIP: {lost}"
    assert with_sleep.lost


def test_a_release_loses_nothing_whoever_calls(web: Callable[..., Web], operator: Operator) -> None:
    """At least 5,000 requests: fresh and kept-alive, through the ClusterIP and Traefik, and with lists 15 s old."""
    app = web().deploy().protect(drain={"settle": "16s"}).wait_until_cared_for()
    callers = *app.callers(), *app.gateway_callers(), *app.stale_callers()
    outcome = released_under_load(app, *callers, least=5_000)
    assert outcome.sent >= 5_000
    assert not outcome.lost, outcome.explain()


def test_a_cold_app_gives_its_first_slow_answers_to_nobody_but_the_operator(
    web: Callable[..., Web], operator: Operator
) -> None:
    """The first 20 of each pod take 800 ms. Without us callers get those of the new pods."""

    def released_cold(app: Web) -> tuple[Outcome, int]:
        outcome = released_under_load(app, *app.callers(), rate=60)
        lines = map(json.loads, app.box.pod_logs(app.namespace, "web-*").splitlines())
        return outcome, sum(
            1 for line in lines if line.get("cold") and line["id"] and line["t"] > outcome.marks["release"]
        )

    plain, app = web(app=COLD), web(app=COLD)
    (_, by_itself), (outcome, cold) = side_by_side(
        lambda: released_cold(plain.deploy()), lambda: released_cold(app.gated(warmup=WARM_UP))
    )
    assert by_itself >= 20
    assert not outcome.lost, outcome.explain()
    assert cold == 0, outcome.summary()


def test_through_a_gateway_even_an_app_that_dies_at_once_loses_nothing(
    web: Callable[..., Web], operator: Operator
) -> None:
    """The gateway owns the connections, so it can let go of a pod before the pod dies."""
    rude = web(app=["--on-term", "die"]).deploy().protect().wait_until_cared_for()
    outcome = released_under_load(rude, *rude.gateway_callers())
    assert not outcome.lost, outcome.explain()


def test_the_first_release_after_adoption_loses_nothing_either(
    web: Callable[..., Web], operator: Operator, box: Box
) -> None:
    """The pods of a Deployment that was running before have no gate; they are withdrawn all the same, and stay so
    though their kubelet would call them ready again after 10 s at most."""
    adopted = web(app=["--on-term", "die"]).deploy()
    before = adopted.uids()
    adopted.protect(drain={"settle": "12s"}).wait_until_cared_for()
    assert adopted.uids() == before, "adoption replaces no pod"
    assert any(finding["reason"] == "UngatedPods" for finding in adopted.lossless()["status"]["findings"])
    with recording(box, namespace=adopted.namespace, annotations_prefixes=["lossless.dev/"]) as seen:
        outcome = released_under_load(adopted, *adopted.callers()[:1])
        timeline = seen.timeline()
    assert not outcome.lost, outcome.explain()
    for pod in timeline.pods:
        if pod.uid in before:
            on_its_way_out = list(dropwhile(lambda state: state.stage != "Withdrawn", pod.states))
            assert on_its_way_out, pod
            assert not any(state.ready for state in on_its_way_out), pod


def test_requests_longer_than_the_settle_time_end_before_their_pod_goes(
    web: Callable[..., Web], operator: Operator
) -> None:
    """In-flight requests are waited for, by a metric or by a number that the app tells, though it dies at once on
    SIGTERM and settle is short."""
    together = {"maxSurge": "100%", "maxUnavailable": 0}

    def released_with(**count: str) -> Outcome:
        slow = web(app=["--on-term", "die"], replicas=2, strategy=together)
        slow.gated(drain={"settle": "2s", "inFlight": {"port": "http", **count}})
        return released_under_load(slow, Fresh(f"{slow.url}slow?s=8"), rate=10)

    for outcome in side_by_side(
        lambda: released_with(metric="http_requests_in_flight"), lambda: released_with(path="/inflight")
    ):
        assert not outcome.lost, outcome.explain()
