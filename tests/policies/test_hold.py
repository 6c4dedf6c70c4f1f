"""The hold, on a real API server and a real Deployment controller."""

from __future__ import annotations

import pytest

from tests.policies.bench import DEPLOYMENT_CONTROLLER, Bench


@pytest.fixture
def held(bench: Bench) -> str:
    """The ReplicaSet of a Deployment with 4 pods, none of them drained."""
    bench.rollout()
    bench.deployment(replicas=4)
    (replicaset,) = bench.replicasets()
    name: str = replicaset["metadata"]["name"]
    bench.keep(name, "4")
    bench.until(lambda: asked_for(bench, name, 1) == 4, "the hold is there")
    return name


def asked_for(bench: Bench, replicaset: str, replicas: int, user: str = DEPLOYMENT_CONTROLLER) -> int:
    """The replicas that come out when that user asks for so many (a dry run)."""
    patch = f'{{"spec": {{"replicas": {replicas}}}}}'
    who = () if user == "admin" else ("--as", user)
    shown = ("-o", "jsonpath={.spec.replicas}")
    return int(bench.kubectl("patch", "rs", replicaset, "--dry-run=server", "-p", patch, *who, *shown))


def replicas(bench: Bench) -> int:
    (replicaset,) = bench.replicasets()
    return int(replicaset["spec"]["replicas"])


def wanted(bench: Bench) -> str | None:
    """For which size of the Deployment this ReplicaSet was scaled, as its controller notes; None once it was held."""
    (replicaset,) = bench.replicasets()
    noted: str | None = replicaset["metadata"]["annotations"].get("deployment.kubernetes.io/desired-replicas")
    return noted


def test_a_scale_in_goes_as_far_as_pods_are_drained_and_no_further(bench: Bench, held: str) -> None:
    bench.scale(1)
    bench.until(lambda: wanted(bench) is None, "the controller has tried")
    for keep in (4, 3, 2, 1):
        bench.keep(held, str(keep))
        bench.until(lambda keep=keep: replicas(bench) == keep, f"the ReplicaSet is lowered to {keep}")
        bench.until_pods(keep)
    assert bench.events("FailedDelete") == []


def test_scaled_in_and_out_again_while_held_a_deployment_still_takes_part_in_later_releases(
    bench: Bench, held: str
) -> None:
    bench.scale(1)
    bench.until(lambda: wanted(bench) is None, "the controller has tried")
    bench.scale(4)
    change = '{"spec": {"template": {"metadata": {"labels": {"version": "2"}}}}}'
    bench.kubectl("patch", "deployment", "web", "-p", change)
    bench.until(lambda: len(bench.replicasets()) == 2, "the release has begun")


def test_a_release_takes_the_old_replicaset_no_lower_than_its_undrained_pods(bench: Bench, held: str) -> None:
    started = bench.names()
    bench.run(*started)
    bench.admit(*started)
    change = '{"spec": {"template": {"metadata": {"labels": {"version": "2"}}}}}'
    bench.kubectl("patch", "deployment", "web", "-p", change)
    new_ones = bench.until(lambda: set(bench.names()) - set(started), "there are new pods")
    bench.until(
        lambda: any("Scaled down replica set" in text for text in bench.events("ScalingReplicaSet")), "it tried"
    )
    assert replicas_of(bench, held) == 4
    bench.keep(held, "3")
    bench.until(lambda: replicas_of(bench, held) == 3, "the old one is lowered by one")
    assert new_ones <= set(bench.names())


def replicas_of(bench: Bench, name: str) -> int:
    found = {item["metadata"]["name"]: item["spec"]["replicas"] for item in bench.replicasets()}
    return int(found[name])


def test_it_never_raises_what_a_replicaset_already_has(bench: Bench, held: str) -> None:
    bench.keep(held, "100")
    assert asked_for(bench, held, 1) == 4
    assert asked_for(bench, held, 4) == 4
    assert asked_for(bench, held, 9) == 9


def test_what_grows_is_kept_at_that_until_the_operator_says_otherwise(bench: Bench, held: str) -> None:
    """Scaled out in mid-release, an old ReplicaSet grows and shrinks again before anybody has seen its new pods."""
    bench.keep(held, "2")
    bench.scale(6)
    bench.until_pods(6)
    bench.scale(1)
    bench.until(lambda: wanted(bench) is None, "the controller has tried")
    assert replicas(bench) == 6
    bench.keep(held, "5")
    bench.until(lambda: replicas(bench) == 5, "the ReplicaSet is lowered")


def test_it_keeps_what_the_label_says_when_that_is_less(bench: Bench, held: str) -> None:
    bench.keep(held, "2")
    assert asked_for(bench, held, 0) == 2
    assert asked_for(bench, held, 3) == 3


@pytest.mark.parametrize("garbage", ["", "many", "3.5", "99999999999999999999", "0x4", "a"])
def test_a_label_that_is_no_number_holds_nothing_and_breaks_nothing(bench: Bench, held: str, garbage: str) -> None:
    bench.keep(held, garbage)
    assert asked_for(bench, held, 1) == 1


def test_a_controller_manager_without_service_accounts_is_held_too(bench: Bench, held: str) -> None:
    manager = "system:kube-controller-manager"
    bench.kubectl("create", "rolebinding", "manager", "--clusterrole=admin", f"--user={manager}")
    assert asked_for(bench, held, 1, manager) == 4


def test_more_pods_than_are_wanted_stay_while_they_are_held_and_are_taken_back_after_that(
    bench: Bench, held: str
) -> None:
    """What is done for pods whose node is about to go, and what is left of it when nobody is there any more."""
    bench.keep(held, "5")
    bench.kubectl("patch", "rs", held, "--subresource=scale", "--type=merge", "-p", '{"spec": {"replicas": 5}}')
    bench.until(lambda: wanted(bench) is None, "the controller has tried to take it back")
    bench.until_pods(5)
    assert replicas(bench) == 5
    bench.kubectl("delete", "lr", "web")
    bench.until_forgotten()
    bench.kubectl("label", "rs", held, "lossless.dev/keep-")
    bench.until(lambda: replicas(bench) == 4, "its Deployment has what it wants")


def test_people_scale_a_replicaset_as_they_like(bench: Bench, held: str) -> None:
    """The Deployment controller puts it right again, as ever."""
    assert asked_for(bench, held, 1, "admin") == 1
    patch = '{"spec": {"replicas": 1}}'
    bench.kubectl("patch", "rs", held, "--subresource=scale", "--type=merge", "-p", patch, "--dry-run=server")


def test_the_replicaset_of_another_deployment_is_not_held_whatever_its_labels(bench: Bench, held: str) -> None:
    bench.deployment("other", replicas=3)
    (other,) = bench.replicasets("other")
    name = other["metadata"]["name"]
    bench.keep(name, "3")
    assert asked_for(bench, name, 1) == 1
    assert asked_for(bench, held, 1) == 4


def test_a_replicaset_of_another_namespace_is_not_held(bench: Bench, elsewhere: Bench, held: str) -> None:
    elsewhere.deployment(replicas=3)
    (other,) = elsewhere.replicasets()
    elsewhere.keep(other["metadata"]["name"], "3")
    assert asked_for(elsewhere, other["metadata"]["name"], 1) == 1
    assert asked_for(bench, held, 1) == 4


def test_in_observe_nothing_is_held(bench: Bench, held: str) -> None:
    bench.kubectl("patch", "lr", "web", "--type=merge", "-p", '{"spec": {"mode": "Observe"}}')
    bench.tell_policies()
    bench.until(lambda: asked_for(bench, held, 1) == 1, "the hold is off")


def test_a_rollout_that_is_being_deleted_holds_nothing(bench: Bench, held: str) -> None:
    bench.kubectl("patch", "lr", "web", "--type=merge", "-p", '{"metadata": {"finalizers": ["example.com/stuck"]}}')
    bench.kubectl("delete", "lr", "web", "--wait=false")
    bench.tell_policies()
    bench.until(lambda: asked_for(bench, held, 1) == 1, "the hold is off")
    bench.kubectl("patch", "lr", "web", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')


def test_with_the_rollout_deleted_the_deployment_goes_on_as_soon_as_anything_stirs_it(bench: Bench, held: str) -> None:
    """The Deployment controller has been content since its last try and looks again when an object of its own changes.

    The operator, letting go, takes the label off; here somebody does it by hand. See docs/runbooks.
    """
    bench.scale(1)
    bench.until(lambda: wanted(bench) is None, "the controller has tried")
    bench.kubectl("delete", "lr", "web")
    bench.until_forgotten()
    bench.kubectl("label", "rs", held, "lossless.dev/keep-")
    bench.until_pods(1)


def test_the_label_can_be_written_through_the_status_which_drops_everything_else(bench: Bench, held: str) -> None:
    """So the operator needs no right to write a ReplicaSet's spec."""
    body = {"metadata": {"labels": {"lossless.dev/keep": "3"}}, "spec": {"replicas": 0}}
    patched = bench.patch_status("replicasets", held, body)
    assert patched["metadata"]["labels"]["lossless.dev/keep"] == "3"
    assert patched["spec"]["replicas"] == 4
    assert (
        "lossless.dev/keep"
        not in bench.patch_status("replicasets", held, {"metadata": {"labels": {"lossless.dev/keep": None}}})[
            "metadata"
        ]["labels"]
    )


def test_a_rollback_does_not_carry_the_label_to_the_deployment(bench: Bench, held: str) -> None:
    """`kubectl rollout undo` copies a ReplicaSet's annotations to its Deployment: hence a label."""
    bench.kubectl("patch", "deployment", "web", "-p", '{"spec": {"template": {"metadata": {"labels": {"v": "2"}}}}}')
    bench.until(lambda: len(bench.replicasets()) == 2, "there is a second ReplicaSet")
    bench.kubectl("rollout", "undo", "deployment/web")
    deployment = bench.box.get("deployment", "web", bench.ns)
    assert "lossless" not in str(deployment["metadata"]["annotations"]) + str(deployment["metadata"].get("labels"))
    assert "lossless" not in str(deployment["spec"])
