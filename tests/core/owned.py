"""A model of the StatefulSet and DaemonSet controllers, a kubelet and a Service around `decide`, on virtual time.

Each rule names its source in Kubernetes. What the model can show is that they and the doors never wait for each other
for ever, whatever happens in between; caches that lag and calls that fail are for `native.py` and `shell.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from lossless.core.decide import decide
from lossless.core.passage import Stage
from lossless.core.steps import Move
from lossless.core.world import ByNode, ByOrdinal, Pod, Presence, Sighting, Workload, World
from tests.core.given import NOW, SERVICE, spec

TERMINATES = 2
"""Seconds."""


class Refused(Exception):
    """The door out is shut: the controller ends its turn with this error."""


@dataclass
class Owned:
    """A cluster with one workload and one LosslessRollout."""

    rule: ByOrdinal | ByNode
    wanted: int = 3
    revision: int = 1
    max_unavailable: int = 1
    pods: dict[str, Pod] = field(default_factory=dict)
    second: int = 0
    made: int = 0
    old: int = 1
    """The revision of those below a partition."""

    # -- what is seen ----------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.second)

    def workload(self) -> Workload:
        surge = int(isinstance(self.rule, ByNode) and self.rule.surges)
        most = 0 if surge else self.max_unavailable
        if isinstance(self.rule, ByOrdinal) and self.rule.ordered:
            most = 1
        kind = "StatefulSet" if isinstance(self.rule, ByOrdinal) else "DaemonSet"
        revision = str(self.revision)
        return Workload(
            kind, "web", "uid", self.wanted, revision, max_surge=surge, max_unavailable=most, rule=self.rule
        )

    def live(self) -> list[Pod]:
        return [pod for pod in self.pods.values() if pod.live]

    def withdrawn(self) -> list[Pod]:
        return [pod for pod in self.live() if pod.stage.is_out]

    def at_rest(self) -> bool:
        return all(pod.live and pod.stage is Stage.ADMITTED and pod.ready for pod in self.pods.values())

    # -- time ------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """A second in which everybody has a turn."""
        self.second += 1
        for uid, pod in list(self.pods.items()):
            if pod.deleting_since and (self.now - pod.deleting_since).total_seconds() >= TERMINATES:
                del self.pods[uid]
        with suppress(Refused):
            self._set() if isinstance(self.rule, ByOrdinal) else self._daemons()
        self._kubelet()
        while self._operate():
            pass

    def _kubelet(self) -> None:
        """Ready is its word: what somebody else has called ready is put right (NeedToReconcilePodReadiness)."""
        for uid, pod in self.pods.items():
            up = pod.containers_ready or (self.now - pod.created_at).total_seconds() >= 1
            since = pod.containers_ready_since or self.now
            pod = replace(pod, phase="Running", containers_ready=up, containers_ready_since=since if up else None)
            self.pods[uid] = _listed(replace(pod, ready=up and pod.gate_open))

    def _operate(self) -> bool:
        world = World(
            spec=spec(drain={"settle": "2s"}, warmup={"delay": "1s"}),
            workload=self.workload(),
            pods=tuple(self.pods.values()),
        )
        moves = [step for step in decide(world, self.now).steps if isinstance(step, Move)]
        for move in moves:
            pod = replace(self.pods[move.pod.uid], passage=move.passage)
            if move.gate is not None:
                pod = replace(pod, gate_open=move.gate, ready=move.gate and pod.containers_ready)
            if move.shown_ready_since:
                pod = replace(pod, ready=True)
            self.pods[pod.uid] = _listed(pod)
        return bool(moves)

    def _delete(self, pod: Pod) -> None:
        """The door out."""
        if pod.passage.admitted_at and not pod.drained:
            raise Refused
        self.pods[pod.uid] = replace(pod, deleting_since=self.now, ready=False)

    def _create(self, name: str, revision: int, node: str) -> None:
        self.made += 1
        uid = str(self.made)
        self.pods[uid] = Pod(uid, name, "uid", str(revision), self.now, node=node, ip=f"10.244.0.{uid}")

    # -- pkg/controller/statefulset/stateful_set_control.go, updateStatefulSet ----------------------------------------

    def _set(self) -> None:
        rule = self.rule
        assert isinstance(rule, ByOrdinal)
        pods = {int(pod.name.rsplit("-", 1)[1]): pod for pod in self.pods.values()}
        wanted = range(rule.start, rule.start + self.wanted)
        for number in wanted:
            pod = pods.get(number)
            if pod is None:
                below = number < rule.start + rule.partition
                self._create(f"web-{number}", self.old if below else self.revision, f"node-{number}")
            if rule.ordered and (pod is None or not pod.live or not pod.ready):
                return
        unready = [number for number in wanted if not _is_ready(pods.get(number))]
        condemned = sorted((number for number in pods if number not in wanted), reverse=True)
        first = next(iter([*unready, *(number for number in reversed(condemned) if not _is_ready(pods[number]))]), None)
        for number in condemned:
            if pods[number].live:
                if rule.ordered and not pods[number].ready and number != first:
                    return
                self._delete(pods[number])
            if rule.ordered:
                return
        if rule.replaces:
            self._replace(rule, [pods.get(number) for number in wanted], len(unready))

    def _replace(self, rule: ByOrdinal, replicas: Sequence[Pod | None], unready: int) -> None:
        left = self.max_unavailable - unready
        for pod in reversed(replicas[rule.partition :]):
            if rule.counts_unavailable and left <= 0:
                return
            if pod and pod.live and pod.revision != str(self.revision):
                self._delete(pod)
                left -= 1
                if not rule.counts_unavailable:
                    return
            elif not rule.counts_unavailable and not _is_ready(pod):
                return
        if all(pod and pod.revision == str(self.revision) for pod in replicas):
            self.old = self.revision

    # -- pkg/controller/daemon: podsShouldBeOnNode, then rollingUpdate -------------------------------------------------

    def _daemons(self) -> None:
        rule = self.rule
        assert isinstance(rule, ByNode)
        nodes = [f"node-{number}" for number in range(self.wanted)]
        doomed: list[Pod] = []
        for node in {*nodes, *(pod.node for pod in self.pods.values())}:
            here = [pod for pod in self.pods.values() if pod.node == node]
            running = sorted((pod for pod in here if pod.live), key=lambda pod: (pod.created_at, pod.name))
            if node not in nodes:
                doomed += running
            elif not running:
                if rule.surges or not here:
                    self._create(f"web-{self.made}", self.revision, node)
            elif not rule.surges:
                doomed += running[1:]
            else:
                new = [pod for pod in running if pod.revision == str(self.revision)]
                old = [pod for pod in running if pod.revision != str(self.revision)]
                doomed += new[1:] + old[1:]
                if new and old and (new[0].ready or not old[0].ready):
                    doomed.append(old[0])
        for pod in doomed:
            self._delete(pod)
        if rule.replaces:
            self._roll(rule, nodes)

    def _roll(self, rule: ByNode, nodes: list[str]) -> None:
        unavailable, surging = 0, 0
        doomed: list[Pod] = []
        candidates: list[Pod] = []
        for node in nodes:
            running = [pod for pod in self.live() if pod.node == node]
            new = next((pod for pod in running if pod.revision == str(self.revision)), None)
            old = next((pod for pod in running if pod.revision != str(self.revision)), None)
            if not rule.surges:
                if old and not new:
                    (candidates if old.ready else doomed).append(old)
                    unavailable += not old.ready
                else:
                    unavailable += not (new and new.ready and not old)
            elif old and not new:
                if not old.ready:
                    self._create(f"web-{self.made}", self.revision, node)
                else:
                    candidates.append(old)
            elif old and new and not new.ready:
                surging += 1
        if rule.surges:
            for old in candidates[: max(0, 1 - surging)]:
                self._create(f"web-{self.made}", self.revision, old.node)
            return
        for pod in [*doomed, *candidates[: max(0, self.max_unavailable - unavailable)]]:
            self._delete(pod)


def _is_ready(pod: Pod | None) -> bool:
    return pod is not None and pod.live and pod.ready


def _listed(pod: Pod) -> Pod:
    presence = Presence.PRESENT if pod.ready and pod.live else Presence.ABSENT
    return replace(pod, sightings=(Sighting(SERVICE, presence),))
