"""StatefulSets (apps/v1), read as their own controller reads them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from lossless.api.quantities import resolve
from lossless.cluster.counts import Counts
from lossless.cluster.observed import SeenPod
from lossless.cluster.observed_sets import SeenStatefulSet
from lossless.cluster.resources import STATEFUL_SETS, Raw, Resource
from lossless.cluster.store import Store
from lossless.core.world import ByOrdinal, Workload


@dataclass(frozen=True, slots=True)
class StatefulSetKind:
    """See `lossless.cluster.workload.WorkloadKind`."""

    resource: Resource = STATEFUL_SETS
    parts: tuple[Resource, ...] = ()

    def workload(self, store: Store, namespace: str, name: str) -> Workload | None:
        seen = store.stateful_sets.named(namespace, name)
        return _workload(seen) if seen else None

    def spec(self, store: Store, namespace: str, name: str) -> Raw:
        seen = store.stateful_sets.named(namespace, name)
        return seen.spec if seen else {}

    def selector(self, store: Store, namespace: str, name: str) -> str:
        seen = store.stateful_sets.named(namespace, name)
        return seen.selector if seen else ""

    def pods(self, store: Store, workload: Workload) -> Iterator[SeenPod]:
        yield from store.pods.where("owner", workload.uid)

    def counts(self, store: Store, workload: Workload, pods: Sequence[SeenPod]) -> Counts:
        """Its controller counts pods to their very end (stateful_set_control.go, computeReplicaStatus)."""
        seen = store.stateful_sets.by_uid(workload.uid)
        known = len(pods), sum(1 for pod in pods if pod.core.ready and pod.core.phase == "Running")
        return Counts((seen.replicas, seen.ready) if seen else known, known)

    def is_stale(self, store: Store, namespace: str, name: str) -> bool:
        """Nothing is between it and its pods."""
        return False


KIND: Final = StatefulSetKind()


def max_unavailable(seen: SeenStatefulSet) -> int:
    """In pods, at least one. Source: pkg/controller/statefulset/stateful_set_utils.go, getStatefulSetMaxUnavailable."""
    asked = 1 if seen.max_unavailable is None else seen.max_unavailable
    return max(1, resolve(asked, seen.wanted, round_up=False))


def _workload(seen: SeenStatefulSet) -> Workload:
    return Workload(
        kind="StatefulSet",
        name=seen.name,
        uid=seen.uid,
        wanted=seen.wanted,
        current_revision=seen.revision,
        max_surge=0,
        # In order, only one goes at a time: after the first its controller waits for that to be there again.
        max_unavailable=1 if seen.ordered else max_unavailable(seen),
        settled_generation=seen.settled_generation and bool(seen.revision),
        rule=ByOrdinal(
            start=seen.start,
            partition=seen.partition,
            replaces=not seen.on_delete,
            ordered=seen.ordered,
            min_ready=timedelta(seconds=seen.min_ready),
            counts_unavailable=seen.max_unavailable is not None,
        ),
    )
