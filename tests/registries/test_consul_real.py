"""Consul itself, a server and an agent for each node, with what the fake says of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from localcluster import Box
from localcluster.servers.consul import Consul
from lossless.traffic.registries.errors import RegistryError
from tests.localcluster.registries import made
from tests.registries.inside import Inside

IP = "10.244.212.7"
ID = "web-0"


@pytest.fixture(scope="module")
def consul(box: Box) -> Iterator[Consul]:
    with made(lambda: Consul(box)) as running:
        yield running


class App:
    """A service of one instance, registered with the agent of node-1, whose client is this test."""

    def __init__(self, box: Box, consul: Consul, name: str) -> None:
        self.name, self.id = name, f"{name}-{ID}"
        self._consul = consul
        self.ours = Inside(box, "consul", server=consul.server.url, service=name)

    def register(self, *, replace_existing_checks: bool = False) -> None:
        said = {
            "ID": self.id,
            "Name": self.name,
            "Address": IP,
            "Port": 8080,
            "Tags": ["blue"],
            "Meta": {"version": "7"},
            "Weights": {"Passing": 3, "Warning": 1},
            "Check": {"CheckID": f"{self.id}-ttl", "TTL": "600s", "Status": "passing"},
        }
        query = "?replace-existing-checks=true" if replace_existing_checks else ""
        assert self.tell(f"/v1/agent/service/register{query}", said)

    def beat(self) -> None:
        """Its check is critical after its agent was started anew, until then."""
        assert self.tell(f"/v1/agent/check/pass/{self.id}-ttl")

    def deregister(self) -> None:
        assert self.tell(f"/v1/agent/service/deregister/{self.id}")

    def maintain(self, reason: str) -> None:
        assert self.tell(f"/v1/agent/service/maintenance/{self.id}?enable=true&reason={reason}")

    def tell(self, path: str, said: Mapping[str, Any] | None = None) -> bool:
        """Whether the agent of its node did it."""
        return self._consul.agent("node-1").ask(path, "PUT", json.dumps(said).encode() if said else None) is not None

    def registered(self) -> Any:
        """Everything that its agent has of it, as it was registered."""
        return json.loads(self._consul.agent("node-1").ask(f"/v1/agent/service/{self.id}") or b"null")

    def checks(self) -> dict[str, str]:
        """Of its service, in the catalog: their status, by ID."""
        [one] = json.loads(self._consul.server.ask(f"/v1/health/service/{self.name}") or b"[]")
        return {check["CheckID"]: check["Status"] for check in one["Checks"] if check["ServiceID"]}


@pytest.fixture
def app(box: Box, consul: Consul, request: pytest.FixtureRequest) -> App:
    app = App(box, consul, request.node.name.replace("_", "-")[:60])
    app.register()
    app.ours.until("Present", IP)
    return app


def test_a_pod_is_withdrawn_and_put_back_just_as_it_was(app: App) -> None:
    before = app.registered(), app.checks()
    app.ours.do("withdraw", IP)
    assert app.ours.until("Absent", IP)["fraction"] == 0.0
    assert app.registered() == before[0], "it is only in maintenance: nobody has deregistered it"
    assert app.checks() == {**before[1], f"_service_maintenance:{app.id}": "critical"}
    app.ours.do("withdraw", IP)
    app.ours.do("restore", IP)
    assert app.ours.until("Present", IP)["fraction"] == 1.0
    assert (app.registered(), app.checks()) == before


def test_the_same_id_registered_again_does_not_undo_it(app: App) -> None:
    app.ours.do("withdraw", IP)
    app.ours.until("Absent", IP)
    app.register()
    assert app.ours.look(IP)["presence"] == "Absent"
    app.ours.do("restore", IP)
    app.ours.until("Present", IP)


@pytest.mark.parametrize("how", ["checks replaced", "deregistered first"])
def test_an_app_that_wipes_the_check_is_seen_and_told_again(app: App, how: str) -> None:
    app.ours.do("withdraw", IP)
    app.ours.until("Absent", IP)
    if how == "deregistered first":
        app.deregister()
    app.register(replace_existing_checks=how == "checks replaced")
    assert app.ours.until("Present", IP)["fraction"] == 1.0, "what differs from what it should get is told again"
    app.ours.do("withdraw", IP)
    app.ours.until("Absent", IP)


def test_a_maintenance_of_its_owner_stays(app: App) -> None:
    app.maintain("backup")
    app.ours.until("Absent", IP)
    app.ours.do("withdraw", IP)
    app.ours.do("restore", IP)
    assert f"_service_maintenance:{app.id}" in app.checks()


def test_another_nodes_agent_does_not_know_it_and_is_not_believed(box: Box, consul: Consul, app: App) -> None:
    wrong = Inside(box, "consul", server=consul.server.url, agent=consul.agent("node-2").url, service=app.name)
    with pytest.raises(RegistryError, match="does not know it"):
        wrong.do("withdraw", IP)
    assert app.ours.look(IP)["presence"] == "Present"


def test_what_has_left_by_itself_is_absent_and_withdrawing_it_does_nothing(app: App) -> None:
    app.deregister()
    assert app.ours.until("Absent", IP)["evidence"] == "not registered"
    app.ours.do("withdraw", IP)
    assert app.registered() is None


def test_without_its_agent_nothing_can_be_told_and_without_its_server_nobody_knows(consul: Consul, app: App) -> None:
    agent = consul.agent("node-1")
    agent.kill()
    try:
        with pytest.raises(RegistryError, match="no connection to"):
            app.ours.do("withdraw", IP)
    finally:
        agent.start()
    consul.server.kill()
    try:
        with pytest.raises(RegistryError, match="no connection to"):
            app.ours.look(IP)
    finally:
        consul.server.start()
    app.beat()
    app.ours.until("Present", IP)
