"""A scale-in of many pods, and what it does to everybody else."""

from __future__ import annotations

import operator
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from bench import audit, workload
from bench.figure import Figure, ratio
from bench.measurements.one_by_one import refusals
from bench.passages import first
from bench.spread import Spread
from bench.testbed import Testbed
from localcluster.recorder import Recording
from localcluster.timeline import Timeline

NAME, OTHER = "many", "other"
LEFT = 5
EVERY = 0.5
"""Seconds from one scale-up of the other Deployment to the next."""
BAR = 2.0
MEANS = "another Deployment's scale-up until its pod is there, compared with quiet times"


@dataclass(frozen=True, slots=True)
class Delays:
    """Of each scale-up by one pod: seconds until the pod was there, and until it was ready."""

    asked: tuple[float, ...]
    """When."""
    created: tuple[float, ...]
    ready: tuple[float, ...]

    def before(self, moment: float) -> tuple[float, ...]:
        """Until the pod was there, of those that were asked for, and were there, before this moment."""
        asked = zip(self.asked, self.created, strict=True)
        return tuple(delay for at, delay in asked if at + delay < moment)

    @classmethod
    def of(cls, asked: Sequence[float], timeline: Timeline) -> Delays:
        """The first of the new pods answers the first request, and so on: it matters not which pod is whose, for they
        are all alike. Raises ValueError while some are missing."""
        created, ready = [], []
        for pod in timeline.pods:
            if pod.states[0].at >= asked[0]:
                created.append(pod.states[0].at)
                ready += [at for at in [first(pod, lambda state: state.ready)] if at is not None]
        if len(ready) < len(asked):
            raise ValueError(f"{len(ready)} of {len(asked)} pods are ready")
        return cls(tuple(asked), *(tuple(map(operator.sub, sorted(ends), asked)) for ends in (created, ready)))


class Neighbour:
    """Another Deployment, that nobody protects, and which is scaled up a pod at a time to see how long that takes.

    At a fixed rate, whether or not the pods before are there: who waited for them would ask just once in all the time
    in which nobody is answered, and call that rare.
    """

    def __init__(self, bed: Testbed, namespace: str, recording: Recording) -> None:
        self._bed = bed
        self._namespace = namespace
        self._recording = recording

    def probe(self, over: Callable[[int], bool]) -> Delays:
        """Scale up again and again, until told that it is over (and how often it was done); then back to one pod."""
        asked: list[float] = []
        start = time.time()
        while not over(len(asked)):
            time.sleep(max(0.0, start + EVERY * len(asked) - time.time()))
            asked.append(self._bed.scale(self._namespace, OTHER, len(asked) + 2))
        self._bed.available(self._namespace, OTHER)
        time.sleep(1)  # The recorder may be a little behind.
        delays = Delays.of(asked, self._recording.timeline())
        self._bed.scale(self._namespace, OTHER, 1)
        self._bed.only(self._namespace, OTHER, 1)
        return delays


def scale_in(bed: Testbed) -> Iterator[Figure]:
    """200 pods down to 5 with a settle of 2 s, while another Deployment is scaled up again and again; and, to compare,
    the same without protection."""
    pods = bed.choose(200, 60)
    with bed.namespace("other") as other:
        bed.box.apply(workload.sleeping(OTHER, other, 1))
        bed.available(other, OTHER)
        with bed.recorded(other) as recording:
            neighbour = Neighbour(bed, other, recording)
            quiet = neighbour.probe(lambda count: count >= bed.choose(24, 12))
            with bed.namespace("many") as namespace:
                bed.box.apply(workload.lossless(NAME, namespace, drain={"settle": "2s"}))
                before = bed.scrape()
                began, seconds, during = _scaled_in(bed, namespace, pods, neighbour)
                after, calls = bed.scrape(), bed.calls(began, time.time())
                yield from refusals("scale-in", bed, namespace, calls)
                work = audit.of_work(audit.by(audit.OPERATOR, calls))
                yield Figure(
                    "scale-in.calls",
                    "API calls by the operator for each pod that went, without Lease and watches",
                    len(work) / (pods - LEFT),
                    "calls/pod",
                    10,
                    detail={"by_kind": audit.by_kind(work)},
                )
                cpu = (after.cpu_seconds - before.cpu_seconds) * 1000 / pods
                means = "the operator's CPU time for each pod that came, and went again unless it was left"
                yield Figure("scale-in.cpu", means, cpu, "ms/pod")
                yield Figure(
                    "scale-in.wall-time", f"{pods} pods down to {LEFT}, until the last is deleted", seconds, "s"
                )
            yield from _delays("scale-in", during, quiet, bar=BAR)
            deletes = [call.began for call in calls if call.kind == "delete pods" and call.namespace == namespace]
            yield ratio(
                "scale-in.neighbour-while-draining",
                f"{MEANS}, until the first pod was deleted; medians",
                during.before(min(deletes)),
                quiet.created,
                bar=BAR,
            )
            if not bed.quick:
                with bed.namespace("many-native") as namespace:
                    _, seconds, during = _scaled_in(bed, namespace, pods, neighbour)
                yield Figure("scale-in-native.wall-time", "the same without protection", seconds, "s")
                yield from _delays("scale-in-native", during, quiet)


def _scaled_in(bed: Testbed, namespace: str, pods: int, neighbour: Neighbour) -> tuple[float, float, Delays]:
    """When it began, how many seconds it took until the last pod was deleted, and what it did to the neighbour.

    How long the pods then take to end is up to them and their nodes, and not counted.
    """
    bed.box.apply(workload.sleeping(NAME, namespace, pods))
    bed.available(namespace, NAME, timeout=300)
    time.sleep(10)  # What the creation of so many pods has left to do must not be measured.
    over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        began = bed.scale(namespace, NAME, LEFT)
        probing = pool.submit(neighbour.probe, lambda _: over.is_set())
        try:
            bed.box.wait_until(lambda: _live(bed, namespace) == LEFT, 300, f"{LEFT} pods are left", every=0.5)
        finally:
            seconds = time.time() - began
            over.set()
        during = probing.result()
    bed.say(f"{namespace}: {pods} pods down to {LEFT} in {seconds:.1f} s")
    return began, seconds, during


def _live(bed: Testbed, namespace: str) -> int:
    return sum(1 for pod in bed.pods(namespace, NAME) if "deletionTimestamp" not in pod["metadata"])


def _delays(measurement: str, during: Delays, quiet: Delays, bar: float | None = None) -> Iterator[Figure]:
    """Medians against medians, and the slow ones against the slow ones: most may be well while some wait for long.

    Until the pod is there, which is up to the control plane. When it is ready is up to the nodes, which are busy with
    the end of all the others, and is only told.
    """
    one, other = Spread.of(during.created), Spread.of(quiet.created)
    detail = {
        "seconds": asdict(one),
        "quiet_seconds": asdict(other),
        "ready_seconds": asdict(Spread.of(during.ready)),
        "quiet_ready_seconds": asdict(Spread.of(quiet.ready)),
    }
    yield Figure(
        f"{measurement}.neighbour", f"{MEANS}; medians", one.median / other.median, "times", bar, detail=detail
    )
    yield Figure(f"{measurement}.neighbour-p95", f"{MEANS}; p95", one.p95 / other.p95, "times", bar, detail=detail)
