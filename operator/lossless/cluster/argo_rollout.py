"""Argo Rollouts (argoproj.io/v1alpha1), by what their controller asks of each ReplicaSet."""

from dataclasses import dataclass
from typing import Final

from lossless.api.quantities import resolve
from lossless.cluster.observed import SeenDeployment, SeenReplicaSet
from lossless.cluster.observed_argo import SeenArgoRollout
from lossless.cluster.replica_sets import OfReplicaSets
from lossless.cluster.resources import ARGO_ROLLOUTS, REPLICA_SETS, Raw, Resource
from lossless.cluster.store import Store
from lossless.core.world import ByGroup, Group, Workload


@dataclass(frozen=True, slots=True)
class ArgoRolloutKind(OfReplicaSets):
    """See `lossless.cluster.workload.WorkloadKind`."""

    resource: Resource = ARGO_ROLLOUTS
    parts: tuple[Resource, ...] = (REPLICA_SETS,)

    def workload(self, store: Store, namespace: str, name: str) -> Workload | None:
        seen = store.argo_rollouts.named(namespace, name)
        return _workload(seen, list(store.replica_sets.where("owner", seen.uid))) if seen else None

    def spec(self, store: Store, namespace: str, name: str) -> Raw:
        """With the template of the Deployment that lends it one."""
        seen = store.argo_rollouts.named(namespace, name)
        if seen is None:
            return {}
        lender = _lender(store, seen)
        return {**seen.spec, "template": lender.spec.get("template")} if lender else seen.spec

    def selector(self, store: Store, namespace: str, name: str) -> str:
        seen = store.argo_rollouts.named(namespace, name)
        if seen is None:
            return ""
        lender = _lender(store, seen)
        return seen.selector or (lender.selector if lender else "")

    def is_stale(self, store: Store, namespace: str, name: str) -> bool:
        """Always: it does not say itself who has to go, its ReplicaSets do."""
        return True


KIND: Final = ArgoRolloutKind()


def _lender(store: Store, seen: SeenArgoRollout) -> SeenDeployment | None:
    return store.deployments.named(seen.namespace, seen.template_of) if seen.template_of else None


def rolling_limits(seen: SeenArgoRollout) -> tuple[int, int]:
    """How many pods more, and how many fewer, there may be than are wanted, by its own strategy; never both nothing.

    Blue-green has a whole set more. So may a canary whose traffic goes by weights.
    Source: utils/replicaset/replicaset.go, MaxSurge and MaxUnavailable.
    """
    if seen.blue_green:
        return max(1, seen.wanted), 0
    surge = resolve(seen.max_surge, seen.wanted, round_up=True)
    unavailable = min(resolve(seen.max_unavailable, seen.wanted, round_up=False), seen.wanted)
    if seen.routed:
        return max(1, seen.wanted), unavailable
    return (0, 1) if surge == 0 and unavailable == 0 else (surge, unavailable)


def _workload(seen: SeenArgoRollout, sets: list[SeenReplicaSet]) -> Workload:
    surge, unavailable = rolling_limits(seen)
    return Workload(
        kind="Rollout",
        name=seen.name,
        uid=seen.uid,
        wanted=seen.wanted,
        current_revision=seen.current,
        max_surge=surge,
        max_unavailable=unavailable,
        paused=seen.paused,
        settled_generation=seen.settled_generation and bool(seen.current),
        groups=tuple(_group(one, seen) for one in sets),
        rule=ByGroup(swaps=not seen.blue_green and not seen.routed),
    )


def _group(one: SeenReplicaSet, seen: SeenArgoRollout) -> Group:
    return Group(
        one.uid,
        one.name,
        one.pod_template_hash,
        one.keep,
        asked=one.asked,
        replicas=one.wanted,
        # Source: rollout/canary.go, reconcileCanaryReplicaSets.
        first=not seen.blue_green and one.pod_template_hash == seen.stable != seen.current,
    )
