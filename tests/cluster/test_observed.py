"""What is read out of raw objects."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lossless.api import names
from lossless.cluster.deployment import rolling_limits
from lossless.cluster.observed import (
    SeenDeployment,
    SeenPod,
    SeenReplicaSet,
    SeenRollout,
    selector_text,
)
from lossless.core.passage import Stage
from tests.cluster import objects
from tests.cluster.objects import condition

NOON = datetime(2026, 1, 1, 12, 0, 5, tzinfo=UTC)


def test_a_pod_that_serves() -> None:
    seen = SeenPod.parse(objects.pod("a"))
    core = seen.core
    assert (core.uid, core.name, core.group, core.revision) == ("uid-a", "a", "uid-web-1", "1")
    assert core.live
    assert core.gated
    assert core.gate_open
    assert core.ready
    assert core.containers_ready_since == NOON
    assert seen.rollout == "web"
    assert seen.ports == {"http": 8080}
    assert seen.containers == ("app",)


def test_a_pod_as_it_is_created_has_nothing_yet() -> None:
    raw = objects.pod("a")
    raw["status"] = {"phase": "Pending"}
    del raw["spec"]["nodeName"]
    core = SeenPod.parse(raw).core
    assert core.ip == core.node == ""
    assert not core.containers_ready
    assert core.containers_ready_since is None
    assert not core.gate_open


def test_a_pod_that_fits_nowhere_says_since_when() -> None:
    raw = objects.pod("a")
    raw["status"]["conditions"] = [condition("PodScheduled", "False", reason="Unschedulable")]
    assert SeenPod.parse(raw).core.unschedulable_since == NOON


def test_a_pod_held_back_by_a_scheduling_gate_is_not_without_room() -> None:
    raw = objects.pod("a")
    raw["status"]["conditions"] = [condition("PodScheduled", "False", reason="SchedulingGated")]
    assert SeenPod.parse(raw).core.unschedulable_since is None


def test_containers_that_are_not_ready_are_ready_since_never() -> None:
    raw = objects.pod("a")
    raw["status"]["conditions"] = [condition("ContainersReady", "False")]
    assert SeenPod.parse(raw).core.containers_ready_since is None


def test_deletion_was_asked_for_before_its_timestamp_by_the_grace_period() -> None:
    raw = objects.pod("a")
    raw["metadata"].update(deletionTimestamp="2026-01-01T12:00:35Z", deletionGracePeriodSeconds=30)
    core = SeenPod.parse(raw).core
    assert core.deleting_since == NOON
    assert not core.live


def test_restarts_of_all_containers_count() -> None:
    raw = objects.pod("a")
    raw["status"]["containerStatuses"] = [{"restartCount": 2}, {"restartCount": 1}]
    assert SeenPod.parse(raw).core.restarts == 3


@pytest.mark.parametrize(("cost", "read"), [("-7", -7), ("lots", 0), (None, 0)])
def test_a_deletion_cost_that_is_none_is_nothing(cost: str | None, read: int) -> None:
    raw = objects.pod("a")
    raw["metadata"]["annotations"] = {names.DELETION_COST: cost} if cost else {}
    assert SeenPod.parse(raw).core.deletion_cost == read


def test_its_passage_and_holds_are_read_from_annotations() -> None:
    raw = objects.pod("a")
    raw["metadata"]["annotations"] = {names.STAGE: "Draining", "hold.lossless.dev/job": "out: busy"}
    core = SeenPod.parse(raw).core
    assert core.stage is Stage.DRAINING
    assert core.holds[0].reason == "busy"


def test_all_addresses_of_a_dual_stack_pod_are_its_own() -> None:
    raw = objects.pod("a")
    raw["status"]["podIPs"] = [{"ip": "10.0.0.7"}, {"ip": "fd00::7"}]
    assert SeenPod.parse(raw).addresses == ("10.0.0.7", "fd00::7")


# -- Deployments and ReplicaSets ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("surge", "unavailable", "replicas", "limits"),
    [
        ("25%", "25%", 4, (1, 1)),
        ("25%", "25%", 3, (1, 0)),
        ("25%", "25%", 10, (3, 2)),
        ("0%", "0%", 4, (0, 1)),
        (0, 0, 4, (0, 1)),
        (0, "10%", 4, (0, 1)),
        (2, 0, 4, (2, 0)),
        ("200%", 0, 4, (8, 0)),
        (1, 9, 4, (1, 4)),
    ],
)
def test_surge_rounds_up_unavailable_down_and_they_are_never_both_nothing(
    surge: int | str, unavailable: int | str, replicas: int, limits: tuple[int, int]
) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
    assert rolling_limits(SeenDeployment.parse(objects.deployment(replicas=replicas, strategy=strategy))) == limits


def test_replicas_that_are_not_said_are_one_and_zero_is_zero() -> None:
    raw = objects.deployment()
    del raw["spec"]["replicas"]
    assert SeenDeployment.parse(raw).wanted == 1
    assert SeenDeployment.parse(objects.deployment(replicas=0)).wanted == 0


def test_a_spec_that_its_controller_has_not_seen_is_not_settled() -> None:
    raw = objects.deployment()
    raw["metadata"]["generation"] = 4
    assert not SeenDeployment.parse(raw).settled_generation


def test_a_quota_shows_as_replica_failure() -> None:
    raw = objects.deployment()
    raw["status"]["conditions"] = [condition("ReplicaFailure", "True", reason="FailedCreate")]
    assert SeenDeployment.parse(raw).create_failed_since == NOON


@pytest.mark.parametrize(("keep", "read", "held"), [("3", 3, True), ("many", None, True), (None, None, False)])
def test_a_hold_that_is_no_number_is_there_but_says_nothing(keep: str | None, read: int | None, held: bool) -> None:
    raw = objects.replica_set()
    if keep:
        raw["metadata"]["labels"][names.KEEP_LABEL] = keep
    seen = SeenReplicaSet.parse(raw)
    assert (seen.keep, seen.held) == (read, held)


@pytest.mark.parametrize(
    ("selector", "text"),
    [
        ({"matchLabels": {"b": "2", "a": "1"}}, "a=1,b=2"),
        ({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["x", "y"]}]}, "tier in (x,y)"),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["x"]}]}, "tier notin (x)"),
        ({"matchExpressions": [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "DoesNotExist"}]}, "a,!b"),
    ],
)
def test_a_selector_as_a_list_wants_it(selector: objects.Raw, text: str) -> None:
    assert selector_text(selector) == text


# -- LosslessRollouts --------------------------------------------------------------------------------------------------


def test_a_spec_of_another_time_is_refused_with_the_reason_and_its_target_is_still_known() -> None:
    raw = objects.rollout("web")
    raw["spec"]["drain"] = {"settle": "soon"}
    seen = SeenRollout.parse(raw)
    assert seen.spec is None
    assert seen.refused.startswith("spec.drain.settle: ")
    assert seen.target.name == "web"


def test_a_spec_without_even_a_target_does_not_stop_us() -> None:
    raw = objects.rollout("web")
    raw["spec"] = {}
    assert SeenRollout.parse(raw).spec is None


def test_a_status_that_somebody_else_wrote_reads_as_nothing() -> None:
    raw = objects.rollout("web")
    raw["status"] = {"pods": "many"}
    assert SeenRollout.parse(raw).status.phase == ""
