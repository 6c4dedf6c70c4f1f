"""Steps are done in their order; only between pods is there none."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from lossless.api import names
from lossless.api.resource import Warmup
from lossless.api.traffic import Registry
from lossless.cluster.act import AT_A_TIME, Actor
from lossless.cluster.errors import Forbidden, Unavailable
from lossless.cluster.gateway import PatchType
from lossless.cluster.observed import SeenPod
from lossless.cluster.resources import PODS, REPLICA_SETS, Raw, Resource
from lossless.cluster.store import Store
from lossless.core.steps import Event, LetGo, Move, SetKeep, Step, Verb
from lossless.core.world import Group
from lossless.traffic.registries.errors import Unreachable
from lossless.traffic.registries.registry import Instance
from tests.cluster import objects
from tests.cluster.fake_api import FakeApi


class SlowApi(FakeApi):
    """Takes its time over a patch, and knows how many were under way at once."""

    def __init__(self) -> None:
        super().__init__()
        self.under_way = 0
        self.most = 0
        self.begun: list[str] = []
        self.ended: list[str] = []

    async def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Raw,
        subresource: str = "",
        kind: PatchType = PatchType.MERGE,
    ) -> Raw:
        self.begun.append(name)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0.01)
        self.under_way -= 1
        self.ended.append(name)
        return await super().patch(resource, namespace, name, body, subresource, kind)


class NoWarmups:
    def start(self, target: Any, requests: Any, skip: int = 0, on_failure: Any = None) -> None:
        raise AssertionError("nobody asked for it")


class NoRegistries:
    def tell(self, key: Any, source: str, uid: str, fraction: float) -> None:
        raise AssertionError("there is no registry to tell")

    async def restore(self, namespace: str, spec: Any, instance: Any) -> None:
        raise AssertionError("there is no registry to tell")


def actor_with(pods: int) -> tuple[Actor, SlowApi, list[SeenPod]]:
    api, store = SlowApi(), Store()
    store.replica_sets.put(api.has(REPLICA_SETS, objects.replica_set("web-1")))
    for number in range(pods):
        store.pods.put(api.has(PODS, objects.pod(f"pod-{number}")))
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    actor = Actor(api, store, lambda change: None, NoWarmups(), NoRegistries(), lambda: noon)
    return actor, api, list(store.pods)


def withdrawn(pod: SeenPod) -> Move:
    return Move(Verb.WITHDRAW, pod.core, pod.core.passage, "Withdrawn", gate=False)


async def do(actor: Actor, *steps: Step) -> None:
    await actor.do(steps, objects.NAMESPACE, "web", Warmup())


async def test_pods_are_written_to_several_at_a_time_between_the_holds_raised_and_lowered() -> None:
    actor, api, pods = actor_with(20)
    group = Group("uid-web-1", "web-1", "1", 20)
    await do(actor, SetKeep(group, 21), *(withdrawn(pod) for pod in pods), SetKeep(group, 20))
    assert api.begun[0] == api.begun[-1] == "web-1"
    assert api.ended[0] == api.ended[-1] == "web-1"
    assert api.most == AT_A_TIME
    assert len(api.ended) == 22


async def test_after_a_failure_nothing_more_is_begun_and_what_was_is_known() -> None:
    actor, api, pods = actor_with(20)
    api.failures[("patch", "pod-0")] = Forbidden("PATCH pod-0", "no", 403)
    with pytest.raises(Forbidden):
        await do(actor, *(withdrawn(pod) for pod in pods), SetKeep(Group("uid-web-1", "web-1", "1", 20), 19))
    assert "web-1" not in api.begun
    assert len(api.begun) < len(pods)
    assert sorted(api.begun) == sorted(api.ended)
    closed = {pod.name for pod in actor.store.pods if not pod.core.gate_open}
    assert closed == set(api.ended) - {"pod-0"}


async def test_what_was_done_before_a_failure_is_said_all_the_same() -> None:
    """It is not done again, so nobody would say it later."""
    actor, api, pods = actor_with(2)
    api.failures[("patch", "web-1")] = Forbidden("PATCH web-1", "no", 403)
    said, unsaid = Event("AdmittedCold", "let in before it was warm"), Event("Withdrawn", "after the failure")
    steps = (
        replace(withdrawn(pods[0]), event=said),
        SetKeep(Group("uid-web-1", "web-1", "1", 20), 19),
        replace(withdrawn(pods[1]), event=unsaid),
    )
    due: list[Event] = []
    with pytest.raises(Forbidden):
        await actor.do(steps, objects.NAMESPACE, "web", Warmup(), due=due)
    assert due == [said]


async def test_a_pod_that_is_let_go_is_no_longer_known() -> None:
    actor, _, pods = actor_with(2)
    await do(actor, LetGo(pods[0].core))
    assert [pod.name for pod in actor.store.pods] == ["pod-1"]


# -- a registry that is away as a pod is let go ------------------------------------------------------------------------


class AwayRegistries(NoRegistries):
    def __init__(self) -> None:
        self.away = True
        self.restored: list[str] = []

    async def restore(self, namespace: str, spec: Registry, instance: Instance) -> None:
        if self.away:
            raise Unreachable("no connection to http://consul:8500")
        self.restored.append(f"{spec.name} {instance.name}")


def told_to_leave(name: str) -> objects.Raw:
    """A pod that was taken out of its registry and of its Services, by a LosslessRollout that is gone."""
    registry = {"name": "consul", "consul": {"server": "http://consul:8500", "service": "web"}}
    raw = objects.pod(name)
    raw["metadata"]["annotations"] = {
        names.STAGE: "Withdrawn",
        names.ORIGINALS: json.dumps({"consul": ""}),
        names.REGISTRIES: json.dumps([registry]),
    }
    raw["status"]["conditions"][-1] = objects.condition(names.GATE, "False")
    return raw


async def test_a_pod_that_its_registry_cannot_take_back_yet_serves_again_and_keeps_our_marks_until_it_has() -> None:
    actor, api, _ = actor_with(0)
    registries = AwayRegistries()
    actor = replace(actor, registries=registries)
    actor.store.pods.put(api.has(PODS, told_to_leave("out")))
    before = api.objects[PODS, "out"]["metadata"]
    kept = dict(before["labels"]), dict(before["annotations"])

    def let_go() -> LetGo:
        [seen] = actor.store.pods
        return LetGo(seen.core)

    for _ in range(2):
        with pytest.raises(Unavailable, match="consul: out can't be put back"):
            await do(actor, let_go())
        after = api.objects[PODS, "out"]
        gate = next(one for one in after["status"]["conditions"] if one["type"] == names.GATE)
        assert gate["status"] == "True", "Services call it again, whatever becomes of the registry"
        assert (after["metadata"]["labels"], after["metadata"]["annotations"]) == kept
    registries.away = False
    await do(actor, let_go())
    assert registries.restored == ["consul out"]
    metadata = api.objects[PODS, "out"]["metadata"]
    assert names.ROLLOUT_LABEL not in metadata["labels"]
    assert not metadata["annotations"]
    assert not list(actor.store.pods)
