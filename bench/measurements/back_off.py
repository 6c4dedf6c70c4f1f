"""The way out when the ReplicaSet controller's back-off has reached its cap (kubernetes#132805)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from bench import audit, passages, workload
from bench.figure import Figure, p95
from bench.measurements.one_by_one import BAR_MS
from bench.testbed import MERGE, ROOT, Testbed

NAME, SURPLUS = "web", 6
HOLD = "hold.lossless.dev/bench"
CAP_AFTER = 18
"""Failed syncs until 5 ms, doubled each time, is more than the cap of 1,000 s.
Source: client-go, util/workqueue, DefaultTypedControllerRateLimiter."""
REFUSALS = 240
QUIET = 2.0
"""Seconds."""
POLICY = ("mutatingadmissionpolicybinding/lossless-hold", "mutatingadmissionpolicy/lossless-hold")


def back_off(bed: Testbed) -> Iterator[Figure]:
    """Without the hold in front of the door out, 6 surplus pods are refused to the ReplicaSet controller hundreds of
    times. Then one after the other is drained.

    Each sync is refused at most 6 pods, so after 6 · 18 refusals its back-off is at the cap. Before each pod it has
    been quiet for a while: to be seen is the back-off, and not the limit of 20 requests/s, which a ReplicaSet that
    knocks at closed doors uses up as well (that is what the hold is for).
    """
    drained: list[float] = []
    refused = 0
    bed.box.kubectl("delete", *POLICY)
    try:
        for _ in range(bed.choose(2, 1)):
            with bed.namespace("back-off") as namespace:
                durations, refusals = _round(bed, namespace)
                drained += durations
                refused += refusals
    finally:
        bed.box.kubectl("apply", "--server-side", "-k", str(ROOT / "manifests" / "base" / "policies"))
    yield p95(
        "back-off.door-out",
        "marked drained until deletionTimestamp, after hundreds of refusals",
        drained,
        bar_ms=BAR_MS,
        refusals_before=refused,
    )


def _round(bed: Testbed, namespace: str) -> tuple[list[float], int]:
    """How long each pod took, and how many refusals there were before the first was drained."""
    bed.box.apply(workload.lossless(NAME, namespace, drain={"settle": "1s"}))
    bed.box.apply(workload.sleeping(NAME, namespace, SURPLUS + 1, {HOLD: "out: the benchmark wants it refused"}))
    bed.available(namespace, NAME)
    bed.cared_for(namespace, NAME)
    with bed.recorded(namespace) as recording:
        began = bed.scale(namespace, NAME, 1)
        refused = _refused(bed, namespace, began)
        waiting = [pod["metadata"]["name"] for pod in bed.pods(namespace, NAME) if _is_draining(pod)]
        if len(waiting) != SURPLUS:
            raise RuntimeError(f"{len(waiting)} pods wait to be drained; {SURPLUS} should")
        for number, name in enumerate(waiting, start=1):
            _quiet(bed, namespace)  # The pod before must not be what wakes the controller for this one.
            _annotate(bed, namespace, name, HOLD, None)
            bed.box.wait_until(
                lambda number=number: len(passages.door_out(recording.timeline(), began)) >= number,  # type: ignore[misc]
                120,
                f"{name} is deleted",
            )
        return passages.door_out(recording.timeline(), began), refused


def _refused(bed: Testbed, namespace: str, began: float) -> int:
    """Change surplus pods, so that their controller looks again, until it has been refused often enough."""
    least = bed.choose(REFUSALS, SURPLUS * CAP_AFTER)
    pokes = 0

    def enough() -> int:
        nonlocal pokes
        pokes += 1
        pod = bed.pods(namespace, NAME)[0]
        _annotate(bed, namespace, pod["metadata"]["name"], "bench/poke", str(pokes))
        refused = audit.refused_deletes(bed.calls(began, time.time()), namespace)
        return refused if refused >= least else 0

    return bed.box.wait_until(enough, 180, f"{least} deletes were refused", every=0.3)


def _quiet(bed: Testbed, namespace: str) -> None:
    """Wait until the ReplicaSet controller has asked for nothing for a while."""

    def is_so() -> bool:
        now = time.time()
        asked = audit.by(audit.REPLICASET_CONTROLLER, bed.calls(now - QUIET, now))
        return not any(call.namespace == namespace for call in asked)

    time.sleep(QUIET)
    bed.box.wait_until(is_so, 60, "the ReplicaSet controller is quiet")


def _is_draining(pod: dict[str, Any]) -> bool:
    return bool(pod["metadata"]["annotations"].get("lossless.dev/stage") == "Draining")


def _annotate(bed: Testbed, namespace: str, pod: str, key: str, value: str | None) -> None:
    body = {"metadata": {"annotations": {key: value}}}
    bed.box.api.request("PATCH", f"/api/v1/namespaces/{namespace}/pods/{pod}", body, MERGE)
