"""What is kept of StatefulSets, DaemonSets and their ControllerRevisions. See `observed` for the rules."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Final

from lossless.cluster.observed import REVISION_HASH, Owner, selector_text
from lossless.cluster.resources import Raw

ON_DELETE: Final = "OnDelete"


@dataclass(frozen=True, slots=True)
class SeenStatefulSet:
    namespace: str
    name: str
    uid: str
    wanted: int
    start: int
    partition: int
    on_delete: bool
    ordered: bool
    min_ready: int
    """Seconds."""
    max_unavailable: int | str | None
    """None: the API server keeps no such field, so the controller does not go by it (MaxUnavailableStatefulSet)."""
    revision: str
    """What its pods' revision label says when they are up to date (status.updateRevision)."""
    settled_generation: bool
    replicas: int
    """Pods that its controller counts, those included that are being deleted."""
    ready: int
    selector: str
    spec: Raw = field(hash=False)
    """All of it, for the findings."""

    @classmethod
    def parse(cls, raw: Raw) -> "SeenStatefulSet":
        metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
        strategy = spec.get("updateStrategy") or {}
        rolling = strategy.get("rollingUpdate") or {}
        return cls(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            wanted=spec.get("replicas", 1),
            start=(spec.get("ordinals") or {}).get("start", 0),
            partition=rolling.get("partition") or 0,
            on_delete=strategy.get("type") == ON_DELETE,
            ordered=spec.get("podManagementPolicy") != "Parallel",
            min_ready=spec.get("minReadySeconds") or 0,
            max_unavailable=rolling.get("maxUnavailable"),
            revision=status.get("updateRevision", ""),
            settled_generation=status.get("observedGeneration", 0) >= metadata.get("generation", 0),
            replicas=status.get("replicas", 0),
            ready=status.get("readyReplicas", 0),
            selector=selector_text(spec.get("selector") or {}),
            spec=spec,
        )


@dataclass(frozen=True, slots=True)
class SeenDaemonSet:
    namespace: str
    name: str
    uid: str
    wanted: int
    """Nodes that should have a pod of it (status.desiredNumberScheduled)."""
    template: str
    """A digest of its pod template."""
    on_delete: bool
    max_surge: int | str
    max_unavailable: int | str
    settled_generation: bool
    nodes: int
    """Nodes that have one, wanted there or not."""
    ready: int
    """Nodes whose oldest pod is ready, of those where one is wanted."""
    misscheduled: int
    selector: str
    spec: Raw = field(hash=False)
    """All of it, for the findings and to tell the nodes where its pods may not stay."""

    @classmethod
    def parse(cls, raw: Raw) -> "SeenDaemonSet":
        metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
        strategy = spec.get("updateStrategy") or {}
        rolling = strategy.get("rollingUpdate") or {}
        misscheduled = status.get("numberMisscheduled", 0)
        return cls(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            wanted=status.get("desiredNumberScheduled", 0),
            template=template_digest(spec.get("template")),
            on_delete=strategy.get("type") == ON_DELETE,
            max_surge=rolling.get("maxSurge") or 0,
            max_unavailable=rolling.get("maxUnavailable") or 0,
            settled_generation=status.get("observedGeneration", 0) >= metadata.get("generation", 0),
            nodes=status.get("currentNumberScheduled", 0) + misscheduled,
            ready=status.get("numberReady", 0),
            misscheduled=misscheduled,
            selector=selector_text(spec.get("selector") or {}),
            spec=spec,
        )


@dataclass(frozen=True, slots=True)
class SeenControllerRevision:
    namespace: str
    name: str
    uid: str
    owner: Owner | None
    revision_hash: str
    """What the pods of this revision carry, where a DaemonSet made it."""
    revision: int
    """The highest is the one that its controller has last worked towards."""
    template: str
    """A digest of the pod template, equal to that of the DaemonSet it was made for."""

    @classmethod
    def parse(cls, raw: Raw) -> "SeenControllerRevision":
        metadata = raw["metadata"]
        template = ((raw.get("data") or {}).get("spec") or {}).get("template")
        return cls(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            owner=Owner.of(raw),
            revision_hash=(metadata.get("labels") or {}).get(REVISION_HASH, ""),
            revision=raw.get("revision", 0),
            template=template_digest(template),
        )


def template_digest(template: Raw | None) -> str:
    """Equal for equal pod templates, but for the word with which a ControllerRevision is applied as a patch.

    Source: pkg/controller/daemon/update.go, Match and getPatch.
    """
    plain = {key: value for key, value in (template or {}).items() if key != "$patch"}
    return hashlib.sha256(json.dumps(_without_nulls(plain), sort_keys=True).encode()).hexdigest()


def _without_nulls(value: Any) -> Any:
    """What is null is not there: which of the two is written has changed from version to version."""
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value
