"""Warm-up weights: a new pod's share of the traffic follows the line, and nothing is lost on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest

from localcluster.box import Box
from localcluster.load import Fresh, Outcome, Plan, running
from localcluster.load.running import LoadRun
from localcluster.servers import traefik
from localcluster.servers.istio import Istio
from tests.e2e.operators import Operator
from tests.e2e.routed import KINDS, Routed, ingress
from tests.e2e.workloads import PORT, Manifest, Web
from tests.localcluster.registries import made
from tests.side_by_side import side_by_side

RAMP = 20.0
"""Seconds: what is done in the middle of a ramp has the time for it."""


def route(app: Web) -> Manifest:
    return app.box.get("httproute", "web", app.namespace)


def backends(app: Web) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = route(app)["spec"]["rules"][0]["backendRefs"]
    return found


def ingresses(app: Web) -> list[Manifest]:
    """All of its namespace, whole: whoever writes to one makes it another."""
    return app.box.listed("ingresses", app.namespace)


def warming(app: Web) -> list[Manifest]:
    """The EndpointSlices of the warm-up Service."""
    selector = "labelSelector=kubernetes.io%2Fservice-name%3Dweb-warmup"
    path = f"/apis/discovery.k8s.io/v1/namespaces/{app.namespace}/endpointslices?{selector}"
    found: list[Manifest] = app.box.api.request("GET", path)["items"]
    return found


def warmup_share(app: Web) -> float:
    """The warm-up backend's part of the HTTPRoute."""
    weights: dict[str, int] = {one["name"]: one.get("weight", 1) for one in backends(app)}
    return weights.get("web-warmup", 0) / sum(weights.values())


def while_ramping(app: Web, looks: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """What each of these says while a pod ramps, every time it is something else."""
    seen = {name: [0.0] for name in looks}
    while True:
        now = {name: look() for name, look in looks.items()}
        if not app.since("Ramping"):
            return seen
        for name, share in now.items():
            if share != seen[name][-1]:
                seen[name].append(share)
        time.sleep(0.2)


def test_a_new_pod_gets_more_and_more_and_the_routes_are_their_owners_again(
    web: Callable[..., Web], operator: Operator
) -> None:
    """In an HTTPRoute, by its weights, and through an Ingress, by Traefik's own word. How closely its rate follows the
    line is a figure of the benchmark."""
    app = web(replicas=3).gated()
    kinds, host = ("HTTPRoute", "Ingress"), f"ingress.{app.host}"
    app.box.apply(ingress(app, host))
    app.protect(
        warmup={"ramp": {"duration": "15s"}}, traffic={"routes": [{"kind": kind, "name": "web"} for kind in kinds]}
    )
    before = backends(app), ingresses(app)
    gateway = f"http://{app.box.gateway_address}/"
    callers = tuple(Fresh(gateway, host=by, name=kind) for kind, by in zip(kinds, (app.host, host), strict=True))
    with running(app.box, Plan(rate=100, callers=callers), namespace=app.namespace) as run:
        app.scale(4)
        (pod,) = app.box.wait_until(lambda: app.since("Ramping"), 30, "a pod ramps", every=0.05)
        address = f"{app.box.get('pod', pod, app.namespace)['status']['podIP']}:{PORT}"
        seen = while_ramping(
            app,
            {
                "HTTPRoute": lambda: warmup_share(app),
                "Ingress": lambda: traefik.routed(app.box, host).get(address, 0.0),
            },
        )
        app.wait_until_rolled_out(120)
        time.sleep(5)
        outcome = run.finish()
    assert not outcome.lost, outcome.explain()
    for shares in seen.values():
        assert shares == sorted(shares), seen
        assert 0.1 < max(shares) <= 0.25, "a full share beside three is a quarter"
    assert {result.caller for result in outcome.results if result.pod == pod} == set(kinds)
    app.box.wait_until(lambda: (backends(app), ingresses(app)) == before, 20, "all is as its owner wrote it")
    assert "lossless.dev/original-weights" not in route(app)["metadata"].get("annotations", {})
    kept_until = datetime.fromisoformat(warming(app)[0]["metadata"]["annotations"]["lossless.dev/kept-until"])
    operator.kill()
    operator.start()
    app.box.wait_until(lambda: not warming(app), 60, "nobody is left in the warm-up Service")
    assert time.time() >= kept_until.timestamp(), "a gateway that is late loses nothing, whoever leads by then"


@pytest.fixture(scope="module")
def mesh(box: Box) -> Iterator[Istio]:
    """Beside the box's Traefik."""
    with made(lambda: Istio(box)) as mesh:
        yield mesh


@pytest.fixture
def routed(box: Box, make_namespace: Callable[[], str], mesh: Istio) -> Callable[[], Routed]:
    """Makes a Routed in a namespace of its own, whose pods die at once when they are told to."""
    at_once = {"maxSurge": "100%", "maxUnavailable": 0}
    return lambda: Routed(box, make_namespace(), mesh=mesh, app=["--on-term", "die"], replicas=3, strategy=at_once)


@contextmanager
def calling(app: Routed) -> Iterator[tuple[LoadRun, LoadRun]]:
    """Somebody calls by every kind of route."""
    with (
        running(app.box, Plan(rate=90, callers=app.traefik_callers()), namespace=app.namespace) as through_traefik,
        # Envoy gives each request an id of its own, so pods' logs can't be compared with what was asked.
        running(
            app.box, Plan(rate=40, callers=app.envoy_callers()), namespace=app.namespace, reconciled=False
        ) as through_envoy,
    ):
        yield through_traefik, through_envoy


def wait_until_called(app: Routed, runs: Sequence[LoadRun]) -> dict[str, float]:
    """Every route gives pods that ramp a part, and whoever calls by one has reached such a pod. Says which pods ramp,
    and since when."""

    def are_called() -> dict[str, float]:
        ramping = app.since("Ramping")
        outcomes = [run.so_far() for run in runs]
        callers = {caller for outcome in outcomes for caller in outcome.callers}
        reached = {one.caller for outcome in outcomes for one in outcome.answered if one.pod in ramping}
        return ramping if reached == callers and all(app.warmups().values()) else {}

    return app.box.wait_until(are_called, 60, "every route leads to pods that ramp", every=0.1)


def plainly_released(app: Routed) -> list[Outcome]:
    """Without the operator."""
    app.deploy()
    with calling(app) as runs:
        for version in ("2", "3", "4"):
            app.release(version)
            app.wait_until_rolled_out()
        return [run.finish() for run in runs]


def ramped(app: Routed, operator: Operator) -> list[Outcome]:
    """The same number of releases, none of which is left in peace."""
    app.gated()
    before = app.written(), ingresses(app)
    warmup = {"ramp": {"duration": f"{RAMP:g}s"}}
    app.protect(warmup=warmup, traffic={"routes": [{"kind": kind, "name": "web"} for kind in KINDS]})

    def wait_until_as_written() -> None:
        def so() -> bool:
            return (app.written(), ingresses(app)) == before

        app.box.wait_until(so, 30, f"the routes are as their owner wrote them, and alone: {before}")

    with calling(app) as runs:
        app.release("2")
        began = wait_until_called(app, runs)
        operator.kill_long_ago()
        time.sleep(1)
        operator.start()
        app.wait_until_rolled_out(180)
        wait_until_as_written()
        admitted = app.since("Admitted")
        assert all(admitted[pod] - since >= RAMP for pod, since in began.items()), "a ramp was cut short"
        app.release("3")
        wait_until_called(app, runs)
        app.undo()
        app.wait_until_rolled_out()
        wait_until_as_written()
        app.release("4")
        wait_until_called(app, runs)
        app.box.kubectl("delete", "losslessrollout", "web", "-n", app.namespace)
        wait_until_as_written()
        app.wait_until_rolled_out()
        return [run.finish() for run in runs]


def test_releases_with_a_ramp_lose_nothing_and_leave_every_kind_of_route_as_it_was(
    routed: Callable[[], Routed], operator: Operator
) -> None:
    """In the middle of the first ramp the operator is killed; in that of the second the release is taken back; in that
    of the third the LosslessRollout is deleted."""
    plainly, behind = side_by_side(lambda: plainly_released(routed()), lambda: ramped(routed(), operator))
    losers = {one.caller for outcome in plainly for one in outcome.lost}
    assert losers == {caller for outcome in plainly for caller in outcome.callers}, "who loses nothing proves nothing"
    for outcome in behind:
        assert not outcome.lost, outcome.explain()
