"""A fake Consul: one catalog, an agent on each node.

It copies what the documentation of the agent and health API says, and what was seen of a running Consul:
- https://developer.hashicorp.com/consul/api-docs/agent/service#enable-maintenance-mode: a critical check
  _service_maintenance:<id>, whose notes are the reason; asked for again it is left as it is; an ID that the agent does
  not own gives 404; ending what is not there is fine.
- a service registered again under its ID keeps the check, unless with replace-existing-checks.
- https://developer.hashicorp.com/consul/api-docs/health#list-service-instances-for-service: Node, Service and Checks,
  those of the node among them; X-Consul-Results-Filtered-By-ACLs where the token may not see everything.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web

from tests.pods.servers import serving

TOKEN: Final = "sesame"


def check(check_id: str, status: str = "passing", notes: str = "") -> dict[str, str]:
    return {"CheckID": check_id, "Name": check_id, "Status": status, "Notes": notes}


@dataclass
class FakeAgent:
    """One node's agent: it alone changes what is registered with it."""

    node: str
    url: str = ""
    address: str = ""
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    checks: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)
    """By service, then by check."""
    node_checks: dict[str, dict[str, str]] = field(default_factory=lambda: {"serfHealth": check("serfHealth")})

    def register(
        self, service_id: str, address: str = "", port: int = 8080, *, replace_existing_checks: bool = False
    ) -> None:
        self.services[service_id] = {"ID": service_id, "Service": "web", "Address": address, "Port": port}
        own = f"service:{service_id}"
        if replace_existing_checks or service_id not in self.checks:
            self.checks[service_id] = {}
        self.checks[service_id][own] = check(own)

    def maintain(self, service_id: str, reason: str = "") -> None:
        name = f"_service_maintenance:{service_id}"
        notes = reason or "Maintenance mode is enabled for this service, but no reason was provided."
        self.checks[service_id].setdefault(name, check(name, "critical", notes))

    def in_maintenance(self, service_id: str) -> bool:
        return f"_service_maintenance:{service_id}" in self.checks[service_id]

    async def answer(self, request: web.Request) -> web.Response:
        if request.headers.get("X-Consul-Token") != TOKEN:
            return web.Response(status=403, text="Permission denied: token with AccessorID 'x' lacks permission")
        service_id = request.path.removeprefix("/v1/agent/service/maintenance/")
        if request.method != "PUT" or service_id == request.path:
            return web.Response(status=405)
        if service_id not in self.services:
            return web.Response(status=404, text=f"Unknown service ID {service_id!r}")
        if request.query["enable"] == "true":
            self.maintain(service_id, request.query.get("reason", ""))
        else:
            self.checks[service_id].pop(f"_service_maintenance:{service_id}", None)
        return web.Response()


@dataclass
class FakeConsul:
    agents: dict[str, FakeAgent]
    url: str = ""
    filtered: bool = False
    leaderless: bool = False
    rubbish: str = ""
    """What it answers instead."""
    asked: list[web.Request] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        if self.leaderless:
            return web.Response(status=500, text="No cluster leader")
        if self.rubbish:
            return web.Response(text=self.rubbish)
        if request.headers.get("X-Consul-Token") != TOKEN:
            return web.Response(status=403, text="ACL not found")
        found = [
            {
                "Node": {"Node": agent.node, "Address": agent.address},
                "Service": service,
                "Checks": [*agent.node_checks.values(), *agent.checks[service_id].values()],
            }
            for agent in self.agents.values()
            for service_id, service in agent.services.items()
        ]
        headers = {"X-Consul-Results-Filtered-By-ACLs": "true"} if self.filtered else {}
        return web.json_response([] if self.filtered else found, headers=headers)


@asynccontextmanager
async def fake_consul() -> AsyncIterator[tuple[FakeConsul, str]]:
    """Two nodes, node-1 at 127.0.0.1 and node-2 at 127.0.0.2; gives it and the template of the agents' addresses."""
    one, two = FakeAgent("node-1", address="127.0.0.1"), FakeAgent("node-2", address="127.0.0.2")
    consul = FakeConsul({one.node: one, two.node: two})
    agents = {one.address: one, two.address: two}

    async def agent(request: web.Request) -> web.Response:
        return await agents[request.host.partition(":")[0]].answer(request)

    # Every 127.x is this machine, so that one server can be the agents of both nodes.
    async with serving(consul.answer) as port, serving(agent, "0.0.0.0") as agents_port:
        consul.url = f"http://127.0.0.1:{port}"
        yield consul, f"http://{{host}}:{agents_port}"
