"""How closely a new pod's share of the traffic follows the line of its ramp, as its requests tell."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import product
from typing import Final

from bench import workload
from bench.figure import Figure
from bench.line import by_chance_percent, on_the_line, rate_at
from bench.testbed import Testbed
from bench.ways import HTTP_ROUTE, WAYS, Way
from bench.ways.way import NAME
from localcluster.errors import BinariesError
from localcluster.load import Outcome
from localcluster.load.rates import rates

RATE = 300.0
BAR_PERCENT = 10.0
EVERY = 10
"""Seconds from mark to mark."""
STEP = 0.5
POWERS: Final = {"Linear": 1, "Quadratic": 2}


def ramp(bed: Testbed) -> Iterator[Figure]:
    """A new pod ramps for 60 s beside those that serve: in everything that carries weights, on a straight line and on a
    quadratic curve. Every 10 s its rate is compared with the line. What has no server here is left out."""
    seconds = bed.choose(60, 30)
    lost = {}
    for way, curve in product(WAYS, POWERS):
        bed.say(f"{curve}, {way.means}")
        name = curve.lower() if way is HTTP_ROUTE else f"{curve.lower()}.{way.name}"
        try:
            outcome, pod, since = _ramped(bed, way, curve, seconds)
        except BinariesError as error:
            bed.say(f"left out: {error}")
            continue
        lost[name] = len(outcome.lost)
        if outcome.lost:
            bed.say(outcome.explain())
        measured = rates(outcome.results, step=STEP)[pod]
        line = {
            mark: on_the_line((mark / seconds) ** POWERS[curve], serving(way)) for mark in range(EVERY, seconds, EVERY)
        }
        off = {
            mark: round((rate_at(since + mark, measured, STEP) / (RATE * part) - 1) * 100, 1)
            for mark, part in line.items()
        }
        rounding = {mark: round(way.grain / 2 / part * 100, 1) for mark, part in line.items()}
        chance = {mark: round(by_chance_percent(part, RATE), 1) for mark, part in line.items()} if way.by_lot else {}
        yield Figure(
            f"ramp.{name}",
            f"a new pod's rate at the worst 10 s mark of a {seconds} s ramp {way.means}, off the {curve} line"
            + (", beyond what rounding may do" if way.grain else ""),
            max(max(0.0, abs(each) - rounding[mark]) for mark, each in off.items()),
            "%",
            BAR_PERCENT,
            detail={
                "off_percent_at": off,
                "by_chance_percent_at": chance,
                "by_rounding_percent_at": rounding if way.grain else {},
                "lost": lost[name],
                "sent": outcome.sent,
                "p50_ms": round(outcome.p50, 1),
            },
        )
    yield Figure("ramp.lost", "requests lost in all of these ramps", sum(lost.values()), "requests", 0, detail=lost)


def serving(way: Way) -> int:
    """Beside so many pods. Beside one, a ramping pod's part is large, and chance has less to say."""
    return 1 if way.by_lot else 3


def _ramped(bed: Testbed, way: Way, curve: str, seconds: int) -> tuple[Outcome, str, float]:
    """What became of all requests, the pod that has ramped, and since when."""
    replicas = serving(way)
    with way.ready(bed) as make, bed.namespace("ramp") as namespace:
        called = make(namespace, replicas)
        bed.box.apply(called.manifests)
        bed.available(namespace, NAME)
        warmup = {"ramp": {"duration": f"{seconds}s", "curve": curve}}
        bed.box.apply(workload.lossless(NAME, namespace, warmup=warmup, traffic=called.traffic))
        bed.cared_for(namespace, NAME)
        with called.load(RATE) as run:
            time.sleep(3)
            bed.scale(namespace, NAME, replicas + 1)
            ((pod, since),) = bed.box.wait_until(
                lambda: _ramping(bed, namespace), 60, "a pod ramps", every=0.05
            ).items()
            bed.available(namespace, NAME, timeout=seconds + 60)
            time.sleep(3)
            return run.finish(), pod, since


def _ramping(bed: Testbed, namespace: str) -> Mapping[str, float]:
    """The pods that ramp, and since when."""
    return {
        pod["metadata"]["name"]: datetime.fromisoformat(marks["lossless.dev/since"]).timestamp()
        for pod in bed.pods(namespace, NAME)
        if (marks := pod["metadata"].get("annotations") or {}).get("lossless.dev/stage") == "Ramping"
    }
