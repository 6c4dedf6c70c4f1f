"""What is written to autoscalers, what is said of it, and who finds it when somebody was killed. The API is a fake."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lossless.api import names
from lossless.cluster.autoscaler_status import autoscaler_metrics, quantity
from lossless.cluster.autoscaling import Autoscaling
from lossless.cluster.errors import Conflict, Forbidden, Outdated
from lossless.cluster.gather import Asked, Gathered, gather
from lossless.cluster.interest import concerned
from lossless.cluster.keda import PAUSED, SCALED_OBJECTS
from lossless.cluster.observed import SeenAutoscaler
from lossless.cluster.patches import merge_patch
from lossless.cluster.resources import AUTOSCALERS, DEPLOYMENTS, PODS, REPLICA_SETS, ROLLOUTS, Resource
from lossless.cluster.store import Change, Store
from lossless.core.autoscaler import STEADY_FOR
from lossless.core.world import AutoscalerMetric
from tests.cluster import objects
from tests.cluster.fake_api import FakeApi

NS, KEY = objects.NAMESPACE, (objects.NAMESPACE, "web")
NOON = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)
THEIRS = {"scaleDown": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [{"type": "Pods"}]}}


class Shop:
    """A Deployment with an autoscaler, one pod that serves, and one that may come in."""

    def __init__(self, behavior: objects.Raw | None = None, **autoscaler: Any) -> None:
        self.api, self.store, self.now = FakeApi(), Store(), NOON
        self.is_restarted()
        self.has(ROLLOUTS, objects.rollout())
        self.has(DEPLOYMENTS, objects.deployment(replicas=2))
        self.has(REPLICA_SETS, objects.replica_set(replicas=2, readyReplicas=1))
        self.has(AUTOSCALERS, objects.autoscaler(behavior=behavior, **autoscaler))
        self.has(PODS, objects.pod("a", metadata={"annotations": {names.STAGE: "Admitted"}}))
        self.warms_up("b")

    def is_restarted(self) -> None:
        self.autoscaling = Autoscaling(self.api, self.store, lambda change: None, lambda: self.now)

    def has(self, resource: Resource, *raws: objects.Raw) -> None:
        for raw in raws:
            self.store.table(resource).put(self.api.has(resource, raw))

    def warms_up(self, name: str) -> None:
        self.has(PODS, objects.pod(name, metadata={"annotations": {names.STAGE: "Warming"}}))

    def is_let_in(self, name: str) -> None:
        self.has(PODS, objects.pod(name, metadata={"annotations": {names.STAGE: "Admitted"}}))

    def passes(self, time: timedelta) -> None:
        self.now += time

    @property
    def gathered(self) -> Gathered:
        rollout = self.store.rollouts.named(*KEY)
        assert rollout is not None
        return gather(self.store, rollout, rollout.status, Asked())

    async def turn(self) -> list[str]:
        events, self.again = await self.autoscaling.ensure(self.gathered)
        return [event.reason for event in events]

    @property
    def autoscaler(self) -> objects.Raw:
        return self.api.objects[AUTOSCALERS, "web"]

    @property
    def behavior(self) -> Any:
        return self.autoscaler["spec"].get("behavior")

    @property
    def note(self) -> str | None:
        return (self.autoscaler["metadata"].get("annotations") or {}).get(names.ORIGINAL_BEHAVIOR)

    @property
    def writes(self) -> int:
        return sum(1 for call in self.api.asked() if call.startswith("patch"))


async def test_it_is_held_with_one_write_and_given_back_with_another() -> None:
    shop = Shop(behavior=THEIRS)
    assert await shop.turn() == ["AutoscalerHeld"]
    assert shop.behavior["scaleDown"] == {**THEIRS["scaleDown"], "selectPolicy": "Disabled"}
    assert await shop.turn() == []
    shop.is_let_in("b")
    assert await shop.turn() == []
    assert shop.again == STEADY_FOR.total_seconds()
    shop.passes(STEADY_FOR)
    assert await shop.turn() == ["AutoscalerRestored"]
    assert (shop.behavior, shop.note) == (THEIRS, None)
    assert not shop.again
    assert shop.writes == 2
    assert await shop.turn() == []


async def test_who_is_started_in_the_middle_of_it_knows_whose_it_was() -> None:
    shop = Shop()
    await shop.turn()
    shop.is_restarted()
    assert await shop.autoscaling.left_over([None]) == {KEY}
    shop.is_let_in("b")
    await shop.turn()
    shop.passes(STEADY_FOR)
    await shop.turn()
    assert (shop.behavior, shop.note) == (None, None)
    assert await shop.autoscaling.left_over([None]) == set()


async def test_when_the_lossless_rollout_is_gone_it_is_given_back_at_once_also_by_another_process() -> None:
    shop = Shop(behavior=THEIRS)
    await shop.turn()
    shop.is_restarted()
    await shop.autoscaling.give_back(*KEY)
    assert (shop.behavior, shop.note) == (THEIRS, None)


async def test_who_is_faster_wins_and_is_looked_at_again() -> None:
    shop = Shop()
    shop.api.failures["patch", "web"] = Conflict("PATCH web", "changed", 409)
    with pytest.raises(Outdated):
        await shop.turn()
    assert "get horizontalpodautoscalers" in shop.api.asked()
    await shop.turn()
    assert shop.note


async def test_where_it_may_not_be_written_to_this_is_said_and_not_tried_again() -> None:
    shop = Shop()
    shop.api.failures["patch", "web"] = Forbidden("PATCH web", "no", 403)
    await shop.turn()
    await shop.turn()
    assert shop.writes == 1
    (condition,) = shop.autoscaling.condition(shop.gathered)
    assert condition.status == "False"
    assert "lossless-operator-autoscalers" in condition.message


async def test_what_belongs_to_something_else_is_never_written_to() -> None:
    shop = Shop(metadata={"ownerReferences": owned_by("Scaler")})
    await shop.turn()
    assert not shop.writes
    (condition,) = shop.autoscaling.condition(shop.gathered)
    assert "Scaler web" in condition.message


async def test_where_there_is_none_nothing_is_said() -> None:
    shop = Shop(spec={"scaleTargetRef": {"kind": "Deployment", "name": "another"}})
    assert await shop.turn() == []
    assert shop.autoscaling.condition(shop.gathered) == ()
    assert not shop.api.calls


async def test_one_that_gets_another_target_is_given_back() -> None:
    shop = Shop()
    await shop.turn()
    raw = shop.autoscaler
    raw["spec"]["scaleTargetRef"]["name"] = "another"
    shop.has(AUTOSCALERS, raw)
    await shop.turn()
    assert (shop.behavior, shop.note) == (None, None)


async def test_the_status_says_what_is_held_until_when_and_at_max_hold_also_to_who_leads_next() -> None:
    shop = Shop()
    await shop.turn()
    (held,) = shop.autoscaling.condition(shop.gathered)
    assert (held.status, held.reason) == ("True", "ScaleInHeld")
    assert "until 12:30:30 UTC" in held.message
    shop.passes(timedelta(minutes=30))
    assert await shop.turn() == ["AutoscalerHoldTimedOut"]
    assert (shop.behavior, shop.note) == (None, None)
    rollout = shop.store.rollouts.named(*KEY)
    assert rollout is not None
    conditions = shop.autoscaling.condition(shop.gathered)
    assert conditions[0].status == "False"
    rollout.status.conditions[:] = conditions
    shop.is_restarted()
    await shop.turn()
    assert shop.note is None, "once a release is enough"


# -- KEDA --------------------------------------------------------------------------------------------------------------


def owned_by(kind: str) -> list[objects.Raw]:
    return [{"apiVersion": "keda.sh/v1alpha1", "kind": kind, "name": "web", "uid": "uid-so", "controller": True}]


class KedaShop(Shop):
    """The autoscaler belongs to a ScaledObject."""

    def __init__(self, **annotations: str) -> None:
        super().__init__(metadata={"ownerReferences": owned_by("ScaledObject")})
        self.api.has(SCALED_OBJECTS, {"metadata": objects.metadata("web", uid="uid-so", annotations=annotations)})

    @property
    def annotations(self) -> dict[str, str]:
        found: dict[str, str] = self.api.objects[SCALED_OBJECTS, "web"]["metadata"]["annotations"]
        return found

    async def is_over(self) -> None:
        self.is_let_in("b")
        await self.turn()
        self.passes(STEADY_FOR)
        await self.turn()


async def test_keda_is_asked_to_hold_scale_in_and_its_autoscaler_is_left_alone() -> None:
    shop = KedaShop(theirs="yes")
    assert await shop.turn() == ["AutoscalerHeld"]
    assert shop.annotations[PAUSED] == "true"
    assert (shop.behavior, shop.note) == (None, None)
    await shop.turn()
    await shop.is_over()
    assert shop.annotations == {"theirs": "yes"}
    assert shop.api.asked() == ["get scaledobjects", "patch scaledobjects", "patch scaledobjects"]


@pytest.mark.parametrize("value", ["true", "false"])
async def test_what_its_owner_has_said_to_keda_stands(value: str) -> None:
    shop = KedaShop(**{PAUSED: value})
    await shop.turn()
    await shop.is_over()
    assert shop.annotations == {PAUSED: value}
    assert not shop.writes


async def test_what_somebody_says_to_keda_meanwhile_stands() -> None:
    shop = KedaShop()
    await shop.turn()
    shop.api.objects[SCALED_OBJECTS, "web"]["metadata"]["annotations"][PAUSED] = "false"
    shop.api.changes(SCALED_OBJECTS, "web")
    shop.is_let_in("b")
    await shop.turn()
    shop.passes(STEADY_FOR)
    with pytest.raises(Outdated):
        await shop.turn()
    await shop.turn()
    assert shop.annotations == {PAUSED: "false"}


@pytest.mark.parametrize("is_gone", [True, False])
async def test_a_scaled_object_that_is_held_is_found_by_who_comes_next(is_gone: bool) -> None:
    shop = KedaShop()
    await shop.turn()
    shop.is_restarted()
    assert await shop.autoscaling.left_over([None]) == {KEY}
    if is_gone:
        await shop.autoscaling.give_back(*KEY)
    else:
        await shop.is_over()
    assert shop.annotations == {}


async def test_without_keda_or_the_right_to_it_nothing_is_done() -> None:
    shop = KedaShop()
    shop.api.failures["patch", "web"] = Forbidden("PATCH web", "no", 403)
    await shop.turn()
    await shop.turn()
    assert shop.writes == 1
    bare = Shop(metadata={"ownerReferences": owned_by("ScaledObject")})
    await bare.turn()
    assert not bare.writes


# -- what is read ------------------------------------------------------------------------------------------------------


def test_its_metrics_wake_nobody_unless_it_is_held() -> None:
    store = Store()
    store.rollouts.put(objects.rollout())
    store.autoscalers.put(objects.autoscaler(cpu=50))
    assert store.autoscalers.put(objects.autoscaler(cpu=90)) is None
    (seen,) = store.autoscalers
    assert seen.core.metrics[0].ratio == 0.9
    note = '{"rollout": "web", "since": "2026-01-01T12:00:00Z", "original": null, "ours": {}, "theirs": []}'
    held = {"annotations": {names.ORIGINAL_BEHAVIOR: note}}
    store.autoscalers.put(objects.autoscaler(cpu=90, metadata=held))
    change = store.autoscalers.put(objects.autoscaler(cpu=50, metadata=held))
    assert change is not None
    assert concerned(change, store) == {KEY}


def test_an_autoscaler_of_a_workload_in_our_care_concerns_us() -> None:
    store = Store()
    store.rollouts.put(objects.rollout())
    change: Change[SeenAutoscaler] | None = store.autoscalers.put(objects.autoscaler())
    assert change is not None
    assert concerned(change, store) == {KEY}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("100m", 0.1),
        ("2", 2.0),
        ("1Ki", 1024.0),
        ("1.5Gi", 1.5 * 2**30),
        ("12e3", 12_000.0),
        ("3k", 3000.0),
        ("x", None),
    ],
)
def test_quantities(text: str, number: float | None) -> None:
    assert quantity(text) == number


def metric(kind: str, target: objects.Raw, current: objects.Raw | None, **source: Any) -> tuple[AutoscalerMetric, ...]:
    key = f"{kind[0].lower()}{kind[1:]}"
    status = [{"type": kind, key: {**source, "current": current}}] if current is not None else []
    return autoscaler_metrics(
        {"metrics": [{"type": kind, key: {**source, "target": target}}]}, {"currentMetrics": status}
    )


def test_every_kind_of_metric_is_read_against_its_target() -> None:
    named = {"metric": {"name": "rps"}}
    described = {**named, "describedObject": {"kind": "Service", "name": "web"}}
    utilization = {"type": "Utilization", "averageUtilization": 50}
    each, whole = {"type": "AverageValue", "averageValue": "10"}, {"type": "Value", "value": "200"}
    assert metric("Resource", utilization, {"averageUtilization": 75}, name="cpu") == (
        AutoscalerMetric("cpu", 1.5, True),
    )
    assert metric("ContainerResource", each, {"averageValue": "5"}, name="memory", container="app") == (
        AutoscalerMetric("memory", 0.5, True),
    )
    assert metric("Pods", each, {"averageValue": "12500m"}, **named) == (AutoscalerMetric("rps (Pods)", 1.25, True),)
    assert metric("Object", whole, {"value": "100"}, **described) == (
        AutoscalerMetric("rps (Object)", 0.5, False, per_pod=False),
    )
    assert metric("External", each, {"averageValue": "10"}, **named) == (
        AutoscalerMetric("rps (External)", 1.0, False),
    )
    assert metric("External", each, None, **named) == (AutoscalerMetric("rps (External)", None, False),)
    assert autoscaler_metrics({"metrics": [{"type": "Weather"}]}, {}) == ()


def test_a_merge_patch_makes_one_thing_of_the_other() -> None:
    before = {"a": {"b": 1, "c": 2}, "d": [1]}
    assert merge_patch(before, {"a": {"b": 1, "e": 3}, "d": [2]}) == {"a": {"c": None, "e": 3}, "d": [2]}
    assert merge_patch(before, None) is None
    assert merge_patch(None, {"a": 1}) == {"a": 1}
