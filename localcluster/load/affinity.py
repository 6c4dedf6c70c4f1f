"""Which pod each user was sent to, and when one was moved to another. Pure: results in, moves out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from localcluster.load.result import Result


@dataclass(frozen=True, slots=True)
class Move:
    """A user was answered by one pod, and the next time by another."""

    key: str
    at: float
    """When the first request that the other pod answered was due; seconds since the epoch."""
    before: str
    after: str


def homes(results: Iterable[Result]) -> Mapping[str, frozenset[str]]:
    """The pods that answered each key; one each if all of them stay where they are. Lost requests tell nothing."""
    found: dict[str, set[str]] = {}
    for result in results:
        if result.key is not None and result.pod is not None and not result.lost:
            found.setdefault(result.key, set()).add(result.pod)
    return {key: frozenset(pods) for key, pods in found.items()}


def moves(results: Iterable[Result]) -> tuple[Move, ...]:
    """Every move, in the order of time."""
    found = []
    last: dict[str, str] = {}
    for result in sorted(results, key=lambda each: each.at):
        if result.key is None or result.pod is None or result.lost:
            continue
        before = last.get(result.key, result.pod)
        if before != result.pod:
            found.append(Move(result.key, result.at, before, result.pod))
        last[result.key] = result.pod
    return tuple(found)
