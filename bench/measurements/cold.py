"""What a ramp does for the latency of an app whose first answers are slow."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from bench import workload
from bench.figure import Figure
from bench.testbed import STATUS_LAG, Testbed
from localcluster.load import Fresh, Outcome, Plan, running

NAME = "web"
REPLICAS = 3
RATE = 100.0
WARM_MS, TIMES, FIRST = 5, 20, 50
WARM: Final = (f"--latency-ms={WARM_MS}",)
COLD: Final = (
    *WARM,
    f"--cold-requests={FIRST}",
    f"--cold-ms={WARM_MS * TIMES}",
    "--cold-burn",  # One after the other: those that come meanwhile wait, as for a cache that is being filled.
)
WARM_UP: Final = 60
STEADY: Final = 20
"""Seconds, to compare with."""
STRATEGY: Final = {"maxSurge": 1, "maxUnavailable": 0}


def cold(bed: Testbed) -> Iterator[Figure]:
    """3 pods whose first 50 answers take 20 times as long, one after the other, are released under 100 requests/s
    through Traefik: without a warm-up, with a ramp alone, and with warm-up requests alone. That again with pods that
    are never cold: what is left then is what starting them costs the machine that the load shares."""
    seconds = bed.choose(60, 30)
    _, plain = _released(bed, {})
    _, ramped = _released(bed, {"ramp": {"duration": f"{seconds}s"}})
    asked = {"requests": [{"port": workload.PORT, "path": "/", "count": WARM_UP}]}
    steady, warmed = _released(bed, asked)
    before, never = _released(bed, asked, WARM)
    means = f"the 99th percentile during a release of a cold app with a ramp of {seconds} s, against that without"
    detail = {"with": _told(ramped), "without": _told(plain)}
    yield Figure("cold.p99", means, ramped.p99 / plain.p99, "times", 1.0, detail=detail)
    means = (
        f"the 99th percentile during a release of a cold app with {WARM_UP} warm-up requests, against that before it"
    )
    detail = {"release": _told(warmed), "before": _told(steady)}
    yield Figure("cold.warmed.p99", means, warmed.p99 / steady.p99, "times", 1.5, detail=detail)
    means = "the same of pods that are never cold"
    detail = {"release": _told(never), "before": _told(before)}
    yield Figure("cold.never.p99", means, never.p99 / before.p99, "times", detail=detail)
    four = {"without": plain, "with a ramp": ramped, "warmed": warmed, "never cold": never}
    lost = sum(len(one.lost) for one in four.values())
    detail = {name: dict(one.lost_by_cause) for name, one in four.items()}
    yield Figure("cold.lost", "requests lost in all four", lost, "requests", 0, detail=detail)


def _released(bed: Testbed, warmup: Mapping[str, Any], flags: Sequence[str] = COLD) -> tuple[Outcome, Outcome]:
    """All requests of the last seconds before the release, and from it until it is through."""
    with bed.namespace("cold") as namespace:
        host = f"{namespace}.example.com"
        bed.box.apply(
            [
                *workload.serving(NAME, namespace, REPLICAS, STRATEGY, flags),
                workload.route(NAME, namespace, host),
            ]
        )
        bed.available(namespace, NAME)
        traffic = {"routes": [{"kind": "HTTPRoute", "name": NAME}]}
        # The drain is the default one: Traefik follows a change up to 2 s late, and later without CPU.
        bed.box.apply(workload.lossless(NAME, namespace, warmup=warmup, traffic=traffic))
        bed.cared_for(namespace, NAME)
        caller = Fresh(f"http://{bed.box.gateway_address}/", host=host, name="gateway")
        with running(bed.box, Plan(RATE, (caller,)), namespace=namespace) as run:
            time.sleep(10)  # The pods that were there before are warm.
            run.mark("warm")
            time.sleep(STEADY)
            run.mark("release")
            bed.release(namespace, NAME, "2")
            bed.available(namespace, NAME, timeout=600)
            time.sleep(STATUS_LAG)
            outcome = run.finish()
            if outcome.lost:
                bed.say(outcome.explain())
            return outcome.window("warm", "release"), outcome.window("release")


def _told(outcome: Outcome) -> Mapping[str, float]:
    return {
        "p50_ms": round(outcome.p50, 1),
        "p99_ms": round(outcome.p99, 1),
        "sent": outcome.sent,
        "over_100_ms": sum(1 for result in outcome.results if result.took_ms + result.late_ms > WARM_MS * TIMES),
    }
