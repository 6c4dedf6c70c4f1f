"""Eureka, against a fake that encodes its traps; the real one is in test_eureka_real.py."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from lossless.api import traffic
from lossless.core.world import Presence
from lossless.traffic.registries.client import Client
from lossless.traffic.registries.errors import Nonsense, Refused, Unreachable
from lossless.traffic.registries.eureka import EurekaRegistry
from lossless.traffic.registries.registry import Instance, Registration
from tests.fakes.eureka import FakeEureka
from tests.pods.servers import serving, text
from tests.registries.conftest import pod

IP = "10.0.2.1"
ID = "web-0:shop:8080"
LOGIN = ("operator", "s3cr3t-pa55")


def registry(fake: FakeEureka, client: Client, login: tuple[str, str] | None = None) -> EurekaRegistry:
    return EurekaRegistry(traffic.Eureka(servers=fake.servers, application="shop"), client, login=login)


@asynccontextmanager
async def eureka(
    client: Client, peers: int = 1, *, replicate: bool = True
) -> AsyncIterator[tuple[FakeEureka, EurekaRegistry]]:
    async with FakeEureka(peers, replicate=replicate).running() as fake:
        yield fake, registry(fake, client)


async def seen(registry: EurekaRegistry, instance: Instance | None = None) -> Registration:
    instance = instance or pod(IP)
    return (await registry.look([instance]))[instance.uid]


def statuses(fake: FakeEureka, id: str = ID) -> list[tuple[str, str]]:
    return [(peer.leases[id].status, peer.leases[id].overridden) for peer in fake.peers]


async def test_a_pod_is_withdrawn_and_put_back(client: Client) -> None:
    async with eureka(client, peers=3) as (fake, ours):
        fake.register(ID, IP)
        fake.register("web-1:shop:8080", "10.0.2.2")
        before = await seen(ours)
        assert before == Registration(
            Presence.PRESENT, "UP for the consumers of 3 of 3 peers", 1.0, '{"override": "UNKNOWN", "status": "UP"}'
        )
        kept = pod(IP, original=before.original)
        await ours.withdraw(kept)
        fake.cache_is_renewed()
        out = await seen(ours, kept)
        assert (out.presence, out.fraction, out.original) == (Presence.ABSENT, 0.0, before.original)
        assert out.evidence == "OUT_OF_SERVICE for the consumers of 3 of 3 peers"
        assert statuses(fake, "web-1:shop:8080") == [("UP", "UNKNOWN")] * 3

        await ours.restore(kept)
        fake.cache_is_renewed()
        back = await seen(ours, kept)
        assert (back.presence, back.fraction) == (Presence.PRESENT, 1.0)
        assert statuses(fake) == [("UP", "UNKNOWN")] * 3
        assert all(not peer.overrides for peer in fake.peers)


async def test_present_until_the_answers_that_consumers_get_are_made_anew(client: Client) -> None:
    async with eureka(client, peers=2) as (fake, ours):
        fake.register(ID, IP)
        await seen(ours)
        await ours.withdraw(pod(IP))
        assert statuses(fake) == [("OUT_OF_SERVICE", "OUT_OF_SERVICE")] * 2
        assert (await seen(ours)).presence is Presence.PRESENT
        fake.peers[0].cache.clear()
        now = await seen(ours)
        assert (now.presence, now.evidence) == (Presence.PRESENT, "UP for the consumers of 1 of 2 peers")
        fake.cache_is_renewed()
        assert (await seen(ours)).presence is Presence.ABSENT


async def test_a_first_read_is_no_evidence_of_what_consumers_still_get(client: Client) -> None:
    """ResponseCacheImpl: what was never asked for is made at once, beside answers that are up to 30 s old."""
    async with eureka(client) as (fake, ours):
        fake.register(ID, IP)
        assert fake.a_consumer_fetches() == {ID: "UP"}
        await ours.withdraw(pod(IP))  # with no look before it
        assert fake.a_consumer_fetches() == {ID: "UP"}
        assert (await seen(ours)).presence is Presence.PRESENT
        fake.cache_is_renewed()
        assert fake.a_consumer_fetches() == {ID: "OUT_OF_SERVICE"}
        assert (await seen(ours)).presence is Presence.ABSENT


async def test_heartbeats_and_registrations_do_not_undo_it(client: Client) -> None:
    async with eureka(client) as (fake, ours):
        fake.register(ID, IP)
        await ours.withdraw(pod(IP))
        assert fake.beat(ID) == 200
        fake.register(ID, IP)
        assert statuses(fake) == [("OUT_OF_SERVICE", "OUT_OF_SERVICE")]


async def test_an_override_is_never_deleted_without_a_value(client: Client) -> None:
    """It would make the status UNKNOWN, and send the client's next heartbeat back to register."""
    async with eureka(client) as (fake, ours):
        fake.register(ID, IP)
        await ours.withdraw(pod(IP))
        await ours.restore(pod(IP))
        assert [(one.method, one.params) for one in fake.writes] == [
            ("PUT", {"value": "OUT_OF_SERVICE"}),
            ("DELETE", {"value": "UP"}),
        ]
        assert fake.beat(ID) == 200


async def test_the_registration_itself_is_never_deleted(client: Client) -> None:
    async with eureka(client) as (fake, ours):
        fake.register(ID, IP)
        for step in (ours.withdraw, ours.restore, ours.withdraw):
            await step(pod(IP))
        assert {one.path.rpartition("/")[2] for one in fake.writes} == {"status"}


@pytest.mark.parametrize("override", ["DOWN", "UP", "STARTING"])
async def test_another_override_than_ours_is_put_back(client: Client, override: str) -> None:
    async with eureka(client) as (fake, ours):
        fake.register(ID, IP, status="STARTING" if override == "UP" else "UP")
        if override == "STARTING":
            fake.peers[0].leases[ID].status = "UP"
        await registry_told(fake, override)
        first = await seen(ours)
        assert json.loads(first.original)["override"] == override
        kept = pod(IP, original=first.original)
        await ours.withdraw(kept)
        await ours.restore(kept)
        assert statuses(fake) == [(override, override)]


async def registry_told(fake: FakeEureka, override: str) -> None:
    """Somebody else has given it an override."""
    for peer in fake.peers:
        lease = peer.leases[ID]
        peer.overrides[ID] = lease.overridden = lease.status = override


async def test_an_override_that_somebody_gave_in_the_meantime_is_left(client: Client) -> None:
    async with eureka(client) as (fake, ours):
        fake.register(ID, IP)
        kept = pod(IP, original=(await seen(ours)).original)
        await ours.withdraw(kept)
        await registry_told(fake, "DOWN")
        await ours.restore(kept)
        assert statuses(fake) == [("DOWN", "DOWN")]


async def test_the_next_pod_of_the_same_id_is_seen_to_be_out_and_can_be_let_in(client: Client) -> None:
    """A StatefulSet's pod comes back under its name; the override waits for it, an hour."""
    async with eureka(client) as (fake, ours):
        fake.register(ID, IP)
        await ours.withdraw(pod(IP))
        del fake.peers[0].leases[ID]
        fake.register(ID, "10.0.2.9")
        fake.cache_is_renewed()
        born = await seen(ours, pod("10.0.2.9"))
        assert (born.presence, born.fraction) == (Presence.ABSENT, 0.0)
        await ours.restore(pod("10.0.2.9", original=born.original))
        assert statuses(fake) == [("UP", "UNKNOWN")]


async def test_a_client_that_is_down_by_itself_is_not_put_up(client: Client) -> None:
    """DownOrStartingRule: what it says of itself is believed, under an override too."""
    async with eureka(client) as (fake, ours):
        fake.register(ID, IP)
        kept = pod(IP, original=(await seen(ours)).original)
        await ours.withdraw(kept)
        fake.register(ID, IP, status="DOWN")
        assert statuses(fake) == [("DOWN", "OUT_OF_SERVICE")]
        await ours.restore(kept)
        assert statuses(fake) == [("DOWN", "UNKNOWN")]


async def test_what_one_peer_knows_of_a_client_that_is_down_holds_for_all(client: Client) -> None:
    """Seen on the real one: UP, told to a peer that did not know yet, reached the one that did."""
    async with eureka(client, peers=2) as (fake, ours):
        fake.register(ID, IP)
        kept = pod(IP, original=(await seen(ours)).original)
        await ours.withdraw(kept)
        fake.peers[0].leases[ID].status = "DOWN"
        await ours.restore(kept)
        assert statuses(fake) == [("DOWN", "UNKNOWN")] * 2


async def test_nor_does_a_peer_whose_status_outlived_its_override_put_it_up_for_the_others(client: Client) -> None:
    """Seen on the real one, where the peers told each other late."""
    async with eureka(client, peers=2) as (fake, ours):
        fake.register(ID, IP)
        kept = pod(IP, original=(await seen(ours)).original)
        await ours.withdraw(kept)
        fake.peers[0].leases[ID].status = "DOWN"
        fake.peers[1].overrides.clear()
        fake.peers[1].leases[ID].overridden = "UNKNOWN"
        await ours.restore(kept)
        assert statuses(fake) == [("DOWN", "UNKNOWN")] * 2


async def test_a_status_that_outlived_its_override_is_replaced(client: Client) -> None:
    """LeaseExistsRule: a peer that forgot the override goes on with the status that it had made."""
    async with eureka(client) as (fake, ours):
        fake.register(ID, IP)
        kept = pod(IP, original=(await seen(ours)).original)
        await ours.withdraw(kept)
        fake.peers[0].overrides.clear()
        fake.register(ID, IP)
        assert statuses(fake) == [("OUT_OF_SERVICE", "UNKNOWN")]
        await ours.restore(kept)
        assert statuses(fake) == [("UP", "UNKNOWN")]
        assert fake.peers[0].overrides == {}


async def test_a_client_that_was_out_of_service_by_itself_stays_so(client: Client) -> None:
    async with eureka(client) as (fake, ours):
        fake.register(ID, IP, status="OUT_OF_SERVICE")
        first = await seen(ours)
        assert (first.presence, first.fraction) == (Presence.ABSENT, 1.0)
        kept = pod(IP, original=first.original)
        await ours.withdraw(kept)
        await ours.restore(kept)
        assert statuses(fake) == [("OUT_OF_SERVICE", "UNKNOWN")]


async def test_every_peer_is_told_for_replication_is_best_effort(client: Client) -> None:
    async with eureka(client, peers=2, replicate=False) as (fake, ours):
        fake.register(ID, IP)
        await ours.withdraw(pod(IP))
        assert statuses(fake) == [("OUT_OF_SERVICE", "OUT_OF_SERVICE")] * 2
        await ours.restore(pod(IP))
        assert statuses(fake) == [("UP", "UNKNOWN")] * 2


async def test_a_peer_that_has_lost_the_override_is_seen_to_differ_and_told_again(client: Client) -> None:
    """It was restarted, and its clients have registered with it anew before the others could tell it."""
    async with eureka(client, peers=2, replicate=False) as (fake, ours):
        fake.register(ID, IP)
        await ours.withdraw(pod(IP))
        fake.cache_is_renewed()
        assert (await seen(ours)).fraction == 0
        fake.peers[0].overrides.clear()
        fake.peers[0].leases.clear()
        fake.register(ID, IP)
        fake.cache_is_renewed()
        now = await seen(ours)
        assert (now.presence, now.evidence) == (Presence.PRESENT, "UP for the consumers of 1 of 2 peers")
        assert now.fraction not in (None, 0, 1)
        await ours.withdraw(pod(IP))
        fake.cache_is_renewed()
        now = await seen(ours)
        assert (now.presence, now.fraction) == (Presence.ABSENT, 0)


async def test_what_one_silent_peer_tells_its_consumers_nobody_knows(client: Client) -> None:
    async with eureka(client, peers=2, replicate=False) as (fake, ours):
        fake.register(ID, IP)
        await seen(ours)
        fake.peers[1].down = True
        assert (await seen(ours)).presence is Presence.PRESENT
        await ours.withdraw(pod(IP))
        fake.cache_is_renewed()
        now = await seen(ours)
        assert (now.presence, now.fraction) == (Presence.UNANSWERED, 0.0)
        assert fake.servers[1].split("/")[2] in now.evidence


async def test_where_no_peer_answers_there_is_nothing_to_say(client: Client) -> None:
    async with eureka(client, peers=2) as (fake, ours):
        for peer in fake.peers:
            peer.down = True
        for ask in (seen(ours), ours.withdraw(pod(IP)), ours.restore(pod(IP))):
            with pytest.raises(Unreachable):
                await ask


async def test_a_peer_that_has_just_started_does_not_know_yet(client: Client) -> None:
    """InstanceRegistry.shouldAllowAccess: 403 until it has the registry of the others."""
    async with eureka(client) as (fake, ours):
        fake.peers[0].starting = True
        with pytest.raises(Unreachable, match="just started"):
            await seen(ours)


async def test_what_is_not_registered_is_let_be(client: Client) -> None:
    async with eureka(client) as (fake, ours):
        nobody = Registration(Presence.ABSENT, "not registered at any of 1 peers")
        assert await seen(ours) == nobody
        fake.register("web-1:shop:8080", "10.0.2.2")
        fake.cache_is_renewed()
        assert await seen(ours) == nobody
        await ours.withdraw(pod(IP))
        await ours.restore(pod(IP))
        assert fake.writes == []


async def test_what_has_just_gone_is_no_error(client: Client) -> None:
    async with eureka(client) as (fake, ours):
        fake.register(ID, IP)
        await seen(ours)
        fake.peers[0].leases.clear()
        await ours.withdraw(pod(IP))
        await ours.restore(pod(IP))


async def test_an_instance_is_found_by_address_and_port_whatever_its_id(client: Client) -> None:
    async with eureka(client) as (fake, ours):
        fake.register("some-uuid", IP, 9090)
        assert (await seen(ours, pod(IP, 9090))).presence is Presence.PRESENT
        assert (await seen(ours, pod(IP, None))).presence is Presence.PRESENT
        assert (await seen(ours, pod(IP, 8080))).presence is Presence.ABSENT
        assert (await seen(ours, pod(IP, 443))).presence is Presence.ABSENT  # its secure port is off


async def test_an_older_registration_under_the_same_address_is_told_too(client: Client) -> None:
    async with eureka(client) as (fake, ours):
        fake.register("before:shop:8080", IP)
        fake.register(ID, IP)
        await ours.withdraw(pod(IP))
        fake.cache_is_renewed()
        assert (await seen(ours)).presence is Presence.ABSENT


async def test_json_of_older_servers_is_understood(client: Client) -> None:
    """One instance without a list; overriddenstatus; ports as they are: Converters, EurekaJacksonCodec."""
    async with eureka(client) as (fake, ours):
        fake.legacy = True
        fake.register(ID, IP)
        assert (await seen(ours)).presence is Presence.PRESENT
        await ours.withdraw(pod(IP))
        fake.cache_is_renewed()
        assert (await seen(ours)).fraction == 0.0


@pytest.mark.parametrize("port", [8080, "8080", {"$": 8080, "@enabled": "true"}, {"$": "8080"}])
async def test_a_port_is_written_in_several_ways(client: Client, port: object) -> None:
    one = {"instanceId": ID, "hostName": "web-0", "ipAddr": IP, "status": "UP", "port": port}
    async with serving(text(json.dumps({"application": {"name": "SHOP", "instance": [one]}}))) as number:
        given = traffic.Eureka(servers=[f"http://127.0.0.1:{number}/eureka"], application="shop")
        assert (await seen(EurekaRegistry(given, client))).presence is Presence.PRESENT


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<applications/>",
        "[]",
        "{}",
        '{"application": []}',
        '{"application": {"instance": [1]}}',
        '{"application": {"instance": {"hostName": "secret", "port": "x", "status": "UP"}}}',
    ],
)
async def test_what_eureka_never_says_is_nonsense_and_not_repeated(client: Client, body: str) -> None:
    async with serving(text(body)) as port:
        given = traffic.Eureka(servers=[f"http://127.0.0.1:{port}/eureka"], application="shop")
        with pytest.raises(Nonsense) as raised:
            await seen(EurekaRegistry(given, client))
        assert "secret" not in str(raised.value)


async def test_a_wrong_context_path_is_refused(client: Client) -> None:
    """Else every pod would seem to be gone."""
    async with FakeEureka().running() as fake:
        fake.register(ID, IP)
        fake.servers = [server.removesuffix("/eureka") for server in fake.servers]
        with pytest.raises(Refused, match="check the context path"):
            await seen(registry(fake, client))


async def test_a_login_is_sent_in_basic_authentication(client: Client) -> None:
    async with FakeEureka(login=LOGIN).running() as fake:
        fake.register(ID, IP)
        assert (await seen(registry(fake, client, LOGIN))).presence is Presence.PRESENT
        with pytest.raises(Refused, match="it wants a login, and none is given"):
            await seen(registry(fake, client))
        with pytest.raises(Refused, match="the login that is given is not accepted"):
            await seen(registry(fake, client, ("operator", "wr0ng")))


def test_a_login_that_cannot_be_sent_is_refused(client: Client) -> None:
    given = traffic.Eureka(servers=["http://eureka:8761/eureka"], application="shop")
    with pytest.raises(Refused, match="a colon") as raised:
        EurekaRegistry(given, client, login=("a:b", "s3cr3t"))
    assert "s3cr3t" not in str(raised.value)


async def test_writes_that_are_forbidden_are_refused(client: Client) -> None:
    """Spring Security's CSRF protection, as it comes: spring-cloud-netflix says to switch it off for /eureka/**."""
    async with eureka(client) as (fake, ours):
        fake.register(ID, IP)
        fake.csrf = True
        with pytest.raises(Refused, match="403: we may not write there"):
            await ours.withdraw(pod(IP))


async def test_it_has_no_weights_and_says_how_long_consumers_take(client: Client) -> None:
    given = traffic.Eureka(servers=["http://eureka:8761/eureka"], application="shop")
    ours = EurekaRegistry(given, client)
    assert not ours.weighs
    with pytest.raises(Refused):
        await ours.weigh(pod(IP), 0.5)
    assert ours.settle == timedelta(seconds=65)
    assert EurekaRegistry(given, client, settle=timedelta(0)).settle == timedelta(0)
