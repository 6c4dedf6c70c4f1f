"""A real autoscaler and a release: what misleads it without us, and that nothing does with us."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from localcluster import crds
from localcluster.load import Fresh, KeptAlive, Outcome, Plan, running
from localcluster.load.running import LoadRun
from tests.e2e.operators import Operator
from tests.e2e_autoscaler.scaled import PAUSED, Scaled, of_memory
from tests.e2e_disruptions.nodes import reasons
from tests.side_by_side import side_by_side

LOAD = 30
"""Requests a second, at 7 ms of CPU each: 70 % of what three pods of 100m have asked for."""
WORK = ["--work-ms", "7"]
BURNS = 30
"""Seconds."""
BURNING = ["--work-ms", "6", "--burn-ms", "60", "--burn-for", f"{BURNS}"]
"""At three requests a second half of what a pod of 50m has asked for, and three times as much while it burns."""
AT_ONCE = {"maxSurge": "100%", "maxUnavailable": 0}
OLD_ENOUGH = 25
"""Seconds after which a pod is past the CPU initialisation period."""
IGNORED, HELD = {"mode": "Ignore"}, {"mode": "Hold"}


def memory_bound(app: Scaled) -> Any:
    """Its pods use 85 % of their target, so that one pod more in the average calls for one pod more."""
    return app.autoscale(of_memory(int(app.memory() / 0.85)))


def released_under_load(app: Scaled) -> tuple[list[int], int]:
    """Old pods, a release under load: how many were wanted one after the other, and how many requests were lost."""
    with running(app.box, Plan(rate=LOAD, callers=(KeptAlive(app.url),)), namespace=app.namespace) as run:
        app.autoscale(least=3)
        time.sleep(OLD_ENOUGH)
        with app.watching() as seen:
            app.box.kubectl("patch", "hpa", "web", "-n", app.namespace, "-p", '{"spec": {"minReplicas": 1}}')
            app.release("2")
            time.sleep(2)
            app.wait_until_rolled_out(120)
            time.sleep(5)
        outcome = run.finish()
    return [wanted for _, wanted in seen], len(outcome.lost)


def test_idle_pods_that_drain_do_not_have_the_others_taken_away(
    scaled: Callable[..., Scaled], operator: Operator
) -> None:
    """New pods are left out of the average for a window, and old ones that drain are in it with no load."""

    def released(how: Any) -> tuple[list[int], int]:
        app = scaled(app=WORK, replicas=3, strategy=AT_ONCE).deploy()
        app.protect(drain={"settle": "20s"}, autoscaler=how).wait_until_cared_for()
        return released_under_load(app)

    (unless_held, lost), held = side_by_side(lambda: released(IGNORED), lambda: released(HELD))
    assert min(unless_held) < 3, unless_held
    assert min(held[0]) == 3, held[0]
    assert lost == held[1] == 0


def test_pods_that_drain_do_not_call_for_more_by_their_memory(
    scaled: Callable[..., Scaled], operator: Operator
) -> None:
    def released(how: Any) -> list[int]:
        app = scaled(replicas=4, strategy=AT_ONCE).deploy()
        # New pods have no metrics for half a minute: the old ones must still be there when they have.
        app.protect(drain={"settle": "45s"}, autoscaler=how).wait_until_cared_for()
        memory_bound(app)
        with app.watching() as seen:
            app.release("2")
            time.sleep(2)
            app.wait_until_rolled_out(180)
        return [wanted for _, wanted in seen]

    unless_held, held = side_by_side(lambda: released(IGNORED), lambda: released(HELD))
    assert max(unless_held) > 4
    assert held == [4]


def test_an_operator_that_is_killed_in_mid_hold_gives_it_back_when_it_is_back(
    scaled: Callable[..., Scaled], operator: Operator
) -> None:
    app = scaled(replicas=2, strategy=AT_ONCE).deploy().protect(drain={"settle": "5s"}).wait_until_cared_for()
    before = app.autoscale(of_memory(2**30), least=2, behavior=None)
    assert before is None
    app.release("2")
    app.box.wait_until(lambda: app.is_held, 30, "the autoscaler is held", every=0.1)
    assert app.behavior["scaleDown"]["selectPolicy"] == "Disabled"
    operator.kill()
    app.box.kubectl("delete", "lr", "web", "-n", app.namespace)
    time.sleep(1)
    assert app.is_held
    operator.start()
    app.wait_until_given_back(60)
    assert app.behavior is None


def test_the_status_says_what_is_held_and_who_edits_it_meanwhile_wins(
    scaled: Callable[..., Scaled], operator: Operator
) -> None:
    app = scaled(replicas=2, strategy=AT_ONCE).deploy().protect(drain={"settle": "5s"}).wait_until_cared_for()
    before = app.autoscale(of_memory(2**30), least=2)
    app.release("2")
    app.box.wait_until(lambda: app.condition("AutoscalerHeld")["status"] == "True", 30, "the status says so")
    assert "at the latest" in app.condition("AutoscalerHeld")["message"]
    patch = '{"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 7}}}}'
    app.box.kubectl("patch", "hpa", "web", "-n", app.namespace, "--type=merge", "-p", patch)
    app.wait_until_rolled_out()
    app.wait_until_given_back()
    assert app.behavior == {**before, "scaleDown": {**before["scaleDown"], "stabilizationWindowSeconds": 7}}
    events = app.box.kubectl("get", "events", "-n", app.namespace, "-o", "jsonpath={.items[*].reason}").split()
    assert {"AutoscalerHeld", "AutoscalerRestored"} <= set(events)


def test_pods_that_burn_call_for_more_pods_that_burn_unless_they_come_in_by_the_door(
    scaled: Callable[..., Scaled], operator: Operator
) -> None:
    """The cascade: natively up to the most that it may, though the traffic is the same all the time."""

    def released(doors: bool) -> tuple[list[int], Outcome]:
        app = scaled(app=BURNING, cpu="50m", replicas=3, strategy=AT_ONCE).deploy()
        if doors:
            app.protect(warmup={"delay": f"{BURNS + 3}s", "maxParallel": "100%"}).wait_until_cared_for()
        with running(app.box, Plan(rate=9, callers=(Fresh(app.url),)), namespace=app.namespace) as run:
            time.sleep(BURNS + 20)  # And nothing of the first burning is in anybody's window.
            app.autoscale(least=3)
            app.box.wait_until(app.is_judged, 60, "the autoscaler is content")
            with app.watching() as seen:
                run.mark("release")
                app.release("2")
                time.sleep(BURNS + 25)
            app.wait_until_rolled_out(120)
            outcome = run.finish().window("release")
        print(outcome.summary())
        return [count for _, count in seen], outcome

    # One after the other: they would take each other's CPU, and here that is what is looked at.
    plainly, _ = released(doors=False)
    wanted, outcome = released(doors=True)
    assert max(plainly) >= 7
    assert wanted == [3]
    assert not outcome.lost, outcome.explain()


def test_a_load_that_rises_in_mid_release_is_met_though_the_autoscaler_waits_for_pods_behind_the_door(
    scaled: Callable[..., Scaled], operator: Operator
) -> None:
    """From 50 % of the target to 150 %. New pods count as idle ones until they are ready, so it asks for no more."""

    def made(how: Any) -> Scaled:
        app = scaled(app=WORK, cpu="50m", replicas=3, strategy=AT_ONCE).deploy()
        warmup = {"delay": "100s", "maxParallel": "100%"}
        return app.protect(warmup=warmup, drain={"settle": "2s"}, autoscaler=how).wait_until_cared_for()

    def loaded(app: Scaled, rate: int) -> AbstractContextManager[LoadRun]:
        return running(app.box, Plan(rate=rate, callers=(Fresh(app.url),)), namespace=app.namespace)

    apps = [made(IGNORED), held := made(HELD)]
    with ExitStack() as stack:
        for app in apps:
            stack.enter_context(loaded(app, 10))
        time.sleep(OLD_ENOUGH)
        for app in apps:
            app.autoscale(least=3)
            app.release("2")
        for app in apps:
            stack.enter_context(loaded(app, 20))
        began = time.monotonic()
        held.box.wait_until(lambda: held.ready >= 5, 90, "the load is met")
        assert [(app.wanted, app.ready) for app in apps] == [(3, 3), (3, held.ready)], "the autoscaler has done nothing"
        assert "AdmittedCold" in reasons(held)
        while held.wanted < 5:
            assert held.ready >= 5, "and stays met until it has seen them all"
            assert time.monotonic() < began + 250
            time.sleep(0.5)


def test_a_scale_in_by_the_autoscaler_loses_nothing(scaled: Callable[..., Scaled], operator: Operator) -> None:
    """From ten pods to two, outside of any release. The plain Deployment is the negative control."""

    def scaled_in(doors: bool) -> Outcome:
        app = scaled(replicas=10)
        app = app.gated() if doors else app.deploy()
        with running(app.box, Plan(rate=50, callers=app.callers()), namespace=app.namespace) as run:
            time.sleep(2)
            app.autoscale(of_memory(2**40), least=2)
            app.box.wait_until(lambda: len(app.pods()) == 2, 120, "two pods are left")
            time.sleep(2)
            return run.finish()

    plain, behind = side_by_side(lambda: scaled_in(doors=False), lambda: scaled_in(doors=True))
    assert plain.lost
    assert not behind.lost, behind.explain()


def test_the_autoscaler_of_a_scaled_object_is_held_through_it(
    scaled: Callable[..., Scaled], operator: Operator
) -> None:
    """With the real CRD and no KEDA: what it makes of its annotation is its own affair."""
    app = scaled(replicas=2, strategy=AT_ONCE).deploy().protect(drain={"settle": "2s"}).wait_until_cared_for()
    app.box.kubectl("apply", "--server-side", f"--filename={crds.fetch(crds.KEDA, print)}")
    app.box.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd/scaledobjects.keda.sh")
    app.scale_by_keda()
    app.release("2")
    app.box.wait_until(lambda: PAUSED in app.scaled_object["metadata"].get("annotations", {}), 30, "KEDA is told")
    app.wait_until_rolled_out()
    assert app.behavior is None
    app.box.kubectl("delete", "lr", "web", "-n", app.namespace)
    app.box.wait_until(lambda: not app.scaled_object["metadata"].get("annotations"), 30, "nothing is left on it")
