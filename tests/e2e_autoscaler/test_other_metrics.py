"""Autoscalers that go by Pods, Object and External metrics: the real controller, and what it reads by a fake."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

from localcluster.box import Box
from tests.e2e.operators import Operator
from tests.e2e.workloads import Manifest
from tests.e2e_autoscaler.fake_metrics import FakeMetrics, Value
from tests.e2e_autoscaler.scaled import HASTY, Scaled
from tests.e2e_disruptions.nodes import reasons

IGNORED, HELD = {"mode": "Ignore"}, {"mode": "Hold"}
AT_ONCE = {"maxSurge": "100%", "maxUnavailable": 0}
WHOLE, EACH = {"type": "Value", "value": "100"}, {"type": "AverageValue", "averageValue": "100"}
CAREFUL = {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 15}], "selectPolicy": "Min"}}
LOOKS = 12
"""Seconds in which the autoscaler looks some times."""
COLD = {"Starting": 150, "Settling": 150, "Warming": 150, "Withdrawn": 0, "Draining": 0, "Drained": 0}
"""Of a metric of Pods, whatever those that serve have."""


def is_held(app: Scaled) -> bool:
    return app.is_held


def of_pods() -> Manifest:
    return {"type": "Pods", "pods": {"metric": {"name": "load"}, "target": EACH}}


def of_service() -> Manifest:
    about = {"apiVersion": "v1", "kind": "Service", "name": "web"}
    return {"type": "Object", "object": {"metric": {"name": "load"}, "describedObject": about, "target": WHOLE}}


def of_outside(target: Manifest) -> Manifest:
    return {"type": "External", "external": {"metric": {"name": "load"}, "target": target}}


def test_a_release_misleads_no_autoscaler_and_a_real_load_is_met_with_pods_that_are_let_in_early(
    box: Box, scaled: Callable[..., Scaled], operator: Operator, metrics: FakeMetrics
) -> None:
    """Two pods, and at most three. Both that are ignored become three by the release alone: cold pods have more of it;
    or 210 over two pods is within the tolerance, and over four it is not.
    """
    befores: dict[str, Any] = {}

    def made(metric: Manifest, load: Value, how: Any, behavior: Any = None) -> Scaled:
        app = scaled(replicas=2, strategy=AT_ONCE).deploy()
        metrics.tell(app.namespace, load=load)
        app.protect(warmup={"delay": "100s"}, drain={"settle": "5s"}, autoscaler=how).wait_until_cared_for()
        befores[app.namespace] = app.autoscale(metric, least=2, most=3, behavior=behavior)
        return app

    misled = [made(of_pods(), {**COLD, "Admitted": 85}, IGNORED), made(of_outside(EACH), 210, IGNORED)]
    pods = made(of_pods(), {**COLD, "Admitted": 85}, HELD, CAREFUL)
    each = made(of_outside(EACH), 210, HELD, HASTY)
    service, outside = made(of_service(), 105, HELD, HASTY), made(of_outside(WHOLE), 105, HELD)
    held = [pods, each, service, outside]
    with ExitStack() as stack:
        seen = [stack.enter_context(app.watching()) for app in held]
        for app in misled:
            app.release("2")
        for app in held:  # One by one: an autoscaler may look in the moment before it is held, if that is a long one.
            app.release("2")
            box.wait_until(partial(is_held, app), 30, "it is held")
        box.wait_until(lambda: [app.wanted for app in misled] == [3, 3], 40, "two want more for no reason")
        box.wait_until(lambda: all(len(app.pods()) == 4 for app in held), 40, "new pods are there")
        time.sleep(LOOKS)
    assert [[wanted for _, wanted in one] for one in seen] == [[2]] * 4
    assert [app.condition("AutoscalerHeld")["reason"] for app in held] == ["Damped"] * 2 + ["ScaleInHeld"] * 2

    metrics.tell(pods.namespace, load={**COLD, "Admitted": 400})
    metrics.tell(each.namespace, load=900)
    for app in (service, outside):
        metrics.tell(app.namespace, load=150)
    told = [each, service, outside]
    box.wait_until(lambda: [app.wanted for app in told] == [3, 3, 3], 30, "the load is met")
    box.wait_until(lambda: all("AdmittedCold" in reasons(app) for app in told), 30, "some are let in early")

    metrics.tell(each.namespace, load=10)
    time.sleep(LOOKS)
    assert (each.wanted, each.is_held) == (3, True), "scale-in waits"
    box.wait_until(lambda: pods.wanted == 3, 150, "a load is met that could not be told from that of cold pods")
    for app in held:
        app.wait_until_rolled_out()
        app.wait_until_given_back()
        assert app.behavior == befores[app.namespace]
    box.wait_until(lambda: each.wanted == 2, 30, "scale-in waits no more")


def test_pods_that_drain_and_go_on_with_what_they_had_call_for_no_more(
    scaled: Callable[..., Scaled], operator: Operator, metrics: FakeMetrics
) -> None:
    """Four that have 85 of 100 each: two too many, which the autoscaler would keep, and more for each that comes."""
    app = scaled(replicas=2, strategy=AT_ONCE).deploy()
    metrics.tell(app.namespace, load=85)
    app.protect(warmup={"delay": "5s"}, drain={"settle": "20s"}).wait_until_cared_for()
    app.autoscale(of_pods(), least=2, most=5)
    with app.watching() as seen:
        app.release("2")
        app.wait_until_rolled_out()
    assert [wanted for _, wanted in seen] == [2]
