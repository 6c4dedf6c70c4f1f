"""Presets: each is a hook that a user could have written, and does what its agent or framework documents.

The servers here are fakes. They answer as is documented or to be read in the source:
- EDAS and MSE agent: Alibaba Cloud's help on graceful start and shutdown (54199/offline; 55199 /readiness, before agent
  4.1.10 /health; 500 until registered).
- Spring: ServiceRegistryEndpoint of spring-cloud-commons, EurekaServiceRegistry of spring-cloud-netflix (a map of
  status and overriddenStatus as the server has them), ConsulServiceRegistry of spring-cloud-consul (the word
  OUT_OF_SERVICE).
- Dubbo 3: the QoS commands offline and online ("OK", or "service not found" with 200).
"""

from pathlib import Path

import pytest
from aiohttp import web

from lossless.api.traffic import Http, Place, Preset, PresetHook
from lossless.core.world import Presence
from lossless.traffic.registries.client import Client
from lossless.traffic.registries.errors import Refused
from lossless.traffic.registries.http import HookRegistry
from lossless.traffic.registries.presets import PRESETS, preset_registry, ways_of
from lossless.traffic.registries.registry import Instance, Registration
from tests.pods.servers import serving
from tests.traffic.registries.here import Here
from tests.traffic.registries.pods import pod


async def seen(registry: HookRegistry, instance: Instance) -> Registration:
    return (await registry.look([instance]))[instance.uid]


@pytest.mark.parametrize("name", list(Preset))
def test_every_preset_is_a_hook_that_a_user_could_write(client: Client, tmp_path: Path, name: Preset) -> None:
    for way in ways_of(PresetHook(name=name)):
        assert Http.model_validate(way.model_dump(by_alias=True)) == way
        assert "{port}" not in repr(way)
        assert "{path}" not in repr(way)
    made = preset_registry(PresetHook(name=name), client, Here(tmp_path))
    assert made.settle == PRESETS[name].settle


def test_port_and_path_go_into_every_request() -> None:
    way = ways_of(PresetHook(name=Preset.SPRING_BOOT_EUREKA, port=9000, path="/shop"))[1]
    assert way.withdraw
    assert way.restore
    assert way.gone
    for hook in (way.withdraw, way.restore, way.gone):
        assert hook.url == "http://{ip}:9000/shop/actuator/service-registry"


async def test_the_edas_agent_is_told_inside_the_pod_and_has_no_way_back(client: Client, tmp_path: Path) -> None:
    asked: list[str] = []

    async def agent(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(text="ok")

    async with serving(agent) as port:
        here = Here(tmp_path, "curl")
        registry = preset_registry(PresetHook(name=Preset.EDAS_AGENT, port=port), client, here)
        await registry.withdraw(pod())
        assert asked == ["/offline"]
        assert (await seen(registry, pod(told=True))).presence is Presence.UNKNOWN
        with pytest.raises(Refused):
            await registry.restore(pod())
    assert PRESETS[Preset.EDAS_AGENT].ways[0].place is Place.POD


@pytest.mark.parametrize("endpoint", ["/readiness", "/health"])
async def test_an_edas_pod_is_absent_until_its_agent_has_registered_it(
    client: Client, tmp_path: Path, endpoint: str
) -> None:
    ready = False

    async def agent(request: web.Request) -> web.Response:
        if request.path != endpoint:
            return web.Response(status=404)
        return web.Response(status=200 if ready else 500)

    async with serving(agent) as port:
        # The agent's second port is fixed, and may be taken on this machine.
        ways = [
            way.model_copy(
                update={
                    "registered": way.registered.model_copy(
                        update={"url": way.registered.url.replace("55199", str(port))}
                    )
                }
            )
            for way in ways_of(PresetHook(name=Preset.EDAS_AGENT))
            if way.registered
        ]
        registry = HookRegistry(ways[0], client, Here(tmp_path, "curl"), otherwise=ways[1:])
        assert (await seen(registry, pod())).presence is Presence.ABSENT
        ready = True
        assert (await seen(registry, pod())).presence is Presence.PRESENT


class FakeActuator:
    """An application with the endpoint at this path, registered in a registry of this kind."""

    def __init__(self, path: str, kind: Preset) -> None:
        self.path, self.kind = path, kind
        self.status = "UP"

    async def answer(self, request: web.Request) -> web.Response:
        if request.path != self.path:
            return web.Response(status=404)
        if request.method == "POST":
            if request.content_type != "application/json":
                return web.Response(status=415)
            self.status = (await request.json())["status"]
            return web.Response()
        if self.kind is Preset.SPRING_BOOT_EUREKA:
            override = {"CANCEL_OVERRIDE": "UNKNOWN", "UP": "UNKNOWN"}.get(self.status, self.status)
            return web.json_response({"status": "UP", "overriddenStatus": override})
        return web.Response(text=self.status)


@pytest.mark.parametrize("path", ["/actuator/serviceregistry", "/actuator/service-registry"])
@pytest.mark.parametrize(
    ("kind", "out", "back"),
    [
        (Preset.SPRING_BOOT_NACOS, "DOWN", "UP"),
        (Preset.SPRING_BOOT_EUREKA, "OUT_OF_SERVICE", "CANCEL_OVERRIDE"),
        (Preset.SPRING_BOOT_CONSUL, "OUT_OF_SERVICE", "UP"),
    ],
)
async def test_spring_boot_says_the_word_of_its_registry(
    client: Client, tmp_path: Path, path: str, kind: Preset, out: str, back: str
) -> None:
    app = FakeActuator(path, kind)
    here = pod("127.0.0.1")
    async with serving(app.answer) as port:
        registry = preset_registry(PresetHook(name=kind, port=port), client, Here(tmp_path))
        assert (await seen(registry, here)).presence is Presence.PRESENT
        await registry.withdraw(here)
        assert app.status == out
        # What Nacos' client says is no evidence.
        after = Presence.UNKNOWN if kind is Preset.SPRING_BOOT_NACOS else Presence.ABSENT
        assert (await seen(registry, pod("127.0.0.1", told=True))).presence is after
        await registry.restore(here)
        assert app.status == back
        assert (await seen(registry, here)).presence is Presence.PRESENT


async def test_dubbo_is_told_inside_the_pod_and_its_ok_is_read(client: Client, tmp_path: Path) -> None:
    services = True

    async def qos(request: web.Request) -> web.Response:
        if request.path not in ("/offline", "/online"):
            return web.Response(status=404)
        return web.Response(text="OK" if services else "service not found")

    async with serving(qos) as port:
        registry = preset_registry(PresetHook(name=Preset.DUBBO_QOS, port=port), client, Here(tmp_path, "bash"))
        await registry.withdraw(pod())
        await registry.restore(pod())
        services = False
        with pytest.raises(Refused):
            await registry.withdraw(pod())
