"""What can be targeted: one adapter for each kind of workload, in front of what the core calls a Workload."""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from lossless.api.resource import TargetRef
from lossless.cluster import argo_rollout, daemon_set, deployment, stateful_set
from lossless.cluster.counts import Counts
from lossless.cluster.observed import SeenPod
from lossless.cluster.resources import Raw, Resource
from lossless.cluster.store import Store
from lossless.core.world import Workload


class WorkloadKind(Protocol):
    """Reads one kind of workload from the store."""

    @property
    def resource(self) -> Resource:
        """Where the API server has them."""
        ...

    def workload(self, store: Store, namespace: str, name: str) -> Workload | None:
        """As the core wants it; None: there is none of that name."""
        ...

    def spec(self, store: Store, namespace: str, name: str) -> Raw:
        """Its spec, for the findings; empty: there is none of that name."""
        ...

    def selector(self, store: Store, namespace: str, name: str) -> str:
        """What a LIST of its pods has to ask for. Its pods are among them: their owner tells which they are."""
        ...

    def pods(self, store: Store, workload: Workload) -> Iterable[SeenPod]:
        """Its pods, as far as they are known."""
        ...

    def counts(self, store: Store, workload: Workload, pods: Sequence[SeenPod]) -> Counts:
        """Its pods, as its controllers count them and as they are known."""
        ...

    def is_stale(self, store: Store, namespace: str, name: str) -> bool:
        """The workload is known in a newer version than what belongs to it: that has to be read again."""
        ...

    @property
    def parts(self) -> Sequence[Resource]:
        """What belongs to it between itself and its pods, to be read again when stale."""
        ...


KINDS: Final[dict[tuple[str, str], WorkloadKind]] = {
    ("apps/v1", "Deployment"): deployment.KIND,
    ("apps/v1", "StatefulSet"): stateful_set.KIND,
    ("apps/v1", "DaemonSet"): daemon_set.KIND,
    ("argoproj.io/v1alpha1", "Rollout"): argo_rollout.KIND,
}
"""By API version and kind."""


def kind_of(target: TargetRef) -> WorkloadKind | None:
    """The adapter for a target; None: that kind is not supported."""
    return KINDS.get((target.api_version, target.kind))


def supported() -> str:
    """All supported kinds, for people."""
    return ", ".join(f"{kind} ({version})" for version, kind in KINDS)
