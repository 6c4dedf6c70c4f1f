"""Evictions that wait, and ReplicaSets that are asked for more: what is asked of the API server. The API is a fake."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lossless.api import names
from lossless.api.resource import Finding
from lossless.cluster.disruptions import BELIEVED_FOR
from lossless.cluster.errors import Conflict, Forbidden, Outdated
from lossless.cluster.resources import BUDGETS, DEPLOYMENTS, NODES, REPLICA_SETS, ROLLOUTS
from tests.cluster import objects
from tests.cluster.test_reconcile import KEY, Shop, admitted, shop

OURS = "web-lossless"
GATE = {"disruption": "Gate"}
GOING = ("ToBeDeletedByClusterAutoscaler",)


def findings(made: Shop) -> dict[str, Finding]:
    rollout = made.store.rollouts.named(*KEY)
    assert rollout is not None
    return {one.reason: one for one in made.disruptions.findings(rollout)}


class TestTheBudget:
    async def test_is_made_once_and_the_pods_are_labelled(self) -> None:
        made = shop(admitted("a"), drain=GATE)
        await made.first_turns()
        body = made.api.objects[BUDGETS, OURS]
        assert body["spec"]["selector"] == {"matchLabels": {names.INSIDE_LABEL: "web"}}
        assert body["metadata"]["ownerReferences"][0]["uid"] == "uid-web"
        (pod,) = made.store.pods
        assert pod.labels[names.INSIDE_LABEL] == "web"
        await made.turn()
        assert not [call for call in made.api.asked() if "poddisruptionbudgets" in call]

    async def test_is_none_of_ours_without_the_gate(self) -> None:
        made = shop(admitted("a"))
        await made.first_turns()
        assert (BUDGETS, OURS) not in made.api.objects
        assert names.INSIDE_LABEL not in next(iter(made.store.pods)).labels

    async def test_goes_when_somebody_else_has_one_and_comes_back_without_it(self) -> None:
        made = shop(admitted("a"), drain=GATE)
        await made.first_turns()
        made.has(BUDGETS, objects.budget("own", matchLabels={"app": "web"}))
        await made.first_turns()
        assert (BUDGETS, OURS) not in made.api.objects
        found = findings(made)["EvictionsNotGated"]
        assert "PodDisruptionBudget own selects the pods" in found.message
        assert found.fix.endswith("Else delete it")
        assert names.INSIDE_LABEL not in next(iter(made.store.pods)).labels
        made.store.budgets.remove("uid-pdb-own", 10**9)
        await made.first_turns()
        assert (BUDGETS, OURS) in made.api.objects
        assert findings(made) == {}

    async def test_of_other_pods_does_not_matter(self) -> None:
        made = shop(admitted("a"), drain=GATE)
        made.has(BUDGETS, objects.budget("other", matchLabels={"app": "other"}))
        await made.first_turns()
        assert (BUDGETS, OURS) in made.api.objects

    async def test_of_the_same_name_is_never_written_over(self) -> None:
        made = shop(admitted("a"), drain=GATE)
        made.has(BUDGETS, objects.budget(OURS, matchLabels={"app": "other"}))
        await made.first_turns()
        assert not [call for call in made.api.asked() if call.startswith(("apply poddis", "delete poddis"))]
        assert OURS in findings(made)["EvictionsNotGated"].message

    async def test_goes_in_observe(self) -> None:
        made = shop(admitted("a"), drain=GATE)
        await made.first_turns()
        made.has(ROLLOUTS, objects.rollout("web", drain=GATE, mode="Observe"))
        await made.first_turns()
        assert (BUDGETS, OURS) not in made.api.objects

    async def test_that_may_not_be_written_is_said(self) -> None:
        made = shop(admitted("a"), drain=GATE)
        made.api.failures["apply", OURS] = Forbidden("APPLY", "no", 403)
        await made.turn()
        assert "may not write PodDisruptionBudgets" in findings(made)["EvictionsNotGated"].message
        await made.turn()
        assert findings(made) == {}, "the right has been given meanwhile"

    async def test_is_not_made_where_nobody_could_tell_who_has_to_go(self) -> None:
        made = shop(admitted("a"), drain=GATE)
        made.disruptions.sees_nodes = False
        await made.first_turns()
        assert (BUDGETS, OURS) not in made.api.objects
        assert "may not read nodes" in findings(made)["EvictionsNotGated"].message

    async def test_is_not_made_where_nothing_comes_before_something_goes(self) -> None:
        made = shop(admitted("a"), drain=GATE)
        made.has(DEPLOYMENTS, objects.deployment("web", strategy={"type": "Recreate"}))
        await made.first_turns()
        assert (BUDGETS, OURS) not in made.api.objects
        assert "Recreate" in findings(made)["EvictionsNotGated"].message


class TestPodsInPlaceOfOthers:
    async def test_the_replica_set_is_asked_for_one_more_once_it_is_held(self) -> None:
        made = shop(admitted("a"))
        made.has(NODES, objects.node("node-1", *GOING))
        await made.turn()
        patched = [name for verb, what, name in made.api.calls if (verb, what) == ("patch", "replicasets")]
        assert patched == ["web-1", "web-1"]
        kept = next(body for body in made.api.bodies if names.KEEP_LABEL in (body["metadata"].get("labels") or {}))
        grown = next(body for body in made.api.bodies if "replicas" in body.get("spec", {}))
        assert kept["metadata"]["labels"] == {names.KEEP_LABEL: "2"}
        assert grown["spec"] == {"replicas": 2}
        assert grown["metadata"]["resourceVersion"], "refused if it has changed meanwhile"
        found = made.store.replica_sets.named("shop", "web-1")
        assert found is not None
        assert (found.keep, found.wanted) == (2, 2)

    @pytest.mark.parametrize("key", ["DeletionCandidateOfClusterAutoscaler", "example.com/dedicated"])
    async def test_not_for_any_other_taint(self, key: str) -> None:
        made = shop(admitted("a"))
        made.has(NODES, objects.node("node-1", key))
        await made.first_turns()
        assert made.api.objects[REPLICA_SETS, "web-1"]["spec"] == {"replicas": 1}

    async def test_a_replica_set_that_has_changed_is_read_again(self) -> None:
        made = shop(admitted("a"))
        made.has(NODES, objects.node("node-1", *GOING))
        made.has(REPLICA_SETS, held("2"))
        made.api.failures["patch", "web-1"] = Conflict("PATCH", "changed", 409)
        with pytest.raises(Outdated):
            await made.turn()
        assert "get replicasets" in made.api.asked()

    async def test_where_the_hold_does_not_hold_it_is_left_alone_for_a_while(self) -> None:
        made = shop(admitted("a"), drain=GATE)
        made.has(NODES, objects.node("node-1", *GOING))
        await made.first_turns()
        assert made.api.objects[REPLICA_SETS, "web-1"]["spec"] == {"replicas": 2}
        made.has(REPLICA_SETS, held("2"))
        await made.first_turns()
        assert made.api.objects[REPLICA_SETS, "web-1"]["spec"] == {"replicas": 1}
        assert "lossless-hold is not in force" in findings(made)["EvictionsNotGated"].message
        made.now += BELIEVED_FOR + timedelta(seconds=1)
        await made.first_turns()
        assert made.api.objects[REPLICA_SETS, "web-1"]["spec"] == {"replicas": 2}


def held(keep: str) -> objects.Raw:
    """As its Deployment wants it, whatever the hold says."""
    raw = objects.replica_set("web-1", replicas=1, readyReplicas=1)
    raw["metadata"]["labels"][names.KEEP_LABEL] = keep
    return raw
