"""Which PodDisruptionBudgets select which pods: as the API server sees it."""

from __future__ import annotations

from typing import Any

import pytest

from lossless.cluster.budgets import SeenBudget, document
from tests.cluster import objects

LABELS = {"app": "web", "tier": "front"}


@pytest.mark.parametrize(
    ("selector", "selects"),
    [
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "web", "tier": "back"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "api"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, False),
        ({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "zone", "operator": "Exists"}]}, False),
    ],
)
def test_by_labels_and_expressions(selector: dict[str, Any], selects: bool) -> None:
    assert SeenBudget.parse(objects.budget("own", **selector)).selects(LABELS) is selects


def test_an_empty_selector_selects_everything_and_none_at_all_nothing() -> None:
    raw = objects.budget()
    assert not SeenBudget.parse(raw).selects(LABELS)
    raw["spec"]["selector"] = {}
    assert SeenBudget.parse(raw).selects(LABELS)


def test_ours_is_known_by_its_owner() -> None:
    raw = document("shop", "web", "uid-web")
    raw["metadata"] |= {"uid": "u", "resourceVersion": "1"}
    seen = SeenBudget.parse(raw)
    assert (seen.rollout, seen.owned_by) == ("uid-web", "web")
    assert seen.selects({"lossless.dev/inside": "web"})
    assert not seen.selects({"lossless.dev/rollout": "web"})
    assert SeenBudget.parse(objects.budget()).rollout == ""
