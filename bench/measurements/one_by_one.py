"""A release of one pod after the other: what each single passage costs, with nothing else going on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict

from bench import audit, passages, workload
from bench.figure import Figure, p95
from bench.scrape import Scrape
from bench.spread import Spread
from bench.testbed import STATUS_LAG, Testbed

NAME = "web"
BAR_MS, CALLS_BAR = 300, 10


def one_by_one(bed: Testbed) -> Iterator[Figure]:
    """A release with maxSurge 1, maxUnavailable 0, no warm-up and a settle of 1 s."""
    pods = bed.choose(20, 5)
    with bed.namespace("one-by-one") as namespace:
        bed.box.apply(workload.lossless(NAME, namespace, drain={"settle": "1s"}))
        strategy = {"maxSurge": 1, "maxUnavailable": 0}
        bed.box.apply(workload.serving(NAME, namespace, pods, strategy))
        bed.available(namespace, NAME)
        bed.cared_for(namespace, NAME)
        time.sleep(STATUS_LAG)
        with bed.recorded(namespace) as recording:
            before = bed.scrape()
            released = bed.release(namespace, NAME, "2")
            bed.available(namespace, NAME, timeout=60 + 10 * pods)
            bed.only(namespace, NAME, pods)
            bed.cared_for(namespace, NAME)
            time.sleep(STATUS_LAG)
            after, ended = bed.scrape(), time.time()
            timeline = recording.timeline()
        yield p95(
            "one-by-one.door-in",
            "containers ready until admitted, no warm-up asked for",
            passages.door_in(timeline, released),
            bar_ms=BAR_MS,
        )
        yield p95(
            "one-by-one.door-out",
            "marked drained until deletionTimestamp",
            passages.door_out(timeline, released),
            bar_ms=BAR_MS,
        )
        calls = bed.calls(released, ended)
        yield calls_per_pod("one-by-one", audit.by(audit.OPERATOR, calls), pods, before, after)
        yield Figure(
            "one-by-one.cpu",
            "the operator's CPU time for each replaced pod",
            (after.cpu_seconds - before.cpu_seconds) / pods * 1000,
            "ms/pod",
        )
        yield from refusals("one-by-one", bed, namespace, calls)


def calls_per_pod(
    measurement: str, calls: tuple[audit.Call, ...], pods: int, before: Scrape, after: Scrape, releases: int = 1
) -> Figure:
    """All that the operator asked the API server for, but for its Lease and watches, shared out to the replaced pods.

    By the audit log; what the operator counted itself is in the detail, and must be the same.
    """
    work = audit.of_work(calls)
    counted = after.requests_since(before)
    return Figure(
        f"{measurement}.calls",
        "API calls by the operator for each replaced pod, without Lease and watches",
        len(work) / (pods * releases),
        "calls/pod",
        CALLS_BAR,
        detail={
            "pods": pods * releases,
            "by_kind": audit.by_kind(work),
            "failed": audit.by_kind([call for call in work if call.code >= 400]),
            "counted_by_the_operator": sum(n for kind, n in counted.items() if not kind.endswith(" leases")),
            "took_ms": asdict(Spread.of((call.ended - call.began) * 1000 for call in work)),
        },
    )


def refusals(measurement: str, bed: Testbed, namespace: str, calls: tuple[audit.Call, ...]) -> Iterator[Figure]:
    """Whether anybody knocked at a closed door."""
    means = "deletes of pods that the ReplicaSet controller was refused"
    yield Figure(f"{measurement}.refused-deletes", means, audit.refused_deletes(calls, namespace), "deletes", 0)
    means = "FailedDelete events in the namespace"
    yield Figure(f"{measurement}.failed-delete-events", means, bed.failed_deletes(namespace), "events", 0)
