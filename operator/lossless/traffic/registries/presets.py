"""Well-known hooks, as data: each is what a user could have written as `http`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from lossless.api.traffic import Expect, Hook, Http, Place, Preset, PresetHook
from lossless.pods.exec import ExecInPod
from lossless.traffic.registries.client import Client
from lossless.traffic.registries.http import HookRegistry

OK: Final = Expect(contains="OK")
JSON: Final = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class Known:
    """One preset. {port} and {path} in its addresses stand for what the user may change."""

    port: int
    settle: timedelta
    ways: tuple[Http, ...]
    """The same thing at one address after the other: the next is for older versions, which answer 404 to the first."""


def _agent(readiness: str) -> Http:
    return Http(
        place=Place.POD,
        withdraw=Hook(url="http://127.0.0.1:{port}{path}/offline"),
        registered=Hook(url=f"http://127.0.0.1:55199{readiness}"),
    )


def _actuator(endpoint: str, out: str, back: str, gone: str = "") -> Http:
    url = f"http://{{ip}}:{{port}}{{path}}/actuator/{endpoint}"
    return Http(
        withdraw=Hook(method="POST", url=url, headers=JSON, body=f'{{"status":"{out}"}}'),
        restore=Hook(method="POST", url=url, headers=JSON, body=f'{{"status":"{back}"}}'),
        gone=Hook(url=url, expect=Expect(contains=gone)) if gone else None,
    )


def _actuators(out: str, back: str, gone: str = "") -> tuple[Http, ...]:
    """The endpoint was called service-registry until Spring Cloud 2020.0."""
    return tuple(_actuator(endpoint, out, back, gone) for endpoint in ("serviceregistry", "service-registry"))


PRESETS: Final[Mapping[Preset, Known]] = {
    # Alibaba Cloud's agent (EDAS, MSE): the documentation puts "offline; sleep 30" into preStop. /readiness is 500
    # until the application is registered; it was /health before agent 4.1.10. The agent listens on loopback.
    Preset.EDAS_AGENT: Known(54199, timedelta(seconds=30), (_agent("/readiness"), _agent("/health"))),
    # NacosServiceRegistry says the same (nothing) of an instance that is disabled, is in another group, or could not be
    # asked for: its GET is no evidence. Nacos pushes within a second; then Spring's load balancer keeps 35 s. With
    # Nacos 3 the client's request is refused, which old versions answer with 500 and others only log: there, name the
    # registry itself (nacos).
    Preset.SPRING_BOOT_NACOS: Known(8080, timedelta(seconds=40), _actuators("DOWN", "UP")),
    # GET asks the server, and shows the override. Server cache 30 s, fetch 30 s, load balancer 35 s.
    # CANCEL_OVERRIDE leaves the status UNKNOWN until the client registers again, at its next heartbeat (30 s).
    Preset.SPRING_BOOT_EUREKA: Known(
        8080, timedelta(seconds=100), _actuators("OUT_OF_SERVICE", "CANCEL_OVERRIDE", "OUT_OF_SERVICE")
    ),
    # Maintenance, by the application at its own agent; GET looks for the check in the catalog.
    Preset.SPRING_BOOT_CONSUL: Known(8080, timedelta(seconds=40), _actuators("OUT_OF_SERVICE", "UP", "OUT_OF_SERVICE")),
    # From elsewhere than loopback QoS answers 403 unless it is set up otherwise. offline says OK when everything is out
    # of every registry, and is never undone by itself; /ready also turns 503 for other reasons, so it is no evidence.
    # Consumers get the registry's notice within seconds, and close their connections to it after that.
    Preset.DUBBO_QOS: Known(
        22222,
        timedelta(seconds=10),
        (
            Http(
                place=Place.POD,
                withdraw=Hook(url="http://127.0.0.1:{port}{path}/offline", expect=OK),
                restore=Hook(url="http://127.0.0.1:{port}{path}/online", expect=OK),
            ),
        ),
    ),
}


def ways_of(preset: PresetHook) -> tuple[Http, ...]:
    """The preset as a user could have written it, with the port and path that were asked for."""
    known = PRESETS[preset.name]
    port = str(preset.port or known.port)

    def filled(hook: Hook | None) -> Hook | None:
        if hook is None:
            return None
        return hook.model_copy(update={"url": hook.url.replace("{port}", port).replace("{path}", preset.path)})

    return tuple(
        way.model_copy(
            update={role: filled(getattr(way, role)) for role in ("withdraw", "restore", "gone", "registered")}
        )
        for way in known.ways
    )


def preset_registry(
    preset: PresetHook, client: Client, run: ExecInPod, settle: timedelta | None = None
) -> HookRegistry:
    """The registry that a preset stands for."""
    first, *others = ways_of(preset)
    usual = PRESETS[preset.name].settle
    return HookRegistry(first, client, run, settle=usual if settle is None else settle, otherwise=others)
