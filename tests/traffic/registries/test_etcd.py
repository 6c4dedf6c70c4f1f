"""etcd, a real one: keys deleted while a pod is out, and put back under the application's own lease."""

import asyncio
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from aiohttp import web

from lossless.api import traffic
from lossless.core.world import Presence
from lossless.traffic.registries.client import Client
from lossless.traffic.registries.errors import Changed, Nonsense, Refused, Unreachable
from lossless.traffic.registries.etcd import MAX_ORIGINAL, EtcdRegistry
from lossless.traffic.registries.registry import Instance, Registration
from tests.pods.servers import refusing, serving, text
from tests.traffic.registries.pods import pod
from tests.traffic.registries.real_etcd import Etcd, b64, running

LOGIN = ("app", "sesame")
_numbers = itertools.count()


@pytest.fixture(scope="module")
def etcd() -> Iterator[Etcd]:
    with running() as etcd:
        yield etcd


@dataclass
class Shop:
    """The keys of one service, below a prefix that no other test has."""

    etcd: Etcd
    prefix: str
    registry: EtcdRegistry

    def key(self, name: str) -> str:
        return f"{self.prefix}{name}"

    def has(self, name: str) -> bool:
        return self.etcd.get(self.key(name)) is not None

    async def seen(self, instance: Instance) -> Registration:
        return (await self.registry.look([instance]))[instance.uid]

    async def noted(self, instance: Instance) -> Instance:
        """The pod with what `look` says has to be kept, as whoever calls the registry does it."""
        seen = await self.seen(instance)
        keep = seen.original and (seen.replaces or not instance.original)
        return replace(instance, original=seen.original) if keep else instance

    async def withdrawn(self, instance: Instance) -> Instance:
        instance = await self.noted(instance)
        await self.registry.withdraw(instance)
        return replace(instance, told=True)


def shop_of(etcd: Etcd, client: Client, *endpoints: str, login: tuple[str, str] | None = None) -> Shop:
    prefix = f"/app/{next(_numbers)}/"
    spec = traffic.Etcd(endpoints=list(endpoints) or [etcd.url], prefix=prefix)
    return Shop(etcd, prefix, EtcdRegistry(spec, client, login=login))


@pytest.fixture
def shop(etcd: Etcd, client: Client) -> Shop:
    return shop_of(etcd, client)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("7587869", "10.0.0.1:8080"),  # go-zero
        ("web/uid", '{"id":"uid","endpoints":["http://10.0.0.1:8080?isSecure=false"]}'),  # kratos
        ("10.0.0.1:8080", "{}"),
        ("web/1", '{"ip":"10.0.0.1","port":8080}'),
        ("providers/tri%3A%2F%2F10.0.0.1%3A8080%2Fshop", ""),
        ("web/2", b"\x0a\x0d10.0.0.1:8080\x10\xff"),
    ],
)
async def test_a_key_is_a_pods_by_address_and_port_in_key_or_value(shop: Shop, key: str, value: str | bytes) -> None:
    shop.etcd.put(shop.key(key), value)
    seen = await shop.seen(pod())
    assert (seen.presence, seen.fraction) == (Presence.PRESENT, 1.0)


@pytest.mark.parametrize(
    "value",
    [
        "10.0.0.11:8080",
        "110.0.0.1:8080",
        "1.10.0.0.1:8080",
        "10.0.0.1:80801",
        "10.0.0.1:9090",
        '{"ip":"10.0.0.11","port":8080}',
        '{"ip":"10.0.0.1","port":18080}',
    ],
)
async def test_an_address_that_is_only_alike_is_another_pods(shop: Shop, value: str) -> None:
    shop.etcd.put(shop.key("1"), value)
    assert (await shop.seen(pod())).presence is Presence.ABSENT


async def test_without_a_port_the_address_alone_counts(shop: Shop) -> None:
    shop.etcd.put(shop.key("1"), "10.0.0.11")
    assert (await shop.seen(pod(port=None))).presence is Presence.ABSENT
    shop.etcd.put(shop.key("2"), "at 10.0.0.1.")
    assert (await shop.seen(pod(port=None))).presence is Presence.PRESENT


async def test_ipv6_is_found_with_its_port(shop: Shop) -> None:
    shop.etcd.put(shop.key("1"), "http://[fd00::1]:8080")
    assert (await shop.seen(pod("fd00::1"))).presence is Presence.PRESENT
    assert (await shop.seen(pod("fd00::"))).presence is Presence.ABSENT
    assert (await shop.seen(pod("d00::1"))).presence is Presence.ABSENT


async def test_a_pod_without_a_key_is_absent_with_no_fraction(shop: Shop) -> None:
    seen = await shop.seen(pod())
    assert (seen.presence, seen.fraction, seen.original) == (Presence.ABSENT, None, "")
    seen = await shop.seen(await shop.withdrawn(pod()))
    assert seen.fraction is None, "there was nothing to delete, so it was not taken out by that"


async def test_a_withdrawn_pod_is_absent_and_the_others_stay(shop: Shop) -> None:
    shop.etcd.put(shop.key("1"), "10.0.0.1:8080")
    shop.etcd.put(shop.key("11"), "10.0.0.11:8080")
    gone = await shop.withdrawn(pod())
    seen = await shop.seen(gone)
    assert (seen.presence, seen.fraction) == (Presence.ABSENT, 0.0)
    assert shop.has("11")
    await shop.registry.withdraw(gone)


async def test_a_restored_key_is_as_it_was_under_the_applications_own_lease(shop: Shop) -> None:
    lease = shop.etcd.lease()
    shop.etcd.put(shop.key("1"), b"\x00\xff10.0.0.1:8080", lease)
    gone = await shop.withdrawn(pod())
    for _ in range(2):
        await shop.registry.restore(gone)
        assert shop.etcd.get(shop.key("1")) == (b"\x00\xff10.0.0.1:8080", lease)
    shop.etcd.revoke(lease)
    assert not shop.has("1")


async def test_renewing_the_lease_does_not_bring_a_deleted_key_back(shop: Shop) -> None:
    lease = shop.etcd.lease()
    shop.etcd.put(shop.key("1"), "10.0.0.1:8080", lease)
    gone = await shop.withdrawn(pod())
    shop.etcd.ask("lease/keepalive", {"ID": lease})
    assert (await shop.seen(gone)).presence is Presence.ABSENT


async def test_there_is_no_way_back_under_a_lease_that_has_ended(shop: Shop) -> None:
    lease = shop.etcd.lease()
    shop.etcd.put(shop.key("1"), "10.0.0.1:8080", lease)
    gone = await shop.withdrawn(pod())
    shop.etcd.revoke(lease)
    with pytest.raises(Refused, match="lease"):
        await shop.registry.restore(gone)
    assert not shop.has("1")


async def test_a_key_that_had_no_lease_gets_none(shop: Shop) -> None:
    shop.etcd.put(shop.key("1"), "10.0.0.1:8080")
    await shop.registry.restore(await shop.withdrawn(pod()))
    assert shop.etcd.get(shop.key("1")) == (b"10.0.0.1:8080", 0)


async def test_a_key_that_its_owner_has_written_again_is_left_alone_by_a_restore(shop: Shop) -> None:
    old, new = shop.etcd.lease(), shop.etcd.lease()
    shop.etcd.put(shop.key("1"), "10.0.0.1:8080", old)
    gone = await shop.withdrawn(pod())
    shop.etcd.put(shop.key("1"), '{"addr":"10.0.0.1:8080"}', new)
    await shop.registry.restore(gone)
    assert shop.etcd.get(shop.key("1")) == (b'{"addr":"10.0.0.1:8080"}', new)


async def test_an_owner_that_registered_again_under_another_key_needs_no_restore(shop: Shop) -> None:
    old = shop.etcd.lease()
    shop.etcd.put(shop.key(str(old)), "10.0.0.1:8080", old)
    gone = await shop.withdrawn(pod())
    shop.etcd.revoke(old)
    new = shop.etcd.lease()
    shop.etcd.put(shop.key(str(new)), "10.0.0.1:8080", new)
    await shop.registry.restore(gone)
    assert not shop.has(str(old))


async def test_a_key_that_comes_back_is_seen_noted_and_taken_out_again(shop: Shop) -> None:
    old, new = shop.etcd.lease(), shop.etcd.lease()
    shop.etcd.put(shop.key(str(old)), "10.0.0.1:8080", old)
    gone = await shop.withdrawn(pod())
    shop.etcd.revoke(old)
    shop.etcd.put(shop.key(str(new)), "10.0.0.1:8080", new)
    assert (await shop.seen(gone)).presence is Presence.PRESENT
    with pytest.raises(Changed):
        await shop.registry.withdraw(gone)
    gone = await shop.withdrawn(gone)
    assert not shop.has(str(new))
    await shop.registry.restore(gone)
    assert shop.etcd.get(shop.key(str(new))) == (b"10.0.0.1:8080", new)


async def test_nothing_is_deleted_that_was_not_noted(shop: Shop) -> None:
    shop.etcd.put(shop.key("1"), "10.0.0.1:8080")
    with pytest.raises(Changed):
        await shop.registry.withdraw(pod())
    assert shop.has("1")


async def test_what_was_noted_of_a_deleted_key_is_kept_while_another_is_still_there(shop: Shop) -> None:
    shop.etcd.put(shop.key("grpc"), "grpc://10.0.0.1:8080")
    shop.etcd.put(shop.key("http"), "http://10.0.0.1:8080")
    half = await shop.noted(pod())
    shop.etcd.ask("kv/deleterange", {"key": b64(shop.key("grpc"))})
    await shop.registry.restore(await shop.withdrawn(half))
    assert shop.has("grpc")
    assert shop.has("http")


async def test_a_key_written_between_reading_and_deleting_is_not_deleted_unnoted(shop: Shop, client: Client) -> None:
    shop.etcd.put(shop.key("1"), "10.0.0.1:8080")
    noted = await shop.noted(pod())

    async def meddling(request: web.Request) -> web.Response:
        """In front of etcd: somebody writes just before each transaction."""
        what = request.path.removeprefix("/v3/")
        if what == "kv/txn":
            await asyncio.to_thread(shop.etcd.put, shop.key("1"), "10.0.0.1:8080/new")
        return web.json_response(await asyncio.to_thread(shop.etcd.ask, what, await request.json()))

    async with serving(meddling) as port:
        spec = traffic.Etcd(endpoints=[f"http://127.0.0.1:{port}"], prefix=shop.prefix)
        with pytest.raises(Changed):
            await EtcdRegistry(spec, client).withdraw(noted)
    assert shop.has("1")


async def test_a_key_too_large_to_keep_is_refused(shop: Shop) -> None:
    shop.etcd.put(shop.key("1"), "10.0.0.1:8080 " + "x" * MAX_ORIGINAL)
    seen = await shop.seen(pod())
    assert (seen.presence, seen.original) == (Presence.PRESENT, "")
    with pytest.raises(Refused, match="larger"):
        await shop.registry.withdraw(pod())
    assert shop.has("1")


async def test_a_key_with_the_whole_list_of_instances_is_not_deleted_for_one(shop: Shop) -> None:
    shop.etcd.put(shop.key("all"), json.dumps(["10.0.0.1:8080", "10.0.0.2:8080"]))
    with pytest.raises(Refused, match="other instances"):
        await shop.withdrawn(pod())
    assert shop.has("all")


async def test_an_endpoint_that_is_down_keeps_nobody_waiting(etcd: Etcd, client: Client) -> None:
    shop = shop_of(etcd, client, f"http://127.0.0.1:{await refusing()}", etcd.url)
    etcd.put(shop.key("1"), "10.0.0.1:8080")
    gone = await shop.withdrawn(pod())
    assert (await shop.seen(gone)).presence is Presence.ABSENT
    await shop.registry.restore(gone)
    assert shop.has("1")


async def test_with_no_endpoint_nobody_knows(etcd: Etcd, client: Client) -> None:
    shop = shop_of(etcd, client, f"http://127.0.0.1:{await refusing()}")
    with pytest.raises(Unreachable):
        await shop.seen(pod())


async def test_an_etcd_without_its_gateway_is_named_as_such(etcd: Etcd, client: Client) -> None:
    async with serving(text("404 page not found", 404)) as port:
        with pytest.raises(Refused, match="gateway"):
            await shop_of(etcd, client, f"http://127.0.0.1:{port}").seen(pod())


async def test_an_answer_that_is_not_etcds_is_nonsense(etcd: Etcd, client: Client) -> None:
    async with serving(text("hello")) as port:
        with pytest.raises(Nonsense):
            await shop_of(etcd, client, f"http://127.0.0.1:{port}").seen(pod())


async def test_a_login_is_used_and_renewed_when_its_token_has_ended(etcd: Etcd, client: Client) -> None:
    shop = shop_of(etcd, client, login=LOGIN)
    lease = etcd.lease()
    etcd.put(shop.key("1"), "10.0.0.1:8080", lease)
    with etcd.with_users():
        gone = await shop.withdrawn(pod())
        await asyncio.sleep(3)  # the token's life here is a second
        assert (await shop.seen(gone)).presence is Presence.ABSENT
        await shop.registry.restore(gone)
    assert etcd.get(shop.key("1")) == (b"10.0.0.1:8080", lease)


async def test_who_may_not_is_refused_and_no_password_is_repeated(etcd: Etcd, client: Client) -> None:
    with etcd.with_users():
        for login in (None, ("app", "hunter2"), ("nobody", "hunter2")):
            with pytest.raises(Refused, match="login") as refused:
                await shop_of(etcd, client, login=login).seen(pod())
            assert "hunter2" not in str(refused.value)
        elsewhere = traffic.Etcd(endpoints=[etcd.url], prefix="/elsewhere/")
        with pytest.raises(Refused, match="403"):
            await EtcdRegistry(elsewhere, client, login=LOGIN).look([pod()])


async def test_it_has_no_weights(shop: Shop) -> None:
    assert not shop.registry.weighs
    with pytest.raises(Refused):
        await shop.registry.weigh(pod(), 0.5)
