"""The registry that docs/new-source.md shows is a whole one: short, typed, and it keeps the protocol's promises."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from lossless.core.world import Presence
from lossless.traffic.registries.client import Client, session
from lossless.traffic.registries.errors import RegistryError, Unreachable
from lossless.traffic.registries.registry import Instance, Registration, Registry
from tests.pods.servers import serving

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "new-source.md"
MODEL, EXAMPLE = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
WHERE_THE_MODEL_IS = "from lossless.api.traffic import Beacon\n"
MODEL_HERE = f"""
from typing import Annotated

from pydantic import Field

from lossless.api.model import Model
from lossless.api.traffic import Url, Word

{MODEL}
"""
IS_A_REGISTRY = """
from lossless.traffic.registries.registry import Registry

def is_a_registry(spec: Beacon, client: Client) -> Registry:
    return BeaconRegistry(spec, client)
"""
OURS, OTHER = "10.0.0.1", "10.0.0.2"


class FakeBeacon:
    """A fake of what does not exist: nodes that tell each other of every change at once."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, dict[str, Any]]] = []
        self.urls: list[str] = []
        self.answers: dict[int, web.Response] = {}
        self.written: list[str] = []

    async def start(self, stack: AsyncExitStack, nodes: int) -> None:
        for number in range(nodes):
            self.nodes.append({})

            async def answer(request: web.Request, number: int = number) -> web.Response:
                return await self._answer(number, request)

            self.urls.append(f"http://127.0.0.1:{await stack.enter_async_context(serving(answer))}")

    def register(self, name: str, address: str, weight: float = 100) -> None:
        for node in self.nodes:
            node[name] = {"id": name, "address": address, "port": 8080, "out": False, "weight": weight}

    async def _answer(self, number: int, request: web.Request) -> web.Response:
        if number in self.answers:
            said = self.answers[number]
            return web.Response(status=said.status, text=said.text)
        if request.path == "/v1/services/shop":
            return web.json_response({"instances": list(self.nodes[number].values())})
        name = request.path.removeprefix("/v1/instances/")
        self.written.append(name)
        if name not in self.nodes[number]:
            return web.Response(status=404)
        for node in self.nodes:
            node[name].update(await request.json())
        return web.Response()


@pytest.fixture(scope="module")
def module_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert EXAMPLE.count(WHERE_THE_MODEL_IS) == 1
    file = tmp_path_factory.mktemp("example") / "beacon_of_the_page.py"
    file.write_text(EXAMPLE.replace(WHERE_THE_MODEL_IS, MODEL_HERE) + IS_A_REGISTRY)
    return file


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    def anywhere(_: str) -> bool:
        return True

    async with session(allowed=anywhere) as http:
        yield Client(http, timeout=5, allowed=anywhere)


@pytest.fixture
async def fake() -> AsyncIterator[FakeBeacon]:
    async with AsyncExitStack() as stack:
        fake = FakeBeacon()
        await fake.start(stack, 3)
        fake.register("a", OURS)
        fake.register("b", OTHER)
        yield fake


@pytest.fixture
def registry(fake: FakeBeacon, client: Client, module_file: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    spec = importlib.util.spec_from_file_location(module_file.stem, module_file)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, module_file.stem, module)
    spec.loader.exec_module(module)
    made: Registry = module.BeaconRegistry(module.Beacon(servers=fake.urls, service="shop"), client)
    return made


def pod(address: str = OURS, original: str = "") -> Instance:
    return Instance(
        uid=address, namespace="shop", name="web", node="n", addresses=(address,), port=8080, original=original
    )


async def seen(registry: Registry, instance: Instance) -> Registration:
    return (await registry.look([instance]))[instance.uid]


async def kept(registry: Registry) -> Instance:
    """Our pod, with what the core keeps of it before anything is told."""
    return pod(original=(await seen(registry, pod())).original)


def test_it_has_less_than_100_lines() -> None:
    assert len(EXAMPLE.splitlines()) < 100


def test_it_is_typed_and_is_a_registry(module_file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(module_file)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_it_is_written_as_all_of_the_code_is() -> None:
    for text, rules in ((EXAMPLE, []), (MODEL, ["--ignore=F821"])):
        for command in (["check", *rules], ["format", "--diff"]):
            argv = [sys.executable, "-m", "ruff", *command, "--stdin-filename=operator/lossless/beacon.py", "-"]
            done = subprocess.run(argv, input=text, cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout


async def test_all_pods_are_in_the_answer_and_who_is_not_registered_is_absent(registry: Registry) -> None:
    said = await registry.look([pod(), pod("10.0.0.10")])
    assert said[OURS] == Registration(Presence.PRESENT, "handed out by 3 of 3 nodes", 1.0, '{"a": 100.0}')
    assert said["10.0.0.10"] == Registration(Presence.ABSENT, "not registered on all of 3 nodes")


async def test_a_pod_is_withdrawn_seen_gone_and_put_back_without_a_trace(registry: Registry, fake: FakeBeacon) -> None:
    before = json.dumps(fake.nodes)
    ours = await kept(registry)
    for _ in range(2):
        await registry.withdraw(ours)
        out = await seen(registry, ours)
        assert (out.presence, out.fraction, out.original) == (Presence.ABSENT, 0.0, ours.original)
    assert (await seen(registry, pod(OTHER))).fraction == 1
    for _ in range(2):
        await registry.restore(ours)
    assert json.loads(json.dumps(fake.nodes)) == json.loads(before)


async def test_a_pod_is_given_a_fraction_of_its_own_weight(registry: Registry, fake: FakeBeacon) -> None:
    assert registry.weighs
    ours = await kept(registry)
    await registry.withdraw(ours)
    for fraction in (0.1, 0.5):
        await registry.weigh(ours, fraction)
        now = await seen(registry, ours)
        assert (now.presence, now.fraction, now.original) == (Presence.PRESENT, fraction, ours.original)
    await registry.weigh(ours, 0)
    assert (await seen(registry, ours)).fraction == 0
    await registry.restore(ours)
    assert fake.nodes[0]["a"] == {"id": "a", "address": OURS, "port": 8080, "out": False, "weight": 100}


async def test_one_node_that_hands_it_out_is_enough_to_be_present(registry: Registry, fake: FakeBeacon) -> None:
    ours = await kept(registry)
    await registry.withdraw(ours)
    fake.nodes[1]["a"]["out"] = False
    now = await seen(registry, ours)
    assert (now.presence, now.evidence) == (Presence.PRESENT, "handed out by 1 of 3 nodes")


async def test_a_node_that_does_not_answer_is_no_evidence(registry: Registry, fake: FakeBeacon) -> None:
    ours = await kept(registry)
    await registry.withdraw(ours)
    fake.answers[2] = web.Response(status=500, text="the password is sesame")
    now = await seen(registry, ours)
    assert now.presence is Presence.UNANSWERED
    assert "sesame" not in now.evidence


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"instances": [{"id": "a"}]}', '{"instances": 7}', "null"])
async def test_an_answer_that_is_none_is_a_registry_error(registry: Registry, fake: FakeBeacon, body: str) -> None:
    fake.answers = {number: web.Response(text=body) for number in range(3)}
    for told in (registry.look([pod()]), registry.withdraw(pod()), registry.restore(pod()), registry.weigh(pod(), 0.5)):
        with pytest.raises(RegistryError):
            await told


async def test_no_node_at_all_is_unreachable(registry: Registry, fake: FakeBeacon) -> None:
    fake.answers = {number: web.Response(status=503) for number in range(3)}
    with pytest.raises(Unreachable):
        await registry.look([pod()])


async def test_nothing_is_written_of_a_pod_that_is_not_registered(registry: Registry, fake: FakeBeacon) -> None:
    stranger = pod("10.0.0.10")
    await registry.withdraw(stranger)
    await registry.restore(stranger)
    await registry.weigh(stranger, 0.5)
    assert fake.written == []


async def test_to_put_back_what_was_never_taken_out_changes_nothing(registry: Registry, fake: FakeBeacon) -> None:
    before = json.loads(json.dumps(fake.nodes))
    await registry.restore(pod())
    assert fake.nodes == before
