"""Whether a DaemonSet's pod may stay on a node, as the DaemonSet controller sees it.

Source: pkg/controller/daemon/daemon_controller.go, NodeShouldRunDaemonPod (shouldContinueRunning), and
k8s.io/component-helpers, scheduling/corev1, nodeaffinity and FindMatchingUntoleratedTaint.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from lossless.cluster.observed import SeenNode
from lossless.cluster.requirements import holds
from lossless.cluster.resources import Raw

TOLERATED: Final = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
"""NoExecute taints that the controller lets each of its pods tolerate (AddOrUpdateDaemonPodTolerations)."""


def may_stay(template: Raw, node: SeenNode) -> bool:
    """Its node selector and required affinity match, and it tolerates every taint with the effect NoExecute."""
    spec = template.get("spec") or {}
    if spec.get("nodeName") not in (None, "", node.name):
        return False
    if any(node.labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    if affinity is not None and not any(_matches(term, node) for term in affinity.get("nodeSelectorTerms") or ()):
        return False
    tolerations = spec.get("tolerations") or ()
    return all(key in TOLERATED or _tolerated(key, value, tolerations) for key, value in node.no_execute)


def _matches(term: Mapping[str, Any], node: SeenNode) -> bool:
    """One term; an empty one matches nothing."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    return all(holds(one, node.labels.get(one["key"])) for one in expressions) and all(
        holds(one, node.name) for one in fields
    )


def _tolerated(key: str, value: str, tolerations: Sequence[Mapping[str, Any]]) -> bool:
    for one in tolerations:
        if one.get("effect") not in (None, "", "NoExecute") or one.get("key") not in (None, "", key):
            continue
        if one.get("operator", "Equal") != "Equal" or one.get("value", "") == value:
            return True
    return False
