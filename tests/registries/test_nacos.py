"""Nacos, against a fake that encodes its traps; the real one is in test_nacos_real.py."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from aiohttp import web

from lossless.api import traffic
from lossless.core.world import Presence
from lossless.traffic.registries.client import Client
from lossless.traffic.registries.errors import Nonsense, Refused, Unreachable
from lossless.traffic.registries.nacos import NacosRegistry
from lossless.traffic.registries.registry import Instance, Registration
from tests.fakes.nacos import FakeNacos, Override
from tests.pods.servers import serving, text
from tests.registries.conftest import pod

IP = "10.0.2.1"
VERSIONS = pytest.mark.parametrize("version", ["1", "2", "3.0", "3.2"])
LOGIN = ("operator", "s3cr3t-pa55")


def registry(fake: FakeNacos, client: Client, login: tuple[str, str] | None = None, **spec: object) -> NacosRegistry:
    given = traffic.Nacos.model_validate({"servers": fake.servers, "service": "shop", **spec})
    return NacosRegistry(given, client, login=login)


@asynccontextmanager
async def nacos(client: Client, version: str = "3.2", nodes: int = 1) -> AsyncIterator[tuple[FakeNacos, NacosRegistry]]:
    async with FakeNacos(version, nodes).running() as fake:
        yield fake, registry(fake, client)


async def seen(registry: NacosRegistry, instance: Instance | None = None) -> Registration:
    instance = instance or pod(IP)
    return (await registry.look([instance]))[instance.uid]


@VERSIONS
async def test_a_pod_is_withdrawn_and_put_back_on_every_version(client: Client, version: str) -> None:
    async with nacos(client, version, nodes=3) as (fake, ours):
        fake.register(IP, weight=4.0)
        fake.register("10.0.2.2")
        before = await seen(ours)
        assert (before.presence, before.fraction) == (Presence.PRESENT, 1.0)
        assert before.evidence == "handed out by 3 of 3 nodes"

        kept = pod(IP, original=before.original)
        await ours.withdraw(kept)
        out = await seen(ours, kept)
        assert (out.presence, out.fraction) == (Presence.ABSENT, 0.0)
        assert out.evidence == "enabled=false on 3 of 3 nodes"
        assert out.original == before.original

        await ours.restore(kept)
        back = await seen(ours, kept)
        assert (back.presence, back.fraction) == (Presence.PRESENT, 1.0)
        assert fake.overrides == {(IP, 8080, "DEFAULT"): Override(weight=4.0, enabled=True)}


@VERSIONS
async def test_a_ramp_is_a_fraction_of_the_weight_that_the_pod_registered_with(client: Client, version: str) -> None:
    async with nacos(client, version) as (fake, ours):
        fake.register(IP, weight=4.0)
        kept = pod(IP, original=(await seen(ours)).original)
        for fraction, weight in [(0.01, 0.04), (0.25, 1.0), (1.0, 4.0)]:
            await ours.weigh(kept, fraction)
            assert fake.overrides[IP, 8080, "DEFAULT"] == Override(weight, enabled=True)
            assert (await seen(ours, kept)).fraction == pytest.approx(fraction)


async def test_no_fraction_is_withdrawal_and_not_a_weight_that_some_clients_ignore(client: Client) -> None:
    async with nacos(client) as (fake, ours):
        fake.register(IP, weight=4.0)
        await ours.weigh(pod(IP, original=(await seen(ours)).original), 0)
        assert fake.overrides[IP, 8080, "DEFAULT"] == Override(4.0, enabled=False)


@pytest.mark.parametrize(("weight", "fraction", "sent"), [(1.0, 1e-9, "0.0001"), (0.002, 0.01, "0.0001")])
async def test_a_fraction_is_never_rounded_to_no_weight(
    client: Client, weight: float, fraction: float, sent: str
) -> None:
    async with nacos(client) as (fake, ours):
        fake.register(IP, weight=weight)
        await ours.weigh(pod(IP, original=(await seen(ours)).original), fraction)
        assert fake.writes[-1].params["weight"] == sent


async def test_a_weight_of_nothing_is_the_pods_own_and_put_back_as_such(client: Client) -> None:
    async with nacos(client) as (fake, ours):
        fake.register(IP, weight=0.0)
        first = await seen(ours)
        assert first.fraction == 1.0
        await ours.restore(pod(IP, original=first.original))
        assert fake.overrides[IP, 8080, "DEFAULT"] == Override(0.0, enabled=True)


async def test_weights_are_sent_as_digits_and_within_what_nacos_takes(client: Client) -> None:
    async with nacos(client) as (fake, ours):
        fake.register(IP)
        await ours.restore(pod(IP, original=json.dumps({"weights": {f"{IP}:8080": 1e9}})))
        assert fake.writes[-1].params["weight"] == "10000.0"
        await ours.restore(pod(IP, original=json.dumps({"weights": {f"{IP}:8080": 1e-5}})))
        assert fake.writes[-1].params["weight"] == "0.00001"


@VERSIONS
async def test_every_update_says_everything_but_metadata(client: Client, version: str) -> None:
    """What is left out is filled with defaults, in the partial update of Nacos 3 too: InstanceForm.validate."""
    async with nacos(client, version) as (fake, ours):
        fake.register(IP, weight=4.0)
        kept = pod(IP, original=(await seen(ours)).original)
        await ours.withdraw(kept)
        await ours.weigh(kept, 0.5)
        await ours.restore(kept)
        for one in fake.writes:
            assert {**one.params, "weight": "", "enabled": "", "serviceName": ""} == {
                "namespaceId": "public",
                "groupName": "DEFAULT_GROUP",
                "serviceName": "",
                "clusterName": "DEFAULT",
                "ip": IP,
                "port": "8080",
                "weight": "",
                "enabled": "",
                "ephemeral": "true",
            }
        assert [(one.params["weight"], one.params["enabled"]) for one in fake.writes] == [
            ("4.0", "false"),
            ("2.0", "true"),
            ("4.0", "true"),
        ]


@VERSIONS
async def test_metadata_that_others_wrote_over_the_instance_stays(client: Client, version: str) -> None:
    """A full PUT would replace the override's metadata as well: InstanceOperatorClientImpl.buildMetadata."""
    async with nacos(client, version) as (fake, ours):
        fake.register(IP)
        fake.overrides[IP, 8080, "DEFAULT"] = Override(metadata={"lane": "blue"})
        await ours.withdraw(pod(IP))
        await ours.restore(pod(IP))
        assert fake.overrides[IP, 8080, "DEFAULT"].metadata == {"lane": "blue"}


async def test_put_is_used_where_patch_is_not_allowed(client: Client) -> None:
    async with nacos(client, "1") as (fake, ours):
        fake.patch_allowed = False
        fake.register(IP)
        await ours.withdraw(pod(IP))
        assert [one.method for one in fake.writes] == ["PATCH", "PUT"]
        assert (await seen(ours)).presence is Presence.ABSENT


@VERSIONS
async def test_delete_is_never_used(client: Client, version: str) -> None:
    """Of an instance that was registered over gRPC it does nothing and answers ok."""
    async with nacos(client, version) as (fake, ours):
        fake.register(IP, grpc=True)
        for step in (ours.withdraw, ours.restore, ours.withdraw):
            await step(pod(IP))
        assert "DELETE" not in {one.method for one in fake.asked}


@VERSIONS
async def test_the_next_pod_on_an_address_is_seen_to_have_inherited_the_override(client: Client, version: str) -> None:
    """alibaba/nacos#8853, #12033: it is born disabled if it registers within a minute."""
    async with nacos(client, version) as (fake, ours):
        fake.register(IP, weight=4.0)
        old = pod(IP, original=(await seen(ours)).original)
        await ours.withdraw(old)
        fake.deregister(IP)
        fake.register(IP, weight=4.0)
        fake.a_minute_passes()

        born = await seen(ours)
        assert (born.presence, born.fraction) == (Presence.ABSENT, 0.0)
        new = pod(IP, original=born.original)
        await ours.restore(new)
        assert await seen(ours, new) == Registration(
            Presence.PRESENT, "handed out by 1 of 1 nodes", 1.0, '{"weights": {"10.0.2.1:8080": 4.0}}'
        )


async def test_restore_writes_even_where_all_looks_well(client: Client) -> None:
    """The view of a node that lags is no evidence that nothing has to be put back."""
    async with nacos(client) as (fake, ours):
        fake.register(IP)
        fake.nodes[0].stale = fake.hosts()
        fake.overrides[IP, 8080, "DEFAULT"] = Override(enabled=False)
        await ours.restore(pod(IP))
        assert fake.overrides[IP, 8080, "DEFAULT"].enabled


@VERSIONS
async def test_nothing_is_written_about_what_is_not_registered(client: Client, version: str) -> None:
    """It would wait there for the next pod on that address: updateInstance does not ask whether there is one."""
    async with nacos(client, version) as (fake, ours):
        fake.register("10.0.2.2")
        for step in (ours.withdraw, ours.restore):
            await step(pod(IP))
        assert fake.writes == []
        assert fake.overrides == {}
        assert await seen(ours) == Registration(Presence.ABSENT, "not registered on any of 1 nodes")


@VERSIONS
async def test_a_service_that_nobody_has_registered_is_no_error(client: Client, version: str) -> None:
    async with nacos(client, version) as (_, ours):
        assert await seen(ours) == Registration(Presence.ABSENT, "not registered on any of 1 nodes")


async def test_an_override_that_nacos_lost_is_seen_and_given_again(client: Client) -> None:
    """alibaba/nacos#11890: the node that the client hangs on restarts."""
    async with nacos(client) as (fake, ours):
        fake.register(IP)
        await ours.withdraw(pod(IP))
        fake.node_of_the_client_restarts()
        assert (await seen(ours)).presence is Presence.PRESENT
        await ours.withdraw(pod(IP))
        assert (await seen(ours)).presence is Presence.ABSENT


async def test_present_while_any_node_still_hands_it_out(client: Client) -> None:
    async with nacos(client, nodes=3) as (fake, ours):
        fake.register(IP)
        fake.nodes[2].stale = fake.hosts()
        await ours.withdraw(pod(IP))
        now = await seen(ours)
        assert (now.presence, now.evidence) == (Presence.PRESENT, "handed out by 1 of 3 nodes")
        assert now.fraction not in (None, 0, 1), "so that it is told again"


async def test_what_one_silent_node_hands_out_nobody_knows(client: Client) -> None:
    async with nacos(client, nodes=3) as (fake, ours):
        fake.register(IP)
        await ours.withdraw(pod(IP))
        fake.nodes[1].down = True
        now = await seen(ours)
        assert (now.presence, now.fraction) == (Presence.UNANSWERED, 0.0)
        assert fake.servers[1].split("/")[2] in now.evidence


async def test_a_silent_node_does_not_hide_what_another_hands_out(client: Client) -> None:
    async with nacos(client, nodes=2) as (fake, ours):
        fake.register(IP)
        fake.nodes[1].down = True
        assert (await seen(ours)).presence is Presence.PRESENT


async def test_where_no_node_answers_there_is_nothing_to_say(client: Client) -> None:
    async with nacos(client, nodes=2) as (fake, ours):
        for node in fake.nodes:
            node.down = True
        for ask in (seen(ours), ours.withdraw(pod(IP)), ours.restore(pod(IP))):
            with pytest.raises(Unreachable):
                await ask


async def test_a_node_that_contradicts_itself_is_not_believed(client: Client) -> None:
    """Enabled, yet not handed to us: a selector may hand it to others (ServiceUtil, SelectorManager)."""
    async with nacos(client) as (fake, ours):
        fake.register(IP)
        fake.nodes[0].selects_others = True
        now = await seen(ours)
        assert (now.presence, now.fraction) == (Presence.UNANSWERED, 1.0)


async def test_an_unhealthy_pod_is_still_handed_out(client: Client) -> None:
    """Below the protect threshold it is handed out as if it were healthy; a withdrawn one never is."""
    async with nacos(client) as (fake, ours):
        fake.protect_threshold = 0.9
        fake.register(IP, healthy=False)
        fake.register("10.0.2.2", healthy=False)
        assert (await seen(ours)).presence is Presence.PRESENT
        await ours.withdraw(pod(IP))
        assert (await seen(ours)).presence is Presence.ABSENT


async def test_without_a_raft_leader_nothing_can_be_written(client: Client) -> None:
    async with nacos(client) as (fake, ours):
        fake.register(IP)
        fake.nodes[0].leaderless = True
        with pytest.raises(Unreachable):
            await ours.withdraw(pod(IP))
        assert (await seen(ours)).presence is Presence.PRESENT


async def test_another_node_may_be_able_to_write(client: Client) -> None:
    async with nacos(client, nodes=2) as (fake, ours):
        fake.register(IP)
        fake.nodes[0].leaderless = True
        await ours.withdraw(pod(IP))
        assert (await seen(ours)).presence is Presence.ABSENT


@VERSIONS
async def test_the_wrong_kind_of_instance_is_refused(client: Client, version: str) -> None:
    """Otherwise an error there, or a persistent instance that nobody removes: alibaba/nacos#2003."""
    async with nacos(client, version) as (fake, ours):
        fake.register(IP, ephemeral=False)
        for ask in (seen(ours), ours.withdraw(pod(IP)), ours.restore(pod(IP))):
            with pytest.raises(Refused, match="are persistent, but instances: Ephemeral is given"):
                await ask
        assert fake.writes == []
        assert (await seen(registry(fake, client, instances="Persistent"))).presence is Presence.PRESENT


@pytest.mark.parametrize("version", ["1", "2"])
async def test_a_pod_in_another_cluster_is_not_taken_for_gone(client: Client, version: str) -> None:
    async with nacos(client, version) as (fake, ours):
        fake.register(IP, cluster="hz")
        now = await seen(ours)
        assert (now.presence, now.evidence) == (
            Presence.PRESENT,
            "handed out by 1 of 1 nodes, but not in cluster DEFAULT",
        )
        with pytest.raises(Refused, match="another cluster than DEFAULT"):
            await ours.withdraw(pod(IP))
        await registry(fake, client, cluster="hz").withdraw(pod(IP))
        assert (await seen(registry(fake, client, cluster="hz"))).presence is Presence.ABSENT


async def test_a_pod_that_registers_two_ports_is_withdrawn_with_both(client: Client) -> None:
    async with nacos(client) as (fake, ours):
        fake.register(IP, 8080, weight=2.0)
        fake.register(IP, 9090, weight=3.0)
        kept = pod(IP, None, original=(await seen(ours, pod(IP, None))).original)
        await ours.withdraw(kept)
        assert (await seen(ours, kept)).presence is Presence.ABSENT
        await ours.restore(kept)
        assert {key[1]: over.weight for key, over in fake.overrides.items()} == {8080: 2.0, 9090: 3.0}


async def test_a_pod_is_found_by_any_of_its_addresses_and_by_its_port_only_if_one_is_named(client: Client) -> None:
    async with nacos(client) as (fake, ours):
        fake.register("fd00:0:0:0:0:0:0:7", 8080)
        both = Instance("u", "ns", "web", "n", addresses=("10.9.9.9", "fd00::7"), port=8080)
        assert (await seen(ours, both)).presence is Presence.PRESENT
        other = Instance("u", "ns", "web", "n", addresses=("fd00::7",), port=9090)
        assert (await seen(ours, other)).presence is Presence.ABSENT


@pytest.mark.parametrize(
    ("version", "path"),
    [
        ("1", "/v1/ns/instance"),
        ("2", "/v1/ns/instance"),
        ("3.0", "/v3/admin/ns/instance/partial"),
        ("3.2", "/v3/admin/ns/instance/partial"),
    ],
)
async def test_the_newest_api_that_is_answered_is_used(client: Client, version: str, path: str) -> None:
    async with nacos(client, version) as (fake, ours):
        fake.register(IP)
        await ours.withdraw(pod(IP))
        assert {one.path for one in fake.writes} == {path}


async def test_a_server_that_was_upgraded_is_asked_anew(client: Client) -> None:
    async with nacos(client, "2") as (fake, ours):
        fake.register(IP)
        assert (await seen(ours)).presence is Presence.PRESENT
        fake.version = "3.2"
        assert (await seen(ours)).presence is Presence.PRESENT


async def test_once_found_the_older_versions_are_not_tried_again(client: Client) -> None:
    async with nacos(client, "1") as (fake, ours):
        await seen(ours)
        fake.asked.clear()
        await seen(ours)
        assert {one.path.split("/")[1] for one in fake.asked} == {"v1"}


@pytest.mark.parametrize("version", ["3.0", "3.2"])
async def test_an_api_that_is_switched_off_is_refused_if_it_was_asked_for(client: Client, version: str) -> None:
    async with FakeNacos(version).running() as fake:
        with pytest.raises(Refused, match="not Nacos' API V1"):
            await seen(registry(fake, client, api="V1"))


async def test_what_is_no_nacos_is_refused(client: Client) -> None:
    """Above all a wrong context path: else every pod would seem to be gone."""
    async with FakeNacos("3.2").running() as fake:
        fake.register(IP)
        fake.servers = [server.removesuffix("/nacos") for server in fake.servers]
        with pytest.raises(Refused, match="none of Nacos' APIs"):
            await seen(registry(fake, client))


@pytest.mark.parametrize("version", ["2", "3.0", "3.2"])
async def test_it_logs_in_where_it_must_and_once_for_many_requests(client: Client, version: str) -> None:
    async with FakeNacos(version, auth=True).running() as fake:
        fake.register(IP)
        ours = registry(fake, client, LOGIN)
        for _ in range(3):
            assert (await seen(ours)).presence is Presence.PRESENT
        await ours.withdraw(pod(IP))
        assert fake.logins == 1


async def test_the_admin_api_of_nacos_3_wants_a_login_where_clients_need_none(client: Client) -> None:
    async with FakeNacos("3.2", admin_auth=True).running() as fake:
        fake.register(IP)
        with pytest.raises(Refused, match="it wants a login, and none is given"):
            await seen(registry(fake, client))
        assert (await seen(registry(fake, client, LOGIN))).presence is Presence.PRESENT


async def test_no_password_is_sent_to_a_server_that_does_not_want_one(client: Client) -> None:
    async with FakeNacos("2").running() as fake:
        await seen(registry(fake, client, LOGIN))
        assert fake.logins == 0


async def test_a_token_is_renewed_before_it_ends(client: Client) -> None:
    now = 0.0
    async with FakeNacos("3.2", auth=True).running() as fake:
        fake.token_ttl = 100
        given = traffic.Nacos.model_validate({"servers": fake.servers, "service": "shop"})
        ours = NacosRegistry(given, client, login=LOGIN, clock=lambda: now)
        for now, logins in [(0.0, 1), (79.0, 1), (81.0, 2), (160.0, 2), (162.0, 3)]:  # noqa: B007
            await seen(ours)
            assert fake.logins == logins


async def test_a_token_that_is_no_longer_good_is_got_anew_once(client: Client) -> None:
    async with FakeNacos("3.2", auth=True).running() as fake:
        ours = registry(fake, client, LOGIN)
        await seen(ours)
        fake.tokens.clear()
        await seen(ours)
        assert fake.logins == 2
        fake.forbidden = True
        with pytest.raises(Refused, match="answered 403: the login that is given may not do this"):
            await seen(ours)
        assert fake.logins == 3


async def test_a_login_that_is_wrong_is_refused_and_not_repeated_anywhere(client: Client) -> None:
    async with FakeNacos("3.2", auth=True).running() as fake:
        with pytest.raises(Refused, match=r"refused the login \(403\)"):
            await seen(registry(fake, client, ("operator", "wr0ng")))


async def test_an_update_that_was_not_confirmed_did_not_happen(client: Client) -> None:
    """A filter that fails answers 200 and nothing: AbstractWebAuthFilter."""
    for version in ("2", "3.2"):
        async with nacos(client, version) as (fake, ours):
            fake.register(IP)
            fake.filter_fails = True
            with pytest.raises(Nonsense):
                await ours.withdraw(pod(IP))


@pytest.mark.parametrize(
    "body",
    ["", "no", "[]", '{"code": "x"}', '{"code": 0}', '{"code": 0, "data": [1]}', '{"code": 0, "data": [{"ip": "a"}]}'],
)
async def test_what_nacos_never_says_is_nonsense_and_not_repeated(client: Client, body: str) -> None:
    async with serving(text(body)) as port:
        given = traffic.Nacos(servers=[f"http://127.0.0.1:{port}/nacos"], service="shop")
        with pytest.raises(Nonsense, match=r"^(127\.0\.0\.1:\d+ answered|an answer \(200\) that is not JSON)"):
            await seen(NacosRegistry(given, client))


@pytest.mark.parametrize(("code", "error"), [(30000, Unreachable), (10001, Refused)])
async def test_a_result_that_is_no_success_is_an_error(client: Client, code: int, error: type[Exception]) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response({"code": code, "message": "secret words"})

    async with serving(handler) as port:
        given = traffic.Nacos(servers=[f"http://127.0.0.1:{port}/nacos"], service="shop")
        with pytest.raises(error, match=rf"answered with its code {code}$"):
            await seen(NacosRegistry(given, client))


async def test_an_original_that_cannot_be_read_is_what_is_there_now(client: Client) -> None:
    async with nacos(client) as (fake, ours):
        fake.register(IP, weight=4.0)
        for original in ("rubbish", "[]", '{"weights": {"a": "b"}}'):
            await ours.restore(pod(IP, original=original))
            assert fake.overrides[IP, 8080, "DEFAULT"].weight == 4.0


def test_settle_is_what_usual_consumers_take_and_can_be_overridden(client: Client) -> None:
    given = traffic.Nacos(servers=["http://nacos:8848/nacos"], service="shop")
    assert NacosRegistry(given, client).settle == timedelta(seconds=45)
    assert NacosRegistry(given, client, settle=timedelta(0)).settle == timedelta(0)
    assert NacosRegistry(given, client).weighs
