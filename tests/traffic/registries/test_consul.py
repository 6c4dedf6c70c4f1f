"""Consul: maintenance at the agent that owns the registration, seen in the catalog, and ended again."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from lossless.api.traffic import Consul
from lossless.core.world import Presence
from lossless.traffic.registries.client import Client
from lossless.traffic.registries.consul import ConsulRegistry
from lossless.traffic.registries.errors import Nonsense, Refused, Unreachable
from lossless.traffic.registries.registry import Instance, Registration
from tests.pods.servers import refusing
from tests.traffic.registries.fake_consul import TOKEN, FakeAgent, FakeConsul, check, fake_consul
from tests.traffic.registries.pods import pod


@dataclass
class Shop:
    """A service with a pod at 10.0.0.1 on node-1 and one at 10.0.0.2 on node-2."""

    consul: FakeConsul
    registry: ConsulRegistry
    spec: Consul

    @property
    def one(self) -> FakeAgent:
        return self.consul.agents["node-1"]

    @property
    def two(self) -> FakeAgent:
        return self.consul.agents["node-2"]

    async def seen(self, instance: Instance) -> Registration:
        return (await self.registry.look([instance]))[instance.uid]


@pytest.fixture
async def shop(client: Client) -> AsyncIterator[Shop]:
    async with fake_consul() as (consul, agents):
        spec = Consul(server=consul.url, agent=agents, service="web")
        shop = Shop(consul, ConsulRegistry(spec, client, token=TOKEN), spec)
        shop.one.register("web-1", "10.0.0.1")
        shop.two.register("web-2", "10.0.0.2")
        yield shop


async def test_a_registered_pod_is_present_and_has_its_full_share(shop: Shop) -> None:
    seen = await shop.seen(pod())
    assert (seen.presence, seen.fraction) == (Presence.PRESENT, 1.0)


async def test_a_pod_that_is_not_registered_is_absent_with_no_fraction(shop: Shop) -> None:
    assert await shop.seen(pod("10.0.0.3")) == Registration(Presence.ABSENT, "not registered")


async def test_the_catalog_is_asked_for_what_the_leader_knows(shop: Shop) -> None:
    await shop.seen(pod())
    assert "consistent" in shop.consul.asked[0].query


async def test_a_withdrawn_pod_is_in_maintenance_at_its_own_agent(shop: Shop) -> None:
    await shop.registry.withdraw(pod("10.0.0.2"))
    assert shop.two.in_maintenance("web-2")
    assert not shop.one.in_maintenance("web-1")
    seen = await shop.seen(pod("10.0.0.2"))
    assert (seen.presence, seen.fraction) == (Presence.ABSENT, 0.0)


async def test_a_pod_withdrawn_twice_is_restored_by_once(shop: Shop) -> None:
    for _ in range(2):
        await shop.registry.withdraw(pod())
    await shop.registry.restore(pod())
    assert (await shop.seen(pod())).presence is Presence.PRESENT


async def test_restoring_what_is_in_no_maintenance_is_fine(shop: Shop) -> None:
    await shop.registry.restore(pod())
    assert (await shop.seen(pod())).fraction == 1.0


async def test_maintenance_outlives_the_same_id_registered_again(shop: Shop) -> None:
    await shop.registry.withdraw(pod())
    shop.one.register("web-1", "10.0.0.1")
    assert (await shop.seen(pod())).presence is Presence.ABSENT


async def test_checks_replaced_by_the_application_show_the_pod_again_until_it_is_withdrawn_again(shop: Shop) -> None:
    await shop.registry.withdraw(pod())
    shop.one.register("web-1", "10.0.0.1", replace_existing_checks=True)
    assert (await shop.seen(pod())).presence is Presence.PRESENT
    await shop.registry.withdraw(pod())
    assert (await shop.seen(pod())).presence is Presence.ABSENT


async def test_a_maintenance_of_its_owner_stays(shop: Shop) -> None:
    shop.one.maintain("web-1", "backup")
    await shop.registry.withdraw(pod())
    await shop.registry.restore(pod())
    assert shop.one.in_maintenance("web-1")


async def test_a_maintenance_without_a_reason_is_its_owners(shop: Shop) -> None:
    shop.one.maintain("web-1")
    await shop.registry.restore(pod())
    assert shop.one.in_maintenance("web-1")


async def test_a_node_in_maintenance_hands_nobody_out_and_is_left_so(shop: Shop) -> None:
    shop.one.node_checks["_node_maintenance"] = check("_node_maintenance", "critical")
    seen = await shop.seen(pod())
    assert (seen.presence, seen.fraction) == (Presence.ABSENT, 0.0)
    await shop.registry.restore(pod())
    assert "_node_maintenance" in shop.one.node_checks


async def test_a_pod_withdrawn_during_its_nodes_maintenance_stays_out_after_it(shop: Shop) -> None:
    shop.one.node_checks["_node_maintenance"] = check("_node_maintenance", "critical")
    await shop.registry.withdraw(pod())
    del shop.one.node_checks["_node_maintenance"]
    assert (await shop.seen(pod())).presence is Presence.ABSENT


async def test_a_failing_check_is_absent_but_not_withdrawn(shop: Shop) -> None:
    shop.one.checks["web-1"]["ping"] = check("ping", "critical")
    seen = await shop.seen(pod())
    assert (seen.presence, seen.fraction) == (Presence.ABSENT, 1.0)


async def test_a_warning_is_still_handed_out_by_dns(shop: Shop) -> None:
    shop.one.checks["web-1"]["ping"] = check("ping", "warning")
    assert (await shop.seen(pod())).presence is Presence.PRESENT


async def test_every_registration_of_a_pod_is_withdrawn_and_restored(shop: Shop) -> None:
    shop.one.register("web-1-admin", "10.0.0.1", 9090)
    both = pod(port=None)
    shop.one.maintain("web-1-admin", "lossless.dev: by an operator that crashed after the first of two")
    seen = await shop.seen(both)
    assert seen.presence is Presence.PRESENT
    assert seen.fraction not in (None, 0, 1), "so that both are told again"
    await shop.registry.withdraw(both)
    assert (await shop.seen(both)).presence is Presence.ABSENT
    await shop.registry.restore(both)
    assert not shop.one.in_maintenance("web-1-admin")
    assert not shop.one.in_maintenance("web-1")


async def test_what_its_owner_has_in_maintenance_does_not_count_beside_another(shop: Shop) -> None:
    shop.one.register("web-1-admin", "10.0.0.1", 9090)
    shop.one.maintain("web-1-admin", "backup")
    both = pod(port=None)
    assert (await shop.seen(both)).fraction == 1
    await shop.registry.withdraw(both)
    assert (await shop.seen(both)).fraction == 0
    await shop.registry.restore(both)
    assert (await shop.seen(both)).fraction == 1


async def test_with_a_port_only_that_registration_is_withdrawn(shop: Shop) -> None:
    shop.one.register("web-1-admin", "10.0.0.1", 9090)
    await shop.registry.withdraw(pod())
    assert shop.one.in_maintenance("web-1")
    assert not shop.one.in_maintenance("web-1-admin")


async def test_a_service_without_an_address_has_its_nodes(shop: Shop) -> None:
    shop.one.register("host-network", port=7070)
    assert (await shop.seen(pod("127.0.0.1", 7070))).presence is Presence.PRESENT


async def test_a_registration_that_the_nodes_agent_does_not_own_is_refused(shop: Shop) -> None:
    shop.two.register("web-3", "10.0.0.3")
    shop.two.address = "127.0.0.1"
    with pytest.raises(Refused, match="does not know it"):
        await shop.registry.withdraw(pod("10.0.0.3"))


async def test_withdrawing_who_is_not_registered_is_done_already(shop: Shop) -> None:
    await shop.registry.withdraw(pod("10.0.0.3"))


async def test_a_token_that_sees_nobody_does_not_prove_absence(shop: Shop) -> None:
    shop.consul.filtered = True
    assert (await shop.seen(pod())).presence is Presence.UNANSWERED
    with pytest.raises(Refused, match="node:read"):
        await shop.registry.withdraw(pod())


async def test_without_a_leader_nobody_knows(shop: Shop) -> None:
    shop.consul.leaderless = True
    with pytest.raises(Unreachable):
        await shop.seen(pod())


@pytest.mark.parametrize("rubbish", ["<html>sign in</html>", '{"web": []}', "[7]", '[{"Node": {}, "Service": {}}]'])
async def test_rubbish_for_the_catalog_proves_nothing(shop: Shop, rubbish: str) -> None:
    shop.consul.rubbish = rubbish
    with pytest.raises(Nonsense) as refused:
        await shop.seen(pod())
    assert "sign in" not in str(refused.value), "its text is not passed on"
    for told in (shop.registry.withdraw, shop.registry.restore):
        with pytest.raises(Nonsense):
            await told(pod())
    assert not shop.one.in_maintenance("web-1")


async def test_an_agent_that_is_down_cannot_be_told_and_the_pod_is_seen_as_it_is(shop: Shop, client: Client) -> None:
    nobody = shop.spec.model_copy(update={"agent": f"http://{{host}}:{await refusing()}"})
    registry = ConsulRegistry(nobody, client, token=TOKEN)
    for told in (registry.withdraw, registry.restore):
        with pytest.raises(Unreachable, match="no connection"):
            await told(pod())
    assert (await registry.look([pod()]))[pod().uid].presence is Presence.PRESENT


async def test_a_token_that_is_not_accepted_is_refused_and_not_repeated(shop: Shop, client: Client) -> None:
    registry = ConsulRegistry(shop.spec, client, token="hunter2")
    with pytest.raises(Refused, match="token") as refused:
        await registry.look([pod()])
    assert "hunter2" not in str(refused.value)


async def test_a_node_whose_address_is_none_is_not_gone_to(shop: Shop) -> None:
    shop.one.address = "evil.example/path?"
    with pytest.raises(Nonsense):
        await shop.registry.withdraw(pod())


async def test_it_has_no_weights(shop: Shop) -> None:
    assert not shop.registry.weighs
    with pytest.raises(Refused):
        await shop.registry.weigh(pod(), 0.5)
