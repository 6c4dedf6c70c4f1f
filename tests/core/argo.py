"""A model of the Argo Rollouts controller, the hold, the ReplicaSet controller and a kubelet around `decide`.

Of the controller it has what scales ReplicaSets: a canary without a traffic router, and blue-green. Each rule names
its source in Argo Rollouts 1.9.1. What the model can show is that they, the hold and the doors never wait for each
other for ever, whatever happens in between.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from lossless.core.decide import decide
from lossless.core.passage import Stage
from lossless.core.steps import Move, SetKeep
from lossless.core.world import ByGroup, Group, Pod, Presence, Sighting, Workload, World
from tests.core.given import NOW, SERVICE, spec

TERMINATES = 2
SCALE_DOWN_DELAY = 3
"""Seconds."""
PASSES = 6
"""Of the controller in a second: its own writes wake it."""


@dataclass
class ReplicaSet:
    """Of one revision."""

    size: int = 0
    keep: int | None = None
    held_at: int | None = None
    """What was asked for and not given: the annotation of the hold."""
    deadline: int | None = None

    @property
    def asked(self) -> int:
        return self.size if self.held_at is None else self.held_at


@dataclass
class Argo:
    """A cluster with one Rollout and one LosslessRollout."""

    blue_green: bool = False
    max_surge: int = 1
    max_unavailable: int = 0
    holds: bool = True
    """The policy is there. Else it is a Kubernetes before 1.36."""
    knows_who_is_first: bool = True
    affine: bool = False
    wanted: int = 4
    current: int = 1
    stable: int = 1
    weight: int = 100
    """Of the canary, in per cent."""
    aborted: bool = False
    sets: dict[int, ReplicaSet] = field(default_factory=dict)
    pods: dict[str, Pod] = field(default_factory=dict)
    second: int = 0
    made: int = 0
    refused: int = 0
    fewest: int = 0
    """Pods that served at once, at least, since somebody set it to a high number."""

    # -- what is seen --------------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.second)

    def workload(self) -> Workload:
        surge = self.wanted if self.blue_green else self.max_surge
        first = self.stable if self.knows_who_is_first and not self.blue_green and self.stable != self.current else None
        groups = tuple(
            Group(str(number), f"web-{number}", str(number), one.keep, one.size, one.asked, first=number == first)
            for number, one in self.sets.items()
        )
        most = 0 if self.blue_green else self.max_unavailable
        revision = str(self.current)
        return Workload(
            "Rollout",
            "web",
            "uid",
            self.wanted,
            revision,
            surge,
            most,
            groups=groups,
            rule=ByGroup(swaps=not self.blue_green),
        )

    def of(self, number: int) -> list[Pod]:
        return [pod for pod in self.pods.values() if pod.live and pod.group == str(number)]

    def available(self, *numbers: int) -> int:
        return sum(1 for number in numbers for pod in self.of(number) if pod.ready)

    def serving(self) -> int:
        return sum(1 for pod in self.pods.values() if pod.serving)

    def at_rest(self) -> bool:
        mine = self.of(self.current)
        return (
            self.stable == self.current
            and len(self.pods) == len(mine) == self.wanted
            and all(pod.stage is Stage.ADMITTED and pod.ready for pod in mine)
        )

    # -- time ----------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """A second in which everybody has a turn."""
        self.second += 1
        for uid, pod in list(self.pods.items()):
            if pod.deleting_since and (self.now - pod.deleting_since).total_seconds() >= TERMINATES:
                del self.pods[uid]
        for _ in range(PASSES):
            self._reconcile()
        for number in list(self.sets):
            self._replicas(number)
        self._kubelet()
        while self._operate():
            self._reconcile()
        self.fewest = min(self.fewest, self.serving())

    def _kubelet(self) -> None:
        for uid, pod in self.pods.items():
            up = pod.containers_ready or (self.now - pod.created_at).total_seconds() >= 1
            since = pod.containers_ready_since or self.now
            pod = replace(pod, phase="Running", containers_ready=up, containers_ready_since=since if up else None)
            self.pods[uid] = _listed(replace(pod, ready=up and pod.gate_open))

    def _operate(self) -> bool:
        world = World(
            spec=spec(
                drain={"settle": "2s"},
                warmup={"delay": "1s"},
                traffic={"affinity": "Hash" if self.affine else "None"},
            ),
            workload=self.workload(),
            pods=tuple(self.pods.values()),
        )
        steps = [step for step in decide(world, self.now).steps if isinstance(step, Move | SetKeep)]
        for step in steps:
            if isinstance(step, SetKeep):
                self.sets[int(step.group.uid)].keep = step.keep
                continue
            pod = replace(self.pods[step.pod.uid], passage=step.passage)
            if step.gate is not None:
                pod = replace(pod, gate_open=step.gate, ready=step.gate and pod.containers_ready)
            if step.cost is not None:
                pod = replace(pod, deletion_cost=step.cost)
            self.pods[pod.uid] = _listed(pod)
        return bool(steps)

    # -- pkg/controller/replicaset/replica_set.go, manageReplicas, and the door out ------------------------------------

    def _replicas(self, number: int) -> None:
        live = sorted(self.of(number), key=lambda pod: (pod.ready, pod.deletion_cost, -pod.created_at.timestamp()))
        size = self.sets[number].size
        for _ in range(size - len(live)):
            self.made += 1
            uid = str(self.made)
            self.pods[uid] = Pod(uid, uid, str(number), str(number), self.now, node="node", ip=f"10.244.0.{uid}")
        for pod in live[: max(0, len(live) - size)]:
            if pod.passage.admitted_at and not pod.drained:
                self.refused += 1
            else:
                self.pods[pod.uid] = replace(pod, deleting_since=self.now, ready=False)

    # -- rollout/sync.go, scaleReplicaSetAndRecordEvent, and the hold --------------------------------------------------

    def _scale(self, number: int, size: int) -> bool:
        """Whether it was of another size: then the controller ends its turn."""
        one = self.sets[number]
        before = one.size
        if before == size and one.held_at is None:
            return False
        held = self.holds and one.keep is not None and size < before and size < one.keep
        one.held_at = size if held else None
        one.size = min(one.keep or 0, before) if held else size
        return before != size

    def _reconcile(self) -> None:
        for number in (self.stable, self.current):
            self.sets.setdefault(number, ReplicaSet())
        self._blue_green() if self.blue_green else self._canary()

    # -- rollout/canary.go, reconcileCanaryReplicaSets -----------------------------------------------------------------

    def _canary(self) -> None:
        others = [number for number in self.sets if number not in (self.stable, self.current)]
        new, stable = self._counts(others)
        if self.stable != self.current and self._scale(self.stable, stable):
            return
        if self._scale(self.current, new):
            return
        most = self.available(*self.sets) - (self.wanted - self.max_unavailable)
        for number in others:
            one = self.sets[number]
            if one.size and self.available(number) < one.size:  # cleanupUnhealthyReplicas
                self._scale(number, self.available(number))
        for number in sorted(others, reverse=True):
            size = self.sets[number].size
            if most > 0 and size:
                self._scale(number, max(0, size - most))
                most -= size - self.sets[number].size
        full = self.weight == 100 and not self.aborted and self.available(self.current) >= self.wanted
        if full and not any(self.sets[number].size for number in self.sets if number != self.current):
            self.stable = self.current

    def _counts(self, others: list[int]) -> tuple[int, int]:
        """Of the new one and of the stable one.

        Source: utils/replicaset/canary.go, CalculateReplicaCountsForBasicCanary; without adjustReplicaWithinLimits,
        which matters when numbers change in mid-canary.
        """
        new, stable = self.sets[self.current].size, self.sets[self.stable].size
        both = self.stable != self.current
        weight = 100 if not both else 0 if self.aborted else self.weight
        want_new = math.ceil(self.wanted * weight / 100)
        want_stable = self.wanted - want_new if both else 0
        total = sum(one.size for one in self.sets.values())
        room = self.wanted + self.max_surge - total
        to_new, to_stable = new, stable if both else 0
        if both and stable < want_stable and room > 0:
            to_stable = min(want_stable, stable + room)
            room -= to_stable - stable
        if new < want_new and room > 0:
            to_new = min(want_new, new + room)
        if any(self.sets[number].size for number in others):
            return to_new, to_stable
        growing = want_new >= new
        spare = self._countable(self.current, not growing) + (self._countable(self.stable, growing) if both else 0)
        spare -= self.wanted - self.max_unavailable
        if spare <= 0:
            return to_new, to_stable
        if not growing:
            return max(want_new, new - spare), to_stable
        if both and stable > want_stable:
            return to_new, max(want_stable, stable - spare)
        return to_new, to_stable

    def _countable(self, number: int, whatever: bool) -> int:
        """GetReplicasForScaleDown."""
        size, available = self.sets[number].size, self.available(number)
        return size if whatever or size < available else available

    # -- rollout/bluegreen.go ------------------------------------------------------------------------------------------

    def _blue_green(self) -> None:
        self._scale(self.stable, self.wanted)
        self._scale(self.current, 0 if self.aborted and self.stable != self.current else self.wanted)
        for number, one in self.sets.items():
            if number in (self.stable, self.current):
                one.deadline = None
            elif one.size and one.deadline is None:
                one.deadline = self.second + SCALE_DOWN_DELAY
            elif one.size and one.deadline is not None and self.second >= one.deadline:
                self._scale(number, 0)
        if not self.aborted and self.sets[self.current].size == self.available(self.current) == self.wanted:
            self.stable = self.current


def _listed(pod: Pod) -> Pod:
    presence = Presence.PRESENT if pod.ready and pod.live else Presence.ABSENT
    return replace(pod, sightings=(Sighting(SERVICE, presence),))
