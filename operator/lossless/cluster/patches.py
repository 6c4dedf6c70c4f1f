"""What a step looks like on the wire: the bodies of the patches. Nothing here talks to anybody."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from lossless.api import names
from lossless.api.resource import LosslessRolloutStatus
from lossless.api.traffic import Registry
from lossless.cluster import registered
from lossless.cluster.observed import SeenAutoscaler, SeenPod, Told
from lossless.cluster.resources import Raw
from lossless.core.autoscaler import Change
from lossless.core.passage import format_seconds
from lossless.core.steps import LetGo, Move, SetKeep, SetReplicas

WITHDRAWN_REASON = "LosslessWithdrawn"
"""Of a Ready condition that we override because the pod has no gate of ours. The kubelet does not know this word."""


def move(step: Move, seen: SeenPod, rollout: str, now: datetime, registries: Sequence[Registry] = ()) -> Raw:
    """A move: its passage, label, deletion cost and condition, in one strategic merge patch of pods/status.

    The pod must still be the same one; before what cannot be undone it must also not have changed at all.
    """
    metadata = _metadata(step.pod.uid, step.pod.resource_version if step.irreversible else "")
    annotations: dict[str, str | None] = dict(step.passage.to_annotations())
    told = step.passage.originals or step.passage.told
    annotations[names.REGISTRIES] = registered.written(registries, seen) if told else None
    if step.cost is not None:
        annotations[names.DELETION_COST] = str(step.cost) if step.cost else None
    metadata["annotations"] = annotations
    metadata["labels"] = {names.ROLLOUT_LABEL: rollout}
    if step.inside != step.pod.inside:
        metadata["labels"][names.INSIDE_LABEL] = rollout if step.inside else None
    conditions = [one for one in (_condition(step, seen, now), _shown_ready(step)) if one]
    return {"metadata": metadata} | ({"status": {"conditions": conditions}} if conditions else {})


def let_go(step: LetGo, seen: SeenPod, now: datetime) -> Raw:
    """Everything of ours comes off the pod; its gate opens and stays open."""
    annotations: dict[str, str | None] = dict.fromkeys((*names.PASSAGE_ANNOTATIONS, names.REGISTRIES))
    before = step.pod.passage.cost_before
    if before is not None:
        annotations[names.DELETION_COST] = before or None
    metadata = _metadata(step.pod.uid)
    metadata["annotations"] = annotations
    metadata["labels"] = {names.ROLLOUT_LABEL: None}
    if step.pod.inside:
        metadata["labels"][names.INSIDE_LABEL] = None
    body: Raw = {"metadata": metadata}
    if seen.core.gated:
        message = "no LosslessRollout takes care of this pod any more"
        body["status"] = {"conditions": [_stated(names.GATE, "True", "LetGo", message, seen.gate, now)]}
    elif seen.readiness and seen.readiness.reason == WITHDRAWN_REASON and seen.core.containers_ready:
        body["status"] = {"conditions": [_stated("Ready", "True", "", "", seen.readiness, now)]}
    return body


def autoscaler(seen: SeenAutoscaler, change: Change, resource_version: str) -> Raw:
    """Its behavior and our note beside it, in one merge patch; refused if it has changed since it was looked at."""
    note = change.record.to_annotation() if change.record else None
    metadata = {**_metadata(seen.core.uid, resource_version), "annotations": {names.ORIGINAL_BEHAVIOR: note}}
    if change.behavior == seen.core.behavior:
        return {"metadata": metadata}
    return {"metadata": metadata, "spec": {"behavior": merge_patch(seen.core.behavior, change.behavior)}}


def merge_patch(before: Any, after: Any) -> Any:
    """The JSON merge patch (RFC 7386) that makes one thing of the other."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return after
    patch: dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        if key not in before or before[key] != value:
            patch[key] = merge_patch(before.get(key), value)
    return patch


def keep(step: SetKeep, resource_version: str) -> Raw:
    """The hold: refused if the ReplicaSet is not the one that the number was worked out for."""
    value = None if step.keep is None else str(step.keep)
    body: Raw = {"metadata": {**_metadata(step.group.uid, resource_version), "labels": {names.KEEP_LABEL: value}}}
    if step.keep is None:
        body["metadata"]["annotations"] = {names.ASKED: None}
    return body


def replicas(step: SetReplicas, resource_version: str) -> Raw:
    """Of a ReplicaSet's scale: refused if the ReplicaSet is not the one that the number was worked out for."""
    return {"metadata": {"resourceVersion": resource_version}, "spec": {"replicas": step.replicas}}


def status(said: LosslessRolloutStatus, uid: str, resource_version: str) -> Raw:
    """The status of a LosslessRollout, all of it."""
    return {
        "metadata": _metadata(uid, resource_version),
        "status": said.model_dump(mode="json", by_alias=True),
    }


def _metadata(uid: str, resource_version: str = "") -> dict[str, Any]:
    return {"uid": uid} | ({"resourceVersion": resource_version} if resource_version else {})


def _condition(step: Move, seen: SeenPod, now: datetime) -> Raw | None:
    """What `kubectl describe pod` says: our own condition, or the Ready condition of a pod that has no gate of ours."""
    if seen.core.gated:
        is_open = seen.core.gate_open if step.gate is None else step.gate
        text = "True" if is_open else "False"
        return _stated(names.GATE, text, step.reason, step.message, seen.gate, now)
    if step.gate is None:
        return None
    if step.gate:
        return _stated("Ready", "True", "", "", seen.readiness, now)
    return _stated("Ready", "False", WITHDRAWN_REASON, step.message, seen.readiness, now)


def _shown_ready(step: Move) -> Raw | None:
    """Ready, for its controller alone, and for as long as it really was: minReadySeconds count from then."""
    if step.shown_ready_since is None:
        return None
    at = format_seconds(step.shown_ready_since)
    return {"type": "Ready", "status": "True", "reason": "", "message": "", "lastTransitionTime": at}


def _stated(kind: str, text: str, reason: str, message: str, before: Told | None, now: datetime) -> Raw:
    """A condition. Its transition time is only written when its status changes: else the patch leaves it alone."""
    condition = {"type": kind, "status": text, "reason": reason, "message": message}
    if before is None or before.status != text:
        condition["lastTransitionTime"] = format_seconds(now)
    return condition
