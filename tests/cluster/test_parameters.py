"""What the admission policies go by: written when it has changed, and only then. The API is a fake."""

from __future__ import annotations

from typing import Any

import pytest

from lossless.api import names
from lossless.cluster.errors import Forbidden
from lossless.cluster.parameters import BELIEVED_FOR, Parameters, without
from lossless.cluster.resources import LIMIT_RANGES, ROLLOUTS
from lossless.cluster.store import Store, version_of
from tests.cluster import objects
from tests.cluster.fake_api import FakeApi

NS = objects.NAMESPACE


class Told:
    """A namespace with LosslessRollouts, and what the policies were told of them."""

    def __init__(self) -> None:
        self.api, self.store, self.now = FakeApi(), Store(), 1000.0
        self.parameters = Parameters(self.api, self.store, lambda: self.now)

    def has(self, name: str, created: str = objects.CREATED, deleting: bool = False, **spec: Any) -> None:
        raw = objects.rollout(name, **spec)
        raw["metadata"]["creationTimestamp"] = created
        if deleting:
            raw["metadata"]["deletionTimestamp"] = created
        self.store.rollouts.put(self.api.has(ROLLOUTS, raw))

    async def targets(self) -> list[str]:
        await self.parameters.ensure(NS)
        found: str = self.api.objects[LIMIT_RANGES, names.PARAMETERS]["metadata"]["annotations"][names.TARGETS]
        assert found.startswith("\n")
        assert found.endswith("\n")
        return found.split()

    @property
    def owners(self) -> list[str]:
        references = self.api.objects[LIMIT_RANGES, names.PARAMETERS]["metadata"]["ownerReferences"]
        return [one["name"] for one in references]


@pytest.fixture
def told() -> Told:
    return Told()


async def test_every_target_is_named_with_its_rollout_and_its_sleep(told: Told) -> None:
    told.has("web")
    told.has("api", targetRef={"name": "backend"}, drain={"settle": "1500ms"})
    assert await told.targets() == ["Deployment/backend=api/2", "Deployment/web=web/5"]
    assert told.owners == ["api", "web"]


async def test_it_is_said_where_pods_register_themselves(told: Told) -> None:
    told.has(
        "web", traffic={"registries": [{"name": "keys", "etcd": {"endpoints": ["http://etcd:2379"], "prefix": "web/"}}]}
    )
    assert await told.targets() == ["Deployment/web=web/5/registers"]


async def test_a_sleep_is_at_least_a_second(told: Told) -> None:
    told.has("web", drain={"settle": "0s"})
    assert await told.targets() == ["Deployment/web=web/1"]


async def test_one_that_observes_is_not_named_but_owns_it_still(told: Told) -> None:
    """So the garbage collector removes it with the last of them."""
    told.has("web", mode="Observe")
    assert await told.targets() == []
    assert told.owners == ["web"]


async def test_one_that_is_being_deleted_is_not_named(told: Told) -> None:
    told.has("web", deleting=True)
    assert await told.targets() == []


async def test_of_two_with_one_target_the_older_is_named(told: Told) -> None:
    told.has("late", created="2026-01-01T12:00:09Z", targetRef={"name": "web"})
    told.has("early", targetRef={"name": "web"})
    assert await told.targets() == ["Deployment/web=early/5"]


async def test_a_kind_that_is_not_taken_care_of_is_not_named(told: Told) -> None:
    told.has("web", targetRef={"kind": "CronJob", "apiVersion": "batch/v1", "name": "web"})
    told.has("odd", targetRef={"kind": "Deployment", "apiVersion": "other.example/v1", "name": "web"})
    assert await told.targets() == []


async def test_it_is_written_when_something_has_changed_and_again_after_a_while(told: Told) -> None:
    told.has("web")
    for _ in range(3):
        await told.parameters.ensure(NS)
    assert told.api.asked() == ["apply limitranges"]
    told.has("api", targetRef={"name": "api"})
    await told.parameters.ensure(NS)
    assert len(told.api.asked()) == 2
    told.now += BELIEVED_FOR + 1
    await told.parameters.ensure(NS)
    assert len(told.api.asked()) == 3


async def test_what_could_not_be_written_is_written_the_next_time(told: Told) -> None:
    told.has("web")
    told.api.failures["apply", names.PARAMETERS] = Forbidden("PATCH", "no", 403)
    with pytest.raises(Forbidden):
        await told.parameters.ensure(NS)
    assert await told.targets() == ["Deployment/web=web/5"]
    told.has("api", targetRef={"name": "api"})
    told.api.failures["apply", names.PARAMETERS] = Forbidden("PATCH", "no", 403)
    with pytest.raises(Forbidden):
        await told.parameters.ensure(NS)
    assert await told.targets() == ["Deployment/api=api/5", "Deployment/web=web/5"]


async def test_without_rollouts_it_is_the_garbage_collectors(told: Told) -> None:
    told.has("web")
    await told.parameters.ensure(NS)
    (rollout,) = told.store.rollouts
    told.store.rollouts.remove(rollout.uid, version_of(told.api.objects[ROLLOUTS, "web"]) + 1)
    await told.parameters.ensure(NS)
    assert told.api.asked() == ["apply limitranges"]


def test_one_workload_is_taken_out_by_its_whole_name() -> None:
    targets = "\nDeployment/we=we/5\nDeployment/web=web/5/registers\nDeployment/web-2=other/5\n"
    assert without(targets, "Deployment", "web") == "\nDeployment/we=we/5\nDeployment/web-2=other/5\n"
