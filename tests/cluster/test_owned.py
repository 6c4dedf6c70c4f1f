"""StatefulSets and DaemonSets, from the store to what the core decides on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from lossless.api.resource import LosslessRolloutStatus
from lossless.cluster.gather import Asked, gather, left_behind
from lossless.cluster.interest import of_pod
from lossless.cluster.resources import DAEMON_SETS, STATEFUL_SETS
from lossless.cluster.store import Store
from lossless.cluster.workload import kind_of
from lossless.core.world import ByNode, ByOrdinal, Workload
from tests.cluster import objects
from tests.cluster.objects import Raw

NS = objects.NAMESPACE
TEMPLATE: Raw = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app"}]}}
SELECTOR = {"matchLabels": {"app": "web"}}


def stateful_set(status: Raw | None = None, **spec: Any) -> Raw:
    plain = {"replicas": 3, "selector": SELECTOR, "template": TEMPLATE, "podManagementPolicy": "OrderedReady"}
    said = {"observedGeneration": 3, "updateRevision": "web-2", "replicas": 1, "readyReplicas": 1}
    return {"metadata": objects.metadata("web", generation=3), "spec": plain | spec, "status": said | (status or {})}


def daemon_set(status: Raw | None = None, **spec: Any) -> Raw:
    plain = {"selector": SELECTOR, "template": TEMPLATE}
    said = {"observedGeneration": 3, "desiredNumberScheduled": 4, "currentNumberScheduled": 1, "numberReady": 1}
    return {"metadata": objects.metadata("web", generation=3), "spec": plain | spec, "status": said | (status or {})}


def revision(name: str, number: int, template: Raw) -> Raw:
    labels = {"app": "web", "controller-revision-hash": name}
    return {
        "metadata": objects.metadata(
            f"web-{name}", labels=labels, ownerReferences=objects.owned_by("DaemonSet", "web")
        ),
        "data": {"spec": {"template": {"$patch": "replace", **template}}},
        "revision": number,
    }


def owned_pod(name: str, kind: str, revision: str = "web-2", **fields: Any) -> Raw:
    labels = {"app": "web", "controller-revision-hash": revision, "lossless.dev/rollout": "web"}
    return objects.pod(name, metadata={"labels": labels, "ownerReferences": objects.owned_by(kind, "web")}, **fields)


def shop(kind: str, owner: Raw, *pods: Raw) -> Store:
    store = Store()
    rollout = objects.rollout("web")
    rollout["spec"]["targetRef"] = {"apiVersion": "apps/v1", "kind": kind, "name": "web"}
    store.rollouts.put(rollout)
    store.table(STATEFUL_SETS if kind == "StatefulSet" else DAEMON_SETS).put(owner)
    for pod in pods:
        store.pods.put(pod)
    return store


def workload(store: Store) -> Workload:
    rollout = store.rollouts.named(NS, "web")
    assert rollout
    found = gather(store, rollout, LosslessRolloutStatus(), Asked()).world.workload
    assert found
    return found


def known(store: Store, seen: Workload) -> bool:
    """Whether its controller counts the pods that we know."""
    rollout = store.rollouts.named(NS, "web")
    kind = kind_of(rollout.target) if rollout else None
    assert kind
    return not kind.counts(store, seen, list(kind.pods(store, seen))).differ


class TestStatefulSet:
    def test_it_is_read_as_its_controller_reads_it(self) -> None:
        seen = workload(shop("StatefulSet", stateful_set()))
        assert (seen.kind, seen.wanted, seen.current_revision, seen.settled_generation) == (
            "StatefulSet",
            3,
            "web-2",
            True,
        )
        assert (seen.max_surge, seen.max_unavailable, seen.groups) == (0, 1, ())
        assert seen.rule == ByOrdinal()

    def test_its_strategy_is_its_rule(self) -> None:
        def rule(**spec: Any) -> object:
            return workload(shop("StatefulSet", stateful_set(**spec))).rule

        assert rule(updateStrategy={"type": "OnDelete"}) == ByOrdinal(replaces=False)
        assert rule(podManagementPolicy="Parallel") == ByOrdinal(ordered=False)
        assert rule(minReadySeconds=9) == ByOrdinal(min_ready=timedelta(seconds=9))
        assert rule(ordinals={"start": 5}) == ByOrdinal(start=5)
        assert rule(updateStrategy={"rollingUpdate": {"partition": 2}}) == ByOrdinal(partition=2)
        assert rule(updateStrategy={"rollingUpdate": {"maxUnavailable": 1}}) == ByOrdinal(counts_unavailable=True)

    @pytest.mark.parametrize(
        ("asked", "policy", "most"), [(2, "Parallel", 2), ("10%", "Parallel", 1), (2, "OrderedReady", 1)]
    )
    def test_in_order_one_goes_at_a_time_whatever_is_asked(self, asked: int | str, policy: str, most: int) -> None:
        strategy = {"rollingUpdate": {"maxUnavailable": asked}}
        seen = workload(shop("StatefulSet", stateful_set(podManagementPolicy=policy, updateStrategy=strategy)))
        assert seen.max_unavailable == most

    def test_until_its_controller_has_seen_it_nobody_can_tell_which_revision_is_current(self) -> None:
        assert not workload(shop("StatefulSet", stateful_set({"observedGeneration": 2}))).settled_generation

    def test_its_pods_are_those_that_it_owns(self) -> None:
        store = shop("StatefulSet", stateful_set(), owned_pod("web-0", "StatefulSet"), objects.pod("other"))
        rollout = store.rollouts.named(NS, "web")
        assert rollout
        (pod,) = gather(store, rollout, LosslessRolloutStatus(), Asked()).world.pods
        assert (pod.name, pod.revision, pod.managed) == ("web-0", "web-2", True)
        seen = store.pods.named(NS, "web-0")
        assert seen
        assert of_pod(store, seen) == {(NS, "web")}

    def test_its_controller_counts_pods_to_their_end(self) -> None:
        ending = owned_pod("web-1", "StatefulSet")
        ending["metadata"]["deletionTimestamp"] = "2026-01-01T12:01:00Z"
        store = shop("StatefulSet", stateful_set(), owned_pod("web-0", "StatefulSet"))
        assert known(store, workload(store))
        store.pods.put(ending)
        assert not known(store, workload(store))
        store.stateful_sets.put(stateful_set({"replicas": 2, "readyReplicas": 2}))
        assert known(store, workload(store))

    def test_what_it_owns_is_not_left_behind_by_another(self) -> None:
        store = shop("StatefulSet", stateful_set(), owned_pod("web-0", "StatefulSet"))
        assert left_behind(store, NS, "web") == ((), ())
        rollout = store.rollouts.named(NS, "web")
        assert [pod.name for pod in left_behind(store, NS, "web", besides=rollout)[0]] == ["web-0"]


class TestDaemonSet:
    def shop(self, *pods: Raw, status: Raw | None = None, **spec: Any) -> Store:
        store = shop("DaemonSet", daemon_set(status, **spec), *pods)
        older = {**TEMPLATE, "spec": {"containers": [{"name": "older"}]}}
        store.controller_revisions.put(revision("aaa", 1, older))
        store.controller_revisions.put(revision("bbb", 2, TEMPLATE))
        return store

    def test_its_current_revision_is_the_one_made_from_its_template(self) -> None:
        store = self.shop()
        assert workload(store).current_revision == "bbb"
        kind = kind_of(store.rollouts.named(NS, "web").target)  # type: ignore[union-attr]
        assert kind
        assert not kind.is_stale(store, NS, "web")
        back = {**TEMPLATE, "spec": {"containers": [{"name": "older", "image": None}]}}
        store.daemon_sets.put(daemon_set(template=back))
        assert workload(store).current_revision == "aaa", "an undo whose revision is not numbered anew yet"
        store.daemon_sets.put(daemon_set(template={"spec": {"containers": [{"name": "newest"}]}}))
        assert kind.is_stale(store, NS, "web")

    def test_without_any_revision_nobody_can_tell(self) -> None:
        assert not workload(shop("DaemonSet", daemon_set())).settled_generation

    @pytest.mark.parametrize(
        ("rolling", "limits"),
        [
            ({}, (0, 1)),
            ({"maxUnavailable": 2, "maxSurge": 0}, (0, 2)),
            ({"maxUnavailable": "30%"}, (0, 2)),
            ({"maxUnavailable": 0, "maxSurge": "30%"}, (2, 0)),
        ],
    )
    def test_its_limits_are_rounded_up(self, rolling: Raw, limits: tuple[int, int]) -> None:
        seen = workload(self.shop(updateStrategy={"type": "RollingUpdate", "rollingUpdate": rolling}))
        assert (seen.max_surge, seen.max_unavailable) == limits
        assert seen.rule == ByNode(surges=limits[0] > 0)

    def test_on_delete_it_replaces_nobody(self) -> None:
        assert workload(self.shop(updateStrategy={"type": "OnDelete"})).rule == ByNode(replaces=False)

    def test_nodes_on_which_its_pods_may_not_stay(self) -> None:
        pods = owned_pod("web-a", "DaemonSet"), owned_pod("web-b", "DaemonSet", spec={"nodeName": "node-2"})
        template = {**TEMPLATE, "spec": {**TEMPLATE["spec"], "nodeSelector": {"web": "yes"}}}
        store = self.shop(*pods, template=template)
        store.nodes.put({"metadata": {"name": "node-1", "uid": "1", "labels": {"web": "yes"}}})
        assert workload(store).rule == ByNode(), "of a node that is not known nothing is said"
        store.nodes.put({"metadata": {"name": "node-2", "uid": "2", "labels": {}}})
        assert workload(store).rule == ByNode(unwanted=frozenset({"node-2"}))

    def test_its_controller_counts_nodes_and_of_each_the_oldest_pod(self) -> None:
        store = self.shop(owned_pod("web-a", "DaemonSet"))
        assert known(store, workload(store))
        store.pods.put(owned_pod("web-b", "DaemonSet"))
        assert known(store, workload(store)), "a second one on the same node"
        store.daemon_sets.put(daemon_set({"currentNumberScheduled": 2}))
        assert not known(store, workload(store))
