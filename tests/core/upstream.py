"""How the ReplicaSet controller chooses its victims, written after its source and not after ours.

Source: pkg/controller/controller_utils.go, ActivePodsWithRanks.Less and logarithmicRankDiff (LogarithmicScaleDown and
PodDeletionCost are on by default).
"""

import functools
import math
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Protocol


class Victim(Protocol):
    """What of a pod that choice looks at."""

    @property
    def uid(self) -> str: ...
    @property
    def node(self) -> str: ...
    @property
    def phase(self) -> str: ...
    @property
    def ready(self) -> bool: ...
    @property
    def ready_since(self) -> datetime | None: ...
    @property
    def deletion_cost(self) -> int: ...
    @property
    def restarts(self) -> int: ...
    @property
    def created_at(self) -> datetime: ...


_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


def victims(pods: Iterable[Victim], related: Iterable[Victim], now: datetime) -> list[Victim]:
    """The pods, first victim first. `related`: the active pods of all ReplicaSets of the same owner."""
    crowd = Counter(pod.node for pod in related if pod.node)

    def compare(a: Victim, b: Victim) -> int:
        verdict = difference(a, b, crowd, now)
        return -1 if verdict < 0 else 1 if verdict > 0 else 0

    return sorted(pods, key=functools.cmp_to_key(compare))


def difference(a: Victim, b: Victim, crowd: Counter[str], now: datetime, *, ties: bool = True) -> float:
    """Below 0: `a` goes first; above: `b` does; 0: it says nothing.

    Args:
        ties: whether pods of about the same age are told apart by their uid, as upstream does.
    """
    if a.node != b.node and not (a.node and b.node):
        return -1 if not a.node else 1
    for one, other in (
        (_PHASES[a.phase], _PHASES[b.phase]),
        (a.ready, b.ready),
        (a.deletion_cost, b.deletion_cost),
        (-crowd[a.node], -crowd[b.node]),
    ):
        if one != other:
            return one - other
    if a.ready and b.ready and a.ready_since != b.ready_since:
        return _by_age(a, b, a.ready_since, b.ready_since, now, ties)
    if a.restarts != b.restarts:
        return b.restarts - a.restarts
    if a.created_at != b.created_at:
        return _by_age(a, b, a.created_at, b.created_at, now, ties)
    return 0


def _by_age(a: Victim, b: Victim, one: datetime | None, other: datetime | None, now: datetime, ties: bool) -> float:
    if one is None or other is None:
        return -1 if one is None else 1
    rank = _bucket(now, one) - _bucket(now, other)
    if rank or not ties:
        return rank
    return -1 if a.uid < b.uid else 1


def _bucket(now: datetime, at: datetime) -> int:
    nanoseconds = (now - at).total_seconds() * 1e9
    return int(math.log2(nanoseconds)) if nanoseconds > 0 else -1
