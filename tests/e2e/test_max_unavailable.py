"""maxUnavailable of a StatefulSet: a feature gate that is off by default, so it has a box of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from localcluster.box import Box
from tests.e2e.operators import NAMESPACE, Operator, wait_for_leader
from tests.e2e.owned import Owned, under_load
from tests.installed import install

GATE = ("--feature-gates=MaxUnavailableStatefulSet=true",)


@pytest.fixture
def gated_box() -> Iterator[Box]:
    name = f"e2e-gate-{os.getpid()}"
    with Box(nodes=2, name=name, apiserver_flags=GATE, controller_manager_flags=GATE, keep_logs=False) as box:
        install(box)
        kubeconfig = box.kubeconfig_for(f"system:serviceaccount:{NAMESPACE}:lossless-operator", inside=True)
        operator = Operator(box, "one", kubeconfig).start()
        wait_for_leader(box)
        yield box
        operator.kill()


def rolling(most: int) -> dict[str, object]:
    return {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": most}}}


def test_as_many_go_at_a_time_and_nothing_is_lost(gated_box: Box) -> None:
    """Two at a time; then one, where its controller counts a pod that is withdrawn as the one that is missing."""
    gated_box.kubectl("create", "namespace", "shop")
    path = "/api/v1/namespaces/shop/serviceaccounts/default"
    gated_box.wait_until(lambda: gated_box.api.answers(path), 20, "the namespace has its service account")
    app = Owned(gated_box, "shop", replicas=4, spec={"podManagementPolicy": "Parallel", **rolling(2)}).gated()
    outcome = under_load(
        app,
        ("release", lambda: app.release("2")),
        ("until it is there", app.wait_until_rolled_out),
        ("one at a time", lambda: app.patch(**rolling(1))),
        ("scale in", lambda: app.scale(3)),
        ("until it is there", app.wait_until_rolled_out),
        ("release", lambda: app.release("3")),
        ("until it is there", app.wait_until_rolled_out),
        ("and on", lambda: time.sleep(1)),
    )
    assert not outcome.lost, outcome.explain()
    assert app.versions() == {"web-0": "3", "web-1": "3", "web-2": "3"}
