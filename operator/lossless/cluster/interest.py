"""Whom a change concerns: from what was seen to the LosslessRollouts that have to think again."""

from collections.abc import Iterable
from typing import Any

from lossless.cluster.budgets import SeenBudget
from lossless.cluster.observed import (
    Owner,
    SeenAutoscaler,
    SeenDeployment,
    SeenNode,
    SeenPod,
    SeenReplicaSet,
    SeenRollout,
)
from lossless.cluster.observed_argo import SeenArgoRollout
from lossless.cluster.observed_sets import SeenControllerRevision, SeenDaemonSet, SeenStatefulSet
from lossless.cluster.store import Change, Store
from lossless.traffic.services import EndpointSlice, Service

Key = tuple[str, str]
"""Namespace and name of a LosslessRollout."""


def concerned(change: Change[Any], store: Store) -> set[Key]:
    """The keys to look at after a change. What only changed in ways that mean nothing to us never comes here."""
    keys: set[Key] = set()
    for seen in change.seen:
        match seen:
            case SeenRollout():
                keys.add(seen.key)
                # Of several that name one workload the oldest has it: all of them have to look again.
                keys |= _of_target(store, seen.namespace, seen.target.kind, seen.target.name)
            case SeenDeployment():
                keys |= _of_target(store, seen.namespace, "Deployment", seen.name)
            case SeenStatefulSet():
                keys |= _of_target(store, seen.namespace, "StatefulSet", seen.name)
            case SeenDaemonSet():
                keys |= _of_target(store, seen.namespace, "DaemonSet", seen.name)
            case SeenArgoRollout():
                keys |= _of_target(store, seen.namespace, "Rollout", seen.name)
            case SeenReplicaSet() | SeenControllerRevision():
                keys |= _of_owner(store, seen.namespace, seen.owner)
            case SeenPod():
                keys |= of_pod(store, seen)
            case SeenNode():
                keys |= {key for pod in store.pods.where("node", seen.name) for key in of_pod(store, pod)}
            case SeenAutoscaler():
                keys |= _of_target(store, *seen.target)
                if seen.rollout:
                    keys.add((seen.namespace, seen.rollout))
            case Service() | SeenBudget():
                keys |= {one.key for one in store.rollouts.where("namespace", seen.namespace)}
            case _:
                pass
    if isinstance(change.before, EndpointSlice) or isinstance(change.after, EndpointSlice):
        keys |= _of_slices(store, change.before, change.after)
    return keys


def of_pod(store: Store, pod: SeenPod) -> set[Key]:
    """Those who take care of a pod: by its owner's workload, and by our label, which may name one that is gone."""
    keys = {(pod.namespace, pod.rollout)} if pod.rollout else set()
    return keys | _of_owner(store, pod.namespace, workload_of(store, pod))


def workload_of(store: Store, pod: SeenPod) -> Owner | None:
    """Whose pod it is: the owner of its ReplicaSet, or its own."""
    replica_set = store.replica_sets.by_uid(pod.owner.uid) if pod.owner else None
    return replica_set.owner if replica_set else pod.owner


def _of_owner(store: Store, namespace: str, owner: Owner | None) -> set[Key]:
    return _of_target(store, namespace, owner.kind, owner.name) if owner else set()


def _of_target(store: Store, namespace: str, kind: str, name: str) -> set[Key]:
    return {one.key for one in store.rollouts.where("target", (namespace, kind, name))}


def _of_slices(store: Store, before: EndpointSlice | None, after: EndpointSlice | None) -> set[Key]:
    """Those of the pods whose entry is not what it was: a slice has up to 1,000 entries of which one changes."""
    entries = set(before.endpoints if before else ()) ^ set(after.endpoints if after else ())
    keys: set[Key] = set()
    for entry in entries:
        pods: Iterable[SeenPod | None] = (
            (store.pods.by_uid(entry.pod),)
            if entry.pod
            else (pod for address in entry.addresses for pod in store.pods.where("address", address))
        )
        keys |= {key for pod in pods if pod for key in of_pod(store, pod)}
    return keys
