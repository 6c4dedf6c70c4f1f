"""Clients that a hash keeps at their pods: how often a release of 5 pods moves each of 50 to another pod.

One Envoy has two rings over the same Service, one over the pods' addresses and one over their slots.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping

from localcluster.box import Box
from localcluster.load import Keyed, Outcome, Plan, running
from localcluster.load.affinity import Move, moves
from localcluster.servers.ring import HEADER, Ring
from localcluster.servers.ring_feed import ADDRESSES, SLOTS
from tests.e2e.operators import Operator
from tests.e2e.workloads import Web

PODS, KEYS = 5, 50
RATE = 100
"""Requests a second: each client asks twice a second."""
STRATEGY = {"maxSurge": "25%", "maxUnavailable": "25%"}
DIES = ["--on-term", "die"]
SLOT = "lossless.dev/slot"


def slots(app: Web) -> dict[str, str]:
    return {
        pod["metadata"]["name"]: pod["metadata"].get("annotations", {}).get(SLOT, "")
        for pod in app.pods()
        if not pod["metadata"].get("deletionTimestamp")
    }


def released(app: Web, over: str) -> Outcome:
    """A release with every client asking all the time, sent by the ring over slots or the one over addresses."""
    with Ring(app.box, app.namespace, "web", SLOT) as ring:
        caller = Keyed(ring.urls[over], keys=KEYS, header=HEADER)
        with running(app.box, Plan(rate=RATE, callers=(caller,)), namespace=app.namespace) as run:
            time.sleep(2)
            app.release("2")
            app.wait_until_rolled_out()
            time.sleep(2)
            outcome = run.finish()
    found = moves(outcome.results)
    most = max(Counter(move.key for move in found).values(), default=0)
    print(f"over {over}: {len(found)} moves of {KEYS} clients, {most} of one; {len(outcome.lost)} lost")
    return outcome


def moved_by(found: tuple[Move, ...], slot_of: Mapping[str, str]) -> list[Move]:
    """Moves between pods of different slots."""
    return [move for move in found if slot_of.get(move.before) != slot_of.get(move.after)]


def test_a_native_release_moves_clients_about_and_loses_some(web: Callable[..., Web], box: Box) -> None:
    """The negative control."""
    outcome = released(web(app=DIES, replicas=PODS, strategy=STRATEGY).deploy(), ADDRESSES)
    assert outcome.lost
    assert len(moves(outcome.results)) > 1.5 * KEYS


def test_each_client_moves_once_and_only_when_its_own_pod_is_swapped(
    web: Callable[..., Web], operator: Operator
) -> None:
    app = web(app=DIES, replicas=PODS, strategy=STRATEGY).gated(traffic={"affinity": "Hash"}, drain={"settle": "2s"})
    before = slots(app)
    assert sorted(before.values()) == [str(number) for number in range(PODS)]
    outcome = released(app, SLOTS)
    after = slots(app)
    assert sorted(after.values()) == sorted(before.values())
    assert not outcome.lost, outcome.explain()
    found = moves(outcome.results)
    assert not moved_by(found, before | after), "somebody has moved who had no reason to"
    assert Counter(move.key for move in found) == {f"key-{number}": 1 for number in range(KEYS)}
