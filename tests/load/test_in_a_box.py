"""Load and recorder in a real cluster: what they say is what happened."""

from __future__ import annotations

import time
from typing import Any

import pytest

from demo.ways import HEADLESS, NAME, PORT, Way, around, deployment
from localcluster import Box, load
from localcluster.load import CachedAddresses, Cause, Fresh, KeptAlive, Plan
from localcluster.recorder import recording
from localcluster.routes import wait_until_routed


@pytest.fixture
def way(kube_namespace: str) -> Way:
    return Way(kube_namespace, "", "")


def deploy(box: Box, way: Way, *app: str) -> str:
    """A Deployment of 2 that is never cold, and Services that lead to both of its pods; returns the ClusterIP's URL."""
    web: dict[str, Any] = deployment(way)
    web["spec"]["replicas"] = 2
    web["spec"]["template"]["spec"]["containers"][0]["command"] = ["sample-app", *app]
    box.apply([each for each in around(way) if each["kind"] == "Service"])
    box.apply(web)
    box.kubectl("rollout", "status", f"deployment/{NAME}", "-n", way.key, "--timeout=60s")
    wait_until_routed(box, 2, (NAME, HEADLESS), way.key)
    return f"http://{box.get('service', NAME, way.key)['spec']['clusterIP']}/"


def test_every_kind_of_caller_is_answered_by_every_pod_and_the_pods_logs_agree(box: Box, way: Way) -> None:
    url = deploy(box, way)
    # kube-proxy tosses a coin for each connection: 24 go to one pod alone once in eight million runs, 8 once in 128.
    callers = Fresh(url), KeptAlive(url, connections=24), CachedAddresses(HEADLESS, PORT, namespace=way.key, clients=2)
    with load.running(box, Plan(150, callers, duration=3), namespace=way.key) as run:
        outcome = run.wait()
    assert outcome.sent == 450
    assert not outcome.lost, outcome.explain()
    for caller in outcome.callers:
        assert len({result.pod for result in outcome.of(caller).results}) == 2, f"{caller} reached one pod only"
    assert outcome.reconciliation is not None
    assert len(outcome.reconciliation.served_by) == 450
    assert not outcome.reconciliation.served_twice


def test_a_scale_in_is_recorded_and_costs_the_caller_with_an_old_list(box: Box, way: Way) -> None:
    url = deploy(box, way, "--on-term", "die")
    callers = Fresh(url), CachedAddresses(HEADLESS, PORT, namespace=way.key, every=4)
    with (
        recording(box, namespace=way.key, name=f"timeline-{way.key}") as seen,
        load.running(box, Plan(100, callers), namespace=way.key) as run,
    ):
        run.mark("scale-in")
        box.kubectl("scale", f"deployment/{NAME}", "-n", way.key, "--replicas=1")
        box.wait_until(lambda: any(pod.ended for pod in seen.timeline().pods), describe="a pod is gone")
        gone = run.mark("gone")
        time.sleep(5)  # one reading of the addresses (every 4 s), and a second
        outcome = run.finish()
    timeline = seen.timeline()
    left = next(pod for pod in timeline.pods if pod.ended)
    assert [stage for _, stage in left.stages()] == ["Ready", "Terminating", "Gone"]
    assert timeline.most_serving(NAME, outcome.marks["scale-in"], gone) == 2
    assert timeline.fewest_serving(HEADLESS, outcome.marks["scale-in"], gone) == 1
    lost = outcome.of("cached-addresses").window("gone").lost
    assert {result.cause for result in lost} == {Cause.REFUSED}
    assert f"; {left.name} was Gone since" in outcome.explain(timeline)
    assert not outcome.window(gone + 4.5).lost, "once it has read the addresses again it loses nothing"
