"""How closely a new pod's share of the traffic follows the line of its ramp, as its requests tell."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime

from bench import workload
from bench.figure import Figure
from bench.testbed import Testbed
from localcluster.load import Fresh, Plan, running
from localcluster.load.rates import rates

NAME, REPLICAS, RATE = "web", 3, 300.0
BAR_PERCENT = 10.0
AROUND = 4.0
"""Seconds on both sides of a mark that a rate is taken over."""


def ramp(bed: Testbed) -> Iterator[Figure]:
    """A fourth pod beside three ramps for 60 s in an HTTPRoute, through Traefik, on a straight line and on a quadratic
    curve. Every 10 s its rate is compared with the line."""
    seconds = bed.choose(60, 30)
    for curve, power in (("Linear", 1), ("Quadratic", 2)):
        off, lost = _once(bed, curve, power, seconds)
        yield Figure(
            f"ramp.{curve.lower()}",
            f"a new pod's rate at the worst 10 s mark of a {seconds} s ramp, off the {curve} line",
            max(abs(each) for each in off.values()),
            "%",
            BAR_PERCENT,
            detail={"off_percent_at": off, "lost": lost},
        )


def _once(bed: Testbed, curve: str, power: int, seconds: int) -> tuple[dict[int, float], int]:
    with bed.namespace("ramp") as namespace:
        host = f"{namespace}.example.com"
        spec = {
            "warmup": {"ramp": {"duration": f"{seconds}s", "curve": curve}},
            "traffic": {"routes": [{"kind": "HTTPRoute", "name": NAME}]},
        }
        bed.box.apply(workload.serving(NAME, namespace, REPLICAS, {"maxSurge": 1, "maxUnavailable": 0}))
        bed.box.apply([workload.route(NAME, namespace, host)])
        bed.available(namespace, NAME)
        bed.box.apply(workload.lossless(NAME, namespace, **spec))
        bed.cared_for(namespace, NAME)
        caller = Fresh(f"http://{bed.box.gateway_address}/", host=host, name="gateway")
        with running(bed.box, Plan(rate=RATE, callers=(caller,)), namespace=namespace) as run:
            time.sleep(3)
            bed.box.kubectl("scale", f"deployment/{NAME}", "-n", namespace, f"--replicas={REPLICAS + 1}")
            ((pod, since),) = bed.box.wait_until(
                lambda: _ramping(bed, namespace), 60, "a pod ramps", every=0.05
            ).items()
            bed.available(namespace, NAME, timeout=seconds + 60)
            time.sleep(3)
            outcome = run.finish()
    measured = rates(outcome.results, step=0.5)[pod]
    off = {}
    for mark in range(10, seconds, 10):
        near = [rate for at, rate in measured if abs(at + 0.25 - since - mark) <= AROUND]
        fraction = (mark / seconds) ** power
        line = RATE * fraction / (REPLICAS + fraction)
        off[mark] = round((sum(near) / len(near) / line - 1) * 100, 1)
    return off, len(outcome.lost)


def _ramping(bed: Testbed, namespace: str) -> dict[str, float]:
    """The pods that ramp, and since when."""
    return {
        pod["metadata"]["name"]: datetime.fromisoformat(marks["lossless.dev/since"]).timestamp()
        for pod in bed.pods(namespace, NAME)
        if (marks := pod["metadata"].get("annotations") or {}).get("lossless.dev/stage") == "Ramping"
    }
