"""Doors and real controllers together: what is held, what wakes them, and that nothing is held for ever."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.policies.bench import Bench, gates, replica

REFUSED = 'apiserver_validating_admission_policy_check_total{enforcement_action="deny"'


def refused(bench: Bench) -> int:
    """How many deletions the door out has refused so far, in all namespaces."""
    text = bench.box.api.request_text("GET", "/metrics")
    found = [line for line in text.splitlines() if line.startswith(REFUSED) and 'policy="lossless-door-out"' in line]
    return sum(int(re.split(r"\s", line)[-1]) for line in found)


def admitted(bench: Bench, replicas: int) -> list[str]:
    """The running, admitted pods of a Deployment behind the door out alone: there is no hold on its ReplicaSet."""
    bench.rollout()
    pods = bench.deployment(replicas=replicas)
    bench.run(*pods)
    bench.admit(*pods)
    return pods


@pytest.fixture
def held(bench: Bench) -> list[str]:
    """Three pods of which one is wanted."""
    pods = admitted(bench, 3)
    bench.scale(1)
    bench.until(lambda: bench.events("FailedDelete"), "the door is shut")
    assert bench.names() == pods
    return pods


def test_a_scale_in_waits_for_the_drained_mark_and_then_goes_on_at_once(bench: Bench, held: list[str]) -> None:
    bench.drain(held[1])
    bench.until_pods(2)
    assert bench.names() == [held[0], held[2]], "the drained one went"
    bench.drain(held[0])
    assert bench.until_pods(1) == [held[2]]


def test_the_event_says_what_is_waited_for(bench: Bench, held: list[str]) -> None:
    for pod in held:  # Two of them are knocked at: which, is for the controller to say.
        bench.annotate(pod, stage="Draining", waiting_for="3 requests in flight")
    wanted = "waiting until the pod is drained: Draining: 3 requests in flight"
    bench.until(lambda: any(wanted in message for message in bench.events("FailedDelete")), "the Event says so")


def test_a_pod_that_never_had_traffic_goes_without_waiting(bench: Bench) -> None:
    bench.rollout()
    bench.run(*bench.deployment(replicas=3))
    bench.scale(1)
    bench.until_pods(1)
    assert bench.events("FailedDelete") == []


def test_with_the_rollout_deleted_held_pods_go_and_new_ones_are_plain(bench: Bench, held: list[str]) -> None:
    bench.kubectl("delete", "lr", "web")
    bench.until_pods(1, timeout=60)
    bench.scale(3)
    bench.until_pods(3)
    plain = [pod for pod in bench.pods() if pod["metadata"]["name"] not in held]
    assert plain
    assert not any(gates(pod) for pod in plain)


def test_of_two_rollouts_the_one_that_is_deleted_lets_go_and_the_other_one_holds_on(
    bench: Bench, held: list[str]
) -> None:
    """There is one parameter for both, of which the garbage collector strips one owner. No operator is there."""
    bench.rollout("other", target="other")
    others = bench.deployment("other", replicas=3)
    bench.run(*others)
    bench.admit(*others)
    bench.scale(1, "other")
    bench.until(lambda: any(bench.refusal(pod) for pod in others) and len(bench.pods("other")) == 3, "the door is shut")
    bench.kubectl("delete", "lr", "other")
    (left,) = bench.until_pods(1, "other", timeout=60)
    bench.scale(3, "other")
    bench.until_pods(3, "other")
    assert not any(gates(pod) for pod in bench.pods("other") if pod["metadata"]["name"] != left)
    assert gates(bench.created(replica("web"))), "the door in of the other one is kept"
    assert bench.names() == held
    assert all(bench.refusal(pod) for pod in held), "and its door out"


def _pod_is_ready(bench: Bench) -> None:
    bench.admit(bench.names()[0])


def _deployment_is_changed(bench: Bench) -> None:
    bench.kubectl("annotate", "deployment", "web", "example.com/touched=now")


@pytest.mark.parametrize("stir", [_pod_is_ready, _deployment_is_changed])
def test_with_the_rollout_deleted_the_label_alone_holds_nothing(bench: Bench, stir: Callable[[Bench], None]) -> None:
    """Nobody takes the label off. The Deployment controller has been content since its last try, so it goes on when
    anything stirs it: see docs/limits."""
    bench.rollout()
    bench.run(*bench.deployment(replicas=3))
    (replicaset,) = bench.replicasets()
    bench.keep(replicaset["metadata"]["name"], "3")
    bench.scale(1)
    bench.until(lambda: not _scaled_for(bench), "the controller has tried, and was held")
    bench.kubectl("delete", "lr", "web")
    bench.until_forgotten()
    stir(bench)
    bench.until_pods(1)
    (replicaset,) = bench.replicasets()
    assert replicaset["metadata"]["labels"]["lossless.dev/keep"] == "3"


def _scaled_for(bench: Bench) -> str | None:
    """What the hold takes away."""
    (replicaset,) = bench.replicasets()
    noted: str | None = replicaset["metadata"]["annotations"].get("deployment.kubernetes.io/desired-replicas")
    return noted


def test_in_observe_held_pods_go(bench: Bench, held: list[str]) -> None:
    bench.kubectl("patch", "lr", "web", "--type=merge", "-p", '{"spec": {"mode": "Observe"}}')
    bench.tell_policies()
    bench.until_pods(1, timeout=60)


def test_deleting_the_deployment_takes_its_held_pods_along(bench: Bench, held: list[str]) -> None:
    bench.kubectl("delete", "deployment", "web")
    bench.until_pods(0)


def test_deleting_the_namespace_takes_its_held_pods_along(bench: Bench, held: list[str]) -> None:
    bench.kubectl("delete", "namespace", bench.ns, "--wait=false")
    bench.until(lambda: not bench.exists(f"/api/v1/namespaces/{bench.ns}"), "the namespace is gone", timeout=90)


def test_hundreds_of_refusals_do_not_delay_the_deletion_of_a_drained_pod(bench: Bench) -> None:
    """kubernetes#132805: refusals drive the controller's back-off to its cap of 1,000 s. A pod update goes past it."""
    before = refused(bench)
    first, second = admitted(bench, 2)
    bench.scale(1)
    bench.until(lambda: bench.events("FailedDelete"), "the door is shut")

    def stirred() -> bool:
        for number in range(20):
            bench.annotate(first, waiting_for=f"request {number}")
            bench.annotate(second, waiting_for=f"request {number}")
        return refused(bench) - before > 300

    bench.until(stirred, "it was refused hundreds of times", timeout=240)
    bench.drain(second)
    assert bench.until_pods(1) == [first]


def test_of_fifty_surplus_pods_the_drained_one_is_always_the_one_that_goes(bench: Bench) -> None:
    pods = admitted(bench, 51)
    bench.scale(1)
    bench.until(lambda: bench.events("FailedDelete"), "the door is shut")
    for gone, drained in enumerate((pods[7], pods[50], pods[0]), start=1):
        bench.drain(drained)
        assert drained not in bench.until_pods(51 - gone, timeout=60)
