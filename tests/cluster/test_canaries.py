"""What lies beside an Ingress while pods ramp, and after: a canary, in the order that `lossless.cluster.ramping` has.

The API is a fake.
"""

from __future__ import annotations

from copy import deepcopy

import pytest

from lossless.cluster.errors import Forbidden
from lossless.cluster.ramping import LAG, LINGER, Ramping
from lossless.cluster.resources import INGRESS_CLASSES, INGRESSES, ROLLOUTS, SERVICES
from lossless.traffic.routes.canary import canary_name
from lossless.traffic.routes.nginx import WEIGHT
from tests.cluster import objects
from tests.cluster.test_ramping import KEY, Shop

CANARY = canary_name("web", "front")
TO_WEB = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}}


class Killed(Exception):
    """The operator is, in the middle of a turn."""


class Front(Shop):
    """The same shop behind an Ingress."""

    def __init__(self, controller: str = "k8s.io/ingress-nginx") -> None:
        super().__init__("Ingress")
        spec = {"ingressClassName": "nginx", "rules": [{"host": "shop.example", "http": {"paths": [TO_WEB]}}]}
        self.owners = self.api.has(INGRESSES, {"metadata": objects.metadata("front"), "spec": spec})
        self.api.has(INGRESS_CLASSES, {"metadata": {"name": "nginx"}, "spec": {"controller": controller}})

    @property
    def others(self) -> dict[str, objects.Raw]:
        """Ingresses beside the owner's, by name. The owner's is never written to."""
        found = {name: raw for (kind, name), raw in self.api.objects.items() if kind == INGRESSES}
        assert found.pop("front") == self.owners
        return found

    @property
    def percent(self) -> int | None:
        """The canary's; None: there is none."""
        found = self.others.get(CANARY)
        return int(found["metadata"]["annotations"][WEIGHT]) if found else None

    async def ramps(self) -> None:
        """A whole one, until nobody is late any more."""
        await self.has_ramped()
        self.passes(LINGER.total_seconds())
        assert await self.turn() is None

    def is_killed_before(self, call: int) -> None:
        """The operator is, before so many calls to the API server are done."""
        called, left = self.api._called, call

        def count(verb: str, what: str, name: str) -> None:
            nonlocal left
            if not left:
                raise Killed
            left -= 1
            called(verb, what, name)

        self.api._called = count  # type: ignore[method-assign]

    async def is_restarted(self) -> None:
        vars(self.api).pop("_called", None)
        await super().is_restarted()


# -- a ramp ------------------------------------------------------------------------------------------------------------


async def test_a_canary_gets_its_share_once_gateways_have_had_the_time_to_know_of_it() -> None:
    shop = Front()
    assert await shop.turn(0.5) == LAG.total_seconds()
    assert (shop.percent, shop.leads_to) == (0, {"new"})
    shop.passes(LAG.total_seconds())
    assert await shop.turn(0.5) is None
    assert shop.percent == 20, "0.5 of 2.5"
    await shop.turn(1.0)
    assert shop.percent == 33, "1 of 3"


async def test_after_a_ramp_there_is_no_canary_and_the_warm_up_service_leads_to_pods_that_serve_for_a_while() -> None:
    shop = Front()
    await shop.has_ramped()
    assert (shop.others, shop.leads_to) == ({}, {"new"})
    shop.passes(LINGER.total_seconds())
    assert await shop.turn() is None
    assert shop.leads_to == set()


async def test_while_its_percents_stay_the_same_nothing_is_asked() -> None:
    shop = Front()
    await shop.turn(0.5)
    shop.api.calls.clear()
    shop.passes(1)
    await shop.turn(0.5)
    assert shop.api.calls == []


async def test_it_follows_what_the_owner_makes_of_the_ingress_meanwhile() -> None:
    shop = Front()
    await shop.turn(0.1)
    changed = deepcopy(shop.owners)
    changed["spec"]["rules"][0]["host"] = "new.example"
    shop.owners = shop.api.has(INGRESSES, changed)
    shop.passes(LAG.total_seconds())
    await shop.turn(0.5)
    assert [rule["host"] for rule in shop.others[CANARY]["spec"]["rules"]] == ["new.example"]


async def test_a_canary_that_somebody_deletes_is_there_again_with_the_next_step() -> None:
    shop = Front()
    await shop.turn(0.1)
    del shop.api.objects[INGRESSES, CANARY]
    shop.passes(LAG.total_seconds())
    await shop.turn(0.5)
    assert shop.percent == 20
    await shop.turn()
    assert shop.others == {}


async def test_an_ingress_that_goes_takes_its_canary_along() -> None:
    shop = Front()
    await shop.turn(0.1)
    del shop.api.objects[INGRESSES, "front"]
    shop.passes(LAG.total_seconds())
    await shop.turn(0.5)
    assert (INGRESSES, CANARY) not in shop.api.objects
    await shop.turn(0.5)
    assert shop.ramping.refusals(KEY) == {"Ingress front": "it is not there"}


# -- who must not get one ----------------------------------------------------------------------------------------------


async def test_a_controller_that_may_not_know_canaries_is_given_none() -> None:
    shop = Front(controller="example.com/other")
    await shop.turn(0.1)
    shop.passes(LAG.total_seconds())
    await shop.turn(0.5)
    assert shop.others == {}
    assert "is of example.com/other" in shop.ramping.refusals(KEY)["Ingress front"]
    assert "apply ingresses" not in shop.api.asked()


async def test_a_class_that_the_operator_may_not_read_counts_as_one_that_does_not_know_them() -> None:
    """As with a namespaced install: an IngressClass is the cluster's."""
    shop = Front()
    shop.api.failures = {("get", "nginx"): Forbidden("GET", "no", 403)}
    await shop.turn(0.1)
    assert shop.others == {}
    assert "may get ingressclasses" in shop.ramping.refusals(KEY)["Ingress front"]


async def test_somebody_elses_ingress_of_that_name_is_left_alone() -> None:
    shop = Front()
    theirs = shop.api.has(INGRESSES, {"metadata": objects.metadata(CANARY), "spec": {}})
    await shop.turn(0.1)
    assert shop.others == {CANARY: theirs}
    assert shop.ramping.refusals(KEY) == {"Ingress front": f"there is another Ingress {CANARY}"}
    await shop.is_restarted()
    await shop.turn()
    assert shop.others == {CANARY: theirs}


async def test_what_an_admission_webhook_says_to_the_canary_is_why_there_is_none() -> None:
    shop = Front()
    await shop.turn(0.1)
    assert shop.percent == 0
    shop.passes(LAG.total_seconds())
    shop.api.failures = {("apply", CANARY): Forbidden("PATCH", "host is taken", 403)}
    await shop.turn(0.5)
    assert "host is taken" in shop.ramping.refusals(KEY)["Ingress front"]
    assert shop.others == {}


# -- started in the middle of it ---------------------------------------------------------------------------------------


async def test_an_operator_that_is_started_in_the_middle_of_a_ramp_goes_on_where_it_is() -> None:
    shop = Front()
    await shop.turn(0.1)
    shop.slices[0]["metadata"]["creationTimestamp"] = shop.now.isoformat()
    shop.passes(LAG.total_seconds())
    await shop.turn(0.5)
    await shop.is_restarted()
    assert shop.left_over == {KEY}
    await shop.turn(0.6)
    assert shop.percent == 23, "0.6 of 2.6"


@pytest.mark.parametrize("last", [None, 1.0], ids=["the ramp is over meanwhile", "the ramp goes on"])
async def test_an_operator_that_is_killed_at_any_point_of_a_ramp_leaves_nothing_behind(last: float | None) -> None:
    whole = Front()
    await whole.ramps()
    for call in range(len(whole.api.calls)):
        shop = Front()
        shop.is_killed_before(call)
        with pytest.raises(Killed):
            await shop.ramps()
        await shop.is_restarted()
        await shop.turn(last)
        if last:
            await shop.ramps()
        shop.passes(LINGER.total_seconds())
        await shop.turn()
        assert (shop.others, shop.leads_to) == ({}, set()), whole.api.calls[call]


async def test_a_canary_is_taken_out_also_by_who_could_not_look_for_what_was_left_over() -> None:
    shop = Front()
    await shop.turn(0.1)
    shop.ramping = Ramping(shop.api, shop.store, lambda: shop.now)
    assert await shop.turn() == LINGER.total_seconds()
    assert shop.others == {}


async def test_an_ingress_that_was_taken_from_the_spec_while_nobody_led_has_no_canary_any_more() -> None:
    shop = Front()
    await shop.turn(0.1)
    shop.has(ROLLOUTS, objects.rollout("web", warmup={"ramp": {}}))
    await shop.is_restarted()
    await shop.turn(0.1)
    assert shop.others == {}


@pytest.mark.parametrize("restarted", [False, True])
async def test_of_a_lossless_rollout_that_is_gone_nothing_is_left_after_a_while(restarted: bool) -> None:
    shop = Front()
    await shop.turn(0.1)
    shop.store.rollouts.remove("uid-web", 10**9)
    if restarted:
        await shop.is_restarted()
        assert shop.left_over == {KEY}
    assert await shop.ramping.give_back(*KEY) == LINGER.total_seconds()
    assert (shop.others, shop.leads_to) == ({}, {"new"})
    shop.passes(LINGER.total_seconds())
    assert await shop.ramping.give_back(*KEY) is None
    assert not [name for kind, name in shop.api.objects if kind == SERVICES and name != "web"]


async def test_who_writes_our_labels_on_an_ingress_makes_no_canary_of_it() -> None:
    shop = Front()
    await shop.turn(0.1)
    forged = deepcopy(shop.others[CANARY])
    forged["metadata"] |= {"name": "shop", "ownerReferences": [{"kind": "Ingress", "name": "no name, UPPER"}]}
    shop.api.has(INGRESSES, forged)
    del shop.api.objects[INGRESSES, CANARY]
    await shop.is_restarted()
    await shop.turn()
    assert set(shop.others) == {"shop"}
