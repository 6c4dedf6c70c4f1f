"""Lossless Rollout itself is upgraded while it is at work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcluster.box import Box
from localcluster.load import Plan, running
from tests.e2e.operators import NAMESPACE, wait_for_leader
from tests.e2e.workloads import Manifest, WithoutRoute
from tests.installed import MANIFESTS

FIRST_CRD = Path(__file__).with_name("first_crd.yaml")
"""As the first version had it. An older one than that nobody can have."""
FIRST_SPEC: Manifest = {
    "mode": "Enforce",
    "warmup": {
        "delay": "5s",
        "requests": [{"port": "http", "path": "/", "method": "GET", "count": 5, "concurrency": 2, "timeout": "2s"}],
        "onFailure": "Continue",
        "maxParallel": "50%",
        "timeout": "1m",
    },
    "drain": {"settle": "10s", "timeout": "1m", "onTimeout": "Hold"},
}


@pytest.fixture(scope="module")
def box(request: pytest.FixtureRequest) -> Iterator[Box]:
    """Two process nodes, and the CRD of the first version."""
    with Box(nodes=2, name=f"upgrades-{os.getpid()}", keep_logs=False) as box:
        box.kubectl("apply", "--server-side", "-f", str(FIRST_CRD))
        box.kubectl("wait", "--for=condition=Established", "crd/losslessrollouts.lossless.dev", "--timeout=30s")
        yield box
        box.keep_logs = request.session.testsfailed > 0


def install(box: Box, *, crd: bool = True) -> None:
    """As the README has it, the operator's pods with it; or the CRD that is there stays."""
    documents = box.kubectl("kustomize", str(MANIFESTS / "install")).split("\n---\n")
    kept = [one for one in documents if crd or "kind: CustomResourceDefinition\n" not in one]
    box.kubectl("apply", "--server-side", "-f", "-", input="\n---\n".join(kept))


def is_todays(box: Box) -> bool:
    """The CRD, as the API server tells of it."""
    return "traffic" in box.kubectl("explain", "losslessrollouts.spec")


def operators(box: Box) -> set[str]:
    """The operator's pods by name."""
    found = box.kubectl("get", "pods", "-n", NAMESPACE, "-o", "jsonpath={.items[*].metadata.name}")
    return set(found.split())


def wait_until_operators_are_rolled_out(box: Box) -> None:
    box.kubectl("rollout", "status", "deployment/lossless-operator", "-n", NAMESPACE, "--timeout=120s")


def with_all_of(before: Manifest, after: Manifest) -> Manifest:
    """What is there now, with what was there before put over it."""
    put = {key: with_all_of(old, after.get(key, {})) if isinstance(old, dict) else old for key, old in before.items()}
    return {**after, **put}


def test_the_operator_and_its_crd_are_upgraded_in_mid_release_and_nothing_is_lost(box: Box) -> None:
    box.kubectl("create", "namespace", "shop")
    install(box, crd=False)
    wait_until_operators_are_rolled_out(box)
    wait_for_leader(box)
    app = WithoutRoute(box, "shop").gated(**FIRST_SPEC)
    before = app.lossless()
    assert not is_todays(box)
    with running(box, Plan(rate=100, callers=app.callers()), namespace=app.namespace) as run:
        replaced = operators(box)
        app.release("2")
        box.wait_until(lambda: "Warming" in app.stages().values(), 30, "a pod warms up", every=0.05)
        install(box)
        box.kubectl("rollout", "restart", "deployment/lossless-operator", "-n", NAMESPACE)
        box.wait_until(lambda: is_todays(box), 30, "the CRD is the one of today")
        assert not app.quiet(), "the release is over already"
        wait_until_operators_are_rolled_out(box)
        app.wait_until_rolled_out()
        app.release("3")
        app.wait_until_rolled_out()
        outcome = run.finish()
    box.wait_until(lambda: not replaced & operators(box), 60, "the operator's pods are other ones")
    assert not outcome.lost, outcome.explain()
    after = app.lossless()
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert with_all_of(before["spec"], after["spec"]) == after["spec"], "nothing is lost of what the first version took"
    app.wait_until_cared_for()
