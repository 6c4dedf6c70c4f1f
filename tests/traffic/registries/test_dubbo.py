"""Dubbo in ZooKeeper: what is looked for, what is written, and what is left alone."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from aiohttp import web

from lossless.api import traffic
from lossless.core.world import Presence
from lossless.traffic.registries.client import Client
from lossless.traffic.registries.dubbo import KNOWN_FOR, LEFT_AFTER, DubboRegistry
from lossless.traffic.registries.errors import Nonsense, Refused, RegistryError, Unreachable
from lossless.traffic.registries.registry import Instance
from tests.traffic.registries.fake_znodes import FakeZnodes
from tests.traffic.registries.pods import pod

CART, PAY = "org.shop.Cart", "org.shop.Pay"
RULE = f"/dubbo/config/dubbo/{CART}::.configurators"
ROUTER = f"/dubbo/config/dubbo/{CART}::.condition-router"
OLD, NEW = pod("10.0.0.1", 20880), pod("10.0.0.2", 20880)


class Shop:
    """An application, registered as Dubbo does it, and our file for it."""

    def __init__(self, client: Client | None = None, via: str = "Rule", qos_port: int = 22222) -> None:
        self.znodes = FakeZnodes()
        self.now = 1_700_000_000.0
        self.client = client
        self.named = traffic.Dubbo.model_validate(
            {"zookeeper": ["zk:2181"], "application": "shop", "via": via, "qosPort": qos_port}
        )
        self.registry = self.made()

    def made(self) -> DubboRegistry:
        """One of several LosslessRollouts' own."""
        return DubboRegistry(self.named, self.znodes, self.client, timeout=5, clock=lambda: self.now)  # type: ignore[arg-type]

    def by_interface(self, ip: str, interface: str = CART, app: str = "shop", port: int = 20880, **more: Any) -> str:
        words = "&".join(f"{name}={value}" for name, value in {"application": app, "side": "provider", **more}.items())
        url = quote(f"dubbo://{ip}:{port}/{interface}?{words}", safe="")
        path = f"/dubbo/{interface}/providers/{url}"
        self.znodes.have(path)
        return path

    def by_application(self, ip: str, app: str = "shop", interfaces: tuple[str, ...] = (CART,)) -> str:
        path = f"/services/{app}/{ip}:20880"
        metadata = {"dubbo.endpoints": '[{"port":20880,"protocol":"dubbo"},{"port":50051,"protocol":"tri"}]'}
        self.znodes.have(path, json.dumps({"payload": {"metadata": metadata}}))
        for interface in interfaces:
            mapped = set(filter(None, (self.znodes.text(f"/dubbo/mapping/{interface}") or "").split(","))) | {app}
            self.znodes.have(f"/dubbo/mapping/{interface}", ",".join(sorted(mapped)))
        return path

    async def seen(self, instance: Instance = OLD) -> tuple[Presence, float | None]:
        found = (await self.registry.look([instance]))[instance.uid]
        return found.presence, found.fraction

    def items(self, path: str = RULE) -> list[Any]:
        return list(yaml.safe_load(self.znodes.text(path) or "{}").get("configs") or [])

    def conditions(self) -> list[str]:
        return list(yaml.safe_load(self.znodes.text(ROUTER) or "{}").get("conditions") or [])


@pytest.fixture(params=["interface", "application", "both"])
def shop(request: pytest.FixtureRequest) -> Shop:
    made = Shop()
    for ip in ("10.0.0.1", "10.0.0.2"):
        if request.param != "application":
            made.by_interface(ip)
        if request.param != "interface":
            made.by_application(ip)
    return made


async def test_out_and_back_however_it_is_registered(shop: Shop) -> None:
    assert await shop.seen() == (Presence.PRESENT, 1.0)
    await shop.registry.withdraw(OLD)
    assert await shop.seen() == (Presence.ABSENT, 0.0)
    assert await shop.seen(NEW) == (Presence.PRESENT, 1.0)
    await shop.registry.restore(OLD)
    assert await shop.seen() == (Presence.PRESENT, 1.0)
    assert [what for what, path in shop.znodes.writes if path == ROUTER] == ["create", "delete"]
    assert RULE not in shop.znodes.nodes


async def test_nothing_stays_of_a_pod_that_is_not_registered_any_more(shop: Shop) -> None:
    await shop.registry.withdraw(OLD)
    for path in [path for path in shop.znodes.nodes if "10.0.0.1" in path]:
        shop.znodes.lose(path)
    await shop.registry.restore(OLD)
    assert ROUTER not in shop.znodes.nodes


async def test_twice_is_once(shop: Shop) -> None:
    await shop.registry.withdraw(OLD)
    shop.now += 1000
    await shop.registry.withdraw(OLD)
    await shop.registry.restore(OLD)
    await shop.registry.restore(OLD)
    assert [what for what, _ in shop.znodes.writes] == ["create", "delete"]


async def test_a_weight_is_a_part_of_the_pods_own(shop: Shop) -> None:
    await shop.registry.weigh(NEW, 0.1)
    assert await shop.seen(NEW) == (Presence.PRESENT, 0.1)
    await shop.registry.weigh(NEW, 0.0001)
    assert shop.items()[-1]["parameters"]["weight"] == "1"
    await shop.registry.weigh(NEW, 1)
    assert RULE not in shop.znodes.nodes


async def test_a_weight_that_comes_to_the_pods_own_is_still_one_of_ours_to_be_taken_out(shop: Shop) -> None:
    await shop.registry.weigh(NEW, 0.996)
    assert shop.items()[-1]["parameters"]["weight"] == "100"
    assert await shop.seen(NEW) == (Presence.PRESENT, 0.99)
    assert await shop.seen(OLD) == (Presence.PRESENT, 1.0)
    await shop.registry.restore(NEW)
    assert await shop.seen(NEW) == (Presence.PRESENT, 1.0)
    assert RULE not in shop.znodes.nodes


async def test_a_pod_that_is_withdrawn_keeps_its_weight_until_it_is_put_back(shop: Shop) -> None:
    """Another weight would have its consumers destroy what they call it by."""
    await shop.registry.weigh(NEW, 0.1)
    rule = shop.znodes.text(RULE)
    await shop.registry.withdraw(NEW)
    assert shop.znodes.text(RULE) == rule
    assert await shop.seen(NEW) == (Presence.ABSENT, 0.0)
    await shop.registry.restore(NEW)
    assert not {RULE, ROUTER} & set(shop.znodes.nodes)


async def test_a_pod_gets_its_weight_before_it_is_let_in(shop: Shop) -> None:
    await shop.registry.withdraw(NEW)
    shop.znodes.writes.clear()
    await shop.registry.weigh(NEW, 0.1)
    assert shop.znodes.writes == [("create", RULE), ("delete", ROUTER)]
    assert await shop.seen(NEW) == (Presence.PRESENT, 0.1)


async def test_own_weights_count() -> None:
    shop = Shop()
    shop.by_interface("10.0.0.1")
    shop.by_interface("10.0.0.2", weight=200)
    await shop.registry.weigh(NEW, 0.25)
    base, ours = shop.items()
    assert ours["parameters"]["weight"] == "50"
    assert (base["providerAddresses"], base["parameters"]["weight"]) == (["10.0.0.1:20880"], "100")
    assert await shop.seen(NEW) == (Presence.PRESENT, 0.25)


async def test_only_who_is_found_by_interface_needs_the_others_weights() -> None:
    shop = Shop()
    shop.by_application("10.0.0.1")
    shop.by_application("10.0.0.2")
    await shop.registry.weigh(NEW, 0.25)
    assert [item["providerAddresses"] for item in shop.items()] == [["10.0.0.2:20880", "10.0.0.2:50051"]]


async def test_not_registered_is_absent_and_nothing_is_written() -> None:
    shop = Shop()
    shop.by_interface("10.0.0.2")
    assert await shop.seen() == (Presence.ABSENT, None)
    await shop.registry.withdraw(OLD)
    assert shop.znodes.writes == []


async def test_every_service_version_and_group_has_a_rule_and_any_version_one_too() -> None:
    shop = Shop()
    for ip in ("10.0.0.1", "10.0.0.2"):
        shop.by_interface(ip, version="1.0", group="eu")
        shop.by_interface(ip, PAY)
    consumer = quote("consumer://10.9.9.9/x?version=*&group=eu", safe="")
    shop.znodes.have(f"/dubbo/{CART}/consumers/{consumer}")
    await shop.registry.withdraw(OLD)
    paths = {path.rpartition("/")[2]: shop.znodes.text(path) or "" for _, path in shop.znodes.writes}
    assert {name: yaml.safe_load(text)["key"] for name, text in paths.items()} == {
        f"{CART}:1.0:eu.condition-router": f"eu/{CART}:1.0",
        f"{CART}:*:eu.condition-router": "*",
        f"{PAY}::.condition-router": PAY,
    }
    assert await shop.seen() == (Presence.ABSENT, 0.0)


async def test_version_and_group_of_an_application_come_from_its_metadata() -> None:
    shop = Shop()
    shop.by_application("10.0.0.1")
    shop.by_application("10.0.0.2")
    words = {"parameters": {"version": "2", "group": "eu"}}
    shop.znodes.have(f"/dubbo/metadata/{CART}/2/eu/provider/shop", json.dumps(words))
    await shop.registry.withdraw(OLD)
    assert f"/dubbo/config/dubbo/{CART}:2:eu.condition-router" in shop.znodes.nodes


async def test_it_is_present_while_one_of_its_services_has_it() -> None:
    shop = Shop()
    for ip in ("10.0.0.1", "10.0.0.2"):
        shop.by_interface(ip)
        shop.by_interface(ip, PAY)
    await shop.registry.withdraw(OLD)
    shop.znodes.lose(f"/dubbo/config/dubbo/{PAY}::.condition-router")
    assert await shop.seen() == (Presence.PRESENT, 1.0)


async def test_other_applications_of_the_same_interface_are_no_business_of_ours() -> None:
    shop = Shop()
    shop.by_interface("10.0.0.1", app="other")
    shop.by_interface("10.0.0.2")
    assert await shop.seen() == (Presence.ABSENT, None)


async def test_disabled_by_somebody_else_is_absent_and_stays_so() -> None:
    shop = Shop()
    shop.by_interface("10.0.0.1")
    shop.by_interface("10.0.0.2")
    theirs = (
        f"key: {CART}\nconfigs: [{{side: consumer, providerAddresses: [10.0.0.1], parameters: {{disabled: true}}}}]\n"
    )
    shop.znodes.have(RULE, theirs)
    assert await shop.seen() == (Presence.ABSENT, 0.0)
    await shop.registry.withdraw(OLD)
    await shop.registry.restore(OLD)
    assert shop.znodes.text(RULE) == theirs
    assert await shop.seen() == (Presence.ABSENT, 0.0)


async def test_a_provider_that_registers_anew_is_still_out(shop: Shop) -> None:
    await shop.registry.withdraw(OLD)
    lost = {path: shop.znodes.text(path) or "" for path in shop.znodes.nodes if "10.0.0.1" in path}
    for path in lost:
        shop.znodes.lose(path)
    assert await shop.seen() == (Presence.ABSENT, None)
    for path, data in lost.items():
        shop.znodes.have(path, data)
    assert await shop.seen() == (Presence.ABSENT, 0.0)


async def test_the_last_provider_is_not_taken_out(shop: Shop) -> None:
    await shop.registry.withdraw(OLD)
    with pytest.raises(Refused, match="no other provider"):
        await shop.registry.withdraw(NEW)
    assert await shop.seen(NEW) == (Presence.PRESENT, 1.0)


async def test_nobody_is_absent_where_all_are_taken_out(shop: Shop) -> None:
    """A router that would leave nobody is not followed."""
    await shop.registry.withdraw(OLD)
    for path in [path for path in shop.znodes.nodes if "10.0.0.2" in path and "config" not in path]:
        shop.znodes.lose(path)
    found = (await shop.registry.look([OLD]))[OLD.uid]
    assert (found.presence, found.fraction) == (Presence.PRESENT, 0.0)
    assert "consumers may go on calling" in found.evidence


async def test_two_rollouts_and_many_pods_at_once_lose_nothing(shop: Shop) -> None:
    for number in range(3, 9):
        shop.by_interface(f"10.0.0.{number}")
        shop.by_application(f"10.0.0.{number}")
    rollouts = [shop.registry, shop.made()]
    pods = [pod(f"10.0.0.{number}", 20880) for number in range(1, 7)]
    await asyncio.gather(*(rollouts[at % 2].withdraw(one) for at, one in enumerate(pods)))
    assert {(await shop.seen(one))[0] for one in pods} == {Presence.ABSENT}
    await asyncio.gather(*(rollouts[at % 2].restore(one) for at, one in enumerate(pods)))
    assert {(await shop.seen(one))[0] for one in pods} == {Presence.PRESENT}
    assert ROUTER not in shop.znodes.nodes


async def test_what_another_tool_writes_in_between_is_kept(shop: Shop) -> None:
    theirs = f"key: {CART}\nconditions:\n- method=pay => region=eu  # May\n"
    meanwhile = [theirs, theirs.replace("May", "June"), None]

    def write(path: str) -> None:
        if meanwhile and (text := meanwhile.pop(0)):
            shop.znodes.have(path, text)

    shop.znodes.before_write = write
    await shop.registry.withdraw(OLD)
    assert shop.conditions()[1:] == ["method=pay => region=eu"]
    assert await shop.seen() == (Presence.ABSENT, 0.0)
    await shop.registry.restore(OLD)
    assert shop.znodes.text(ROUTER) == theirs.replace("May", "June")


async def test_somebody_who_writes_all_the_time_ends_in_an_error(shop: Shop) -> None:
    shop.znodes.before_write = lambda path: shop.znodes.have(path, f"key: {CART}\nconditions: []\n")
    with pytest.raises(Unreachable, match="changed by others all the time"):
        await shop.registry.withdraw(OLD)


async def test_entries_of_pods_that_are_no_more_go_with_the_next_change(shop: Shop) -> None:
    await shop.registry.withdraw(OLD)
    for path in [path for path in shop.znodes.nodes if "10.0.0.1" in path and "config" not in path]:
        shop.znodes.lose(path)
    for ip in ("10.0.0.3", "10.0.0.4"):
        shop.by_interface(ip)
        shop.by_application(ip)
    await shop.registry.withdraw(NEW)
    assert "10.0.0.1:20880" in shop.conditions()[0]
    shop.now += LEFT_AFTER + 1
    await shop.registry.withdraw(pod("10.0.0.3", 20880))
    assert "10.0.0.1:20880" not in shop.conditions()[0]


async def test_the_next_pod_with_the_same_address_is_let_in(shop: Shop) -> None:
    await shop.registry.withdraw(OLD)
    born = pod("10.0.0.1", 20880, uid="uid-born")
    assert await shop.seen(born) == (Presence.ABSENT, 0.0)
    await shop.registry.restore(born)
    assert await shop.seen(born) == (Presence.PRESENT, 1.0)


@pytest.mark.parametrize("rubbish", ["{", "hello", "conditions: [a=b=c,,d]", "\x00\x01"])
async def test_a_router_with_rubbish_in_it_is_left_alone_and_said(shop: Shop, rubbish: str) -> None:
    shop.znodes.have(ROUTER, rubbish)
    with pytest.raises(Refused, match=r"the condition-router of org\.shop\.Cart: .* mend or remove it"):
        await shop.registry.withdraw(OLD)
    found = (await shop.registry.look([OLD]))[OLD.uid]
    assert (found.presence, found.fraction) == (Presence.PRESENT, None)
    assert "the condition-router of org.shop.Cart cannot be read" in found.evidence
    await shop.registry.restore(OLD)
    assert shop.znodes.text(ROUTER) == rubbish


@pytest.mark.parametrize("rubbish", ["{", "hello", "configs: [{side: consumer}]", "\x00\x01"])
async def test_a_rule_with_rubbish_in_it_keeps_nobody_from_going(shop: Shop, rubbish: str) -> None:
    shop.znodes.have(RULE, rubbish)
    assert await shop.seen() == (Presence.PRESENT, None)
    with pytest.raises(Refused, match=r"the configurators of org\.shop\.Cart: .* mend or remove it"):
        await shop.registry.weigh(OLD, 0.5)
    await shop.registry.withdraw(OLD)
    assert await shop.seen() == (Presence.ABSENT, 0.0)
    await shop.registry.restore(OLD)
    assert shop.znodes.text(RULE) == rubbish


async def test_a_document_that_is_empty_is_none(shop: Shop) -> None:
    shop.znodes.have(ROUTER, " \n")
    await shop.registry.withdraw(OLD)
    assert await shop.seen() == (Presence.ABSENT, 0.0)


async def test_a_rule_that_would_not_hold_is_not_written(shop: Shop) -> None:
    theirs = f"scope: application\nkey: {CART}\nconfigs: []\n"
    shop.znodes.have(RULE, theirs)
    with pytest.raises(Refused, match="does not take our entry"):
        await shop.registry.weigh(OLD, 0.5)
    assert shop.znodes.text(RULE) == theirs


@pytest.mark.parametrize(
    ("head", "says"),
    [("enabled: false", "enable or remove it"), ("valid: false", "take that out"), ("configVersion: v3.1", "as v3.0")],
)
async def test_a_router_that_would_not_hold_is_not_written(shop: Shop, head: str, says: str) -> None:
    theirs = f"{head}\nconditions: []\n"
    shop.znodes.have(ROUTER, theirs)
    with pytest.raises(Refused, match=f"the condition-router of {CART} does not take our condition.*{says}"):
        await shop.registry.withdraw(OLD)
    assert shop.znodes.text(ROUTER) == theirs
    assert await shop.seen() == (Presence.PRESENT, 1.0)


async def test_our_condition_in_a_router_that_was_disabled_since_is_none(shop: Shop) -> None:
    await shop.registry.withdraw(OLD)
    shop.znodes.have(ROUTER, (shop.znodes.text(ROUTER) or "").replace("enabled: true", "enabled: false"))
    assert await shop.seen() == (Presence.PRESENT, 1.0)


async def test_consumers_of_any_group_ask_no_router_where_there_is_one_group() -> None:
    shop = Shop()
    for ip in ("10.0.0.1", "10.0.0.2"):
        shop.by_interface(ip, group="eu")
    shop.znodes.have(f"/dubbo/{CART}/consumers/{quote('consumer://10.9.9.9/x?group=*', safe='')}")
    await shop.registry.withdraw(OLD)
    found = (await shop.registry.look([OLD]))[OLD.uid]
    assert (found.presence, found.fraction) == (Presence.PRESENT, 0.0)
    assert "they ask no router" in found.evidence
    for ip in ("10.0.0.1", "10.0.0.2"):
        shop.by_interface(ip, group="us")
    await shop.registry.withdraw(OLD)
    assert await shop.seen() == (Presence.ABSENT, 0.0)


async def test_access_control_says_so_and_the_other_services_are_still_withdrawn() -> None:
    shop = Shop()
    for ip in ("10.0.0.1", "10.0.0.2"):
        shop.by_interface(ip)
        shop.by_interface(ip, PAY)
    shop.znodes.sealed.add(ROUTER)
    with pytest.raises(Refused, match="access control"):
        await shop.registry.withdraw(OLD)
    assert f"/dubbo/config/dubbo/{PAY}::.condition-router" in shop.znodes.nodes
    assert await shop.seen() == (Presence.PRESENT, 1.0)


async def test_an_application_of_unknown_interfaces_cannot_be_withdrawn() -> None:
    shop = Shop()
    shop.by_application("10.0.0.1", interfaces=())
    assert await shop.seen() == (Presence.PRESENT, 1.0)
    with pytest.raises(Refused, match="no interface of shop is known"):
        await shop.registry.withdraw(OLD)


async def test_a_new_interface_is_found_within_a_while(shop: Shop) -> None:
    await shop.registry.withdraw(OLD)
    shop.by_interface("10.0.0.1", PAY)
    shop.by_interface("10.0.0.2", PAY)
    shop.now += KNOWN_FOR + 1
    assert await shop.seen() == (Presence.PRESENT, 1.0)


async def test_all_ports_of_a_pod_go_where_none_is_named() -> None:
    shop = Shop()
    shop.by_application("10.0.0.1")
    shop.by_application("10.0.0.2")
    await shop.registry.withdraw(pod("10.0.0.1", None))
    assert shop.conditions()[0].startswith("=> address != 10.0.0.1:20880,10.0.0.1:50051,lossless.")


async def test_the_port_tells_pods_of_one_address_apart() -> None:
    shop = Shop()
    shop.by_interface("10.0.0.1", port=20880)
    shop.by_interface("10.0.0.1", port=20881)
    await shop.registry.withdraw(OLD)
    assert await shop.seen(pod("10.0.0.1", 20881, uid="other")) == (Presence.PRESENT, 1.0)


async def test_nodes_that_are_no_urls_are_passed_over(shop: Shop) -> None:
    shop.znodes.have(f"/dubbo/{CART}/providers/rubbish")
    shop.znodes.have(f"/dubbo/{CART}/providers/{quote('dubbo://x:y/z', safe='')}")
    shop.znodes.have("/services/shop/rubbish", "{")
    assert await shop.seen() == (Presence.PRESENT, 1.0)


async def test_zookeeper_away_is_an_error_and_no_state(shop: Shop) -> None:
    shop.znodes.failing = Unreachable("away")
    for ask in (shop.registry.look([OLD]), shop.registry.withdraw(OLD), shop.registry.restore(OLD)):
        with pytest.raises(Unreachable):
            await ask
    shop.znodes.failing = None
    assert await shop.seen() == (Presence.PRESENT, 1.0)


class Qos:
    """A fake of Dubbo's QoS: the answers of HttpProcessHandler."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.status, self.text, self.port = 200, "OK", 0

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        return web.Response(status=self.status, text=self.text)


@pytest.fixture
async def qos() -> AsyncIterator[Qos]:
    fake = Qos()
    app = web.Application()
    app.router.add_get("/{command}", fake.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.port = runner.addresses[0][1]
    yield fake
    await runner.cleanup()


HERE = pod("127.0.0.1", 20880)


async def test_by_qos_the_pod_takes_itself_offline_and_what_is_seen_is_the_registration(
    qos: Qos, client: Client
) -> None:
    shop = Shop(client, "QoS", qos.port)
    path = shop.by_interface("127.0.0.1")
    assert await shop.seen(HERE) == (Presence.PRESENT, 1.0)
    await shop.registry.withdraw(HERE)
    shop.znodes.lose(path)
    assert await shop.seen(HERE) == (Presence.ABSENT, None)
    await shop.registry.restore(HERE)
    assert qos.asked == ["/offline", "/online"]
    assert not shop.registry.weighs
    assert shop.znodes.writes == []


async def test_nothing_to_take_offline_is_no_error(qos: Qos, client: Client) -> None:
    qos.text = "service not found\n"
    await Shop(client, "QoS", qos.port).registry.withdraw(HERE)


@pytest.mark.parametrize(
    ("status", "text", "error", "says"),
    [
        (403, "", Refused, "qos-accept-foreign-ip-whitelist"),
        (200, "Foreign Ip Not Permitted, Consider Config It In Whitelist.", Refused, "qos-accept-foreign-ip-whitelist"),
        (404, "", Refused, "is it Dubbo's QoS port"),
        (200, "<html>", Nonsense, "neither OK"),
        (500, "", Unreachable, "500"),
    ],
)
async def test_what_qos_says_instead_of_ok(
    qos: Qos, client: Client, status: int, text: str, error: type[RegistryError], says: str
) -> None:
    qos.status, qos.text = status, text
    with pytest.raises(error, match=says):
        await Shop(client, "QoS", qos.port).registry.withdraw(HERE)


async def test_a_pod_without_qos_is_unreachable(client: Client, unused_tcp_port: int) -> None:
    with pytest.raises(Unreachable):
        await Shop(client, "QoS", unused_tcp_port).registry.withdraw(HERE)
