"""On which nodes a DaemonSet's pod may stay."""

from __future__ import annotations

from typing import Any

import pytest

from lossless.cluster.node_fit import may_stay
from lossless.cluster.observed import SeenNode

DISK = {"disk": "ssd", "cores": "8"}


def node(labels: dict[str, str] = DISK, *taints: dict[str, str]) -> SeenNode:
    return SeenNode.parse({"metadata": {"name": "n1", "labels": labels}, "spec": {"taints": list(taints)}})


def required(*terms: dict[str, Any]) -> dict[str, Any]:
    selector = {"nodeSelectorTerms": list(terms)}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}}}


def asks(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, "values": list(values)}


def stays(there: SeenNode, **spec: Any) -> bool:
    return may_stay({"spec": spec}, there)


def test_anywhere_where_nothing_is_asked_for() -> None:
    assert stays(node())


def test_where_its_selector_and_its_name_match() -> None:
    assert stays(node(), nodeSelector={"disk": "ssd"})
    assert not stays(node(), nodeSelector={"disk": "ssd", "gpu": "yes"})
    assert stays(node(), nodeName="n1")
    assert not stays(node(), nodeName="n2")


@pytest.mark.parametrize(
    ("requirement", "holds"),
    [
        (asks("disk", "In", "hdd", "ssd"), True),
        (asks("disk", "In", "hdd"), False),
        (asks("disk", "NotIn", "hdd"), True),
        (asks("gpu", "NotIn", "hdd"), True),
        (asks("disk", "Exists"), True),
        (asks("gpu", "Exists"), False),
        (asks("gpu", "DoesNotExist"), True),
        (asks("cores", "Gt", "4"), True),
        (asks("cores", "Lt", "4"), False),
        (asks("disk", "Gt", "4"), False),
        (asks("gpu", "Lt", "4"), False),
    ],
)
def test_where_its_required_affinity_matches(requirement: dict[str, Any], holds: bool) -> None:
    assert stays(node(), **required({"matchExpressions": [requirement]})) == holds


def test_one_term_of_several_is_enough_and_an_empty_one_is_none() -> None:
    other = {"matchExpressions": [asks("gpu", "Exists")]}
    assert stays(node(), **required(other, {"matchFields": [asks("metadata.name", "In", "n1")]}))
    assert not stays(node(), **required(other, {"matchFields": [asks("metadata.name", "In", "n2")]}))
    assert not stays(node(), **required({}))


def test_not_where_a_taint_that_drives_pods_out_is_not_tolerated() -> None:
    gone = {"key": "gone", "value": "now", "effect": "NoExecute"}
    assert not stays(node({}, gone))
    assert stays(node({}, gone | {"effect": "NoSchedule"})), "this one only keeps new pods away"
    assert stays(node({}, gone | {"key": "node.kubernetes.io/unreachable"})), "its controller tolerates that itself"
    for tolerated in (
        {"operator": "Exists"},
        {"key": "gone", "operator": "Exists", "effect": "NoExecute"},
        {"key": "gone", "value": "now"},
    ):
        assert stays(node({}, gone), tolerations=[tolerated]), tolerated
    for other in ({"key": "gone", "value": "later"}, {"key": "gone", "operator": "Exists", "effect": "NoSchedule"}):
        assert not stays(node({}, gone), tolerations=[other]), other
