"""``kubectl lossless`` on a real cluster where no operator runs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lossless.api import names
from tests.cli.shop import Shop


def test_status_says_what_each_pod_waits_for(shop: Shop) -> None:
    shop.protect(warmup={"delay": "1h", "timeout": "2h"})
    shop.deploy()
    result = shop.run("status", "web")
    assert result.code == 0, result.err
    head, columns, *rows = result.out.splitlines()
    assert head == ("web: Unknown (no operator has looked at it yet), 0 of 2 serving (Deployment web, Enforce)")
    assert columns.split() == ["POD", "STAGE", "SINCE", "WAITING", "FOR", "NODE"]
    assert len(rows) == 2
    assert all(" Starting " in row and "Delay: warmup.delay until " in row and row.endswith("node-1") for row in rows)


def test_status_says_when_it_is_the_operator_that_is_waited_for(shop: Shop) -> None:
    shop.protect()
    shop.deploy(replicas=1)
    assert "the operator, to admit" in shop.run("status").out


def test_status_of_a_target_that_is_not_there(shop: Shop) -> None:
    shop.protect()
    result = shop.run("status", "web")
    assert result.code == 0
    assert "problem: there is no Deployment web" in result.out


def test_status_of_what_does_not_exist(shop: Shop) -> None:
    assert shop.run("status").err == f"error: no LosslessRollout in namespace {shop.namespace}\n"
    shop.protect("api")
    result = shop.run("status", "web")
    assert result.code == 1
    assert result.err == f"error: no LosslessRollout web in namespace {shop.namespace}; there are: api\n"


def test_release_gives_everything_back(shop: Shop) -> None:
    shop.protect()
    shop.deploy()
    shop.box.kubectl("label", "rs", "--all", f"{names.KEEP_LABEL}=2", "-n", shop.namespace)
    for pod in shop.pods():
        mark(shop, pod)
    assert shop.ready() == [], "without an operator nobody gets in"

    result = shop.run("release", "web", "--yes")
    assert result.code == 0, result.err
    assert "losslessrollout/web: mode is now Observe" in result.out
    assert "limitrange/lossless-rollouts: the admission policies leave deployment/web alone" in result.out
    assert "no longer kept at 2" in result.out
    shop.box.wait_until(lambda: len(shop.ready()) == 2, describe="both pods are ready")
    for pod in shop.pods():
        assert not [key for key in pod["metadata"].get("annotations", {}) if key.startswith(names.GROUP)]
        assert names.ROLLOUT_LABEL not in pod["metadata"]["labels"]
        assert pod["metadata"]["annotations"][names.DELETION_COST] == "7", "the user's own is back"
    assert names.KEEP_LABEL not in shop.box.kubectl("get", "rs", "-o", "json", "-n", shop.namespace)
    assert "the mode is Observe" in shop.run("status", "web").out


def test_release_twice_does_nothing_the_second_time(shop: Shop) -> None:
    shop.protect()
    shop.deploy(replicas=1)
    shop.run("release", "web", "--yes")
    result = shop.run("release", "web", "--yes")
    assert result.code == 0
    assert "pod/" not in result.out


def test_release_of_what_a_deleted_resource_left_behind(shop: Shop) -> None:
    """Deleted while no operator ran: pods that had not come in yet are still kept out by their gate."""
    shop.protect()
    shop.deploy()
    shop.box.kubectl("delete", "lr", "web", "-n", shop.namespace)
    result = shop.run("release", "web", "--yes")
    assert result.code == 0, result.err
    assert "losslessrollout/web is gone; what it left behind is let go" in result.out
    shop.box.wait_until(lambda: len(shop.ready()) == 2, describe="both pods are ready")


def test_release_gives_an_autoscaler_back(shop: Shop) -> None:
    shop.protect()
    shop.deploy(replicas=1)
    note: dict[str, Any] = {"rollout": "web", "since": "2026-01-01T00:00:00Z", "original": None, "theirs": []}
    note["ours"] = {"scaleDown.selectPolicy": "Disabled"}
    spec = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "maxReplicas": 3}
    shop.box.apply(
        {
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": {
                "name": "web",
                "namespace": shop.namespace,
                "annotations": {names.ORIGINAL_BEHAVIOR: json.dumps(note)},
            },
            "spec": {**spec, "behavior": {"scaleDown": {"selectPolicy": "Disabled"}}},
        }
    )
    result = shop.run("release", "web", "--yes")
    assert result.code == 0, result.err
    assert "horizontalpodautoscaler/web: it has its own behavior back" in result.out
    after = shop.box.get("hpa", "web", shop.namespace)
    assert "behavior" not in after["spec"]
    assert names.ORIGINAL_BEHAVIOR not in after["metadata"].get("annotations", {})


def test_release_of_all(shop: Shop) -> None:
    for name in ("web", "api"):
        shop.protect(name)
    shop.deploy("web", 1)
    result = shop.run("release", "--all", "--yes")
    assert result.code == 0, result.err
    assert "losslessrollout/web: mode" in result.out
    assert "losslessrollout/api: mode" in result.out


def test_release_asks_first(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.protect()
    shop.deploy(replicas=1)
    result = shop.run("release", "web")
    assert (result.code, result.err) == (1, "error: nobody is there to confirm it: give --yes\n")
    assert f"{shop.namespace}/web holds 1 pods and 0 ReplicaSets" in result.out
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: "n")
    assert shop.run("release", "web").err == "error: nothing was done\n"
    assert shop.box.get("lr", "web", shop.namespace)["spec"]["mode"] == "Enforce"


def test_release_of_what_never_was(shop: Shop) -> None:
    result = shop.run("release", "web", "--yes")
    assert result.code == 1
    assert "no LosslessRollout web" in result.err


def test_check_finds_hazards_and_their_cures(shop: Shop) -> None:
    shop.protect(drain={"settle": "16s"})
    shop.deploy(replicas=1, terminationGracePeriodSeconds=10)
    result = shop.run("check", "web")
    assert result.code == 1
    assert "web: 3 findings" in result.out
    for said in (
        "NoService",
        "SingleReplica",
        "GraceTooShort",
        "fix: Set terminationGracePeriodSeconds to at least 18",
    ):
        assert said in result.out


def test_check_of_a_sound_set_up_finds_nothing(shop: Shop) -> None:
    shop.protect()
    shop.deploy()
    shop.service()
    result = shop.run("check", "web")
    assert (result.code, result.out) == (0, "web: no finding\n"), result.err


def mark(shop: Shop, pod: dict[str, Any]) -> None:
    """As the operator would have left it in the middle of its way out."""
    annotations = {
        names.STAGE: "Drained",
        names.ADMITTED_AT: "2026-01-01T00:00:00Z",
        names.DRAINED_AT: "2026-01-01T00:00:00Z",
        names.COST_BEFORE: "7",
        names.DELETION_COST: str(names.LOWEST_COST),
    }
    body = json.dumps({"metadata": {"annotations": annotations}})
    shop.box.kubectl("patch", "pod", pod["metadata"]["name"], "-n", shop.namespace, "-p", body)
