"""What is kept of each watched object: small, frozen, without what changes all the time and means nothing to us.

Two versions of an object that differ only in what is left out here are equal, so nobody is woken for them.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError

from lossless.api import names
from lossless.api.resource import LosslessRolloutSpec, LosslessRolloutStatus, TargetRef
from lossless.cluster.autoscaler_status import autoscaler_metrics
from lossless.cluster.resources import Raw
from lossless.core.autoscaler import Record
from lossless.core.passage import Hold, Passage, parse_time
from lossless.core.world import Autoscaler, Pod

REVISION: Final = "deployment.kubernetes.io/revision"
POD_TEMPLATE_HASH: Final = "pod-template-hash"
ARGO_TEMPLATE_HASH: Final = "rollouts-pod-template-hash"
"""What pods and ReplicaSets of an Argo Rollout carry in its place."""
REVISION_HASH: Final = "controller-revision-hash"
"""What pods carry that a StatefulSet or a DaemonSet owns."""
GOING: Final = frozenset({"ToBeDeletedByClusterAutoscaler", "karpenter.sh/disrupted"})
"""Taints by which an autoscaler says that it is about to take a node away. `DeletionCandidateOfClusterAutoscaler` is
none: a candidate may stay."""
LOST: Final = "node.kubernetes.io/unreachable"
UNKNOWN_AGE: Final = parse_time("1970-01-01T00:00:00Z")


@dataclass(frozen=True, slots=True)
class Owner:
    """The controller that an object belongs to."""

    kind: str
    name: str
    uid: str

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> "Owner | None":
        for reference in raw["metadata"].get("ownerReferences") or ():
            if reference.get("controller"):
                return cls(reference["kind"], reference["name"], reference["uid"])
        return None


@dataclass(frozen=True, slots=True)
class Told:
    """A pod condition: only what a patch of it has to know."""

    status: str
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class SeenPod:
    """A pod: what the core is told of it, and what only the edges need."""

    namespace: str
    core: Pod
    """Without what others know of it (cordon, sightings, warm-up, requests in flight), and without its version."""
    rollout: str
    """Our label; empty: it has none."""
    labels: Mapping[str, str] = field(hash=False)
    owner: Owner | None = None
    addresses: tuple[str, ...] = ()
    ports: Mapping[str, int] = field(default_factory=dict, hash=False)
    containers: tuple[str, ...] = ()
    registries: str = ""
    """The registries that were told of it, as they are written on it; see `registered.py`."""
    gate: Told | None = None
    readiness: Told | None = None

    @property
    def uid(self) -> str:
        return self.core.uid

    @property
    def name(self) -> str:
        return self.core.name

    @classmethod
    def parse(cls, raw: Raw) -> "SeenPod":
        """From JSON; this is the only place where pods are read."""
        metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
        annotations = metadata.get("annotations") or {}
        labels = metadata.get("labels") or {}
        conditions = {one["type"]: one for one in status.get("conditions") or ()}
        owner = Owner.of(raw)
        gated = any(gate.get("conditionType") == names.GATE for gate in spec.get("readinessGates") or ())
        containers_ready = conditions.get("ContainersReady", {})
        ready = conditions.get("Ready", {})
        core = Pod(
            uid=metadata["uid"],
            name=metadata["name"],
            group=owner.uid if owner else "",
            revision=labels.get(POD_TEMPLATE_HASH) or labels.get(REVISION_HASH) or labels.get(ARGO_TEMPLATE_HASH, ""),
            created_at=_required_time(metadata.get("creationTimestamp")),
            ip=status.get("podIP", ""),
            node=spec.get("nodeName", ""),
            phase=status.get("phase", "Pending"),
            deleting_since=_deleting_since(metadata),
            unschedulable_since=_unschedulable_since(conditions.get("PodScheduled", {})),
            managed=False,
            inside=names.INSIDE_LABEL in labels,
            gated=gated,
            gate_open=conditions.get(names.GATE, {}).get("status") == "True",
            containers_ready=containers_ready.get("status") == "True",
            containers_ready_since=_since(containers_ready, "True"),
            ready=ready.get("status") == "True",
            ready_since=parse_time(ready.get("lastTransitionTime")),
            restarts=sum(one.get("restartCount", 0) for one in status.get("containerStatuses") or ()),
            deletion_cost=_integer(annotations.get(names.DELETION_COST)),
            passage=Passage.from_annotations(annotations),
            holds=Hold.all_in(annotations),
        )
        containers = spec.get("containers") or ()
        return cls(
            namespace=metadata["namespace"],
            core=core,
            rollout=labels.get(names.ROLLOUT_LABEL, ""),
            labels=labels,
            owner=owner,
            addresses=tuple(one["ip"] for one in status.get("podIPs") or () if one.get("ip")),
            ports={
                port["name"]: port["containerPort"]
                for one in containers
                for port in one.get("ports") or ()
                if port.get("name")
            },
            containers=tuple(one["name"] for one in containers),
            registries=annotations.get(names.REGISTRIES, ""),
            gate=_told(conditions.get(names.GATE)),
            readiness=_told(conditions.get("Ready")),
        )


@dataclass(frozen=True, slots=True)
class SeenReplicaSet:
    namespace: str
    name: str
    uid: str
    owner: Owner | None
    pod_template_hash: str
    revision: int
    """The Deployment's revision number: the highest is the current one."""
    template: str
    """A digest of its pod template, equal to that of the Deployment it was made for."""
    keep: int | None
    held: bool
    """It carries our label, whatever is written there."""
    wanted: int
    asked: int
    """What it would be wanted to have if it were not held; see `names.ASKED`."""
    replicas: int
    """Pods that its controller counts: those that are neither being deleted nor over."""
    ready: int
    """Those of them that are ready."""
    observed: bool

    @classmethod
    def parse(cls, raw: Raw) -> "SeenReplicaSet":
        metadata, status = raw["metadata"], raw.get("status") or {}
        labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
        keep = labels.get(names.KEEP_LABEL)
        wanted = _count((raw.get("spec") or {}).get("replicas"))
        asked = annotations.get(names.ASKED, "") if keep is not None else ""
        return cls(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            owner=Owner.of(raw),
            pod_template_hash=labels.get(POD_TEMPLATE_HASH) or labels.get(ARGO_TEMPLATE_HASH, ""),
            revision=_integer(annotations.get(REVISION)),
            template=_digest((raw.get("spec") or {}).get("template")),
            keep=int(keep) if keep and keep.isdecimal() else None,
            held=keep is not None,
            wanted=wanted,
            asked=min(wanted, int(asked)) if asked.isdecimal() else wanted,
            replicas=status.get("replicas", 0),
            ready=status.get("readyReplicas", 0),
            observed=status.get("observedGeneration", 0) >= metadata.get("generation", 0),
        )


@dataclass(frozen=True, slots=True)
class SeenDeployment:
    namespace: str
    name: str
    uid: str
    wanted: int
    revision: int
    """The number of the revision that its controller works towards."""
    template: str
    """A digest of its pod template."""
    recreate: bool
    max_surge: int | str
    max_unavailable: int | str
    paused: bool
    settled_generation: bool
    create_failed_since: datetime | None
    selector: str
    """As a LIST wants it."""
    spec: Raw = field(hash=False)
    """All of it, for the findings."""

    @classmethod
    def parse(cls, raw: Raw) -> "SeenDeployment":
        metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
        strategy = spec.get("strategy") or {}
        rolling = strategy.get("rollingUpdate") or {}
        conditions: dict[str, Raw] = {one["type"]: one for one in status.get("conditions") or ()}
        return cls(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            wanted=_count(spec.get("replicas")),
            revision=_integer((metadata.get("annotations") or {}).get(REVISION)),
            template=_digest(spec.get("template")),
            recreate=strategy.get("type") == "Recreate",
            max_surge=rolling.get("maxSurge", "25%"),
            max_unavailable=rolling.get("maxUnavailable", "25%"),
            paused=bool(spec.get("paused")),
            settled_generation=status.get("observedGeneration", 0) >= metadata.get("generation", 0),
            create_failed_since=_since(conditions.get("ReplicaFailure", {}), "True"),
            selector=selector_text(spec.get("selector") or {}),
            spec=spec,
        )


@dataclass(frozen=True, slots=True)
class SeenAutoscaler:
    """A HorizontalPodAutoscaler. Its metrics change all the time: nobody is woken for them but while it is held."""

    namespace: str
    target: tuple[str, str, str]
    """Namespace, kind and name of what it scales."""
    core: Autoscaler = field(compare=False)
    rollout: str
    """The LosslessRollout that has written to it; empty: none has."""
    compared: tuple[object, ...] = ()

    @classmethod
    def parse(cls, raw: Raw) -> "SeenAutoscaler":
        metadata, spec = raw["metadata"], raw.get("spec") or {}
        note = (metadata.get("annotations") or {}).get(names.ORIGINAL_BEHAVIOR)
        record = Record.from_annotation(note)
        target, owner = spec.get("scaleTargetRef") or {}, Owner.of(raw)
        core = Autoscaler(
            uid=metadata["uid"],
            name=metadata["name"],
            behavior=spec.get("behavior"),
            note=note,
            metrics=autoscaler_metrics(spec, raw.get("status") or {}),
            most=spec.get("maxReplicas", 0),
            managed_by=f"{owner.kind} {owner.name}" if owner else "",
        )
        return cls(
            namespace=metadata["namespace"],
            target=(metadata["namespace"], target.get("kind", ""), target.get("name", "")),
            core=core,
            rollout=record.rollout if record else "",
            compared=(core.uid, core.name, core.behavior, note, core.managed_by, core.metrics if note else ()),
        )


@dataclass(frozen=True, slots=True)
class SeenNode:
    name: str
    cordoned: bool
    """Nothing new is scheduled there, by its owner's word or an autoscaler's."""
    going: bool = False
    """An autoscaler is about to take it away."""
    lost: bool = False
    """Its kubelet is silent."""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    no_execute: tuple[tuple[str, str], ...] = ()
    """Taints with that effect: key and value."""

    @classmethod
    def parse(cls, raw: Raw) -> "SeenNode":
        metadata, spec = raw["metadata"], raw.get("spec") or {}
        taints = spec.get("taints") or ()
        going = any(one["key"] in GOING for one in taints)
        no_execute = (one for one in taints if one.get("effect") == "NoExecute")
        return cls(
            name=metadata["name"],
            cordoned=bool(spec.get("unschedulable")) or going,
            going=going,
            lost=any(one["key"] == LOST for one in taints),
            labels=metadata.get("labels") or {},
            no_execute=tuple((one["key"], one.get("value", "")) for one in no_execute),
        )


@dataclass(frozen=True, slots=True)
class SeenRollout:
    """A LosslessRollout. Its status is not compared: we write it ourselves, and nothing is to be done about it."""

    namespace: str
    name: str
    uid: str
    generation: int
    created_at: str
    deleting: bool
    target: TargetRef
    spec: LosslessRolloutSpec | None
    """None: what is stored there is no longer a valid spec."""
    refused: str = ""
    """Why not."""
    status: LosslessRolloutStatus = field(default_factory=LosslessRolloutStatus, compare=False)

    @property
    def key(self) -> tuple[str, str]:
        return self.namespace, self.name

    @classmethod
    def parse(cls, raw: Raw) -> "SeenRollout":
        metadata = raw["metadata"]
        spec, refused = _spec(raw.get("spec") or {})
        return cls(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            generation=metadata.get("generation", 1),
            created_at=metadata.get("creationTimestamp", ""),
            deleting="deletionTimestamp" in metadata,
            target=spec.target_ref if spec else _target(raw.get("spec") or {}),
            spec=spec,
            refused=refused,
            status=_status(raw.get("status") or {}),
        )


def selector_text(selector: Mapping[str, Any]) -> str:
    """A metav1.LabelSelector as the query parameter of a LIST."""
    operators = {"In": "{0} in ({1})", "NotIn": "{0} notin ({1})", "Exists": "{0}", "DoesNotExist": "!{0}"}
    terms = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for one in selector.get("matchExpressions") or ():
        terms.append(operators[one["operator"]].format(one["key"], ",".join(one.get("values") or ())))
    return ",".join(terms)


def _spec(raw: Raw) -> tuple[LosslessRolloutSpec | None, str]:
    try:
        return LosslessRolloutSpec.model_validate(raw), ""
    except ValidationError as error:
        first = error.errors()[0]
        return None, f"spec.{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"


def _target(raw: Raw) -> TargetRef:
    try:
        return TargetRef.model_validate(raw.get("targetRef") or {})
    except ValidationError:
        return TargetRef(kind="Unknown", name="unknown")


def _status(raw: Raw) -> LosslessRolloutStatus:
    """What we wrote last. Whatever somebody else wrote there reads as nothing: it is written anew."""
    try:
        return LosslessRolloutStatus.model_validate(raw)
    except ValidationError:
        return LosslessRolloutStatus()


def _told(condition: Mapping[str, Any] | None) -> Told | None:
    if condition is None:
        return None
    return Told(condition.get("status", "Unknown"), condition.get("reason", ""), condition.get("message", ""))


def _since(condition: Mapping[str, Any], status: str) -> datetime | None:
    return parse_time(condition.get("lastTransitionTime")) if condition.get("status") == status else None


def _unschedulable_since(scheduled: Mapping[str, Any]) -> datetime | None:
    return _since(scheduled, "False") if scheduled.get("reason") == "Unschedulable" else None


def _deleting_since(metadata: Mapping[str, Any]) -> datetime | None:
    """deletionTimestamp is when its grace period will be over; it was asked for that much earlier."""
    at = parse_time(metadata.get("deletionTimestamp"))
    return at - timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0) if at else None


def _required_time(text: str | None) -> datetime:
    at = parse_time(text) or UNKNOWN_AGE
    assert at is not None
    return at


def _integer(text: str | None) -> int:
    try:
        return int(text or 0)
    except ValueError:
        return 0


def _count(replicas: int | None) -> int:
    """Replicas that are not said are one (apps/v1)."""
    return 1 if replicas is None else replicas


def _digest(template: Raw | None) -> str:
    """Equal for equal pod templates, but for the hash that a ReplicaSet's has (deployment_util.go, EqualIgnoreHash)."""
    metadata = (template or {}).get("metadata") or {}
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != POD_TEMPLATE_HASH}
    plain = {**(template or {}), "metadata": {**metadata, "labels": labels}}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
