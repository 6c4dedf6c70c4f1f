"""From the store to the world that the core decides on."""

from __future__ import annotations

from lossless.api import names
from lossless.api.resource import LosslessRolloutStatus
from lossless.cluster.gather import Asked, gather, left_behind
from lossless.cluster.observed import SeenRollout
from lossless.cluster.store import Store
from lossless.core.world import Presence, World
from tests.cluster import objects

NS = objects.NAMESPACE


def shop() -> Store:
    """A LosslessRollout, its Deployment with two revisions, and a pod of each."""
    store = Store()
    store.rollouts.put(objects.rollout("web"))
    store.deployments.put(objects.deployment("web", revision=2))
    store.replica_sets.put(objects.replica_set("web-1", revision=1))
    store.replica_sets.put(objects.replica_set("web-2", revision=2))
    store.pods.put(objects.pod("old", "web-1", ip="10.0.0.1"))
    store.pods.put(objects.pod("new", "web-2", ip="10.0.0.2"))
    return store


def rollout_of(store: Store, name: str = "web") -> SeenRollout:
    seen = store.rollouts.named(NS, name)
    assert seen is not None
    return seen


def world(store: Store, name: str = "web") -> World:
    return gather(store, rollout_of(store, name), LosslessRolloutStatus(), Asked()).world


def test_the_current_revision_is_that_of_the_newest_replica_set() -> None:
    workload = world(shop()).workload
    assert workload is not None
    assert workload.current_revision == "2"
    assert workload.settled_generation
    assert {group.name for group in workload.groups} == {"web-1", "web-2"}


def test_until_the_replica_set_of_its_revision_is_known_nobody_can_tell_which_is_current() -> None:
    store = shop()
    store.deployments.put(objects.deployment("web", revision=3))
    workload = world(store).workload
    assert workload is not None
    assert not workload.settled_generation


def test_a_new_template_tells_of_a_release_before_its_replica_set_is_there() -> None:
    store = shop()
    current = objects.replica_set("web-2", revision=2)
    current["spec"]["template"] = objects.deployment()["spec"]["template"]
    store.replica_sets.put(current)
    released, scaled = objects.deployment("web", revision=2), objects.deployment("web", revision=2, replicas=5)
    released["spec"]["template"]["spec"]["containers"][0]["image"] = "new"
    found = []
    for changed in (released, scaled):
        changed["metadata"]["generation"] += 1
        store.deployments.put(changed)
        workload = world(store).workload
        assert workload is not None
        assert not workload.settled_generation
        found.append(workload.releases_next)
    assert found == [True, False]


def test_with_recreate_an_old_replica_set_is_not_taken_for_one_that_is_yet_to_be_made() -> None:
    store = shop()
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": "new"}]}}
    store.deployments.put(objects.deployment("web", revision=2, strategy={"type": "Recreate"}, template=template))
    workload = world(store).workload
    assert workload is not None
    assert workload.settled_generation
    assert workload.current_revision == ""


def test_a_replica_set_of_a_deployment_of_the_same_name_but_gone_does_not_belong() -> None:
    store = shop()
    ghost = objects.replica_set("web-9", revision=9)
    ghost["metadata"]["ownerReferences"][0]["uid"] = "uid-of-the-deployment-before"
    store.replica_sets.put(ghost)
    workload = world(store).workload
    assert workload is not None
    assert workload.current_revision == "2"


def test_pods_are_known_by_their_owner_and_managed_by_our_own_label_only() -> None:
    store = shop()
    store.pods.put(objects.pod("rivals", "web-2", rollout="rival"))
    store.pods.put(objects.pod("bare", "web-2", rollout=None))
    store.pods.put(objects.pod("labelled-stranger", "elsewhere-1"))
    managed = {pod.name: pod.managed for pod in world(store).pods}
    assert managed == {"old": True, "new": True, "rivals": False, "bare": False}


def test_each_pod_knows_its_version_and_whether_its_node_is_cordoned() -> None:
    store = shop()
    store.nodes.put(
        {"metadata": {"name": "node-1", "uid": "n", "resourceVersion": "1"}, "spec": {"unschedulable": True}}
    )
    pod = world(store).pods[0]
    assert pod.cordoned
    assert pod.resource_version == store.pods.version(pod.uid)


def test_what_a_service_lists_is_seen_of_each_pod() -> None:
    store = shop()
    store.services.put(objects.service("web"))
    store.slices.put(objects.endpoint_slice("web-x", "web", objects.endpoint("new", "10.0.0.2", ready=True)))
    presence = {pod.name: [sighting.presence for sighting in pod.sightings] for pod in world(store).pods}
    assert presence == {"old": [Presence.ABSENT], "new": [Presence.PRESENT]}


def test_a_slice_of_no_service_that_lists_a_pod_is_found_as_well() -> None:
    store = shop()
    store.slices.put(objects.endpoint_slice("by-hand", None, objects.endpoint(None, "10.0.0.1", ready=True)))
    seen = {pod.name: pod.sightings for pod in world(store).pods}
    assert [sighting.source for sighting in seen["old"]] == ["EndpointSlice by-hand"]
    assert seen["new"] == ()


# -- targets that can't be taken care of -------------------------------------------------------------------------------


def test_of_two_that_name_one_workload_the_older_has_it() -> None:
    store = shop()
    store.rollouts.put(objects.rollout("a-younger-one", created="2026-01-02T00:00:00Z"))
    problem = world(store, "a-younger-one").problem
    assert problem is not None
    assert problem.reason == "AlreadyTaken"
    assert "LosslessRollout web " in problem.message
    assert world(store).problem is None


def test_of_two_of_the_same_second_the_first_by_name_has_it() -> None:
    store = shop()
    store.rollouts.put(objects.rollout("a"))
    assert world(store, "a").problem is None
    assert world(store, "web").problem is not None


def test_one_that_is_being_deleted_has_nothing_any_more() -> None:
    store = shop()
    going = objects.rollout("a", created="2025-01-01T00:00:00Z")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    store.rollouts.put(going)
    assert world(store, "web").problem is None


def test_a_missing_target_an_unknown_kind_and_an_unreadable_spec_say_so() -> None:
    store = shop()
    store.rollouts.put(objects.rollout("missing", target="nothing"))
    other = objects.rollout("other")
    other["spec"]["targetRef"]["kind"] = "CronJob"
    store.rollouts.put(other)
    broken = objects.rollout("broken", target="another")
    broken["spec"]["drain"] = {"timeout": "never"}
    store.rollouts.put(broken)
    reasons = {
        name: problem.reason for name in ("missing", "other", "broken") if (problem := world(store, name).problem)
    }
    assert reasons == {"missing": "TargetNotFound", "other": "UnsupportedKind", "broken": "InvalidSpec"}
    unsupported = world(store, "other").problem
    assert unsupported is not None
    assert "Deployment" in unsupported.message


# -- what is left behind -----------------------------------------------------------------------------------------------


def held(store: Store, name: str = "web-2", deployment: str = "web") -> None:
    raw = objects.replica_set(name, deployment, revision=2)
    raw["metadata"]["labels"][names.KEEP_LABEL] = "2"
    store.replica_sets.put(raw)


def test_what_a_deleted_one_took_care_of_is_left_behind() -> None:
    store = shop()
    held(store)
    store.rollouts.remove("uid-web", 10**6)
    pods, groups = left_behind(store, NS, "web")
    assert {pod.name for pod in pods} == {"old", "new"}
    assert [group.name for group in groups] == ["web-2"]


def test_what_another_one_takes_care_of_is_not() -> None:
    store = shop()
    held(store)
    store.rollouts.put(objects.rollout("heir"))
    store.rollouts.remove("uid-web", 10**6)
    assert left_behind(store, NS, "web") == ((), ())


def test_what_one_can_not_take_care_of_although_it_is_there_is_left_behind_as_well() -> None:
    store = shop()
    pods, _ = left_behind(store, NS, "web", besides=rollout_of(store))
    assert {pod.name for pod in pods} == {"old", "new"}
