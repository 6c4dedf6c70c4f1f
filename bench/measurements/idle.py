"""What it costs when there is nothing to do."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench import audit, workload
from bench.figure import Figure
from bench.testbed import STATUS_LAG, Testbed, as_list

ROLLOUTS = 50
MEMORY_BAR, CPU_BAR = 400, 20
"""What issue 5 allows 1,000 LosslessRollouts with 10,000 pods."""


def idle(bed: Testbed) -> Iterator[Figure]:
    """Five minutes with 50 LosslessRollouts, each with a Deployment of one pod, in which nobody changes anything."""
    seconds = bed.choose(300, 20)
    with bed.namespace("idle") as namespace:
        names = [f"web-{number}" for number in range(ROLLOUTS)]
        bed.box.kubectl("apply", "-f", "-", input=as_list([workload.lossless(name, namespace) for name in names]))
        bed.box.kubectl("apply", "-f", "-", input=as_list([workload.sleeping(name, namespace, 1) for name in names]))
        for name in names:
            bed.available(namespace, name)
            bed.cared_for(namespace, name)
        yield from nobody_changes_anything(bed, "idle", seconds)


def nobody_changes_anything(bed: Testbed, measurement: str, seconds: int) -> Iterator[Figure]:
    """So many seconds from when the last status has been written."""
    time.sleep(2 * STATUS_LAG)
    bed.say(f"idle for {seconds} s")
    before, began = bed.scrape(), time.time()
    time.sleep(seconds)
    after, ended = bed.scrape(), time.time()
    calls = bed.operator_calls(began, ended)
    work = audit.of_work(calls)
    means = f"API calls by the operator in {seconds} s other than for its Lease and watches"
    yield Figure(f"{measurement}.calls", means, len(work), "calls", 0, detail={"by_kind": audit.by_kind(work)})
    every_minute = len(calls) / (ended - began) * 60
    means = "all API calls by the operator, Lease and watches as well"
    yield Figure(f"{measurement}.all-calls", means, every_minute, "calls/min")
    cpu = (after.cpu_seconds - before.cpu_seconds) / (ended - began) * 1000
    yield Figure(f"{measurement}.cpu", "the operator's CPU time", cpu, "ms/s", CPU_BAR)
    yield Figure(f"{measurement}.memory", "the operator's resident memory", after.memory_mib, "MiB", MEMORY_BAR)
    grown = after.memory_mib - before.memory_mib
    yield Figure(f"{measurement}.growth", "what that is more than at the beginning", grown, "MiB")
