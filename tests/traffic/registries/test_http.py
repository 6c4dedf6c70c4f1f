"""The generic hook: what is sent, what counts as done, and what can be seen of it."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from lossless.api.traffic import Expect, Hook, Http, Place, SecretKey
from lossless.core.world import Presence
from lossless.pods.exec import ExecResult
from lossless.traffic.registries.client import Client
from lossless.traffic.registries.errors import Refused, RegistryError, Unreachable
from lossless.traffic.registries.http import MAX_BODY, HookRegistry
from lossless.traffic.registries.registry import Instance, Registration
from tests.pods.servers import refusing, serving
from tests.traffic.registries.here import Here
from tests.traffic.registries.pods import pod

SECRET = "sesame-1234"


@dataclass
class Gateway:
    """Something that is told over HTTP who is out."""

    url: str
    out: set[str] = field(default_factory=set)
    status: int = 200
    body: str = "ok"
    asked: list[tuple[str, str, str, dict[str, str]]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, str(request.rel_url), await request.text(), dict(request.headers)))
        ip = request.query.get("ip", "")
        if self.status == 200:
            {"/out": self.out.add, "/in": self.out.discard}.get(request.path, str)(ip)
        if request.path == "/list":
            return web.Response(text=self.body, status=self.status)
        if request.path == "/gone":
            return web.Response(status=204 if ip in self.out else 409)
        return web.Response(text=self.body, status=self.status)

    def hook(self, path: str, **fields: Any) -> Hook:
        return Hook(url=f"{self.url}{path}?ip={{ip}}", **fields)


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    gateway = Gateway("")

    async def answer(request: web.Request) -> web.Response:
        return await gateway.answer(request)

    async with serving(answer) as port:
        gateway.url = f"http://127.0.0.1:{port}"
        yield gateway


async def never(namespace: str, pod: str, container: str, command: Sequence[str]) -> ExecResult:
    raise AssertionError("nothing is run in a pod")


def registry(client: Client, spec: Http, **fields: Any) -> HookRegistry:
    return HookRegistry(spec, client, never, **fields)


async def seen(registry: HookRegistry, instance: Instance) -> Registration:
    return (await registry.look([instance]))[instance.uid]


async def test_the_request_is_filled_with_the_pods_own(client: Client, gateway: Gateway) -> None:
    hook = gateway.hook("/out", method="PUT", headers={"X-Who": "us"}, body='{"pod": "{namespace}/{name}"}')
    await registry(client, Http(withdraw=hook)).withdraw(pod())
    method, url, body, headers = gateway.asked[0]
    assert (method, url, body) == ("PUT", "/out?ip=10.0.0.1", '{"pod": "shop/web-10-0-0-1"}')
    assert headers["X-Who"] == "us"


async def test_withdrawn_seen_gone_and_restored(client: Client, gateway: Gateway) -> None:
    spec = Http(withdraw=gateway.hook("/out"), restore=gateway.hook("/in"), gone=gateway.hook("/gone"))
    hooks = registry(client, spec)
    assert (await seen(hooks, pod())).presence is Presence.PRESENT
    for _ in range(2):
        await hooks.withdraw(pod())
    assert (await seen(hooks, pod(told=True))).presence is Presence.ABSENT
    assert (await seen(hooks, pod(told=True))).fraction == 0.0
    await hooks.restore(pod())
    assert (await seen(hooks, pod())).presence is Presence.PRESENT


async def test_what_has_only_to_be_looked_at_is_told_nothing(client: Client, gateway: Gateway) -> None:
    """A gateway that follows the Service by itself."""
    gateway.body = "http://10.0.0.1:8080, http://10.0.0.2:8080"
    lacks = Expect(lacks="{ip}:8080")
    hooks = registry(client, Http(gone=Hook(url=f"{gateway.url}/services", expect=lacks)))
    assert (await seen(hooks, pod())).presence is Presence.PRESENT
    gateway.body = "http://10.0.0.2:8080"
    out = await seen(hooks, pod())
    assert (out.presence, out.fraction) == (Presence.ABSENT, None)
    assert hooks.settle == timedelta(0)
    with pytest.raises(Refused, match="takes a pod out"):
        await hooks.withdraw(pod())


async def test_without_gone_a_pod_is_present_until_it_is_told_and_unknown_after(
    client: Client, gateway: Gateway
) -> None:
    hooks = registry(client, Http(withdraw=gateway.hook("/out")))
    assert (await seen(hooks, pod())).presence is Presence.PRESENT
    told = await seen(hooks, pod(told=True))
    assert (told.presence, told.fraction) == (Presence.UNKNOWN, 0.0)
    assert gateway.asked == []


async def test_registered_tells_a_pod_that_is_not_in_yet(client: Client, gateway: Gateway) -> None:
    spec = Http(withdraw=gateway.hook("/out"), registered=gateway.hook("/ready"))
    gateway.status = 500
    assert (await seen(registry(client, spec), pod())).presence is Presence.ABSENT
    gateway.status = 200
    assert (await seen(registry(client, spec), pod())).presence is Presence.PRESENT


async def test_a_registered_that_does_not_exist_proves_nothing(client: Client, gateway: Gateway) -> None:
    gateway.status = 404
    spec = Http(withdraw=gateway.hook("/out"), registered=gateway.hook("/ready"))
    assert (await seen(registry(client, spec), pod())).presence is Presence.PRESENT


async def test_a_pod_without_an_address_has_nothing_to_be_asked(client: Client, gateway: Gateway) -> None:
    spec = Http(withdraw=gateway.hook("/out"), gone=gateway.hook("/gone"))
    nowhere = Instance(uid="u", namespace="shop", name="web", node="", addresses=())
    assert (await seen(registry(client, spec), nowhere)).presence is Presence.ABSENT
    assert gateway.asked == []


@pytest.mark.parametrize(
    ("expect", "status", "body", "fits"),
    [
        (Expect(), 200, "", True),
        (Expect(), 204, "", True),
        (Expect(), 302, "", False),
        (Expect(status=[404]), 404, "", True),
        (Expect(status=[503]), 503, "", True),
        (Expect(status=[404]), 200, "", False),
        (Expect(contains="OK"), 200, "all OK", True),
        (Expect(contains="OK"), 200, "service not found", False),
        (Expect(contains="(a+)+$"), 200, "a" * 5000, False),
        (Expect(contains="{ip}:80"), 200, "10.0.0.1:80", True),
        (Expect(lacks="{ip}:80"), 200, "10.0.0.1:80", False),
        (Expect(lacks="{ip}:80"), 200, "10.0.0.2:80", True),
        (Expect(lacks="{ip}:80"), 200, "x" * (MAX_BODY + 1), False),
        (Expect(contains="end"), 200, "x" * MAX_BODY + "end", False),
    ],
)
async def test_what_an_answer_must_be(
    client: Client, gateway: Gateway, expect: Expect, status: int, body: str, fits: bool
) -> None:
    gateway.status, gateway.body = status, body
    hooks = registry(
        client, Http(withdraw=gateway.hook("/list", expect=expect), gone=gateway.hook("/list", expect=expect))
    )
    assert (await seen(hooks, pod())).presence is (Presence.ABSENT if fits else Presence.PRESENT)
    if fits:
        await hooks.withdraw(pod())
    else:
        with pytest.raises(Refused, match=f"withdraw was answered {status}"):
            await hooks.withdraw(pod())


@pytest.mark.parametrize(
    ("status", "kind"), [(500, Unreachable), (503, Unreachable), (429, Unreachable), (403, Refused), (404, Refused)]
)
async def test_an_answer_that_says_no(client: Client, gateway: Gateway, status: int, kind: type[RegistryError]) -> None:
    gateway.status = status
    with pytest.raises(kind):
        await registry(client, Http(withdraw=gateway.hook("/out"))).withdraw(pod())


@pytest.mark.parametrize("status", [401, 403, 500, 503])
async def test_a_gone_that_is_not_answered_says_nothing(client: Client, gateway: Gateway, status: int) -> None:
    gateway.status = status
    hooks = registry(client, Http(withdraw=gateway.hook("/out"), gone=gateway.hook("/list")))
    said = await seen(hooks, pod(told=True))
    assert (said.presence, said.refused) == (Presence.UNANSWERED, status < 500)


async def test_one_pod_that_cannot_be_asked_leaves_the_others_answers(client: Client) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=500 if request.query["ip"] == "10.0.0.1" else 200)

    async with serving(handler) as port:
        gone = Hook(url=f"http://127.0.0.1:{port}/?ip={{ip}}")
        pods = [pod(), pod("10.0.0.2")]
        found = await registry(client, Http(withdraw=gone, gone=gone)).look(pods)
    assert [found[each.uid].presence for each in pods] == [Presence.UNANSWERED, Presence.ABSENT]


async def test_without_a_way_back_a_restore_is_refused(client: Client, gateway: Gateway) -> None:
    with pytest.raises(Refused, match="puts a pod back"):
        await registry(client, Http(withdraw=gateway.hook("/out"))).restore(pod())


async def test_secret_headers_are_sent_and_never_told(client: Client, gateway: Gateway) -> None:
    key = SecretKey(name="gateway", key="token")
    spec = Http(withdraw=gateway.hook("/out"), gone=gateway.hook("/list"), secret_headers={"X-Token": key})
    hooks = registry(client, spec, secret_headers={"X-Token": SECRET + "\n"})  # as `echo` leaves it in a Secret
    gateway.status, gateway.body = 403, SECRET
    with pytest.raises(Refused) as refused:
        await hooks.withdraw(pod())
    assert gateway.asked[0][3]["X-Token"] == SECRET
    assert SECRET not in str(refused.value)
    assert SECRET not in repr(await seen(hooks, pod()))


async def test_what_is_in_a_url_is_never_told(client: Client) -> None:
    hook = Hook(url=f"http://127.0.0.1:{await refusing()}/{{ip}}?token={SECRET}")
    hooks = registry(client, Http(withdraw=hook, gone=hook))
    with pytest.raises(Unreachable) as unreachable:
        await hooks.withdraw(pod())
    assert SECRET not in str(unreachable.value)
    assert SECRET not in (await seen(hooks, pod())).evidence


@pytest.mark.parametrize("headers", [{"X-A": "a\r\nX-B: b"}, {"X-A\r\nX-B": "b"}, {"X A": "b"}, {"": "b"}, {"X": "ü"}])
def test_a_header_that_would_be_two_is_refused(client: Client, headers: dict[str, str]) -> None:
    with pytest.raises(Refused, match="header") as refused:
        registry(client, Http(withdraw=Hook(url="http://{ip}/")), secret_headers={**headers, "X-Token": SECRET})
    assert SECRET not in str(refused.value)


def test_a_hook_that_can_never_be_sent_is_refused_at_once(client: Client) -> None:
    with pytest.raises(Refused):
        registry(client, Http(withdraw=Hook(url="http://{ip}/"), gone=Hook(url="http://{name}/")))


def test_no_secret_goes_onto_a_command_line(client: Client) -> None:
    spec = Http(withdraw=Hook(url="http://127.0.0.1/"), place=Place.POD)
    with pytest.raises(Refused, match="secretHeaders"):
        registry(client, spec, secret_headers={"X-Token": SECRET})


async def test_inside_the_pod_its_first_container_is_asked_unless_another_is_named(
    client: Client, gateway: Gateway, tmp_path: Path
) -> None:
    here = Here(tmp_path, "curl")
    spec = Http(withdraw=gateway.hook("/out"), gone=gateway.hook("/gone"), place=Place.POD)
    hooks = HookRegistry(spec, client, here)
    await hooks.withdraw(pod())
    assert (await seen(hooks, pod(told=True))).presence is Presence.ABSENT
    await HookRegistry(spec.model_copy(update={"container": "log"}), client, here).withdraw(pod())
    assert [container for _, _, container in here.where] == ["app", "app", "log"]


async def test_the_next_address_is_asked_where_the_first_is_not_known(client: Client) -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=404 if request.path == "/new" else 200)

    async with serving(handler) as port:
        new, old = (Http(withdraw=Hook(url=f"http://127.0.0.1:{port}/{name}")) for name in ("new", "old"))
        await registry(client, new, otherwise=[old]).withdraw(pod())
    assert asked == ["/new", "/old"]


async def test_it_has_no_weights(client: Client, gateway: Gateway) -> None:
    hooks = registry(client, Http(withdraw=gateway.hook("/out")))
    assert not hooks.weighs
    with pytest.raises(Refused):
        await hooks.weigh(pod(), 0.5)
