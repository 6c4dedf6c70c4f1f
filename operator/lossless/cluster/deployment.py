"""Deployments (apps/v1), read as their own controller reads them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lossless.api.quantities import resolve
from lossless.cluster.observed import SeenDeployment, SeenReplicaSet
from lossless.cluster.replica_sets import OfReplicaSets
from lossless.cluster.resources import DEPLOYMENTS, REPLICA_SETS, Raw, Resource
from lossless.cluster.store import Store
from lossless.core.world import Group, Workload


@dataclass(frozen=True, slots=True)
class DeploymentKind(OfReplicaSets):
    """See `lossless.cluster.workload.WorkloadKind`."""

    resource: Resource = DEPLOYMENTS
    parts: tuple[Resource, ...] = (REPLICA_SETS,)

    def workload(self, store: Store, namespace: str, name: str) -> Workload | None:
        seen = store.deployments.named(namespace, name)
        return _workload(seen, list(_replica_sets(store, seen))) if seen else None

    def spec(self, store: Store, namespace: str, name: str) -> Raw:
        seen = store.deployments.named(namespace, name)
        return seen.spec if seen else {}

    def selector(self, store: Store, namespace: str, name: str) -> str:
        seen = store.deployments.named(namespace, name)
        return seen.selector if seen else ""

    def is_stale(self, store: Store, namespace: str, name: str) -> bool:
        """The Deployment says which revision is current; the ReplicaSets that we know must have that one."""
        seen = store.deployments.named(namespace, name)
        if seen is None:
            return False
        return _newest(list(_replica_sets(store, seen))) != seen.revision


KIND: Final = DeploymentKind()


def rolling_limits(seen: SeenDeployment) -> tuple[int, int]:
    """maxSurge and maxUnavailable in pods, as apps/v1 resolves them: up, down, and never both nothing.

    Source: pkg/controller/deployment/util/deployment_util.go, ResolveFenceposts.
    """
    surge = _resolved(seen.max_surge, seen.wanted, round_up=True)
    unavailable = _resolved(seen.max_unavailable, seen.wanted, round_up=False)
    if surge == 0 and unavailable == 0:
        return 0, 1
    return surge, min(unavailable, seen.wanted)


def _workload(seen: SeenDeployment, sets: list[SeenReplicaSet]) -> Workload:
    surge, unavailable = (0, 0) if seen.recreate else rolling_limits(seen)
    current = _current(seen, sets)
    settled = seen.settled_generation and (seen.recreate or (current is not None and current.revision == seen.revision))
    return Workload(
        kind="Deployment",
        name=seen.name,
        uid=seen.uid,
        wanted=seen.wanted,
        current_revision=current.pod_template_hash if current else "",
        max_surge=surge,
        max_unavailable=unavailable,
        recreate=seen.recreate,
        paused=seen.paused,
        # Its ReplicaSets may lag behind it: until the one of its revision is known, nobody can tell which is current.
        settled_generation=settled,
        releases_next=not settled and current is not None and current.template != seen.template,
        groups=tuple(Group(one.uid, one.name, one.pod_template_hash, one.keep, one.wanted) for one in sets),
        create_failed_since=seen.create_failed_since,
    )


def _current(seen: SeenDeployment, sets: list[SeenReplicaSet]) -> SeenReplicaSet | None:
    """The ReplicaSet that the Deployment wants; None: it is not there yet.

    With Recreate that is so until all others are empty, and they must not be taken for it meanwhile: it is the one made
    from the Deployment's own template. Otherwise the controller makes it first, and numbers it highest.
    """
    newest = max(sets, key=lambda one: one.revision, default=None)
    if seen.recreate and newest is not None and newest.template != seen.template:
        return next((one for one in sets if one.template == seen.template), None)
    return newest


def _replica_sets(store: Store, seen: SeenDeployment) -> Iterator[SeenReplicaSet]:
    return store.replica_sets.where("owner", seen.uid)


def _newest(sets: list[SeenReplicaSet]) -> int:
    return max((one.revision for one in sets), default=0)


def _resolved(value: int | str, wanted: int, *, round_up: bool) -> int:
    return resolve(value, wanted, round_up=round_up)
