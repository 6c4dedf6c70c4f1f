"""Argo Rollouts, from the store to what the core decides on."""

from __future__ import annotations

from typing import Any

import pytest

from lossless.api import names
from lossless.api.resource import LosslessRolloutStatus
from lossless.cluster import patches
from lossless.cluster.gather import Asked, gather
from lossless.cluster.interest import of_pod
from lossless.cluster.resources import ARGO_ROLLOUTS
from lossless.cluster.store import Store
from lossless.cluster.workload import kind_of
from lossless.core.steps import SetKeep
from lossless.core.world import ByGroup, Group, Workload, World
from tests.cluster import objects
from tests.cluster.objects import Raw

NS = objects.NAMESPACE
HASH = "rollouts-pod-template-hash"
STATUS = {"observedGeneration": "3", "currentPodHash": "2", "stableRS": "1"}


def argo(strategy: Raw | None = None, status: Raw | None = None, **spec: Any) -> Raw:
    made = objects.deployment(replicas=4, strategy={"canary": {}} if strategy is None else strategy, **spec)
    made["status"] = STATUS | (status or {})
    return made


def replica_set(name: str, size: int = 1, keep: str | None = None, asked: str | None = None, **status: Any) -> Raw:
    made = objects.replica_set(name, **status)
    made["metadata"]["ownerReferences"] = objects.owned_by("Rollout", "web")
    made["metadata"]["labels"] = {"app": "web", HASH: name.rsplit("-", 1)[-1]}
    made["metadata"]["labels"] |= {names.KEEP_LABEL: keep} if keep else {}
    made["metadata"]["annotations"] = {names.ASKED: asked} if asked else {}
    made["spec"]["replicas"] = size
    return made


def pod(name: str, of: str) -> Raw:
    labels = {"app": "web", HASH: of.rsplit("-", 1)[-1], names.ROLLOUT_LABEL: "web"}
    return objects.pod(name, of, metadata={"labels": labels})


def shop(owner: Raw | None, *sets: Raw, pods: tuple[Raw, ...] = ()) -> Store:
    store = Store()
    rollout = objects.rollout("web")
    rollout["spec"]["targetRef"] = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web"}
    store.rollouts.put(rollout)
    if owner:
        store.argo_rollouts.put(owner)
    for one in sets:
        store.replica_sets.put(one)
    for one in pods:
        store.pods.put(one)
    return store


def world(store: Store) -> World:
    rollout = store.rollouts.named(NS, "web")
    assert rollout
    return gather(store, rollout, LosslessRolloutStatus(), Asked()).world


def workload(store: Store) -> Workload:
    found = world(store).workload
    assert found
    return found


def test_its_replica_sets_say_how_many_and_its_status_which_is_current() -> None:
    seen = workload(shop(argo(), replica_set("web-1", 3), replica_set("web-2", 1)))
    assert (seen.kind, seen.wanted, seen.current_revision, seen.rule) == ("Rollout", 4, "2", ByGroup())
    assert seen.settled_generation
    assert {one.revision: (one.asked, one.replicas, one.first) for one in seen.groups} == {
        "1": (3, 3, True),
        "2": (1, 1, False),
    }


def test_what_is_held_up_has_been_asked_for_fewer() -> None:
    def asked(*sets: Raw) -> list[int | None]:
        return [one.asked for one in workload(shop(argo(), *sets)).groups]

    assert asked(replica_set("web-1", 4, keep="4", asked="1")) == [1]
    assert asked(replica_set("web-1", 4, asked="1")) == [4], "what is left of an old hold"
    assert asked(replica_set("web-1", 2, keep="2", asked="3")) == [2], "it has been lowered since"
    assert asked(replica_set("web-1", 4, keep="4", asked="-1")) == [4], "nothing that a controller says"


def test_only_the_stable_one_of_a_canary_under_way_is_seen_to_first() -> None:
    def first(owner: Raw) -> list[str]:
        return [
            one.revision
            for one in workload(shop(owner, replica_set("web-1"), replica_set("web-2"))).groups
            if one.first
        ]

    assert first(argo()) == ["1"]
    assert first(argo(status={"stableRS": "2"})) == []
    assert first(argo(status={"stableRS": ""})) == []
    assert first(argo({"blueGreen": {"activeService": "web"}})) == []


@pytest.mark.parametrize(
    ("strategy", "limits"),
    [
        ({"canary": {}}, (1, 1)),
        ({"canary": {"maxSurge": "50%", "maxUnavailable": 0}}, (2, 0)),
        ({"canary": {"maxSurge": 0, "maxUnavailable": 0}}, (0, 1)),
        ({"canary": {"maxSurge": 1, "maxUnavailable": 9}}, (1, 4)),
        ({"canary": {"trafficRouting": {"nginx": {}}, "maxUnavailable": 0}}, (4, 0)),
        ({"blueGreen": {"activeService": "web"}}, (4, 0)),
    ],
)
def test_its_limits_are_those_of_its_own_controller(strategy: Raw, limits: tuple[int, int]) -> None:
    seen = workload(shop(argo(strategy)))
    assert (seen.max_surge, seen.max_unavailable) == limits


@pytest.mark.parametrize(
    "status", [{"observedGeneration": "2"}, {"observedGeneration": "6fb9c"}, {"currentPodHash": ""}]
)
def test_nobody_can_tell_before_its_controller_has_seen_the_latest_spec(status: Raw) -> None:
    assert not workload(shop(argo(status=status))).settled_generation


def test_a_pod_is_of_the_rollout_of_its_replica_set_and_of_its_hash() -> None:
    store = shop(argo(), replica_set("web-1", replicas=1, readyReplicas=1), pods=(pod("a", "web-1"),))
    (seen,) = world(store).pods
    assert seen.revision == "1"
    found = store.pods.by_uid("uid-a")
    assert found
    assert of_pod(store, found) == {(NS, "web")}
    kind = kind_of(store.rollouts.named(NS, "web").target)  # type: ignore[union-attr]
    assert kind
    assert not kind.counts(store, workload(store), [found]).differ
    assert kind.counts(store, workload(store), []).some_are_unknown


def test_a_template_that_a_deployment_lends_is_read_there() -> None:
    lent = argo(workloadRef={"apiVersion": "apps/v1", "kind": "Deployment", "name": "lender"})
    del lent["spec"]["template"], lent["spec"]["selector"]
    store = shop(lent)
    kind = kind_of(store.rollouts.named(NS, "web").target)  # type: ignore[union-attr]
    assert kind
    assert kind.selector(store, NS, "web") == ""
    store.deployments.put(objects.deployment("lender"))
    assert kind.selector(store, NS, "web") == "app=web"
    assert kind.spec(store, NS, "web")["template"]["metadata"]["labels"] == {"app": "web"}


def test_where_the_kind_is_not_served_it_is_said() -> None:
    store = shop(None)
    problem = world(store).problem
    assert problem
    assert problem.reason == "TargetNotFound"
    store.unserved.add(ARGO_ROLLOUTS)
    problem = world(store).problem
    assert problem
    assert problem.reason == "TargetKindNotServed"


def test_what_the_hold_has_noted_goes_with_it() -> None:
    group = Group("uid", "web-1", "1")
    assert patches.keep(SetKeep(group, None), "7")["metadata"]["annotations"] == {names.ASKED: None}
    assert "annotations" not in patches.keep(SetKeep(group, 0), "7")["metadata"]
