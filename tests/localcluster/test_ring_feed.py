"""What an Envoy with a hash ring is told of a Service: its ready endpoints, by address and by slot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from localcluster.servers.ring_feed import by_slot, ready, write

SLOT = "example.com/slot"


def endpoint(address: str, pod: str, **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "conditions": conditions, "targetRef": {"kind": "Pod", "name": pod}}


def pod(created: str, slot: str | None = None) -> dict[str, Any]:
    return {"metadata": {"creationTimestamp": created, "annotations": {SLOT: slot} if slot else {}}}


def test_only_ready_endpoints_are_in_it() -> None:
    slices: list[dict[str, Any]] = [
        {"ports": [{"port": 80}], "endpoints": [endpoint("10.0.0.1", "a", ready=True), endpoint("10.0.0.2", "b")]},
        {"ports": [{"port": 80}], "endpoints": [endpoint("10.0.0.3", "c", ready=False)]},
        {"ports": [{"port": 80}], "endpoints": None},
    ]
    assert ready(slices) == {"10.0.0.1:80": "a", "10.0.0.2:80": "b"}


def test_of_two_pods_with_one_slot_the_younger_is_in_it() -> None:
    endpoints = {"10.0.0.1:80": "a", "10.0.0.2:80": "b", "10.0.0.3:80": "c"}
    pods = {"a": pod("2026-01-01T00:00:00Z", "0"), "b": pod("2026-01-02T00:00:00Z", "0"), "c": pod("2026-01-01", "1")}
    assert by_slot(endpoints, pods, SLOT) == {"10.0.0.2:80": "0", "10.0.0.3:80": "1"}


def test_without_a_slot_the_address_is_the_key() -> None:
    assert by_slot({"10.0.0.1:80": "a", "10.0.0.2:80": "gone"}, {"a": pod("2026-01-01")}, SLOT) == {
        "10.0.0.1:80": "10.0.0.1:80",
        "10.0.0.2:80": "10.0.0.2:80",
    }


def test_the_key_is_where_envoy_looks_for_it(tmp_path: Path) -> None:
    write(tmp_path, "slots", {"10.0.0.1:80": "0"})
    (resource,) = json.loads((tmp_path / "slots.json").read_text())["resources"]
    (one,) = resource["endpoints"][0]["lb_endpoints"]
    assert one["metadata"]["filter_metadata"]["envoy.lb"] == {"hash_key": "0"}
    assert [path.name for path in tmp_path.iterdir()] == ["slots.json"]
