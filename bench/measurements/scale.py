"""Many LosslessRollouts, and a large one, on nodes of KWOK's."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

from bench import audit, passages, workload
from bench.figure import Figure
from bench.measurements.idle import nobody_changes_anything
from bench.measurements.one_by_one import calls_per_pod
from bench.scrape import Scrape
from bench.spread import Spread, percentile
from bench.testbed import FAKE_NODES, STATUS_LAG, Testbed
from localcluster.timeline import Timeline

NAMESPACES, ROLLOUTS, PODS = 5, 200, 10
"""1,000 LosslessRollouts with 10,000 pods."""
AT_ONCE = 100
LARGE_PODS = 1000
ADMITTED_BAR = 2.0
STRATEGY = {"maxSurge": "25%", "maxUnavailable": "25%"}


def scale(bed: Testbed) -> Iterator[Figure]:
    """1,000 LosslessRollouts with 10,000 pods: a start, ten idle minutes, 100 releases at once."""
    rollouts, at_once, seconds = bed.choose(ROLLOUTS, 20), bed.choose(AT_ONCE, 10), bed.choose(600, 20)
    total = rollouts * NAMESPACES
    with ExitStack() as stack:
        namespaces = [stack.enter_context(bed.namespace("scale", wait=False)) for _ in range(NAMESPACES)]
        began = time.time()
        _create(bed, [(namespace, f"web-{number}") for namespace in namespaces for number in range(rollouts)], PODS)
        _wait_until_admitted(bed, total * PODS)
        bed.say(f"{total} LosslessRollouts and {total * PODS} pods after {time.time() - began:.0f} s")
        _wait_until_settled(bed)
        bed.say(f"… and all that was counted of them {time.time() - began:.0f} s")
        yield from _started(bed, total)
        yield from nobody_changes_anything(bed, "scale.idle", seconds)
        yield from _released(bed, namespaces, at_once)


def one_large(bed: Testbed) -> Iterator[Figure]:
    """One LosslessRollout with 1,000 pods is released."""
    pods = bed.choose(LARGE_PODS, 50)
    with bed.namespace("large", wait=False) as namespace:
        _create(bed, [(namespace, "web")], pods)
        bed.available(namespace, "web", 300)
        bed.cared_for(namespace, "web", 120)
        time.sleep(STATUS_LAG)
        before = bed.scrape()
        with bed.recorded(namespace) as recording:
            began = bed.release(namespace, "web", "2")
            bed.available(namespace, "web", 1800)
            seconds = time.time() - began
            time.sleep(STATUS_LAG)
            timeline = recording.timeline()
        after = bed.scrape()
        yield Figure("one-large.seconds", f"a release of {pods} pods at 25 %/25 %", seconds, "s")
        yield _door_in("one-large", timeline, began)
        yield from _cost("one-large", _calls(bed, namespace, began), pods, before, after)


def _wait_until_settled(bed: Testbed) -> None:
    """The cluster's own controllers are minutes behind with counting so many pods."""

    def is_so() -> bool:
        before = bed.scrape()
        time.sleep(2 * STATUS_LAG)
        return not any(kind.startswith("patch ") for kind in bed.scrape().requests_since(before))

    bed.box.wait_until(is_so, 1800, "the operator has nothing left to write", every=1)


def _started(bed: Testbed, rollouts: int) -> Iterator[Figure]:
    bed.operator.stop()
    began = time.time()
    bed.operator.start()

    def caught_up() -> bool:
        now = bed.scrape()
        return now.total("lossless_rollout_info") >= rollouts and now.total("lossless_queue_depth") == 0

    bed.box.wait_until(caught_up, 600, "the operator has caught up", every=0.5)
    yield Figure("scale.start", "start of the operator until it has seen to everything", time.time() - began, "s")
    now = bed.scrape()
    yield Figure("scale.start-cpu", "its CPU time for that", now.cpu_seconds, "s")
    yield Figure("scale.start-memory", "its resident memory then", now.memory_mib, "MiB")


def _released(bed: Testbed, namespaces: list[str], at_once: int) -> Iterator[Figure]:
    """Of the first namespace so many at once; in the middle of them urgent ones of other namespaces, one of ours and a
    plain one, against the same alone. Then as many plain ones at once, and an urgent one of ours in the middle."""
    crowd, urgent = namespaces[0], namespaces[-1]
    names = [f"web-{number}" for number in range(at_once)]
    with bed.namespace("natively", wait=False) as plain:
        _create(bed, [(plain, name) for name in (*names, "urgent")], PODS, cared_for=False)
        _wait_until_all_are(bed, plain, [*names, "urgent"])
        alone, natively_alone = _rolled(bed, urgent, "web-0", "2"), _rolled(bed, plain, "urgent", "2")
        time.sleep(STATUS_LAG)
        before = bed.scrape()
        with bed.recorded(crowd) as recording, ThreadPoolExecutor(10) as pool:
            began = time.time()
            list(pool.map(lambda name: bed.release(crowd, name, "2"), names))
            time.sleep(5)
            ours = pool.submit(_rolled, bed, urgent, "web-0", "3")
            natively = _rolled(bed, plain, "urgent", "3")
            urgently = ours.result()
            _wait_until_all_are(bed, crowd, names)
            seconds = time.time() - began
            time.sleep(STATUS_LAG)
            timeline = recording.timeline()
        after = bed.scrape()
        yield Figure("scale.releases", f"{at_once} releases of {PODS} pods at once", seconds, "s")
        yield _door_in("scale", timeline, began)
        yield from _elsewhere("scale", timeline, began)
        yield from _cost("scale", _calls(bed, crowd, began), at_once * PODS, before, after)
        means = "an urgent release in the middle of them, compared with the same one alone"
        yield _urgent("scale.urgent", means, urgently, alone)
        means = "… of a plain Deployment, in the middle of the same"
        yield _urgent("scale.urgent-native", means, natively, natively_alone)
        with ThreadPoolExecutor(10) as pool:
            began = time.time()
            list(pool.map(lambda name: bed.release(plain, name, "2"), names))
            urgently = _rolled(bed, urgent, "web-0", "4")
            _wait_until_all_are(bed, plain, names)
        means = f"{at_once} releases of {PODS} pods at once, natively"
        yield Figure("scale.releases-natively", means, time.time() - began, "s")
        means = "an urgent release of ours in the middle of those, compared with the same one alone"
        yield _urgent("scale.urgent-in-natives", means, urgently, alone)


def _urgent(name: str, means: str, seconds: float, alone: float) -> Figure:
    return Figure(name, means, seconds / alone, "times", detail={"seconds": seconds, "alone": alone})


def _wait_until_all_are(bed: Testbed, namespace: str, names: list[str]) -> None:
    for name in names:
        bed.available(namespace, name, 900)


def _cost(
    measurement: str, calls: tuple[audit.Call, ...], pods: int, before: Scrape, after: Scrape
) -> Iterator[Figure]:
    yield calls_per_pod(measurement, calls, pods, before, after)
    cpu = (after.cpu_seconds - before.cpu_seconds) / pods * 1000
    yield Figure(f"{measurement}.cpu", "the operator's CPU time for each replaced pod", cpu, "ms/pod")


def _calls(bed: Testbed, namespace: str, since: float) -> tuple[audit.Call, ...]:
    """Without those for namespaces where something else goes on, such as the end of what was measured before."""
    return tuple(call for call in bed.operator_calls(since, time.time()) if call.namespace in ("", namespace))


def _door_in(measurement: str, timeline: Timeline, since: float) -> Figure:
    """Of the pods made since: of many that were there before, some are first seen later than this."""
    made = replace(timeline, pods=tuple(pod for pod in timeline.pods if pod.created >= int(since)))
    seconds = sorted(passages.door_in(made, since))
    means = "containers ready until admitted, the 99th percentile"
    return Figure(f"{measurement}.door-in", means, percentile(seconds, 99), "s", ADMITTED_BAR, Spread.of(seconds))


def _elsewhere(measurement: str, timeline: Timeline, since: float) -> Iterator[Figure]:
    """Where the rest of the time goes."""
    for name, means, seconds in (
        ("pod-start", "a pod made until its containers are ready, the cluster's doing: the median", passages.start),
        ("way-out", "withdrawn until drained, 2 s of settle in it: the median", passages.way_out),
        ("door-out", "drained until its controller deletes it: the median", passages.door_out),
    ):
        spread = Spread.of(seconds(timeline, since))
        yield Figure(f"{measurement}.{name}", means, spread.median, "s", None, spread)


def _rolled(bed: Testbed, namespace: str, name: str, version: str) -> float:
    began = bed.release(namespace, name, version)
    bed.available(namespace, name, 600)
    return time.time() - began


def _create(bed: Testbed, names: list[tuple[str, str]], pods: int, cared_for: bool = True) -> None:
    def create(each: tuple[int, tuple[str, str]]) -> None:
        number, (namespace, name) = each
        deployment, service = workload.serving(name, namespace, pods, STRATEGY)
        deployment["spec"]["template"]["spec"]["nodeName"] = f"fake-{number % FAKE_NODES + 1}"
        if cared_for:
            rollouts = f"/apis/lossless.dev/v1alpha1/namespaces/{namespace}/losslessrollouts"
            bed.box.api.request("POST", rollouts, workload.lossless(name, namespace, drain={"settle": "2s"}))
        for group, kind, body in (("api/v1", "services", service), ("apis/apps/v1", "deployments", deployment)):
            bed.box.api.request("POST", f"/{group}/namespaces/{namespace}/{kind}", body)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, enumerate(names)))


def _wait_until_admitted(bed: Testbed, pods: int) -> None:
    def admitted() -> bool:
        found = bed.scrape().samples.items()
        return pods <= sum(
            value for (name, labels), value in found if name == "lossless_passages" and ("stage", "Admitted") in labels
        )

    bed.box.wait_until(admitted, 1800, f"{pods} pods are let in", every=2)
