"""Pods that a registry hands out before they are let in: how long, as far as it was seen.

Applications register themselves, often before they are fit. What is done about it is in `lossless.core.tell`.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from lossless.core.world import Early, Pod, Registered


def seen_early(before: Iterable[Early], pods: Iterable[Pod], now: datetime) -> tuple[Early, ...]:
    """What is known after one more look at these pods. One that is gone is in it once more, to be counted."""
    there = {pod.uid: pod for pod in pods}
    known = {(one.uid, one.source): one for one in before if one.uid in there or one.since}
    held = {(uid, one.source): one for uid, pod in there.items() for one in pod.registrations}
    for key, one in held.items():
        if one.present and _was_never_let_in(there[key[0]]):
            early = known.get(key, Early(*key))
            known[key] = early if early.since else replace(early, since=one.since or now)
    return tuple(_after(one, there.get(one.uid), held.get(key), now) for key, one in known.items())


def _was_never_let_in(pod: Pod) -> bool:
    """Our door was shut in front of it from the beginning."""
    return pod.managed and pod.gated and pod.passage.admitted_at is None


def _after(early: Early, pod: Pod | None, held: Registered | None, now: datetime) -> Early:
    over = _over(pod, held, now) if early.since else None
    if early.since is None or over is None:
        return early
    took = max(over, early.since) - early.since
    return replace(early, times=early.times + 1, took=early.took + took, since=None)


def _over(pod: Pod | None, held: Registered | None, now: datetime) -> datetime | None:
    """When it ended; None: it has not. A registry that does not answer may hand it out still."""
    if pod is None or held is None:
        return now
    if not _was_never_let_in(pod):
        return pod.passage.admitted_at or now
    return None if held.present else held.since
