"""Every kind of call to the API server fails three ways before it works, and watches are cut."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from localcluster.box import Box
from localcluster.load import Plan, running
from tests.e2e.operators import NAMESPACE, Operator, leader
from tests.e2e.workloads import Web

PORT = 7080
CALLS = {
    *("GET leases/*", "PUT leases/*"),
    *(
        "GET losslessrollouts",
        "GET pods",
        "GET services",
        "GET endpointslices",
        "GET nodes",
        "GET poddisruptionbudgets",
    ),
    *("GET deployments", "GET replicasets", "GET statefulsets", "GET daemonsets", "GET controllerrevisions"),
    *("GET rollouts", "GET horizontalpodautoscalers", "GET scaledobjects", "GET ingresses"),
    *("GET httproutes", "GET grpcroutes", "GET virtualservices", "GET traefikservices"),
    *("GET losslessrollouts/*", "GET deployments/*", "GET replicasets/*"),
    *("PATCH losslessrollouts/status", "PATCH pods/status", "PATCH replicasets/status", "PATCH limitranges/*"),
    "POST events",
}
"""Every kind of call that a release and a deleted pod take, and what a start looks for."""


@pytest.fixture
def faulty_operator(box: Box, operator: Operator, tmp_path: Path) -> Iterator[Operator]:
    """An operator whose every kind of call fails at first; it leads, the other one is stopped meanwhile."""
    credentials = box.kubeconfig_for(f"system:serviceaccount:{NAMESPACE}:lossless-operator", inside=True)
    argv = [sys.executable, "-m", "tests.e2e.faulty_api", "--kubeconfig", str(credentials), "--port", str(PORT)]
    proxy = box.popen(argv, log="faulty-api")
    through = tmp_path / "kubeconfig"
    config = yaml.safe_load(credentials.read_text())
    config["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{PORT}"}
    through.write_text(yaml.safe_dump(config))
    operator.stop()
    faulty = Operator(box, "faulty", through).start()
    try:
        box.wait_until(lambda: leader(box) == "faulty", 60, "the operator leads in spite of failing calls")
        yield faulty
    finally:
        faulty.kill()
        proxy.kill()
        proxy.wait()


def test_a_release_loses_nothing_while_every_call_fails_at_first(
    web: Callable[..., Web], faulty_operator: Operator, box: Box
) -> None:
    warm = {"requests": [{"port": "http", "count": 5}]}
    app = web(replicas=3).deploy().protect(warmup=warm, drain={"settle": "3s"})
    app.wait_until_cared_for(90)
    with running(box, Plan(rate=100, callers=app.callers()), namespace=app.namespace) as run:
        app.release("2")
        app.wait_until_rolled_out()
        app.release("3")
        app.wait_until_rolled_out()
        box.kubectl("delete", "pod", min(app.stages()), "-n", app.namespace)
        app.wait_until_rolled_out()
        outcome = run.finish()
    assert not outcome.lost, outcome.explain()
    log = (box.logs / "faulty-api.log").read_text()
    failed_and_then_worked = set(re.findall(r"^(\S+ \S+) 4 works$", log, re.MULTILINE))
    assert failed_and_then_worked >= CALLS, CALLS - failed_and_then_worked
