"""A model of the native controllers around a Deployment: small, deterministic, on virtual time.

It is no API server and no cluster: `tests/e2e` has those. It is here so that thousands of orders of events can be
tried in a minute. Each rule names its source in Kubernetes; what is left out (probes, images, conflicts among
controllers) does not bear on the two doors. The admission policies of ``manifests/`` are modelled where they act.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from lossless.api import names
from lossless.api.resource import Disruption, LosslessRolloutSpec, LosslessRolloutStatus, Mode
from lossless.core.passage import Stage, format_time
from tests.core import upstream

START = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
KUBELET_SYNC = timedelta(seconds=10)
FIRST_SYNC = 3.7
"""How often the kubelet sets a status to rights that somebody else has changed (pkg/kubelet/status, syncPeriod)."""
HISTORY = 2
"""revisionHistoryLimit."""


class Broken(AssertionError):
    """Something that must always hold did not."""


@dataclass
class Deployment:
    replicas: int = 3
    template: str = "v1"
    surge: int = 1
    unavailable: int = 0
    recreate: bool = False
    paused: bool = False
    min_ready: float = 0
    generation: int = 1
    observed: int = 0
    revision: int = 0
    create_failed_since: datetime | None = None


@dataclass
class ReplicaSet:
    uid: str
    template: str
    replicas: int
    number: int
    """Creation order."""
    revision: int = 0
    desired: int | None = None
    maximum: int | None = None
    keep: int | None = None
    version: int = 0


@dataclass
class Pod:
    uid: str
    group: str
    template: str
    created_at: datetime
    gated: bool
    labelled: bool
    node: str = ""
    phase: str = "Pending"
    gate_open: bool = False
    ready: bool = False
    ready_since: datetime | None = None
    containers_ready: bool = False
    containers_ready_since: datetime | None = None
    starts_at: datetime | None = None
    """When its containers will be ready."""
    restarts: int = 0
    overridden_at: datetime | None = None
    """When its Ready condition was last written by somebody who is not the kubelet."""
    unschedulable_since: datetime | None = None
    deleting_since: datetime | None = None
    annotations: dict[str, str] = field(default_factory=dict)
    version: int = 0
    passed: bool = False
    """It was let in by the operator, or the door in was not there."""
    inside: bool = False
    """It carries the label that our PodDisruptionBudget selects by."""
    excused: bool = False
    """Somebody else has opened its gate, or it was let go at its timeout: what it is then is not our doing."""
    listed_last: datetime | None = None

    @property
    def live(self) -> bool:
        return self.deleting_since is None and self.phase not in ("Failed", "Succeeded")

    @property
    def deletion_cost(self) -> int:
        return int(self.annotations.get(names.DELETION_COST, "0"))


@dataclass
class Rollout:
    spec: LosslessRolloutSpec
    generation: int = 1
    deleting: bool = False
    status: LosslessRolloutStatus = field(default_factory=LosslessRolloutStatus)


@dataclass
class Native:
    """The objects, and the controllers that change them. Each controller's step says whether it changed anything."""

    rollout: Rollout | None
    deployment: Deployment = field(default_factory=Deployment)
    now: datetime = START
    room: int = 100
    """Pods that fit on each of the two nodes."""
    quota: int = 100
    start: float = 1.5
    """Seconds until containers are ready."""
    grace: float = 2.0
    hold_forgets: bool = True
    """The hold takes the desired-replicas annotation off what it holds: see `update_set`."""
    sets: list[ReplicaSet] = field(default_factory=list)
    pods: dict[str, Pod] = field(default_factory=dict)
    listed: frozenset[str] = frozenset()
    """Pods that the Service's EndpointSlices list as ready, by uid."""
    cordoned: frozenset[str] = frozenset()
    refusals: int = 0
    """Deletes that were refused at the door out."""
    created: int = 0

    @property
    def enforced(self) -> bool:
        """The policies apply: their parameter is there, in Enforce, and not being deleted."""
        return self.rollout is not None and self.rollout.spec.mode is Mode.ENFORCE and not self.rollout.deleting

    @property
    def second(self) -> datetime:
        """metav1.Time has whole seconds."""
        return self.now.replace(microsecond=0)

    @staticmethod
    def next_sync(after: datetime) -> datetime:
        """When the kubelets set their pods' status to rights: at moments of their own, whatever was done to a pod."""
        since = timedelta(seconds=(after.timestamp() - FIRST_SYNC) % KUBELET_SYNC.total_seconds())
        return after + KUBELET_SYNC - since

    def of(self, group: ReplicaSet) -> list[Pod]:
        return [pod for pod in self.pods.values() if pod.group == group.uid]

    # -- what users do ---------------------------------------------------------------------------------------------

    def change(self, **fields: object) -> None:
        """Writes to the Deployment's spec."""
        self.deployment = replace(self.deployment, **fields, generation=self.deployment.generation + 1)  # type: ignore[arg-type]

    def undo(self) -> None:
        """kubectl rollout undo: back to the template of the revision before this one."""
        before = sorted((group for group in self.sets if group.template != self.deployment.template), key=_revision)
        if before and not self.deployment.paused:
            self.change(template=before[-1].template)

    def delete(self, pod: Pod) -> None:
        """kubectl delete pod, or an eviction: no door for them."""
        if pod.deleting_since is None:
            pod.deleting_since = self.second
            pod.version += 1

    def evict(self, pod: Pod) -> bool:
        """Through the PodDisruptionBudget. Whether it went."""
        gated = self.rollout is not None and self.rollout.spec.drain.disruption is Disruption.GATE
        if self.enforced and gated and pod.inside and pod.phase == "Running":
            return False
        self.delete(pod)
        return True

    def restart(self, pod: Pod) -> None:
        if pod.containers_ready and pod.live:
            pod.restarts += 1
            self.flap(pod, self.start)

    def flap(self, pod: Pod, seconds: float = 1.0) -> None:
        if pod.containers_ready and pod.live:
            pod.containers_ready, pod.containers_ready_since = False, None
            pod.starts_at = self.now + timedelta(seconds=seconds)
            self._set_ready(pod, False)

    # -- pkg/controller/deployment ---------------------------------------------------------------------------------

    def deployment_controller(self) -> bool:
        """syncDeployment in deployment_controller.go."""
        before = self._fingerprint()
        if self.deployment.paused or self._is_scaling_event():
            self._scale(self._find_new(create=False))
        elif self.deployment.recreate:
            self._recreate()
        else:
            self._roll()
        self.deployment = replace(self.deployment, observed=self.deployment.generation)
        return before != self._fingerprint()

    def _fingerprint(self) -> object:
        return self.deployment, [replace(group) for group in self.sets]

    def _active(self) -> list[ReplicaSet]:
        return [group for group in self.sets if group.replicas > 0]

    def _find_new(self, create: bool) -> ReplicaSet | None:
        """getNewReplicaSet in sync.go: the oldest with this template, its revision above all others."""
        found = next((group for group in self.sets if group.template == self.deployment.template), None)
        highest = max((group.revision for group in self.sets if group is not found), default=0)
        if found is None:
            if not create:
                return None
            self.created += 1
            found = ReplicaSet(f"rs-{self.created}", self.deployment.template, 0, self.created)
            found.desired, found.maximum = self.deployment.replicas, self.deployment.replicas + self.deployment.surge
            self.sets.append(found)
            found.replicas = self._new_replicas(found)
        if found.revision <= highest:
            found.revision = highest + 1
            found.version += 1
        self.deployment = replace(self.deployment, revision=found.revision)
        return found

    def _is_scaling_event(self) -> bool:
        self._find_new(create=False)
        return any(group.desired is not None and group.desired != self.deployment.replicas for group in self._active())

    @property
    def is_stuck(self) -> bool:
        """Kubernetes' own (kubernetes#102551): with maxSurge 0, scaled in while the new ReplicaSet has no replicas yet.

        The old one alone is active, and if it happens to have the new size already, `scale` leaves its annotation as it
        is: that is a scaling event for ever, and the release does not go on until somebody scales again.
        """
        active, wanted = self._active(), self.deployment
        return (
            wanted.surge == 0
            and len(active) == 1
            and active[0].template != wanted.template
            and active[0].replicas == wanted.replicas
            and active[0].desired not in (None, wanted.replicas)
        )

    def update_set(self, group: ReplicaSet, replicas: int) -> bool:
        """scaleReplicaSet in sync.go, through the hold (manifests/base/policies/hold.yaml).

        What is held must lose the annotation that says which size of the Deployment it was scaled for. Else, scaled in
        and out again before a pod was drained, the ReplicaSet has the right size and the wrong annotation: `scale` has
        nothing to do, `isScalingEvent` is true for ever, and no later release ever begins (compare kubernetes#102551).
        """
        asked = replace(group, replicas=replicas, desired=self.deployment.replicas)
        asked.maximum = self.deployment.replicas + self.deployment.surge
        if self.enforced and group.keep is not None and replicas < group.replicas and replicas < group.keep:
            asked.replicas = min(group.keep, group.replicas)
            if self.hold_forgets:
                asked.desired = None
        if asked == group:
            return replicas != group.replicas
        scaled = replicas != group.replicas
        group.replicas, group.desired, group.maximum = asked.replicas, asked.desired, asked.maximum
        group.version += 1
        return scaled

    def _update_unless(self, group: ReplicaSet, replicas: int) -> bool:
        """scaleReplicaSetAndRecordEvent: nothing to do if the size is right."""
        return group.replicas != replicas and self.update_set(group, replicas)

    def _available(self, group: ReplicaSet) -> int:
        least = timedelta(seconds=self.deployment.min_ready)
        return sum(
            1
            for pod in self.of(group)
            if pod.live and pod.ready and pod.ready_since and pod.ready_since + least <= self.now
        )

    def _new_replicas(self, new: ReplicaSet) -> int:
        """NewRSNewReplicas in util/deployment_util.go."""
        if self.deployment.recreate:
            return self.deployment.replicas
        total = sum(group.replicas for group in self.sets)
        most = self.deployment.replicas + self.deployment.surge
        if total >= most:
            return new.replicas
        return new.replicas + min(most - total, self.deployment.replicas - new.replicas)

    def _scale(self, new: ReplicaSet | None) -> None:
        """scale in sync.go."""
        wanted, active = self.deployment.replicas, self._active()
        if len(active) <= 1:
            only = active[0] if active else new or max(self.sets, key=_number, default=None)
            if only:
                self._update_unless(only, wanted)
        elif new and new.replicas == wanted and new.desired == wanted and self._available(new) == wanted:
            for group in active:
                if group is not new:
                    self._update_unless(group, 0)
        elif not self.deployment.recreate:
            self._scale_proportionally(active)

    def _scale_proportionally(self, active: list[ReplicaSet]) -> None:
        allowed = self.deployment.replicas + self.deployment.surge if self.deployment.replicas > 0 else 0
        to_add = allowed - sum(group.replicas for group in active)
        if to_add > 0:
            active = sorted(active, key=lambda group: (-group.replicas, -group.number))
        elif to_add < 0:
            active = sorted(active, key=lambda group: (-group.replicas, group.number))
        added, sizes = 0, {}
        for group in active:
            share = self._fraction(group)
            left = to_add - added
            share = 0 if left == 0 else min(share, left) if to_add > 0 else max(share, left)
            sizes[group.uid] = group.replicas + share
            added += share
        largest = active[0].uid
        sizes[largest] = max(0, sizes[largest] + to_add - added)
        for group in active:
            self.update_set(group, sizes[group.uid])

    def _fraction(self, group: ReplicaSet) -> int:
        """getReplicaSetFraction in util/deployment_util.go."""
        if self.deployment.replicas == 0:
            return -group.replicas
        most = self.deployment.replicas + self.deployment.surge
        size = group.replicas * most / (group.maximum or sum(one.replicas for one in self.sets))
        return math.floor(size + 0.5) - group.replicas

    def _roll(self) -> None:
        """rolloutRolling in rolling.go."""
        new = self._find_new(create=True)
        assert new
        wanted = self.deployment.replicas
        if new.replicas != wanted:
            size = wanted if new.replicas > wanted else self._new_replicas(new)
            if self._update_unless(new, size):
                return
        old = sorted((group for group in self._active() if group is not new), key=_number)
        if not old:
            self._clean_up(new)
            return
        least = wanted - self.deployment.unavailable
        total = sum(group.replicas for group in self.sets)
        most = total - least - (new.replicas - self._available(new))
        if most <= 0:
            return
        cleaned = self._clean_unhealthy(old, most)
        if cleaned is None:
            return
        spare = sum(self._available(group) for group in (*old, new)) - least
        for group in old:
            if spare <= 0:
                break
            if group.replicas:
                less = min(group.replicas, spare)
                spare -= less
                self._update_unless(group, group.replicas - less)

    def _clean_unhealthy(self, old: list[ReplicaSet], most: int) -> int | None:
        """cleanupUnhealthyReplicas in rolling.go; None: it gives up, more are available than its spec asks for."""
        done = 0
        for group in old:
            if done >= most:
                break
            available = self._available(group)
            if group.replicas == 0 or group.replicas == available:
                continue
            less = min(most - done, group.replicas - available)
            if less < 0:
                return None
            self._update_unless(group, group.replicas - less)
            done += less
        return done

    def _recreate(self) -> None:
        """rolloutRecreate in recreate.go."""
        new = self._find_new(create=False)
        old = [group for group in self._active() if group is not new]
        if [self._update_unless(group, 0) for group in old].count(True):
            return
        if any(pod.group != (new.uid if new else "") for pod in self.pods.values()):
            return
        new = self._find_new(create=True)
        assert new
        self._update_unless(new, self.deployment.replicas)
        self._clean_up(new)

    def _clean_up(self, new: ReplicaSet) -> None:
        """cleanupDeployment in sync.go, once the release is complete."""
        if self._available(new) < self.deployment.replicas:
            return
        old = sorted((group for group in self.sets if group is not new), key=_number)
        for group in old[: max(0, len(old) - HISTORY)]:
            if group.replicas == 0 and not self.of(group):
                self.sets.remove(group)

    # -- pkg/controller/replicaset ---------------------------------------------------------------------------------

    def replica_set_controller(self) -> bool:
        """manageReplicas in replica_set.go."""
        changed, failing = False, False
        for group in self.sets:
            pods = [pod for pod in self.of(group) if pod.live]
            for _ in range(group.replicas - len(pods)):
                if len(self.pods) >= self.quota:
                    failing = True
                    break
                self._create_pod(group)
                changed = True
            related = [pod for pod in self.pods.values() if pod.live]
            for pod in upstream.victims(pods, related, self.now)[: max(0, len(pods) - group.replicas)]:
                assert isinstance(pod, Pod)
                changed |= self._delete_by_controller(pod)
        if failing != (self.deployment.create_failed_since is not None):
            self.deployment = replace(self.deployment, create_failed_since=self.second if failing else None)
            changed = True
        return changed

    def _create_pod(self, group: ReplicaSet) -> None:
        """Through the door in (manifests/base/policies/door-in.yaml)."""
        self.created += 1
        uid = f"pod-{self.created:04}"
        self.pods[uid] = Pod(uid, group.uid, group.template, self.second, gated=self.enforced, labelled=self.enforced)

    def _delete_by_controller(self, pod: Pod) -> bool:
        """Through the door out (manifests/base/policies/door-out.yaml)."""
        guarded = self.enforced and pod.labelled and pod.phase == "Running" and names.ADMITTED_AT in pod.annotations
        if guarded and names.DRAINED_AT not in pod.annotations:
            self.refusals += 1
            return False
        if guarded and pod.uid in self.listed and not pod.excused:
            raise Broken(f"{pod.uid} is deleted while its Service lists it")
        self.delete(pod)
        return True

    # -- scheduler, kubelet, EndpointSlice controller ---------------------------------------------------------------

    def scheduler(self) -> bool:
        changed = False
        for pod in self.pods.values():
            if pod.node or not pod.live:
                continue
            node = next((node for node in ("n1", "n2") if node not in self.cordoned and self._fits(node)), "")
            if node:
                pod.node, pod.unschedulable_since = node, None
                pod.starts_at = self.now + timedelta(seconds=self.start)
                changed = True
            elif pod.unschedulable_since is None:
                pod.unschedulable_since = self.second
                changed = True
            pod.version += changed
        return changed

    def _fits(self, node: str) -> bool:
        return sum(1 for pod in self.pods.values() if pod.node == node) < self.room

    def kubelet(self) -> bool:
        """Containers start, readiness gates make up Ready (pkg/kubelet/status/generate.go), pods end."""
        before = [replace(pod) for pod in self.pods.values()]
        for pod in list(self.pods.values()):
            if pod.deleting_since:
                if self.now >= pod.deleting_since + timedelta(seconds=self.grace) or not pod.node:
                    del self.pods[pod.uid]
                continue
            if pod.node and pod.phase == "Pending":
                pod.phase = "Running"
            if pod.starts_at and self.now >= pod.starts_at:
                pod.containers_ready, pod.containers_ready_since, pod.starts_at = True, self.second, None
            if pod.gated:
                self._set_ready(pod, pod.containers_ready and pod.gate_open)
            elif not self._kept_out(pod) and (
                pod.overridden_at is None or self.next_sync(pod.overridden_at) <= self.now or not pod.containers_ready
            ):
                pod.overridden_at = None
                self._set_ready(pod, pod.containers_ready)
        changed = before != list(self.pods.values())
        for pod in self.pods.values() if changed else ():
            pod.version += 1
        return changed

    def _kept_out(self, pod: Pod) -> bool:
        """The kubelet may not call it ready again (manifests/base/policies/kept-out.yaml)."""
        stage = pod.annotations.get(names.STAGE, "")
        on_its_way_out = stage in (Stage.WITHDRAWN, Stage.DRAINING, Stage.DRAINED)
        return self.enforced and pod.labelled and on_its_way_out and pod.containers_ready and not pod.ready

    def _set_ready(self, pod: Pod, ready: bool) -> None:
        if pod.ready != ready:
            pod.ready, pod.ready_since = ready, self.second

    def endpoints(self) -> bool:
        """What is ready and not being deleted is listed (staging/src/k8s.io/endpointslice)."""
        listed = frozenset(pod.uid for pod in self.pods.values() if pod.ready and pod.live)
        for uid in listed | (self.listed & self.pods.keys()):
            self.pods[uid].listed_last = self.now
        for uid in listed - self.listed:
            pod = self.pods[uid]
            if self.enforced and pod.gated and pod.labelled and not pod.passed and not pod.excused:
                raise Broken(f"{pod.uid} has not passed the door in, and is listed")
        changed, self.listed = listed != self.listed, listed
        return changed

    def step(self) -> bool:
        """Every controller once."""
        controllers = (
            self.deployment_controller,
            self.replica_set_controller,
            self.scheduler,
            self.kubelet,
            self.endpoints,
        )
        changed = False
        for controller in controllers:
            changed |= controller()
        return changed

    def next_event(self) -> Iterable[datetime]:
        """The times at which something happens by itself."""
        for pod in self.pods.values():
            if pod.starts_at:
                yield pod.starts_at
            if pod.deleting_since:
                yield pod.deleting_since + timedelta(seconds=self.grace)
            if pod.overridden_at and not self._kept_out(pod):
                yield self.next_sync(pod.overridden_at)
            if pod.ready_since and self.deployment.min_ready:
                yield pod.ready_since + timedelta(seconds=self.deployment.min_ready)

    # -- what the operator writes -----------------------------------------------------------------------------------

    def write_pod(
        self, uid: str, annotations: dict[str, str | None], gate: bool | None, labelled: bool, inside: bool = False
    ) -> None:
        """One patch of pods/status. A gate of a pod without one means its Ready condition."""
        pod = self.pods[uid]
        for key, value in annotations.items():
            if value is None:
                pod.annotations.pop(key, None)
            else:
                pod.annotations[key] = value
        pod.labelled, pod.inside = labelled, inside
        if gate is not None and pod.gated:
            pod.gate_open = gate
        elif gate is not None:
            pod.overridden_at = None if gate else self.now
            self._set_ready(pod, gate)
        pod.version += 1

    def write_keep(self, uid: str, keep: int | None) -> None:
        group = next(group for group in self.sets if group.uid == uid)
        group.keep = keep
        group.version += 1

    def write_replicas(self, uid: str, replicas: int) -> None:
        """To its scale subresource: no policy looks at that."""
        group = next(group for group in self.sets if group.uid == uid)
        group.replicas = replicas
        group.version += 1


def stamp(at: datetime) -> str:
    return format_time(at) or ""


def _revision(group: ReplicaSet) -> int:
    return group.revision


def _number(group: ReplicaSet) -> int:
    return group.number
