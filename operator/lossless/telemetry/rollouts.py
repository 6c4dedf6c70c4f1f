"""What there is to measure of each rollout, kept as plain data and turned into series when somebody asks."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from lossless.core.passage import Stage
from lossless.core.steps import Decision, Move, Verb
from lossless.core.world import Early, Pod, World

Key = tuple[str, str]
"""Namespace and name of a rollout."""

PAST_THE_DOOR: Final = ("SkippedTheDoor", "NodeLost")
WAYS: Final = ("in", "out")


@dataclass(slots=True)
class _Rollout:
    """One rollout, as of its latest decision; the counts are since this process saw it first."""

    phase: str = ""
    mode: str = ""
    stages: Counter[Stage] = field(default_factory=Counter)
    oldest: dict[str, datetime] = field(default_factory=dict)
    stalled: Counter[str] = field(default_factory=Counter)
    findings: tuple[str, ...] = ()
    admitted: Counter[str] = field(default_factory=Counter)
    drained: Counter[str] = field(default_factory=Counter)
    past: Counter[str] = field(default_factory=Counter)
    """Pods that went past the door, by the reason of the event that says so."""
    past_pods: dict[str, set[str]] = field(default_factory=dict)
    """The pods (uids) counted there that are still there: a decision repeats its events."""
    early: tuple[Early, ...] = ()
    early_times: Counter[str] = field(default_factory=Counter)
    """How often a pod was handed out before it was let in, by who did."""
    early_seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """All of those together."""
    to_admit: dict[str, str] = field(default_factory=dict)
    """Decided but not seen yet: pod uid to reason. What was decided may fail, and is then decided again."""
    to_drain: dict[str, str] = field(default_factory=dict)


class Rollouts(Collector):
    """The series of all rollouts. A rollout that is forgotten leaves none behind."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        """Args:
        clock: the time that ages are measured against as they are read.
        """
        self._clock = clock
        self._rollouts: dict[Key, _Rollout] = {}

    def observe(self, key: Key, decision: Decision, world: World, now: datetime) -> None:
        """Take in one decision, and the world that it rests on."""
        rollout = self._rollouts.setdefault(key, _Rollout())
        managed = [pod for pod in world.pods if pod.live and pod.managed]
        rollout.phase = decision.status.phase
        rollout.mode = world.spec.mode.value
        rollout.stages = Counter(pod.stage for pod in managed)
        rollout.oldest = _oldest(managed)
        rollout.stalled = _stalled(decision, world)
        rollout.findings = tuple(finding.reason for finding in decision.status.findings)
        for reason in PAST_THE_DOOR:
            _count_past(rollout, reason, decision, world)
        _count_seen(rollout, world)
        _count_early(rollout, world)
        _expect(rollout, decision)

    def forget(self, key: Key) -> None:
        """Drop everything of a rollout; one that is not known is no error."""
        self._rollouts.pop(key, None)

    def collect(self) -> Iterator[Metric]:
        """Called by the registry for each scrape."""
        now = self._clock()
        labels = ("namespace", "rollout")
        passages = GaugeMetricFamily(
            "lossless_passages", "Live pods by stage of their passage.", labels=(*labels, "stage")
        )
        oldest = GaugeMetricFamily(
            "lossless_oldest_passage_seconds",
            "How long the pod that is longest on its way in, or out, has been so.",
            labels=(*labels, "way"),
        )
        info = GaugeMetricFamily(
            "lossless_rollout_info", "1, with what a rollout is doing as labels.", labels=(*labels, "phase", "mode")
        )
        stalled = GaugeMetricFamily(
            "lossless_stalled",
            "Pods whose wait is past its timeout, by what they wait for; 1 where the target can't be taken care of.",
            labels=(*labels, "reason"),
        )
        findings = GaugeMetricFamily(
            "lossless_findings", "1 for each hazard seen in the set-up.", labels=(*labels, "reason")
        )
        skipped = CounterMetricFamily(
            "lossless_skipped_the_door", "Pods that were deleted without having been drained.", labels=labels
        )
        lost = CounterMetricFamily(
            "lossless_node_lost", "Pods that had traffic when their node was taken for gone.", labels=labels
        )
        admitted = CounterMetricFamily(
            "lossless_admitted", "Pods that were let in, by why.", labels=(*labels, "reason")
        )
        drained = CounterMetricFamily("lossless_drained", "Pods marked drained, by why.", labels=(*labels, "reason"))
        early = SummaryMetricFamily(
            "lossless_registered_early_seconds",
            "How long pods were handed out before they were let in, by who did.",
            labels=(*labels, "source"),
        )
        for key, rollout in self._rollouts.items():
            for stage in Stage:
                passages.add_metric((*key, stage.value), rollout.stages[stage])
            for way in WAYS:
                since = rollout.oldest.get(way)
                oldest.add_metric((*key, way), max(0.0, (now - since).total_seconds()) if since else 0.0)
            info.add_metric((*key, rollout.phase, rollout.mode), 1)
            skipped.add_metric(key, rollout.past["SkippedTheDoor"])
            lost.add_metric(key, rollout.past["NodeLost"])
            for family, counts in (
                (stalled, rollout.stalled),
                (admitted, rollout.admitted),
                (drained, rollout.drained),
            ):
                for reason, count in sorted(counts.items()):
                    family.add_metric((*key, reason), count)
            for source, times in sorted(rollout.early_times.items()):
                early.add_metric((*key, source), times, rollout.early_seconds[source])
            for reason in rollout.findings:
                findings.add_metric((*key, reason), 1)
        yield from (passages, oldest, info, stalled, findings, skipped, lost, admitted, drained, early)


def _oldest(pods: list[Pod]) -> dict[str, datetime]:
    """Since when somebody has been on each way, where somebody is."""
    begun = {
        "in": [_came_back_or_began(pod) for pod in pods if pod.stage.is_in],
        "out": [pod.passage.withdrawn_at or pod.created_at for pod in pods if pod.stage.is_out],
    }
    return {way: min(times) for way, times in begun.items() if times}


def _came_back_or_began(pod: Pod) -> datetime:
    """When its way in began: as it was created, or as its door was shut again."""
    passage = pod.passage
    return (passage.withdrawn_at or passage.since or pod.created_at) if passage.admitted_at else pod.created_at


def _stalled(decision: Decision, world: World) -> Counter[str]:
    if world.problem:
        return Counter([world.problem.reason])
    return Counter(wait.reason for _, wait in decision.waits if wait.overdue)


def _count_past(rollout: _Rollout, reason: str, decision: Decision, world: World) -> None:
    now = {event.pod.uid for event in decision.events if event.reason == reason and event.pod}
    before = rollout.past_pods.get(reason, set())
    rollout.past[reason] += len(now - before)
    rollout.past_pods[reason] = (before | now) & {pod.uid for pod in world.pods}


def _count_seen(rollout: _Rollout, world: World) -> None:
    """Count what was decided earlier and is seen to have happened."""
    there = {pod.uid: pod for pod in world.pods}
    for uid, reason in list(rollout.to_admit.items()):
        pod = there.get(uid)
        if pod is not None and pod.stage.is_in and pod.live:
            continue
        if pod is not None and pod.stage is Stage.ADMITTED:
            rollout.admitted[reason] += 1
        del rollout.to_admit[uid]
    for uid, reason in list(rollout.to_drain.items()):
        pod = there.get(uid)
        if pod is not None and pod.live and not pod.drained:
            continue
        # Its controller deletes a drained pod within milliseconds: one that is gone was drained, too.
        rollout.drained[reason] += 1
        del rollout.to_drain[uid]


def _count_early(rollout: _Rollout, world: World) -> None:
    """Count what is over since the last decision."""
    before = {(one.uid, one.source): one for one in rollout.early}
    for one in world.early:
        earlier = before.get((one.uid, one.source), Early(one.uid, one.source))
        if one.times > earlier.times:
            rollout.early_times[one.source] += one.times - earlier.times
            rollout.early_seconds[one.source] += (one.took - earlier.took).total_seconds()
    rollout.early = world.early


def _expect(rollout: _Rollout, decision: Decision) -> None:
    """Remember what was decided, to count it once it is seen."""
    for step in decision.steps:
        if not isinstance(step, Move):
            continue
        if step.verb is Verb.ADMIT and step.pod.stage is not Stage.ADMITTED:
            rollout.to_admit[step.pod.uid] = step.event.reason if step.event else step.reason
        elif step.verb is Verb.MARK_DRAINED:
            reason = step.reason if step.passage.admitted_at else "NeverAdmitted"
            rollout.to_drain[step.pod.uid] = step.event.reason if step.event else reason
        elif step.verb is Verb.READMIT:
            rollout.to_drain.pop(step.pod.uid, None)
