"""DaemonSets (apps/v1), read as their own controller reads them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lossless.api.quantities import resolve
from lossless.cluster.counts import Counts
from lossless.cluster.node_fit import may_stay
from lossless.cluster.observed import SeenPod
from lossless.cluster.observed_sets import SeenControllerRevision, SeenDaemonSet
from lossless.cluster.resources import CONTROLLER_REVISIONS, DAEMON_SETS, Raw, Resource
from lossless.cluster.store import Store
from lossless.core.world import ByNode, Workload


@dataclass(frozen=True, slots=True)
class DaemonSetKind:
    """See `lossless.cluster.workload.WorkloadKind`."""

    resource: Resource = DAEMON_SETS
    parts: tuple[Resource, ...] = (CONTROLLER_REVISIONS,)

    def workload(self, store: Store, namespace: str, name: str) -> Workload | None:
        seen = store.daemon_sets.named(namespace, name)
        return _workload(seen, store) if seen else None

    def spec(self, store: Store, namespace: str, name: str) -> Raw:
        seen = store.daemon_sets.named(namespace, name)
        return seen.spec if seen else {}

    def selector(self, store: Store, namespace: str, name: str) -> str:
        seen = store.daemon_sets.named(namespace, name)
        return seen.selector if seen else ""

    def pods(self, store: Store, workload: Workload) -> Iterator[SeenPod]:
        yield from store.pods.where("owner", workload.uid)

    def counts(self, store: Store, workload: Workload, pods: Sequence[SeenPod]) -> Counts:
        """Its controller counts nodes, and of each the oldest pod (daemon_controller.go, updateDaemonSetStatus)."""
        oldest: dict[str, SeenPod] = {}
        for pod in sorted(pods, key=lambda one: (one.core.created_at, one.name)):
            if pod.core.node:
                oldest.setdefault(pod.core.node, pod)
        known = len(oldest), sum(1 for pod in oldest.values() if pod.core.ready)
        seen = store.daemon_sets.by_uid(workload.uid)
        if seen is None:
            return Counts(known, known)
        # Those that are where they should not be are not counted as ready, and nobody says which they are.
        return Counts((seen.nodes, known[1] if seen.misscheduled else seen.ready), known)

    def is_stale(self, store: Store, namespace: str, name: str) -> bool:
        """None of the revisions that we know is made from its template."""
        seen = store.daemon_sets.named(namespace, name)
        return seen is not None and _current(seen, store) is None


KIND: Final = DaemonSetKind()


def rolling_limits(seen: SeenDaemonSet) -> tuple[int, int]:
    """maxSurge and maxUnavailable in pods, both rounded up, and never both nothing; OnDelete has neither.

    Source: pkg/controller/daemon/util/daemonset_util.go, SurgeCount and UnavailableCount, and update.go,
    updatedDesiredNodeCounts.
    """
    if seen.on_delete:
        return 0, 1
    surge = resolve(seen.max_surge, seen.wanted, round_up=True)
    unavailable = resolve(seen.max_unavailable, seen.wanted, round_up=True)
    return (0, 1) if surge == 0 and unavailable == 0 else (surge, unavailable)


def _workload(seen: SeenDaemonSet, store: Store) -> Workload:
    surge, unavailable = rolling_limits(seen)
    # One that does not look the same after all is still the newest, once the controller has seen the latest spec.
    newest = max(_revisions(seen, store), key=lambda one: one.revision, default=None)
    current = _current(seen, store) or newest
    return Workload(
        kind="DaemonSet",
        name=seen.name,
        uid=seen.uid,
        wanted=seen.wanted,
        current_revision=current.revision_hash if current else "",
        max_surge=surge,
        max_unavailable=unavailable,
        settled_generation=seen.settled_generation and current is not None,
        rule=ByNode(surges=surge > 0, replaces=not seen.on_delete, unwanted=_unwanted(seen, store)),
    )


def _unwanted(seen: SeenDaemonSet, store: Store) -> frozenset[str]:
    """The nodes on which its pods may not stay, of those that have one."""
    template = seen.spec.get("template") or {}
    names = {pod.core.node for pod in store.pods.where("owner", seen.uid)} - {""}
    nodes = (store.nodes.named("", name) for name in names)
    return frozenset(node.name for node in nodes if node and not may_stay(template, node))


def _current(seen: SeenDaemonSet, store: Store) -> SeenControllerRevision | None:
    """The revision that is made from its template; of two, the newer."""
    alike = (one for one in _revisions(seen, store) if one.template == seen.template)
    return max(alike, key=lambda one: one.revision, default=None)


def _revisions(seen: SeenDaemonSet, store: Store) -> Iterator[SeenControllerRevision]:
    return store.controller_revisions.where("owner", seen.uid)
