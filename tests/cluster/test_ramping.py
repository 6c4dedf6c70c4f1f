"""What is in a route, and behind its warm-up backend, while pods ramp and after. The API is a fake.

What an operator has to know that was started in the middle of it is on the objects.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lossless.cluster.errors import Outdated
from lossless.cluster.gather import Asked, Gathered, gather
from lossless.cluster.observed import SeenRollout
from lossless.cluster.ramping import LAG, LINGER, Ramping
from lossless.cluster.resources import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    PODS,
    REPLICA_SETS,
    ROLLOUTS,
    SERVICES,
    Resource,
)
from lossless.cluster.splits import ATTEMPTS
from lossless.cluster.store import Store
from lossless.core.world import RampStep
from lossless.traffic.services import SERVICE_NAME
from tests.cluster import objects
from tests.cluster.fake_api import FakeApi

NS, KEY = objects.NAMESPACE, (objects.NAMESPACE, "web")
NOON = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)
ROUTES = Resource("gateway.networking.k8s.io", "v1", "httproutes")
WEB = {"name": "web", "port": 80}


class Shop:
    """Two pods that serve, one that may ramp, a route to them, and the operator that was started last."""

    def __init__(self, kind: str = "HTTPRoute") -> None:
        self.api, self.store, self.now = FakeApi(), Store(), NOON
        self.ramping = Ramping(self.api, self.store, lambda: self.now)
        named = {"routes": [{"kind": kind, "name": "front"}]}
        self.has(ROLLOUTS, objects.rollout("web", warmup={"ramp": {}}, traffic=named))
        self.has(DEPLOYMENTS, objects.deployment("web", replicas=3))
        self.has(REPLICA_SETS, objects.replica_set("web-1", replicas=3, readyReplicas=2))
        self.has(SERVICES, objects.service("web", ports=[{"port": 80, "targetPort": "http"}]))
        addresses = {"a": "10.0.0.1", "b": "10.0.0.2", "new": "10.0.0.3"}
        self.has(PODS, *(objects.pod(name, ip=ip) for name, ip in addresses.items()))
        ends = [objects.endpoint(name, ip, ready=True) for name, ip in addresses.items()]
        self.has(ENDPOINT_SLICES, objects.endpoint_slice("web-x", "web", *ends))
        spec = {"parentRefs": [{"name": "gate"}], "rules": [{"backendRefs": [WEB]}]}
        self.api.has(
            ROUTES,
            {"apiVersion": "gateway.networking.k8s.io/v1", "metadata": objects.metadata("front"), "spec": spec},
        )

    def has(self, resource: Resource, *raws: objects.Raw) -> None:
        for raw in raws:
            self.store.table(resource).put(self.api.has(resource, raw))

    @property
    def rollout(self) -> SeenRollout:
        found = self.store.rollouts.named(*KEY)
        assert found is not None
        return found

    @property
    def gathered(self) -> Gathered:
        return gather(self.store, self.rollout, self.rollout.status, Asked())

    async def turn(self, fraction: float | None = None) -> float | None:
        """`new` is to get this fraction of a full share; None: nobody ramps."""
        step = None if fraction is None else RampStep((("uid-new", fraction),), 2, None)
        return await self.ramping.ensure(self.gathered, step)

    async def has_ramped(self) -> None:
        """A ramp has ended this very moment."""
        await self.turn(0.1)
        self.passes(LAG.total_seconds())
        await self.turn(1.0)
        assert await self.turn() == LINGER.total_seconds()

    async def is_restarted(self) -> None:
        """Another process: it remembers nothing, and has seen what there is. Begins with what was left over."""
        self.ramping = Ramping(self.api, self.store, lambda: self.now)
        self.api.calls.clear()
        self.left_over = await self.ramping.left_over([None])

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def gateway_says(self, accepted: str) -> None:
        conditions = [objects.condition(kind, accepted) for kind in ("Accepted", "ResolvedRefs")]
        parents = [{"parentRef": {"name": "gate"}, "conditions": conditions}]
        self.api.objects[ROUTES, "front"]["status"] = {"parents": parents}

    def is_edited_by_its_owner(self, backends: list[dict[str, Any]], times: int) -> None:
        """So many times, each just after the operator has read the route to write to it."""
        patch, left = self.api.patch, times

        async def late(resource: Resource, namespace: str | None, name: str, *more: Any, **named: Any) -> objects.Raw:
            nonlocal left
            if resource == ROUTES and left:
                left -= 1
                self.api.objects[ROUTES, name]["spec"]["rules"][0]["backendRefs"] = backends
                self.api.changes(ROUTES, name)
            return await patch(resource, namespace, name, *more, **named)

        self.api.patch = late  # type: ignore[method-assign]

    @property
    def backends(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.api.objects[ROUTES, "front"]["spec"]["rules"][0]["backendRefs"]
        return found

    @property
    def share(self) -> float:
        """The warm-up backend's."""
        weights: dict[str, int] = {one["name"]: one.get("weight", 1) for one in self.backends}
        return weights.get("web-warmup", 0) / sum(weights.values())

    @property
    def leads_to(self) -> set[str]:
        """The pods that the warm-up Service leads to."""
        return {end["targetRef"]["name"] for one in self.slices for end in one["endpoints"]}

    @property
    def slices(self) -> list[objects.Raw]:
        every = [raw for (kind, _), raw in self.api.objects.items() if kind == ENDPOINT_SLICES]
        return [one for one in every if one["metadata"]["labels"][SERVICE_NAME] == "web-warmup"]


# -- a ramp ------------------------------------------------------------------------------------------------------------


async def test_a_share_is_given_once_gateways_have_had_the_time_to_know_of_the_warm_up_service() -> None:
    shop = Shop()
    assert await shop.turn(0.5) == LAG.total_seconds()
    assert (shop.share, shop.leads_to) == (0.0, {"new"})
    shop.passes(LAG.total_seconds())
    assert await shop.turn(0.5) is None
    assert shop.share == pytest.approx(0.5 / 2.5, abs=1e-4)


async def test_an_operator_that_is_started_in_the_middle_of_a_ramp_goes_on_where_it_is() -> None:
    shop = Shop()
    await shop.turn(0.1)
    shop.slices[0]["metadata"]["creationTimestamp"] = shop.now.isoformat()
    shop.passes(LAG.total_seconds())
    await shop.turn(0.5)
    await shop.is_restarted()
    await shop.turn(0.6)
    assert shop.share == pytest.approx(0.6 / 2.6, abs=1e-4)


# -- what gateways say, and who else writes ----------------------------------------------------------------------------


async def test_a_route_that_its_gateway_refuses_gets_no_share_until_it_is_taken() -> None:
    shop = Shop()
    shop.gateway_says("False")
    await shop.turn(0.1)
    shop.passes(LAG.total_seconds())
    await shop.turn(0.5)
    assert shop.share == 0
    assert "Accepted=False" in shop.ramping.refusals(KEY)["HTTPRoute front"]
    shop.gateway_says("True")
    await shop.turn(0.5)
    assert shop.share == pytest.approx(0.5 / 2.5, abs=1e-4)
    assert shop.ramping.refusals(KEY) == {}


async def test_a_route_that_is_refused_in_the_middle_of_a_ramp_loses_its_share() -> None:
    shop = Shop()
    await shop.turn(0.1)
    shop.passes(LAG.total_seconds())
    await shop.turn(0.2)
    assert shop.share > 0
    shop.gateway_says("False")
    await shop.turn(0.5)
    assert shop.share == 0
    await shop.turn()
    assert shop.backends == [WEB]


async def test_what_its_owner_writes_between_our_look_and_our_write_is_kept() -> None:
    shop = Shop()
    owners = [{**WEB, "weight": 7}, {"name": "canary", "port": 80, "weight": 3}]
    shop.is_edited_by_its_owner(owners, times=1)
    await shop.turn(0.1)
    assert [one["name"] for one in shop.backends] == ["web", "web-warmup", "canary"]
    assert shop.api.calls.count(("patch", "httproutes", "front")) == 2
    await shop.turn()
    assert shop.backends == owners


async def test_a_route_that_is_changed_each_time_is_left_for_later() -> None:
    shop = Shop()
    shop.is_edited_by_its_owner([WEB], times=ATTEMPTS)
    with pytest.raises(Outdated):
        await shop.turn(0.1)
    assert shop.backends == [WEB]
    await shop.turn(0.1)
    assert shop.leads_to == {"new"}
    assert {one["name"] for one in shop.backends} == {"web", "web-warmup"}


# -- and after it ------------------------------------------------------------------------------------------------------


async def test_after_a_ramp_the_route_is_its_owners_and_the_warm_up_service_leads_to_pods_that_serve_for_a_while() -> (
    None
):
    shop = Shop()
    await shop.has_ramped()
    assert (shop.backends, shop.leads_to) == ([WEB], {"new"})
    shop.passes(LINGER.total_seconds())
    assert await shop.turn() is None
    assert shop.leads_to == set()
    shop.api.calls.clear()
    assert await shop.turn() is None
    assert shop.api.calls == []


async def test_it_does_so_after_a_restart_until_the_same_moment() -> None:
    """A gateway that is late would lose what it sends there."""
    shop = Shop()
    await shop.has_ramped()
    shop.passes(10)
    await shop.is_restarted()
    assert await shop.turn() == LINGER.total_seconds() - 10
    assert shop.leads_to == {"new"}
    shop.passes(LINGER.total_seconds() - 10)
    assert await shop.turn() is None
    assert shop.leads_to == set()


async def test_who_goes_meanwhile_is_replaced_by_others_that_serve() -> None:
    shop = Shop()
    await shop.has_ramped()
    shop.store.pods.remove("uid-new", 10**9)
    await shop.is_restarted()
    await shop.turn()
    assert shop.leads_to == {"a", "b"}


async def test_a_ramp_that_had_ended_while_nobody_led_is_put_to_an_end_the_same_way() -> None:
    shop = Shop()
    await shop.turn(0.1)
    await shop.is_restarted()
    assert await shop.turn() == LINGER.total_seconds()
    assert (shop.backends, shop.leads_to) == ([WEB], {"new"})


async def test_the_next_ramp_makes_the_warm_up_service_its_own_again() -> None:
    shop = Shop()
    await shop.has_ramped()
    await shop.is_restarted()
    assert await shop.turn(0.1) == LAG.total_seconds()
    shop.passes(LINGER.total_seconds())
    await shop.turn(1.0)
    await shop.is_restarted()
    assert await shop.turn() == LINGER.total_seconds()


# -- named no more, and gone -------------------------------------------------------------------------------------------


async def test_a_route_that_was_taken_from_the_spec_while_nobody_led_is_its_owners_again() -> None:
    shop = Shop()
    await shop.turn(0.1)
    shop.has(ROLLOUTS, objects.rollout("web", warmup={"ramp": {}}))
    await shop.is_restarted()
    assert await shop.turn(0.1) is None
    assert shop.backends == [WEB]


@pytest.mark.parametrize("restarted", [False, True])
async def test_of_a_lossless_rollout_that_is_gone_nothing_is_left_after_that_while(restarted: bool) -> None:
    shop = Shop()
    await shop.turn(0.1)
    shop.store.rollouts.remove("uid-web", 10**9)
    assert await shop.ramping.give_back(*KEY) == LINGER.total_seconds()
    assert (shop.backends, shop.leads_to) == ([WEB], {"new"})
    shop.passes(10)
    if restarted:
        await shop.is_restarted()
        assert shop.left_over == {KEY}
    assert await shop.ramping.give_back(*KEY) == LINGER.total_seconds() - 10
    assert shop.leads_to == {"new"}
    shop.passes(LINGER.total_seconds() - 10)
    assert await shop.ramping.give_back(*KEY) is None
    assert shop.leads_to == set()
    assert (SERVICES, "web-warmup") not in shop.api.objects
    assert await shop.ramping.give_back(*KEY) is None


async def test_somebody_elses_service_of_that_name_is_left_alone_and_the_route_is_not_split() -> None:
    shop = Shop()
    shop.has(SERVICES, objects.service("web-warmup"))
    assert await shop.turn(0.1) is None
    assert shop.backends == [WEB]
    assert shop.ramping.refusals(KEY) == {"HTTPRoute front": "there is another Service web-warmup"}
    shop.store.rollouts.remove("uid-web", 10**9)
    await shop.is_restarted()
    assert shop.left_over == set()
    assert await shop.ramping.give_back(*KEY) is None
    assert (SERVICES, "web-warmup") in shop.api.objects
