"""StatefulSets and DaemonSets behind the doors: whatever is asked, and whenever, it comes to an end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossless.core import moment
from lossless.core.world import ByNode, ByOrdinal
from tests.core.owned import Owned

LONG_ENOUGH = 300
"""Seconds: some ten for each pod, and there are six at most."""

Act = tuple[str, int, int]
acts = st.lists(
    st.tuples(st.sampled_from(["release", "undo", "scale", "kill"]), st.integers(1, 6), st.integers(0, 15)), max_size=5
)
ordinals = st.builds(
    ByOrdinal,
    start=st.sampled_from([0, 3]),
    partition=st.sampled_from([0, 0, 1, 2]),
    ordered=st.booleans(),
    counts_unavailable=st.booleans(),
)
nodes = st.builds(ByNode, surges=st.booleans())


def play(owned: Owned, acts: list[Act]) -> None:
    """Each act, and so many seconds after it; then until everything is at rest."""
    settle(owned)
    for what, number, seconds in acts:
        match what:
            case "release":
                owned.revision += 1
            case "undo":
                owned.revision = max(1, owned.revision - 1)
            case "kill":
                live = owned.live()
                pod = live[number % len(live)] if live else None
                if pod:
                    owned.pods[pod.uid] = replace(pod, deleting_since=owned.now, ready=False)
            case "scale":
                owned.wanted = number
                if isinstance(owned.rule, ByNode):
                    wanted = {f"node-{one}" for one in range(number)}
                    there = {f"node-{one}" for one in range(6)}
                    owned.rule = replace(owned.rule, unwanted=frozenset(there - wanted))
        for _ in range(seconds):
            owned.tick()
    settle(owned)


def settle(owned: Owned) -> None:
    for _ in range(LONG_ENOUGH):
        owned.tick()
        if len(owned.pods) == owned.wanted and owned.at_rest() and is_done(owned):
            return
    raise AssertionError(f"it stands still: {owned}")


def is_done(owned: Owned) -> bool:
    rule = owned.rule
    if isinstance(rule, ByNode):
        return all(pod.revision == str(owned.revision) for pod in owned.live())
    replaced = {f"web-{number}" for number in range(rule.start + rule.partition, rule.start + owned.wanted)}
    return all(pod.revision == str(owned.revision) for pod in owned.live() if pod.name in replaced)


@settings(max_examples=60, deadline=None)
@given(ordinals, st.integers(1, 2), acts)
def test_a_stateful_set_comes_to_rest(rule: ByOrdinal, most: int, acts: list[Act]) -> None:
    most = most if rule.counts_unavailable else 1
    play(Owned(rule, max_unavailable=most), acts)


@settings(max_examples=60, deadline=None)
@given(nodes, st.integers(1, 2), acts)
def test_a_daemon_set_comes_to_rest(rule: ByNode, most: int, acts: list[Act]) -> None:
    play(Owned(rule, max_unavailable=most), acts)


@pytest.mark.parametrize("rule", [ByOrdinal(), ByOrdinal(ordered=False, counts_unavailable=True)])
def test_but_for_the_pod_that_is_called_ready_it_would_stand_still(
    rule: ByOrdinal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The negative control: a drained pod is not ready, and its controller would wait for it for ever."""
    monkeypatch.setattr(moment, "deleted_only_if_ready", lambda world, now: None)
    with pytest.raises(AssertionError, match="it stands still"):
        play(Owned(rule), [("release", 0, 1)])
