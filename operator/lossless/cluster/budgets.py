"""PodDisruptionBudgets: which of them select which pods, and the one of our own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from lossless.api import names
from lossless.cluster.requirements import holds
from lossless.cluster.resources import Raw

NOBODY_MAY_GO: Final = 2**31 - 1
"""Of `minAvailable`: more than there can be. As a plain number it asks for nobody's scale, so whose pods they are does
not matter; and nobody is let go for being unready, for whoever drains is. Who has nothing to drain is not selected."""


@dataclass(frozen=True, slots=True)
class SeenBudget:
    namespace: str
    name: str
    uid: str
    rollout: str
    """The LosslessRollout (uid) that owns it; empty: it is somebody else's."""
    owned_by: str
    """That one's name."""
    selector: Mapping[str, Any] | None = field(hash=False)
    """None selects nothing, an empty one everything (policy/v1)."""

    @classmethod
    def parse(cls, raw: Raw) -> "SeenBudget":
        metadata, spec = raw["metadata"], raw.get("spec") or {}
        ours: Mapping[str, Any] = next(
            (one for one in metadata.get("ownerReferences") or () if one.get("kind") == names.KIND), {}
        )
        return cls(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            rollout=ours.get("uid", ""),
            owned_by=ours.get("name", ""),
            selector=spec.get("selector"),
        )

    def selects(self, labels: Mapping[str, str]) -> bool:
        """As the API server sees it when a pod with these labels is to be evicted."""
        return self.selector is not None and matches(self.selector, labels)


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """A metav1.LabelSelector."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(holds(one, labels.get(one["key"])) for one in selector.get("matchExpressions") or ())


def document(namespace: str, rollout: str, uid: str) -> Raw:
    """The budget of our own: it goes with its LosslessRollout."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {
            "name": name_of(rollout),
            "namespace": namespace,
            "ownerReferences": [
                {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": rollout, "uid": uid, "controller": True}
            ],
        },
        "spec": {"minAvailable": NOBODY_MAY_GO, "selector": {"matchLabels": {names.INSIDE_LABEL: rollout}}},
    }


def name_of(rollout: str) -> str:
    return f"{rollout}-lossless"
