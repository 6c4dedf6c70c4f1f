"""Every name that this project puts on objects in the cluster, in one place.

The admission policies in ``manifests/`` spell the same names in CEL; a test compares the two.
"""

from typing import Final

GROUP: Final = "lossless.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "LosslessRollout"
PLURAL: Final = "losslessrollouts"

PARAMETERS: Final = "lossless-rollouts"
"""The LimitRange (without limits) in each namespace with LosslessRollouts which the admission policies go by."""
ABOUT: Final = f"{GROUP}/about"
"""On that LimitRange: what it is for."""
TARGETS: Final = f"{GROUP}/targets"
"""On that LimitRange: the workloads whose doors are kept."""

GATE: Final = f"{GROUP}/admitted"
"""The readiness gate (and pod condition): the door in."""

ROLLOUT_LABEL: Final = f"{GROUP}/rollout"
"""On a pod: the name of the LosslessRollout that keeps its doors. Put there as the pod is created, or is adopted."""

INSIDE_LABEL: Final = f"{GROUP}/inside"
"""On a pod that may have traffic, with `drain.disruption: Gate`: the LosslessRollout whose PodDisruptionBudget selects
it. Off once it is drained."""

KEEP_LABEL: Final = f"{GROUP}/keep"
"""On a ReplicaSet: the replicas below which its Deployment (or Argo Rollout) may not take it yet: the hold.

A label, because ``kubectl rollout undo`` copies a ReplicaSet's annotations to the Deployment.
"""

ASKED: Final = f"{GROUP}/asked"
"""On a ReplicaSet of an Argo Rollout: the replicas that its controller asked for, as the hold has noted them."""

STAGE: Final = f"{GROUP}/stage"
SINCE: Final = f"{GROUP}/since"
WAITING_FOR: Final = f"{GROUP}/waiting-for"
WARMED: Final = f"{GROUP}/warmed"
ADMITTED_AT: Final = f"{GROUP}/admitted-at"
"""When the pod was first let in. Absent: it never had traffic, has nothing to drain and may be deleted at once."""
ADMITTED_RESTARTS: Final = f"{GROUP}/admitted-restarts"
WITHDRAWN_AT: Final = f"{GROUP}/withdrawn-at"
GONE_AT: Final = f"{GROUP}/gone-at"
DRAINED_AT: Final = f"{GROUP}/drained-at"
"""The mark that opens the door out: controllers may delete the pod once it is there."""
COST_BEFORE: Final = f"{GROUP}/deletion-cost-before"
"""The user's own pod-deletion-cost, kept while ours stands in its place. Empty: there was none."""

ORIGINAL_WEIGHTS: Final = f"{GROUP}/original-weights"
"""On a route: its owner's weights, while ours stand in their place, and whose splits they are."""
ORIGINAL_BEHAVIOR: Final = f"{GROUP}/original-behavior"
"""On a HorizontalPodAutoscaler: JSON, its owner's behavior while something of ours is in it, and whose and what."""
KEPT_UNTIL: Final = f"{GROUP}/kept-until"
"""On the EndpointSlices of a warm-up Service: no ramp is under way, and then they are deleted."""

ORIGINALS: Final = f"{GROUP}/registry-originals"
"""JSON: by registry, what it said of the pod before it was told anything: what to put back."""
REGISTRIES: Final = f"{GROUP}/registries"
"""JSON: those registries, as the LosslessRollout named them, so that they can be told also when it is gone."""
TOLD: Final = f"{GROUP}/told"
"""Registries that can't be looked at and have been told to take the pod out."""

SLOT: Final = f"{GROUP}/slot"
"""On a pod: its place among the replicas, handed on from pod to pod, where traffic is hashed onto them."""

DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
LOWEST_COST: Final = -(2**31)

HOLD_PREFIX: Final = f"hold.{GROUP}/"
"""``hold.lossless.dev/<who>: "out: exporting a heap dump"`` keeps a door shut for somebody else: in, out or both."""

PASSAGE_ANNOTATIONS: Final = (
    STAGE,
    SINCE,
    WAITING_FOR,
    WARMED,
    ADMITTED_AT,
    ADMITTED_RESTARTS,
    WITHDRAWN_AT,
    GONE_AT,
    DRAINED_AT,
    COST_BEFORE,
    ORIGINALS,
    TOLD,
    SLOT,
)
"""All that a passage leaves on a pod, and all that is taken off it again when the pod is let go."""
