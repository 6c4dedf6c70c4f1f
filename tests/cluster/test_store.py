"""What is known never goes back in time, and is found by what a decision asks for."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from lossless.cluster.gateway import Listing
from lossless.cluster.interest import concerned
from lossless.cluster.store import Store, version_of
from tests.cluster import objects

Raw = dict[str, Any]


def at(raw: Raw, version: int, **status: Any) -> Raw:
    """The same object in another version."""
    changed = deepcopy(raw)
    changed["metadata"]["resourceVersion"] = str(version)
    changed.setdefault("status", {}).update(status)
    return changed


def everything(_: object) -> bool:
    return True


def test_an_older_version_never_overwrites_a_newer_one() -> None:
    store, pod = Store(), objects.pod("a")
    store.pods.put(at(pod, 1000, phase="Running"))
    assert store.pods.put(at(pod, 999, phase="Pending")) is None
    seen = store.pods.by_uid("uid-a")
    assert seen is not None
    assert seen.core.phase == "Running"


def test_versions_are_compared_as_numbers() -> None:
    store, pod = Store(), objects.pod("a")
    store.pods.put(at(pod, 999, phase="Pending"))
    assert store.pods.put(at(pod, 1000, phase="Running")) is not None


def test_what_means_nothing_to_us_is_no_change_but_the_version_is_kept() -> None:
    store, pod = Store(), objects.pod("a")
    store.pods.put(at(pod, 1000))
    assert store.pods.put(at(pod, 1001, qosClass="Burstable")) is None
    assert store.pods.version("uid-a") == "1001"


def test_what_is_gone_stays_gone_when_older_news_comes_late() -> None:
    store, pod = Store(), objects.pod("a")
    store.pods.put(at(pod, 1000))
    change = store.pods.remove("uid-a", 1005)
    assert change is not None
    assert change.after is None
    assert store.pods.put(at(pod, 1004)) is None
    assert store.pods.by_uid("uid-a") is None


def test_a_pod_that_lost_its_label_is_told_as_deleted_and_found_again_by_a_list() -> None:
    """The watch's selector makes the API server say DELETED, at the very version in which the label went."""
    store, pod = Store(), objects.pod("a")
    store.pods.put(at(pod, 1000))
    store.pods.remove("uid-a", 1001)
    unlabelled = at(objects.pod("a", rollout=None), 1001)
    store.pods.replace(Listing((unlabelled,), "1002"), everything)
    assert store.pods.by_uid("uid-a") is not None


def test_a_list_makes_vanish_what_it_does_not_have() -> None:
    store = Store()
    store.pods.put(at(objects.pod("a"), 1000))
    store.pods.put(at(objects.pod("b"), 1001))
    changes = store.pods.replace(Listing((at(objects.pod("b"), 1001),), "1010"), everything)
    assert [change.before.name for change in changes if change.before] == ["a"]
    assert [pod.name for pod in store.pods] == ["b"]


def test_a_list_makes_vanish_nothing_but_what_it_was_looked_for_among() -> None:
    store = Store()
    store.pods.put(at(objects.pod("ours", "web-1"), 1000))
    store.pods.put(at(objects.pod("theirs", "api-1"), 1001))
    [ours] = [pod for pod in store.pods if pod.name == "ours"]
    store.pods.replace(Listing((), "1010"), everything, store.pods.uids("owner", ours.core.group))
    assert [pod.name for pod in store.pods] == ["theirs"]


def test_a_list_says_nothing_of_what_is_newer_than_itself() -> None:
    store = Store()
    store.pods.put(at(objects.pod("young"), 1011))
    store.pods.replace(Listing((), "1010"), everything)
    assert store.pods.by_uid("uid-young") is not None


def test_a_list_says_nothing_of_what_it_does_not_concern() -> None:
    store = Store()
    store.pods.put(at(objects.pod("elsewhere"), 1000))
    store.pods.replace(Listing((), "1010"), lambda pod: pod.namespace == "another")
    assert store.pods.by_uid("uid-elsewhere") is not None


def test_a_name_leads_to_the_younger_of_two_objects_whatever_the_order_they_are_told_in() -> None:
    store = Store()
    old, new = objects.rollout("web"), objects.rollout("web")
    old["metadata"].update(uid="old", resourceVersion="1000")
    new["metadata"].update(uid="new", resourceVersion="1005")
    store.rollouts.put(new)
    store.rollouts.put(old)
    seen = store.rollouts.named(objects.NAMESPACE, "web")
    assert seen is not None
    assert seen.uid == "new"
    store.rollouts.remove("old", 1003)
    assert store.rollouts.named(objects.NAMESPACE, "web") == seen


def test_an_index_follows_a_pod_that_changes_hands() -> None:
    store, pod = Store(), objects.pod("a", rollout="first")
    store.pods.put(at(pod, 1000))
    moved = at(objects.pod("a", rollout="second"), 1001)
    store.pods.put(moved)
    assert not list(store.pods.where("rollout", (objects.NAMESPACE, "first")))
    assert [one.name for one in store.pods.where("rollout", (objects.NAMESPACE, "second"))] == ["a"]
    store.pods.remove("uid-a", 1002)
    assert not list(store.pods.where("rollout", (objects.NAMESPACE, "second")))


# -- whom a change concerns --------------------------------------------------------------------------------------------


def shop() -> Store:
    store = Store()
    for table, raw in (
        (store.rollouts, objects.rollout("web")),
        (store.rollouts, objects.rollout("other", target="other")),
        (store.deployments, objects.deployment("web")),
        (store.replica_sets, objects.replica_set("web-1")),
        (store.pods, objects.pod("a", ip="10.0.0.1")),
        (store.pods, objects.pod("b", ip="10.0.0.2")),
    ):
        table.put(raw)
    return store


WEB, OTHER = (objects.NAMESPACE, "web"), (objects.NAMESPACE, "other")


def test_a_pod_concerns_the_one_that_targets_its_workload() -> None:
    store = shop()
    change = store.pods.put(objects.pod("c"))
    assert change is not None
    assert concerned(change, store) == {WEB}


def test_a_pod_labelled_by_one_that_is_gone_concerns_that_one_so_that_it_is_let_go() -> None:
    store = shop()
    change = store.pods.put(objects.pod("c", replica_set="lost-1", rollout="gone"))
    assert change is not None
    assert concerned(change, store) == {(objects.NAMESPACE, "gone")}


def test_of_a_slice_only_the_pods_whose_entry_changed_are_concerned() -> None:
    store = shop()
    a, b = objects.endpoint("a", "10.0.0.1", ready=True), objects.endpoint("b", "10.0.0.2", ready=True)
    store.slices.put(objects.endpoint_slice("s", "web", a))
    stranger = objects.endpoint("nobody-of-ours", "10.9.9.9", ready=True)
    change = store.slices.put(objects.endpoint_slice("s", "web", a, stranger))
    assert change is not None
    assert concerned(change, store) == set()
    change = store.slices.put(objects.endpoint_slice("s", "web", a, stranger, b))
    assert change is not None
    assert concerned(change, store) == {WEB}


def test_an_endpoint_without_a_pod_is_known_by_its_address() -> None:
    store = shop()
    change = store.slices.put(objects.endpoint_slice("s", None, objects.endpoint(None, "10.0.0.2", ready=True)))
    assert change is not None
    assert concerned(change, store) == {WEB}


def test_a_rival_concerns_all_that_name_the_same_workload() -> None:
    store = shop()
    change = store.rollouts.put(objects.rollout("rival"))
    assert change is not None
    assert concerned(change, store) == {WEB, (objects.NAMESPACE, "rival")}


def test_our_own_status_concerns_nobody() -> None:
    store = shop()
    seen = store.rollouts.named(*WEB)
    assert seen is not None
    raw = objects.rollout("web")
    raw["status"] = {"phase": "Ready"}
    assert version_of(raw) > int(store.rollouts.version(seen.uid))
    assert store.rollouts.put(raw) is None
    after = store.rollouts.named(*WEB)
    assert after is not None
    assert after.status.phase == "Ready"


def test_a_node_concerns_those_with_pods_on_it() -> None:
    store = shop()
    node = {"metadata": {"name": "node-1", "uid": "uid-n", "resourceVersion": "5000"}, "spec": {}}
    store.nodes.put(node)
    cordoned = {"metadata": {**node["metadata"], "resourceVersion": "5001"}, "spec": {"unschedulable": True}}
    change = store.nodes.put(cordoned)
    assert change is not None
    assert concerned(change, store) == {WEB}
