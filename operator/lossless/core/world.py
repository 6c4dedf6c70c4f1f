"""What is known at one moment: frozen, gathered at the edges, handed to the core."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from lossless.api.resource import Affinity, LosslessRolloutSpec, LosslessRolloutStatus
from lossless.core.passage import Hold, Passage, Stage
from lossless.core.ramp import share


class Presence(StrEnum):
    """Whether a traffic source sends requests to a pod."""

    PRESENT = "Present"
    ABSENT = "Absent"
    UNKNOWN = "Unknown"
    """It can't be seen by any means; only time helps."""
    UNANSWERED = "Unanswered"
    """It could be seen, but does not answer now: nobody knows until it does."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one traffic source was seen to hold of one pod."""

    source: str
    presence: Presence
    evidence: str = ""
    settle: timedelta = timedelta(0)
    """How long those who follow this source go on with what they hold, after it has let the pod go."""
    followers_caught_up_at: datetime | None = None
    """When they know again what it knows, after it was out of reach; see the World's. None: there was no such time."""
    alone: bool = False
    """It sends what comes to a node to the pods there alone, and of other workloads' has none ready on this one's."""

    @property
    def text(self) -> str:
        """The source, and what there is to show for it."""
        return f"{self.source} ({self.evidence})" if self.evidence else self.source


@dataclass(frozen=True, slots=True)
class Registered:
    """What a registry is set to give one pod, which is somebody's word and not the pod's readiness."""

    source: str
    fraction: float | None = None
    """Of its full share: 0 withdrawn, 1 as it registered itself. None: not registered, or not known."""
    original: str = ""
    """What to put back if it is changed, in the registry's own words."""
    replaces: bool = False
    """`original` is a newer one of the owner's own: keep it in place of the one that is kept."""
    weighs: bool = False
    """It can give a fraction between 0 and 1."""
    present: bool = False
    """It was seen to hand the pod out."""
    since: datetime | None = None
    """When it was first seen to do so, or not to do so any more; None: it is not known to do either."""
    blind: bool = False
    """What it was told can't be read off it afterwards, so it is kept on the pod."""
    told_out: bool = False
    """It has taken the pod out by our word, and not put it back since."""
    missing: bool = False
    """It answers, and does not know the pod at all, though applications register themselves there."""
    asked: float | None = None
    """The fraction that it is being told, again and again until it has heard; None: nothing."""


@dataclass(frozen=True, slots=True)
class Early:
    """A pod that a registry has handed out before it was let in, as far as this process has seen it."""

    uid: str
    source: str
    times: int = 0
    """That are over."""
    took: timedelta = timedelta(0)
    """All of those together."""
    since: datetime | None = None
    """It is still handed out; None: not now."""


@dataclass(frozen=True, slots=True)
class RampStep:
    """What the pods that ramp are given for a while."""

    fractions: tuple[tuple[str, float], ...]
    """Of a full share, by uid; in the order of the uids."""
    serving: int
    """How many pods with a full share they stand beside."""
    until: datetime | None
    """When the next step is due; None: every ramp is over."""

    @property
    def share(self) -> float:
        """Of the traffic of all."""
        return share(sum(fraction for _, fraction in self.fractions), self.serving)

    def of(self, uid: str) -> float:
        return dict(self.fractions).get(uid, 0.0)


@dataclass(frozen=True, slots=True)
class WarmupProgress:
    """How far the warm-up requests to one pod have come."""

    epoch: str
    """The pod's ``epoch`` that it was for: of an earlier one it says nothing."""
    sent: int
    total: int
    failed: int = 0
    done: bool = False
    p95_seconds: float | None = None
    last_failure: str = ""

    @property
    def succeeded(self) -> bool:
        return self.done and self.failed == 0

    def __str__(self) -> str:
        parts = [f"{self.sent} of {self.total} warm-up requests"]
        if self.p95_seconds is not None:
            parts.append(f"p95 {self.p95_seconds * 1000:.0f} ms")
        if self.failed:
            parts.append(f"{self.failed} failed ({self.last_failure})")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class InFlightCount:
    """What a pod says of the requests that it is working on; None: it could not be asked."""

    requests: float | None
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod of the workload, as far as its doors are concerned."""

    uid: str
    name: str
    group: str
    """The uid of the ReplicaSet (or other controller) that owns it."""
    revision: str
    created_at: datetime
    ip: str = ""
    node: str = ""
    cordoned: bool = False
    """Its node takes no new pods: it may be about to be drained."""
    node_going: bool = False
    """Its node is about to be taken away: an autoscaler has decided so."""
    node_lost: bool = False
    """Its node has not been heard of for so long that it is taken for gone, and its pods with it."""
    phase: str = "Pending"
    deleting_since: datetime | None = None
    unschedulable_since: datetime | None = None
    managed: bool = True
    """It carries our label, so the door out knows it."""
    inside: bool = False
    """It carries the label by which our PodDisruptionBudget selects."""
    gated: bool = True
    """It was created with our readiness gate. Only then can the door in be closed for good."""
    gate_open: bool = False
    containers_ready: bool = False
    containers_ready_since: datetime | None = None
    ready: bool = False
    ready_since: datetime | None = None
    """When the Ready condition last changed, either way."""
    restarts: int = 0
    deletion_cost: int = 0
    passage: Passage = field(default_factory=Passage)
    holds: tuple[Hold, ...] = ()
    sightings: tuple[Sighting, ...] = ()
    registrations: tuple[Registered, ...] = ()
    unnamed: tuple[Registered, ...] = ()
    """Registries that were told of it and are not named any more. Nobody waits for their word."""
    warmup: WarmupProgress | None = None
    in_flight: InFlightCount | None = None
    resource_version: str = ""

    @property
    def live(self) -> bool:
        """It counts as one of its controller's replicas."""
        return self.deleting_since is None and self.phase not in ("Succeeded", "Failed")

    @property
    def skips(self) -> bool:
        """It had traffic, and is being deleted without having been drained."""
        return bool(self.deleting_since and self.managed and self.passage.admitted_at and not self.drained)

    @property
    def drained(self) -> bool:
        return self.passage.drained_at is not None

    @property
    def seen_somewhere(self) -> bool:
        return any(sighting.presence is Presence.PRESENT for sighting in self.sightings)

    @property
    def open(self) -> bool:
        """Nothing of ours keeps traffic from it: its gate is open; or, with no gate of ours, it is ready."""
        return self.gate_open if self.gated else self.ready

    @property
    def able(self) -> bool:
        """It can serve, whether or not kubelet and callers know of it yet: let in, and not on its way out."""
        return self.live and self.open and (self.ready or self.containers_ready) and not self.passage.stage.is_out

    @property
    def serving(self) -> bool:
        """Callers can and do reach it: able to, ready, and not missing from any source that could list it."""
        return self.able and self.ready and not any(sighting.presence is Presence.ABSENT for sighting in self.sightings)

    @property
    def epoch(self) -> str:
        """Changes whenever its containers start over: warm-up of an earlier epoch is worth nothing."""
        since = self.containers_ready_since
        return f"{self.restarts}/{since.isoformat() if since else ''}"

    @property
    def stage(self) -> Stage:
        return self.passage.stage


@dataclass(frozen=True, slots=True)
class Group:
    """One ReplicaSet of the workload."""

    uid: str
    name: str
    revision: str
    keep: int | None = None
    """Its hold label, as it is now."""
    replicas: int = 0
    """What its spec asks for now; more than is asked where the hold keeps it so."""
    asked: int | None = None
    """How many pods the workload's controller wants it to have, where that is the controller's word (`ByGroup`)."""
    first: bool = False
    """The workload's controller sees to it first, and to no other before this one has the number that it asked for."""


@dataclass(frozen=True, slots=True)
class ByOrdinal:
    """The rule of a StatefulSet, whose pods have numbers: see `lossless.core.by_ordinal`."""

    start: int = 0
    """The lowest ordinal."""
    partition: int = 0
    """So many of the lowest keep their revision."""
    replaces: bool = True
    """It deletes pods of old revisions itself. Not so with OnDelete."""
    ordered: bool = True
    """OrderedReady: one pod after the other, and nothing while any is not ready. Else Parallel."""
    min_ready: timedelta = timedelta(0)
    """How long a pod must have been ready before its controller goes on."""
    counts_unavailable: bool = False
    """It keeps to maxUnavailable for all pods together (feature gate MaxUnavailableStatefulSet)."""


@dataclass(frozen=True, slots=True)
class ByNode:
    """The rule of a DaemonSet, whose pods have a node each: see `lossless.core.by_node`."""

    surges: bool = False
    """A new pod may come to a node before the old one goes."""
    replaces: bool = True
    """It deletes pods of old revisions itself. Not so with OnDelete."""
    unwanted: frozenset[str] = frozenset()
    """Nodes on which its pods may not stay."""


@dataclass(frozen=True, slots=True)
class ByGroup:
    """The rule of an Argo Rollout, whose controller says of each ReplicaSet how many pods it wants: see
    `lossless.core.by_group`."""

    swaps: bool = True
    """A few new ones come, then as many old ones go, and so on. Else all new ones come before any old one goes."""


@dataclass(frozen=True, slots=True)
class Workload:
    """The target, in terms that fit every kind of workload."""

    kind: str
    name: str
    uid: str
    wanted: int
    current_revision: str
    max_surge: int = 1
    max_unavailable: int = 0
    recreate: bool = False
    """The strategy deletes everything first: capacity falls to nothing by the user's own rule."""
    paused: bool = False
    settled_generation: bool = True
    """Its controller has seen the latest spec. Until then nobody can tell which revision is current."""
    releases_next: bool = False
    """Its controller is about to make pods of another revision than the current one."""
    groups: tuple[Group, ...] = ()
    """Its ReplicaSets; none where it owns its pods itself."""
    rule: ByOrdinal | ByNode | ByGroup | None = None
    """By which its controller chooses whom to delete; None: any pod of a ReplicaSet is as good as another."""
    create_failed_since: datetime | None = None
    """Since when its controller cannot create pods (quota, admission): ReplicaFailure."""

    @property
    def owners(self) -> frozenset[str]:
        """Whom its pods name as their owner (uids)."""
        return frozenset((self.uid, *(group.uid for group in self.groups)))


Behavior = Mapping[str, Any]
"""`spec.behavior` of a HorizontalPodAutoscaler, as JSON has it."""


@dataclass(frozen=True, slots=True)
class AutoscalerMetric:
    """One metric of an autoscaler, as its status tells it."""

    name: str
    ratio: float | None
    """What it is, against its target; None: not known."""
    of_pods: bool
    """An average over the workload's pods; else it is of something else (Object, External)."""
    per_pod: bool = True
    """Its target is for each pod."""


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """A HorizontalPodAutoscaler of the workload."""

    uid: str
    name: str
    behavior: Behavior | None = field(default=None, hash=False)
    note: str | None = None
    """Our annotation."""
    metrics: tuple[AutoscalerMetric, ...] = ()
    most: int = 0
    """How many replicas it may want at most."""
    managed_by: str = ""
    """Who writes it, where that is no person: `ScaledObject web`."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the target can't be taken care of."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class World:
    """Everything that a decision about one LosslessRollout rests on."""

    spec: LosslessRolloutSpec
    status: LosslessRolloutStatus = field(default_factory=LosslessRolloutStatus)
    generation: int = 1
    workload: Workload | None = None
    problem: Problem | None = None
    pods: tuple[Pod, ...] = ()
    autoscalers: tuple[Autoscaler, ...] = ()
    early: tuple[Early, ...] = ()
    ramp_step: RampStep | None = None
    """The step that is in force."""
    ramp_lag: timedelta = timedelta(0)
    """How late those who carry the weights follow a change of them: so much ahead of the line is written."""
    evictions_wait: bool = False
    """A PodDisruptionBudget of ours refuses evictions of pods that are not drained (`drain.disruption: Gate`)."""
    hold_works: bool = True
    """The Deployment controller leaves a ReplicaSet at the number of its hold label."""
    followers_caught_up_at: datetime | None = None
    """When those who follow the API server (every kube-proxy, every gateway) know again what it knows, after it was out
    of reach. Before that, nothing that it says is evidence of what they do. None: there was no such time."""

    @property
    def affine(self) -> bool:
        """Traffic is hashed onto the pods: they are swapped one at a time, and not ramped."""
        return self.spec.traffic.affinity is Affinity.HASH
