"""The gateway against a server that fails in every way that an API server, or what stands before it, can fail."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import ApiClient, Configuration

from lossless.cluster.errors import Conflict, Expired, Forbidden, Invalid, NotFound, NotLeading, Unavailable
from lossless.cluster.gateway import ATTEMPTS, Gateway, PatchType
from lossless.cluster.resources import LEASES, PODS

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """Gives one prepared answer after the other; the last one again and again."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[tuple[str, str, str, object]] = []

    def prepare(self, *answers: Answer) -> None:
        self.answers = list(answers)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append(
            (request.method, str(request.rel_url), request.headers.get("Content-Type", ""), json.loads(body or b"null"))
        )
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        return await answer(request)


def status(code: int, message: str = "no", **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({"kind": "Status", "message": message}, status=code, headers=headers)

    return answer


def ok(body: object) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(body)

    return answer


async def prose(_: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>Bad Gateway</html>", status=502)


async def cut_off(request: web.Request) -> web.StreamResponse:
    """The connection ends before the answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def half(request: web.Request) -> web.StreamResponse:
    """The connection ends in the middle of the answer."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b'{"metadata":')
    assert request.transport is not None
    request.transport.close()
    return response


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, str]]:
    handler = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler.handle)
    async with TestServer(app) as running:
        yield handler, str(running.make_url("/")).rstrip("/")


@pytest.fixture
async def client(server: tuple[Server, str]) -> AsyncIterator[ApiClient]:
    configuration = Configuration(host=server[1])
    configuration.api_key["BearerToken"] = "Bearer secret"
    async with ApiClient(configuration) as made:
        yield made


@pytest.fixture
def api(server: tuple[Server, str]) -> Server:
    return server[0]


@pytest.fixture
def counted() -> list[tuple[str, str, int]]:
    return []


@pytest.fixture
def gateway(client: ApiClient, counted: list[tuple[str, str, int]]) -> Gateway:
    return Gateway(client, lambda verb, resource, code: counted.append((verb, resource, code)))


@pytest.mark.parametrize("failure", [status(429), status(500), status(503), prose, cut_off, half])
async def test_what_may_succeed_later_is_tried_again(api: Server, gateway: Gateway, failure: Answer) -> None:
    api.prepare(failure, ok({"metadata": {"name": "a"}}))
    assert await gateway.get(PODS, "shop", "a") == {"metadata": {"name": "a"}}
    assert len(api.requests) == 2


@pytest.mark.parametrize("failure", [status(503), cut_off])
async def test_a_patch_that_may_have_come_through_is_tried_again(
    api: Server, gateway: Gateway, failure: Answer
) -> None:
    api.prepare(failure, ok({"metadata": {"name": "a"}}))
    await gateway.patch(PODS, "shop", "a", {"metadata": {"uid": "u"}}, "status", PatchType.STRATEGIC)
    assert len(api.requests) == 2


async def test_what_goes_on_failing_is_given_up(api: Server, gateway: Gateway) -> None:
    api.prepare(status(503, "etcd is away"))
    with pytest.raises(Unavailable, match="GET /api/v1/namespaces/shop/pods/a: 503: etcd is away"):
        await gateway.get(PODS, "shop", "a")
    assert len(api.requests) == ATTEMPTS


@pytest.mark.parametrize(
    ("code", "error"),
    [(404, NotFound), (409, Conflict), (403, Forbidden), (422, Invalid), (400, Invalid), (410, Expired)],
)
async def test_what_asking_again_does_not_mend_is_said_at_once(
    api: Server, gateway: Gateway, code: int, error: type[Exception]
) -> None:
    api.prepare(status(code))
    with pytest.raises(error):
        await gateway.get(PODS, "shop", "a")
    assert len(api.requests) == 1


async def test_nobody_there_is_unavailable(client: ApiClient) -> None:
    client.configuration.host = "http://127.0.0.1:1"
    with pytest.raises(Unavailable, match="no answer"):
        await Gateway(client).get(PODS, "shop", "a")


async def test_a_create_is_not_repeated(api: Server, gateway: Gateway) -> None:
    api.prepare(status(503), ok({}))
    with pytest.raises(Unavailable):
        await gateway.create(LEASES, "shop", {})
    assert len(api.requests) == 1


async def test_a_server_that_asks_for_time_is_given_it(api: Server, gateway: Gateway) -> None:
    api.prepare(status(429, **{"Retry-After": "0"}), ok({}))
    await gateway.get(PODS, "shop", "a")
    assert len(api.requests) == 2


async def test_a_list_is_read_page_by_page(api: Server, gateway: Gateway) -> None:
    api.prepare(
        ok({"metadata": {"continue": "more", "resourceVersion": "7"}, "items": [{"metadata": {"name": "a"}}]}),
        ok({"metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "b"}}]}),
    )
    listing = await gateway.list(PODS, "shop", "app=web")
    assert [item["metadata"]["name"] for item in listing.items] == ["a", "b"]
    assert listing.resource_version == "7"
    assert api.requests[0][1] == "/api/v1/namespaces/shop/pods?limit=500&labelSelector=app%3Dweb"
    assert "continue=more" in api.requests[1][1]


async def test_a_list_whose_rest_has_expired_begins_anew_and_in_one_go(api: Server, gateway: Gateway) -> None:
    api.prepare(
        ok({"metadata": {"continue": "more"}, "items": [{"metadata": {"name": "old"}}]}),
        status(410),
        ok({"metadata": {"resourceVersion": "9"}, "items": [{"metadata": {"name": "new"}}]}),
    )
    listing = await gateway.list(PODS, None, "app=web")
    assert [item["metadata"]["name"] for item in listing.items] == ["new"]
    assert api.requests[2][1] == "/api/v1/pods?labelSelector=app%3Dweb"


async def test_a_list_of_nothing_may_say_null(api: Server, gateway: Gateway) -> None:
    api.prepare(ok({"metadata": {}, "items": None}))
    assert (await gateway.list(PODS)).items == ()


async def test_the_patch_type_is_said_and_nulls_are_kept(api: Server, gateway: Gateway) -> None:
    api.prepare(ok({}))
    await gateway.patch(PODS, "shop", "a", {"metadata": {"annotations": {"x": None}}}, "status", PatchType.STRATEGIC)
    method, path, content_type, body = api.requests[0]
    assert (method, path) == ("PATCH", "/api/v1/namespaces/shop/pods/a/status")
    assert content_type == "application/strategic-merge-patch+json"
    assert body == {"metadata": {"annotations": {"x": None}}}


async def test_every_attempt_is_counted_under_its_verb_and_resource(
    api: Server, gateway: Gateway, counted: list[tuple[str, str, int]]
) -> None:
    api.prepare(status(503), cut_off, ok({}))
    await gateway.patch(PODS, "shop", "a", {}, "status")
    assert counted == [("patch", "pods/status", 503), ("patch", "pods/status", 0), ("patch", "pods/status", 200)]


async def test_who_does_not_lead_reads_but_writes_nothing(api: Server, client: ApiClient) -> None:
    gateway = Gateway(client, may_write=lambda: False)
    api.prepare(ok({}))
    await gateway.get(PODS, "shop", "a")
    with pytest.raises(NotLeading):
        await gateway.patch(PODS, "shop", "a", {}, "status")
    assert [method for method, *_ in api.requests] == ["GET"]


async def test_the_lease_may_be_lost_between_two_attempts(api: Server, client: ApiClient) -> None:
    leads = iter([True, False])
    gateway = Gateway(client, may_write=lambda: next(leads))
    api.prepare(status(503), ok({}))
    with pytest.raises(NotLeading):
        await gateway.patch(PODS, "shop", "a", {}, "status")
    assert len(api.requests) == 1
