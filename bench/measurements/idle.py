"""What it costs when there is nothing to do."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench import audit, workload
from bench.figure import Figure
from bench.testbed import STATUS_LAG, Testbed, as_list

ROLLOUTS = 50


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
        time.sleep(2 * STATUS_LAG)
        bed.say(f"{ROLLOUTS} LosslessRollouts idle for {seconds} s")
        before, began = bed.scrape(), time.time()
        time.sleep(seconds)
        after, ended = bed.scrape(), time.time()
        calls = bed.operator_calls(began, ended)
        yield Figure(
            "idle.calls",
            f"API calls by the operator in {seconds} s other than for its Lease and watches",
            len(audit.of_work(calls)),
            "calls",
            0,
            detail={"by_kind": audit.by_kind(calls)},
        )
        every_minute = len(calls) / (ended - began) * 60
        yield Figure(
            "idle.all-calls", "all API calls by the operator, Lease and watches as well", every_minute, "calls/min"
        )
        cpu = (after.cpu_seconds - before.cpu_seconds) / (ended - began)
        yield Figure("idle.cpu", "the operator's CPU time", cpu * 1000, "ms/s")
        yield Figure("idle.memory", "the operator's resident memory", after.memory_mib, "MiB")
