"""A release in waves under load, natively and behind the doors: what the doors cost in time, and what they save."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench import audit, passages, workload
from bench.figure import Figure, p95, ratio
from bench.measurements.one_by_one import BAR_MS, calls_per_pod, refusals
from bench.scrape import Scrape
from bench.testbed import STATUS_LAG, Testbed
from localcluster.load import Fresh, KeptAlive, Outcome, Plan, running
from localcluster.timeline import Timeline

NAME, RATE = "web", 100.0
PODS = 20
STRATEGY = {"maxSurge": "25%", "maxUnavailable": "25%"}
TAIL_SECONDS = 2.0


@dataclass(slots=True)
class Side:
    """All releases of one of the two."""

    namespace: str
    seconds: list[float] = field(default_factory=list)
    """From the new template to the Deployment's own word that the release is over."""
    outcomes: list[Outcome] = field(default_factory=list)
    door_in: list[float] = field(default_factory=list)
    door_out: list[float] = field(default_factory=list)

    @property
    def lost(self) -> int:
        return sum(len(outcome.lost) for outcome in self.outcomes)

    @property
    def sent(self) -> int:
        return sum(outcome.sent for outcome in self.outcomes)

    def saw(self, timeline: Timeline, released: float, outcome: Outcome) -> None:
        """One release more."""
        self.seconds.append(passages.released_in(timeline, released))
        self.door_in += passages.door_in(timeline, released)
        self.door_out += passages.door_out(timeline, released)
        self.outcomes.append(outcome)


def waves(bed: Testbed) -> Iterator[Figure]:
    """Releases of 20 pods at 25 %/25 % with a settle of 2 s, in turns with native ones, each under 100 requests/s."""
    rounds = bed.choose(2, 1)
    with bed.namespace("native") as there, bed.namespace("waves") as here:
        bed.box.apply(workload.lossless(NAME, here, drain={"settle": "2s"}))
        for namespace in (there, here):
            bed.box.apply(workload.serving(NAME, namespace, PODS, STRATEGY))
        for namespace in (there, here):
            bed.available(namespace, NAME)
        bed.cared_for(here, NAME)
        time.sleep(STATUS_LAG)
        native, ours = Side(there), Side(here)
        calls: tuple[audit.Call, ...] = ()
        before, memory = bed.scrape(), [bed.scrape().memory_mib]
        for number in range(rounds):
            _released(bed, native, f"{number + 2}")
            began = time.time()
            _released(bed, ours, f"{number + 2}")
            bed.cared_for(here, NAME)
            time.sleep(STATUS_LAG)
            calls += bed.calls(began, time.time())
            memory.append(bed.scrape().memory_mib)
        after = bed.scrape()
        yield from _figures(native, ours, rounds)
        yield calls_per_pod("waves", audit.by(audit.OPERATOR, calls), PODS, before, after, releases=rounds)
        yield from _usage(before, after, memory, rounds)
        yield from refusals("waves", bed, here, calls)


def _released(bed: Testbed, side: Side, version: str) -> None:
    """One release under load."""
    address = bed.box.get("service", NAME, side.namespace)["spec"]["clusterIP"]
    plan = Plan(rate=RATE, callers=(Fresh(f"http://{address}/"), KeptAlive(f"http://{address}/")))
    with (
        bed.recorded(side.namespace) as recording,
        running(bed.box, plan, namespace=side.namespace, name=f"{side.namespace}-{version}") as load,
    ):
        time.sleep(TAIL_SECONDS)
        released = bed.release(side.namespace, NAME, version)
        bed.available(side.namespace, NAME)
        bed.only(side.namespace, NAME, PODS)
        time.sleep(TAIL_SECONDS)
        outcome = load.finish()
        side.saw(recording.timeline(), released, outcome)
    bed.say(f"{side.namespace}: released in {side.seconds[-1]:.1f} s; {outcome.summary()}")


def _figures(native: Side, ours: Side, rounds: int) -> Iterator[Figure]:
    yield ratio(
        "waves.wall-time", "duration of the release, compared with the same one natively", ours.seconds, native.seconds
    )
    for name, side in (("native-lost", native), ("lost", ours)):
        causes = [dict(outcome.lost_by_cause) for outcome in side.outcomes]
        means = f"requests lost in {rounds} releases" + (" natively" if side is native else "")
        bar = 0 if side is ours else None
        yield Figure(f"waves.{name}", means, side.lost, "requests", bar, detail={"sent": side.sent, "causes": causes})
    means = "containers ready until admitted, with five pods at a time and under load"
    yield p95("waves.door-in", means, ours.door_in, bar_ms=BAR_MS)
    means = "marked drained until deletionTimestamp, with five pods at a time and under load"
    yield p95("waves.door-out", means, ours.door_out, bar_ms=BAR_MS)


def _usage(before: Scrape, after: Scrape, memory: list[float], rounds: int) -> Iterator[Figure]:
    seconds = after.cpu_seconds - before.cpu_seconds
    yield Figure(
        "waves.cpu", "the operator's CPU time for each replaced pod", seconds / (PODS * rounds) * 1e3, "ms/pod"
    )
    yield Figure("waves.memory", "the operator's resident memory, the most that was seen", max(memory), "MiB")
