"""Requests to registries: bounded, and never to where only the operator could go."""

import asyncio
import ssl
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from localcluster import pki
from lossless.traffic.registries import client as subject
from lossless.traffic.registries.client import Client, GuardedResolver, host_of, is_allowed, session
from lossless.traffic.registries.errors import Nonsense, Refused, Unreachable
from lossless.traffic.registries.tls import context
from tests.pods.servers import refusing, resetting, serving, text
from tests.registries.conftest import anywhere


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.8.8.8",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "169.254.169.254",
        "fe80::1%eth0",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
        "100.100.100.200",
        "168.63.129.16",
        "fd00:ec2::254",
    ],
)
def test_the_operator_does_not_go_to_its_own_host_nor_to_its_cloud(address: str) -> None:
    assert not is_allowed(address)


@pytest.mark.parametrize("address", ["10.96.0.1", "192.168.1.9", "172.16.0.4", "fd12::7", "203.0.113.9"])
def test_it_goes_where_pods_and_services_are(address: str) -> None:
    assert is_allowed(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "http://[::1]:{port}/",
        "http://[::ffff:127.0.0.1]:{port}/",
        "http://[::ffff:7f00:1]:{port}/",
        "http://169.254.169.254/latest/meta-data",
        "http://0.0.0.0:{port}/",
        "http://2130706433:{port}/",
        "http://017700000001:{port}/",
        "http://0177.0.0.1:{port}/",
        "http://127.1:{port}/",
        "http://0x7f000001:{port}/",
        "http://0x7f.1:{port}/",
        "http://localhost:{port}/",
        "http://LOCALHOST.:{port}/",
        "http://user@127.0.0.1:{port}/",
        "http://127.0.0.1:{port}#@example.com/",
    ],
)
async def test_no_spelling_of_this_host_gets_through(url: str) -> None:
    reached = []

    async def handler(request: web.Request) -> web.Response:
        reached.append(request.path)
        return web.Response()

    async with serving(handler) as port:
        guarded = Client(session(), timeout=30)
        try:
            # What a system does not take for an address at all, it does not find: that is as good.
            with pytest.raises((Refused, Unreachable)):
                await guarded.request("GET", url.format(port=port))
        finally:
            await guarded.close()
    assert reached == []


async def test_a_name_that_means_this_host_is_refused_when_it_is_looked_up() -> None:
    resolver = GuardedResolver()
    try:
        with pytest.raises(subject.Forbidden):
            await resolver.resolve("localhost", 80)
    finally:
        await resolver.close()


async def test_of_a_name_with_several_addresses_only_those_that_are_allowed_are_used() -> None:
    resolver = GuardedResolver(lambda address: address != "127.0.0.1")
    resolver._resolver = _Answering(["127.0.0.1", "10.1.2.3"])
    assert [one["host"] for one in await resolver.resolve("both", 80)] == ["10.1.2.3"]
    await resolver.close()


class _Answering(aiohttp.abc.AbstractResolver):
    def __init__(self, addresses: list[str]) -> None:
        self._addresses = addresses

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[aiohttp.abc.ResolveResult]:
        return [
            {"hostname": host, "host": address, "port": port, "family": family, "proto": 0, "flags": 0}
            for address in self._addresses
        ]

    async def close(self) -> None:
        pass


async def test_redirects_are_not_followed(client: Client) -> None:
    paths = []

    async def handler(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response(status=302, headers={"Location": "/elsewhere"})

    async with serving(handler) as port:
        answer = await client.request("GET", f"http://127.0.0.1:{port}/here")
    assert (answer.status, answer.ok, paths) == (302, False, ["/here"])


async def test_cookies_are_not_kept(client: Client) -> None:
    seen = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(dict(request.cookies))
        answer = web.Response()
        answer.set_cookie("session", "1")
        return answer

    async with serving(handler) as port:
        for _ in range(2):
            await client.request("GET", f"http://127.0.0.1:{port}/")
    assert seen == [{}, {}]


async def test_a_fault_of_the_server_is_unreachable(client: Client) -> None:
    async with serving(text("stack trace", 503)) as port:
        with pytest.raises(Unreachable, match=r"^127\.0\.0\.1:\d+ answered 503$"):
            await client.request("GET", f"http://127.0.0.1:{port}/")


async def test_silence_is_unreachable_after_the_timeout(client: Client) -> None:
    async def handler(_: web.Request) -> web.Response:
        await asyncio.sleep(3600)
        return web.Response()

    async with serving(handler) as port:
        with pytest.raises(Unreachable, match=r"gave no answer within 0\.05 s"):
            await client.request("GET", f"http://127.0.0.1:{port}/", timeout=0.05)


async def test_nobody_there_is_unreachable(client: Client) -> None:
    with pytest.raises(Unreachable, match="no connection to"):
        await client.request("GET", f"http://127.0.0.1:{await refusing()}/")


async def test_a_broken_connection_is_unreachable(client: Client) -> None:
    async with resetting() as port:
        with pytest.raises(Unreachable, match="broke"):
            await client.request("GET", f"http://127.0.0.1:{port}/")


async def test_one_broken_connection_is_made_up_for(client: Client) -> None:
    times = 0

    async def handler(request: web.Request) -> web.Response:
        nonlocal times
        times += 1
        if times == 1:
            assert request.transport
            request.transport.abort()
        return web.Response(text="fine")

    async with serving(handler) as port:
        assert (await client.request("GET", f"http://127.0.0.1:{port}/")).body == b"fine"


@pytest.mark.parametrize(("method", "most"), [("POST", subject.ATTEMPTS), ("PUT", 2 * subject.ATTEMPTS)])
async def test_where_every_connection_breaks_it_is_given_up_soon(client: Client, method: str, most: int) -> None:
    """Of those that may be repeated aiohttp itself makes each once more."""
    asked = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.method)
        assert request.transport
        request.transport.abort()
        return web.Response()

    async with serving(handler) as port:
        with pytest.raises(Unreachable, match="broke"):
            await client.request(method, f"http://127.0.0.1:{port}/")
    assert asked == [method] * most


@pytest.mark.parametrize("status", [404, 429, 500, 503])
async def test_an_answer_whatever_it_is_is_not_asked_for_again(client: Client, status: int) -> None:
    """Whoever calls comes again by itself, in its own time."""
    asked = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=status)

    async with serving(handler) as port:
        with suppress(Unreachable):
            await client.request("GET", f"http://127.0.0.1:{port}/list")
    assert asked == ["/list"]


async def test_an_endless_answer_is_nonsense(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "MAX_BODY", 1024)
    async with serving(text("x" * 5000)) as port:
        with pytest.raises(Nonsense, match="more than"):
            await client.request("GET", f"http://127.0.0.1:{port}/")


async def test_what_is_not_json_is_nonsense_and_not_repeated(client: Client) -> None:
    async with serving(text("<secret>")) as port:
        answer = await client.request("GET", f"http://127.0.0.1:{port}/")
    with pytest.raises(Nonsense) as raised:
        answer.json()
    assert "secret" not in str(raised.value)
    assert "secret" not in repr(answer)


@pytest.mark.parametrize("url", ["http://[", "http://300.1.1.1/", "http://1.2.3/", "http://a\\b/", "http://x:99999/"])
async def test_what_makes_no_address_is_refused(client: Client, url: str) -> None:
    guarded = Client(client.http, timeout=30)
    with pytest.raises(Refused, match="makes no address"):
        await guarded.request("GET", url)


def test_a_host_is_told_without_what_else_is_in_the_address() -> None:
    assert host_of("http://user:pass@nacos-0:8848/nacos?token=t") == "nacos-0:8848"
    assert host_of("http://[") == "the address"


@asynccontextmanager
async def _https(directory: Path) -> AsyncIterator[tuple[int, bytes]]:
    """A server for 127.0.0.1 and registry.example; gives its port and its authority."""
    made = pki.make(directory, ["127.0.0.1"], ["registry.example"])
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(made.server_cert, made.server_key)
    app = web.Application()
    app.router.add_get("/", text("fine"))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield runner.addresses[0][1], made.ca.read_bytes()
    finally:
        await runner.cleanup()


async def _get(url: str, tls: ssl.SSLContext, server_name: str = "") -> bytes:
    asking = Client(session(tls, allowed=anywhere), timeout=30, server_name=server_name, allowed=anywhere)
    try:
        return (await asking.request("GET", url)).body
    finally:
        await asking.close()


async def test_a_certificate_is_checked_against_the_authority_that_was_named(tmp_path: Path) -> None:
    async with _https(tmp_path) as (port, ca):
        url = f"https://127.0.0.1:{port}/"
        assert await _get(url, context(ca)) == b"fine"
        with pytest.raises(Refused, match="no certificate that is trusted here"):
            await _get(url, context())


async def test_the_name_in_a_certificate_is_checked_and_can_be_another_than_the_hosts(tmp_path: Path) -> None:
    async with _https(tmp_path) as (port, ca):
        url = f"https://127.0.0.1:{port}/"
        assert await _get(url, context(ca), "registry.example") == b"fine"
        with pytest.raises(Refused, match="no certificate that is trusted here"):
            await _get(url, context(ca), "nacos.example")


async def test_no_tls_where_tls_was_wanted_is_refused(client: Client) -> None:
    async with serving(text("plain")) as port:
        with pytest.raises(Refused, match="no certificate"):
            await client.request("GET", f"https://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"rubbish",
        b"\xff\xfe\x00",
        b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n\xe4\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n",
    ],
)
def test_rubbish_instead_of_certificates_is_refused_and_not_repeated(pem: bytes) -> None:
    with pytest.raises(Refused, match=r"^the certificates to trust") as raised:
        context(pem)
    assert "c2VjcmV0" not in "".join(traceback.format_exception(raised.value))


def test_names_and_certificates_are_always_checked() -> None:
    made = context()
    assert made.check_hostname
    assert made.verify_mode is ssl.CERT_REQUIRED
