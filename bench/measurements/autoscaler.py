"""What an autoscaler makes of a release whose new pods burn CPU, and of a load that rises in the middle of one."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench import workload
from bench.figure import Figure
from bench.testbed import Testbed
from localcluster.load import Fresh, Outcome, Plan, running
from localcluster.servers.metrics_server import MetricsServer

NAME = "web"
REPLICAS, MOST = 3, 10
RATE = 9.0
BURNS = 45
"""Seconds."""
FLAGS = ("--work-ms=6", "--burn-ms=60", f"--burn-for={BURNS}")
"""Half of what each of three pods has asked for; more than three times as much while it burns."""
STRATEGY = {"maxSurge": "100%", "maxUnavailable": 0}
NEEDED = 4
"""Replicas, by a load that is three times as high."""
AFTERWARDS = 90
"""Seconds after a release in which the autoscaler may still change its mind."""
BAR_EXTRA, BAR_STEP = 0.1, 1.5


@dataclass
class Wanted:
    """How many replicas were wanted, from when on."""

    turns: list[tuple[float, int]] = field(default_factory=list)
    ended: float = 0.0
    short_at: float = 0.0
    """When fewer were ready than a load three times as high needs, the last time that was seen."""

    def extra(self, needed: int) -> float:
        """Replica seconds beyond what the traffic needs."""
        ends = [at for at, _ in self.turns[1:]] + [self.ended]
        return sum(max(0, wanted - needed) * (end - at) for (at, wanted), end in zip(self.turns, ends, strict=True))

    def told(self, began: float) -> Sequence[tuple[float, int]]:
        turns = [*self.turns, (self.ended, self.turns[-1][1])]
        return [(round(at - began, 1), wanted) for at, wanted in turns]


def autoscaler(bed: Testbed) -> Iterator[Figure]:
    """3 pods at 50 % of their target; a release of an app that costs ten times the CPU in its first 45 s, as a plain
    Deployment, and behind the doors with a warm-up of 48 s; then a load that triples in the middle of a release."""
    with MetricsServer(bed.box):
        runs = {}
        for name, protected in (("native", False), ("doors", True)):
            wanted, began, outcome = _released(bed, name, protected)
            runs[name] = wanted.extra(REPLICAS)
            yield Figure(
                f"autoscaler.{name}.extra",
                f"replica seconds beyond the 3 that the traffic needs, {name}",
                runs[name],
                "replica·s",
                BAR_EXTRA * runs["native"] if protected else None,
                detail={
                    "lost": len(outcome.lost),
                    "sent": outcome.sent,
                    "p99_ms": round(outcome.p99, 1),
                },
                over_time=wanted.told(began),
            )
        native, turns = _stepped(bed, "native", in_a_release=False)
        means = "a load three times as high: until it is met, without a release"
        yield Figure("autoscaler.native.step", means, native, "s", over_time=turns)
        doors, turns = _stepped(bed, "doors", in_a_release=True)
        means = "the same in the middle of a release behind the doors, compared with that"
        detail = {"seconds": doors, "compared_with_seconds": native}
        yield Figure("autoscaler.doors.step", means, doors / native, "times", BAR_STEP, detail=detail, over_time=turns)


def _released(bed: Testbed, name: str, protected: bool) -> tuple[Wanted, float, Outcome]:
    """A release under load, and what was wanted from then on."""
    with (
        _scaled(bed, f"hpa-{name}", protected, "48s") as (namespace, url),
        running(bed.box, Plan(rate=RATE, callers=(Fresh(url),)), namespace=namespace) as run,
    ):
        time.sleep(BURNS + 30)
        _content(bed, namespace)
        with _watching(bed, namespace) as wanted:
            began = bed.release(namespace, NAME, "2")
            run.mark("release")
            time.sleep(BURNS + AFTERWARDS)
        outcome = run.finish()
    bed.say(f"{name}: wanted {json.dumps(wanted.told(began))}, {len(outcome.lost)} lost of {outcome.sent}")
    return wanted, began, outcome.window("release")


def _stepped(bed: Testbed, name: str, in_a_release: bool) -> tuple[float, Sequence[tuple[float, int]]]:
    """Seconds from a load three times as high until as many pods are ready as it needs, and will be until as many are
    wanted and all of them of the new revision; and how many were wanted."""
    with _scaled(bed, f"step-{name}", in_a_release, "90s") as (namespace, url):
        callers = (Fresh(url),)
        with (
            running(bed.box, Plan(rate=RATE, callers=callers), namespace=namespace),
            _watching(bed, namespace) as wanted,
        ):
            time.sleep(BURNS + 30)
            _content(bed, namespace)
            if in_a_release:
                bed.release(namespace, NAME, "2")
                time.sleep(5)
            with running(bed.box, Plan(rate=2 * RATE, callers=callers), namespace=namespace):
                began = time.time()
                bed.box.wait_until(lambda: _is_over(bed, namespace), 480, "the load is met", every=0.5)
    bed.say(f"{name}: after {wanted.short_at - began:.1f} s: {json.dumps(wanted.told(began))}")
    return wanted.short_at - began, wanted.told(began)


def _is_over(bed: Testbed, namespace: str) -> bool:
    found = bed.deployment(namespace, NAME)
    wanted, status = found["spec"]["replicas"], found["status"]
    counts = [status.get(count, 0) for count in ("replicas", "updatedReplicas", "readyReplicas")]
    return bool(wanted >= NEEDED and counts == [wanted] * 3)


@contextmanager
def _scaled(bed: Testbed, name: str, protected: bool, delay: str) -> Iterator[tuple[str, str]]:
    """A Deployment that is to be scaled. Says its namespace and URL."""
    with bed.namespace(name) as namespace:
        deployment, service = workload.serving(NAME, namespace, REPLICAS, STRATEGY, FLAGS)
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        container["resources"] = {"requests": {"cpu": "50m"}}
        bed.box.apply([deployment, service])
        bed.available(namespace, NAME)
        if protected:
            warmup = {"delay": delay, "maxParallel": "100%"}
            bed.box.apply(workload.lossless(NAME, namespace, warmup=warmup))
            bed.cared_for(namespace, NAME)
        address = bed.box.get("service", NAME, namespace)["spec"]["clusterIP"]
        yield namespace, f"http://{address}/"


def _hpa(namespace: str) -> workload.Manifest:
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 100}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": NAME, "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME},
            "minReplicas": REPLICAS,
            "maxReplicas": MOST,
            "metrics": [{"type": "Resource", "resource": cpu}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 30}},
        },
    }


def _content(bed: Testbed, namespace: str) -> None:
    """An autoscaler, once the pods are warm, which wants as many as the traffic needs."""
    bed.box.apply(_hpa(namespace))

    def is_so() -> bool:
        found = bed.deployment(namespace, NAME)
        status = bed.box.get("hpa", NAME, namespace).get("status", {})
        return found["spec"]["replicas"] == REPLICAS and bool(status.get("currentMetrics"))

    bed.box.wait_until(is_so, 180, "the autoscaler is content", every=1)


@contextmanager
def _watching(bed: Testbed, namespace: str) -> Iterator[Wanted]:
    seen, over = Wanted(), threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            found = bed.deployment(namespace, NAME)
            count = found["spec"]["replicas"]
            if found["status"].get("readyReplicas", 0) < NEEDED:
                seen.short_at = time.time()
            if not seen.turns or seen.turns[-1][1] != count:
                seen.turns.append((time.time(), count))

    seen.turns.append((time.time(), bed.deployment(namespace, NAME)["spec"]["replicas"]))
    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
        seen.ended = time.time()
