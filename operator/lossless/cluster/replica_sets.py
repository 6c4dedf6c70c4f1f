"""What all kinds have in common whose pods belong to ReplicaSets of theirs (Deployments, Argo Rollouts)."""

from collections.abc import Iterator, Sequence

from lossless.cluster.counts import Counts
from lossless.cluster.observed import SeenPod
from lossless.cluster.store import Store
from lossless.core.world import Workload


class OfReplicaSets:
    """A part of `lossless.cluster.workload.WorkloadKind`."""

    __slots__ = ()

    def pods(self, store: Store, workload: Workload) -> Iterator[SeenPod]:
        for group in workload.groups:
            yield from store.pods.where("owner", group.uid)

    def counts(self, store: Store, workload: Workload, pods: Sequence[SeenPod]) -> Counts:
        sets = list(store.replica_sets.where("owner", workload.uid))
        live = [pod.core for pod in pods if pod.core.live]
        return Counts(
            controllers=(sum(one.replicas for one in sets), sum(one.ready for one in sets)),
            known=(len(live), sum(1 for pod in live if pod.ready)),
        )
