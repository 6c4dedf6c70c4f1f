"""What a ramp does for the latency of an app whose first answers are slow."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from bench import workload
from bench.figure import Figure
from bench.testbed import STATUS_LAG, Testbed
from localcluster.load import Fresh, Outcome, Plan, running

NAME = "web"
REPLICAS = 3
RATE = 100.0
WARM_MS, TIMES, FIRST = 5, 20, 50
FLAGS: Final = (
    f"--latency-ms={WARM_MS}",
    f"--cold-requests={FIRST}",
    f"--cold-ms={WARM_MS * TIMES}",
    "--cold-burn",  # One after the other: those that come meanwhile wait, as for a cache that is being filled.
)
STRATEGY: Final = {"maxSurge": 1, "maxUnavailable": 0}


def cold(bed: Testbed) -> Iterator[Figure]:
    """3 pods whose first 50 answers take 20 times as long, one after the other, are released under 100 requests/s
    through Traefik, without a warm-up and with a ramp alone."""
    seconds = bed.choose(60, 30)
    plain = _released(bed, {})
    ramped = _released(bed, {"ramp": {"duration": f"{seconds}s"}})
    means = f"the 99th percentile during a release of a cold app with a ramp of {seconds} s, against that without"
    detail = {"with": _told(ramped), "without": _told(plain)}
    yield Figure("cold.p99", means, ramped.p99 / plain.p99, "times", 1.0, detail=detail)
    yield Figure("cold.lost", "requests lost in both", len(ramped.lost) + len(plain.lost), "requests", 0)


def _released(bed: Testbed, warmup: Mapping[str, Any]) -> Outcome:
    """All requests from the release until it is through."""
    with bed.namespace("cold") as namespace:
        host = f"{namespace}.example.com"
        bed.box.apply(
            [
                *workload.serving(NAME, namespace, REPLICAS, STRATEGY, FLAGS),
                workload.route(NAME, namespace, host),
            ]
        )
        bed.available(namespace, NAME)
        traffic = {"routes": [{"kind": "HTTPRoute", "name": NAME}]}
        bed.box.apply(workload.lossless(NAME, namespace, warmup=warmup, traffic=traffic, drain={"settle": "2s"}))
        bed.cared_for(namespace, NAME)
        caller = Fresh(f"http://{bed.box.gateway_address}/", host=host, name="gateway")
        with running(bed.box, Plan(RATE, (caller,)), namespace=namespace) as run:
            time.sleep(10)  # The pods that were there before are warm.
            run.mark("release")
            bed.release(namespace, NAME, "2")
            bed.available(namespace, NAME, timeout=600)
            time.sleep(STATUS_LAG)
            return run.finish().window("release")


def _told(outcome: Outcome) -> Mapping[str, float]:
    return {
        "p50_ms": round(outcome.p50, 1),
        "p99_ms": round(outcome.p99, 1),
        "sent": outcome.sent,
        "over_100_ms": sum(1 for result in outcome.results if result.took_ms + result.late_ms > WARM_MS * TIMES),
    }
