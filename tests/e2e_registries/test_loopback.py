"""What listens on a pod's loopback device alone is told from inside the pod, by a command."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from localcluster.box import Box
from localcluster.load.running import LoadRun
from tests.e2e.operators import Operator
from tests.e2e.workloads import Manifest
from tests.e2e_registries.registries import EtcdRegistry
from tests.e2e_registries.shops import SAID_SOON, FollowedShop
from tests.e2e_registries.test_release import released
from tests.side_by_side import side_by_side

ROOT = Path(__file__).parents[2]
EXEC = "lossless-operator-exec"


class AgentRegistry(EtcdRegistry):
    """The app itself registers nowhere: its agent does, and the operator knows of nothing else."""

    kind = "agent"

    def flags(self, service: str) -> Sequence[str]:
        return ()

    def spec(self, service: str) -> Mapping[str, Any]:
        return {"name": "agent", "settle": "2s", "preset": {"name": "EdasAgent"}}


@dataclass(frozen=True, kw_only=True)
class WithAgent(FollowedShop):
    """With a fake of the EDAS agent, whose ports are on the loopback device of each pod: tests/fakes/edas_agent.py."""

    registry: AgentRegistry
    replicas: int = 2
    strategy: Mapping[str, Any] = field(default_factory=lambda: {"maxSurge": "100%", "maxUnavailable": 0})

    def deployment(self, version: str = "1") -> Manifest:
        whole = super().deployment(version)
        containers = whole["spec"]["template"]["spec"]["containers"]
        argv = ["python3", "-m", "tests.fakes.edas_agent", self.registry.server.url, self.namespace]
        env = [{"name": "PYTHONPATH", "value": str(ROOT)}, *containers[0]["env"]]
        containers.insert(0, {"name": "agent", "image": "sample", "command": argv, "env": env})
        return whole

    def asked_for_offline(self) -> int:
        """How often the agents of all pods were, those that are gone included."""
        return self.box.pod_logs(self.namespace, "web-*", "agent").count("asked for /offline\n")


@pytest.fixture
def with_agent(
    box: Box, make_namespace: Callable[[], str], etcd_registry: EtcdRegistry
) -> Iterator[Callable[[], WithAgent]]:
    """Makes one in a namespace of its own. In the end the operator has all its rights again."""
    rules = box.get("clusterrole", EXEC)["rules"]
    yield lambda: WithAgent(box, make_namespace(), registry=AgentRegistry(etcd_registry.server))
    allow(box, rules)


def allow(box: Box, rules: Sequence[Manifest]) -> None:
    box.kubectl("patch", "clusterrole", EXEC, "--type=merge", "-p", json.dumps({"rules": rules}))


def test_an_agent_on_loopback_is_told_by_a_command_in_its_pod_which_takes_the_right_to_exec(
    with_agent: Callable[[], WithAgent], operator: Operator, box: Box
) -> None:
    plain, app = with_agent(), with_agent()
    side_by_side(plain.deploy, lambda: app.cared_for(drain=SAID_SOON))
    rules = box.get("clusterrole", EXEC)["rules"]
    for host in ("127.0.0.1", app.pods()[0]["status"]["podIP"]):
        nobody = box.run(["curl", "-s", f"http://{host}:54199/offline"], check=False)
        assert nobody.returncode == 7, "from elsewhere there is no connection"

    def without_and_with_the_right(_: LoadRun) -> None:
        says = "agent must be told (the API server refused it: 403"
        box.wait_until(lambda: says in app.status()["waitingFor"], 40, f"it says: {says}")
        assert not app.drained()
        assert app.asked_for_offline() == 0
        allow(box, rules)

    allow(box, [])
    by_itself, outcome = side_by_side(lambda: released(plain), lambda: released(app, without_and_with_the_right))
    assert by_itself.lost, "the harness proves nothing if a plain Deployment loses nothing"
    assert not outcome.lost, outcome.explain()
    assert app.asked_for_offline() == app.replicas
    app.wait_until_nothing_is_left()
