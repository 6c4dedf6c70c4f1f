"""What is kept of Argo Rollouts. See `observed` for the rules."""

from dataclasses import dataclass, field
from typing import Final

from lossless.cluster.observed import selector_text
from lossless.cluster.resources import Raw

DEFAULT_LIMIT: Final = "25%"


@dataclass(frozen=True, slots=True)
class SeenArgoRollout:
    namespace: str
    name: str
    uid: str
    wanted: int
    blue_green: bool
    routed: bool
    """A canary whose traffic goes by weights: its stable ReplicaSet may stay whole, whatever the surge."""
    max_surge: int | str
    max_unavailable: int | str
    paused: bool
    current: str
    """The pod template hash that its controller works towards."""
    stable: str
    """The one that it goes back to."""
    settled_generation: bool
    template_of: str
    """The Deployment that lends it its template and selector (`workloadRef`); empty: it has its own."""
    selector: str
    """As a LIST wants it; empty where it has none of its own."""
    spec: Raw = field(hash=False)
    """All of it, for the findings."""

    @classmethod
    def parse(cls, raw: Raw) -> "SeenArgoRollout":
        metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
        strategy = spec.get("strategy") or {}
        canary, blue_green = strategy.get("canary") or {}, strategy.get("blueGreen")
        reference = spec.get("workloadRef") or {}
        replicas = spec.get("replicas")
        return cls(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            wanted=1 if replicas is None else replicas,
            blue_green=blue_green is not None,
            routed=bool(canary.get("trafficRouting")),
            max_surge=canary.get("maxSurge", DEFAULT_LIMIT),
            max_unavailable=canary.get("maxUnavailable", DEFAULT_LIMIT),
            paused=bool(spec.get("paused")),
            current=status.get("currentPodHash", ""),
            stable=status.get("stableRS", ""),
            settled_generation=_generation(status.get("observedGeneration")) >= metadata.get("generation", 0),
            template_of=reference.get("name", "") if reference.get("kind") == "Deployment" else "",
            selector=selector_text(spec.get("selector") or {}),
            spec=spec,
        )


def _generation(observed: object) -> int:
    """Argo Rollouts writes it as text. Before 1.0 that was a hash, and says nothing."""
    return int(observed) if isinstance(observed, str) and observed.isdecimal() else 0
