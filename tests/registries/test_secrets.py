"""No secret gets out: not in what is raised, not in what is shown, not in an address."""

import traceback

import pytest

from lossless.api import traffic
from lossless.traffic.registries.client import Client
from lossless.traffic.registries.errors import RegistryError
from lossless.traffic.registries.eureka import EurekaRegistry
from lossless.traffic.registries.nacos import NacosRegistry
from lossless.traffic.registries.registry import Registry
from tests.fakes.eureka import FakeEureka
from tests.fakes.nacos import FakeNacos
from tests.registries.conftest import pod

PASSWORD = "s3cr3t-pa55"
IP = "10.0.2.1"


def chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


async def told(ours: Registry, caplog: pytest.LogCaptureFixture) -> str:
    """Everything that is shown of it when it fails, and when it does not."""
    text = f"{ours!r} {ours!s} "
    for ask in (ours.withdraw, ours.restore):
        try:
            await ask(pod(IP))
        except RegistryError as error:
            text += "".join(traceback.format_exception(error))
            text += "".join(f"{one!r} {one!s} {one.args}" for one in chain(error))
    try:
        text += repr(await ours.look([pod(IP)]))
    except RegistryError as error:
        text += "".join(traceback.format_exception(error)) + repr(chain(error))
    return text + caplog.text


@pytest.mark.parametrize("trouble", ["none", "down", "leaderless", "forbidden", "wrong login", "no confirmation"])
async def test_nacos_keeps_its_login_and_tokens_to_itself(
    client: Client, trouble: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    async with FakeNacos("3.2", auth=True).running() as fake:
        fake.register(IP)
        given = traffic.Nacos(servers=fake.servers, service="shop")
        ours = NacosRegistry(given, client, login=("operator", PASSWORD + ("!" if trouble == "wrong login" else "")))
        if trouble != "wrong login":
            await ours.look([pod(IP)])  # so there is a token
        fake.nodes[0].down = trouble == "down"
        fake.nodes[0].leaderless = trouble == "leaderless"
        fake.forbidden = trouble == "forbidden"
        fake.filter_fails = trouble == "no confirmation"
        text = await told(ours, caplog)
        for secret in (PASSWORD, "t0ken", "unknown user"):
            assert secret not in text
        for one in fake.asked:
            assert PASSWORD not in one.path
            assert "/auth/" in one.path or PASSWORD not in str(one.params)
            assert "t0ken" not in str(one.params)


@pytest.mark.parametrize("trouble", ["none", "down", "csrf", "wrong login"])
async def test_eureka_keeps_its_login_to_itself(client: Client, trouble: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    async with FakeEureka(login=("operator", PASSWORD)).running() as fake:
        fake.register("web-0:shop:8080", IP)
        fake.peers[0].down = trouble == "down"
        fake.csrf = trouble == "csrf"
        given = traffic.Eureka(servers=fake.servers, application="shop")
        ours = EurekaRegistry(given, client, login=("operator", PASSWORD + ("!" if trouble == "wrong login" else "")))
        text = await told(ours, caplog)
        for secret in (PASSWORD, "Basic "):
            assert secret not in text
