"""The door in, on a real API server: who gets a gate, and who is left alone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.policies.bench import GATE, HASH, Bench, gates, owner, pod, replica, sleeps

OURS = "lossless.dev/admitted"
LABEL = "lossless.dev/rollout"


def slept(seconds: int) -> dict[str, Any]:
    return {"sleep": {"seconds": seconds}}


def test_every_pod_of_the_target_gets_the_gate_the_label_and_a_sleep(bench: Bench) -> None:
    bench.rollout()
    bench.deployment(replicas=2, terminationGracePeriodSeconds=30)
    for created in bench.pods():
        assert gates(created) == [OURS]
        assert created["metadata"]["labels"][LABEL] == "web"
        assert sleeps(created) == {"app": slept(5)}


def test_the_deployment_and_its_replicaset_stay_as_the_user_wrote_them(bench: Bench) -> None:
    bench.rollout()
    bench.deployment()
    for kind in ("deployment", "replicaset"):
        (found,) = bench.box.api.request("GET", f"/apis/apps/v1/namespaces/{bench.ns}/{kind}s")["items"]
        assert "lossless.dev" not in str({**found, "metadata": {**found["metadata"], "managedFields": None}})


def test_pods_of_another_deployment_are_left_alone(bench: Bench) -> None:
    bench.rollout(target="web")
    assert untouched(bench, replica("other"))
    assert untouched(bench, replica("web-2"))
    assert untouched(bench, replica("we"))


def test_bare_pods_are_left_alone(bench: Bench) -> None:
    bench.rollout()
    assert untouched(bench, pod())
    lookalike = pod(name="web")
    lookalike["metadata"]["labels"] = {"app": "web", "pod-template-hash": HASH}
    assert untouched(bench, lookalike)


def test_a_deployment_of_the_same_name_in_another_namespace_is_left_alone(bench: Bench, elsewhere: Bench) -> None:
    bench.rollout()
    assert untouched(elsewhere, replica("web"))


def test_a_pod_whose_owner_only_looks_like_the_target_is_left_alone(bench: Bench) -> None:
    bench.rollout()
    for false in (
        owner("ReplicaSet", f"web-{HASH}", controller=False),
        owner("ReplicaSet", f"web-{HASH}", api_version="other.example/v1"),
        owner("Job", f"web-{HASH}"),
        owner("ReplicaSet", "web-0000000000"),
        owner("ReplicaSet", "web"),
    ):
        made = replica()
        made["metadata"]["ownerReferences"] = [false]
        assert untouched(bench, made), false


def test_a_target_of_another_kind_leaves_the_deployment_of_that_name_alone(bench: Bench) -> None:
    bench.rollout(name="other", target="other")
    rollout(bench, {"name": "web", "kind": "StatefulSet"})
    rollout(bench, {"name": "web", "kind": "Deployment", "apiVersion": "other.example/v1"}, name="web-2")
    bench.rollout(name="marker", target="marker")
    assert untouched(bench, replica("web"))


def test_two_rollouts_in_a_namespace_each_have_their_own_pods(bench: Bench) -> None:
    bench.rollout("web", "web", drain={"settle": "3s"})
    bench.rollout("api", "api", drain={"settle": "7s"})
    for name, seconds in (("web", 3), ("api", 7)):
        created = bench.created(replica(name))
        assert gates(created) == [OURS]
        assert created["metadata"]["labels"][LABEL] == name
        assert sleeps(created) == {"app": slept(seconds)}


def test_two_rollouts_of_one_deployment_add_everything_once(bench: Bench) -> None:
    bench.rollout("first", "web")
    bench.rollout("second", "web")
    created = bench.created(replica(readinessGates=[{"conditionType": "example.com/other"}]))
    assert gates(created) == ["example.com/other", OURS]
    assert created["metadata"]["labels"][LABEL] in ("first", "second")
    assert sleeps(created) == {"app": slept(5)}


def test_what_the_pod_template_says_itself_stays(bench: Bench) -> None:
    bench.rollout()
    own = {"exec": {"command": ["sleep", "1"]}}
    started = {"exec": {"command": ["true"]}}
    containers = [
        {"name": "plain", "image": "app"},
        {"name": "hooked", "image": "app", "lifecycle": {"preStop": own}},
        {"name": "started", "image": "app", "lifecycle": {"postStart": started}},
    ]
    created = bench.created(replica(readinessGates=[{"conditionType": "example.com/other"}], containers=containers))
    assert gates(created) == ["example.com/other", OURS]
    assert sleeps(created) == {"plain": slept(5), "hooked": own, "started": slept(5)}
    assert created["spec"]["containers"][2]["lifecycle"]["postStart"] == started
    assert gates(bench.created(replica(readinessGates=[GATE]))) == [OURS]


@pytest.mark.parametrize(
    ("settle", "seconds"), [("0s", 1), ("1ms", 1), ("1s", 1), ("1001ms", 2), ("1.5s", 2), ("5s", 5), ("1m30s", 90)]
)
def test_the_sleep_is_the_settle_in_whole_seconds(bench: Bench, settle: str, seconds: int) -> None:
    bench.rollout(drain={"settle": settle})
    assert sleeps(bench.created(replica(terminationGracePeriodSeconds=600))) == {"app": slept(seconds)}


@pytest.mark.parametrize(("grace", "fits"), [(0, False), (1, False), (5, False), (6, False), (7, True), (30, True)])
def test_a_sleep_that_leaves_the_app_less_than_two_seconds_is_not_put_in(bench: Bench, grace: int, fits: bool) -> None:
    bench.rollout(drain={"settle": "5s"})
    created = bench.created(replica(terminationGracePeriodSeconds=grace))
    assert sleeps(created) == ({"app": slept(5)} if fits else {})
    assert gates(created) == [OURS]


def test_a_pod_with_no_grace_period_of_its_own_has_the_default_of_30_seconds(bench: Bench) -> None:
    bench.rollout(drain={"settle": "28s"})
    assert sleeps(bench.created(replica())) == {"app": slept(28)}
    bench.kubectl("patch", "lr", "web", "--type=merge", "-p", '{"spec": {"drain": {"settle": "29s"}}}')
    bench.tell_policies()
    bench.until(lambda: sleeps(bench.created(replica())) == {}, "29 s no longer fit")


def test_in_observe_nothing_is_touched(bench: Bench) -> None:
    bench.rollout()
    bench.kubectl("patch", "lr", "web", "--type=merge", "-p", '{"spec": {"mode": "Observe"}}')
    bench.tell_policies()
    bench.until_forgotten()
    assert untouched(bench, replica())


def test_a_rollout_that_is_being_deleted_lets_new_pods_through_untouched(bench: Bench) -> None:
    bench.rollout()
    bench.kubectl("patch", "lr", "web", "--type=merge", "-p", '{"metadata": {"finalizers": ["example.com/stuck"]}}')
    bench.kubectl("delete", "lr", "web", "--wait=false")
    bench.tell_policies()
    bench.until_forgotten()
    assert untouched(bench, replica())
    bench.kubectl("patch", "lr", "web", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')


def test_the_longest_names_fit(bench: Bench) -> None:
    name, target = "r" * 63, "d" * 200
    bench.rollout(name, target)
    assert bench.created(replica(target))["metadata"]["labels"][LABEL] == name


def rollout(bench: Bench, target: dict[str, str], name: str = "web") -> None:
    bench.box.apply(
        {
            "apiVersion": "lossless.dev/v1alpha1",
            "kind": "LosslessRollout",
            "metadata": {"name": name, "namespace": bench.ns},
            "spec": {"targetRef": target},
        }
    )


def untouched(bench: Bench, made: dict[str, Any]) -> bool:
    created = bench.created(made)
    return not gates(created) and LABEL not in created["metadata"].get("labels", {}) and not sleeps(created)
