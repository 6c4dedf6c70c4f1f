"""Whatever is installed or taken away, and in whatever order: nobody's pods are ever blocked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from localcluster.box import Box
from tests.policies.bench import CONTROLLER_MANAGER_FLAGS, Bench, gates, make_node, pod, replica
from tests.policies.conftest import ROOT

CRD, POLICIES = str(ROOT / "crds"), str(ROOT / "manifests" / "base" / "policies")


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    """A cluster of its own, with nothing installed: these tests change what all namespaces see."""
    with Box(nodes=0, controller_manager_flags=CONTROLLER_MANAGER_FLAGS) as box:
        make_node(box)
        yield box


@pytest.fixture(autouse=True)
def _nothing_installed(box: Box) -> Iterator[None]:
    yield
    remove(box, POLICIES)
    remove(box, CRD)


def install(box: Box, what: str) -> None:
    box.kubectl("apply", "--server-side", "-k", what)


def remove(box: Box, what: str) -> None:
    box.kubectl("delete", "-k", what, "--ignore-not-found")


def rollout(bench: Bench) -> None:
    """Makes a LosslessRollout; its kind may be so new that the API server does not serve it yet."""
    rollout = {
        "apiVersion": "lossless.dev/v1alpha1",
        "kind": "LosslessRollout",
        "metadata": {"name": "web"},
        "spec": {"targetRef": {"name": "web"}},
    }
    path = f"/apis/lossless.dev/v1alpha1/namespaces/{bench.ns}/losslessrollouts"
    bench.until(lambda: bench.box.api.request("POST", path, rollout), "the LosslessRollout is made")
    bench.tell_policies()


def everybodys_pods_are_made(bench: Bench) -> bool:
    """Asks as often as it takes for every watch of the API server to have noticed what has just changed."""
    for _ in range(20):
        bench.created(pod())
        bench.created(replica("other"))
    return True


def test_policies_without_the_crd_block_nobody(bench: Bench) -> None:
    install(bench.box, POLICIES)
    assert everybodys_pods_are_made(bench)
    bench.run(*bench.deployment(replicas=2))
    bench.scale(1)
    bench.until_pods(1)


def test_the_crd_may_come_after_the_policies(bench: Bench) -> None:
    install(bench.box, POLICIES)
    assert everybodys_pods_are_made(bench)
    install(bench.box, CRD)
    assert everybodys_pods_are_made(bench)
    rollout(bench)
    bench.until_known()


def test_the_policies_may_come_after_the_rollout(bench: Bench) -> None:
    install(bench.box, CRD)
    rollout(bench)
    assert everybodys_pods_are_made(bench)
    install(bench.box, POLICIES)
    bench.until_known()


@pytest.mark.parametrize("binding_first", [True, False])
def test_a_policy_and_its_binding_may_come_in_any_order(bench: Bench, binding_first: bool) -> None:
    install(bench.box, CRD)
    rollout(bench)
    both = bench.box.kubectl("kustomize", POLICIES).split("\n---\n")
    for text in sorted(both, key=lambda text: "Binding" in text, reverse=binding_first):
        bench.box.kubectl("apply", "--server-side", "-f", "-", input=text)
        assert everybodys_pods_are_made(bench)
    bench.until_known()


def test_the_policies_may_go_while_pods_are_held(bench: Bench) -> None:
    held_pods(bench)
    remove(bench.box, POLICIES)
    assert everybodys_pods_are_made(bench)
    bench.until_pods(1, timeout=60)


def test_with_the_crd_deleted_held_pods_go_and_new_ones_are_plain(bench: Bench) -> None:
    held = held_pods(bench)
    remove(bench.box, CRD)
    assert everybodys_pods_are_made(bench)
    bench.until_pods(1, timeout=60)
    bench.scale(3)
    bench.until_pods(3)
    assert not any(gates(pod) for pod in bench.pods() if pod["metadata"]["name"] not in held)


def test_the_crd_deleted_and_installed_again_works_as_before(bench: Bench) -> None:
    install(bench.box, CRD)
    install(bench.box, POLICIES)
    rollout(bench)
    bench.until_known()
    remove(bench.box, CRD)
    bench.until_forgotten()
    install(bench.box, CRD)
    rollout(bench)
    bench.until_known()


def held_pods(bench: Bench) -> list[str]:
    """Three admitted pods of which one is wanted."""
    install(bench.box, CRD)
    install(bench.box, POLICIES)
    rollout(bench)
    bench.until_known()
    pods = bench.deployment(replicas=3)
    bench.run(*pods)
    bench.admit(*pods)
    bench.scale(1)
    bench.until(lambda: bench.events("FailedDelete"), "the door is shut")
    return pods
