"""Which pods of a StatefulSet must go: those that its controller deletes next, and no others.

A pod that is withdrawn is not ready, and that controller waits for pods that are not: to withdraw one too early would
stop it, and a scale-in or a release with it. So nobody is asked to go here but the next in its own order, and nobody at
all while it waits for somebody else; whoever was withdrawn already is then let in again.

Source: pkg/controller/statefulset/stateful_set_control.go, updateStatefulSet, processReplica, processCondemned and
updateStatefulSetAfterInvariantEstablished.
"""

import re
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from lossless.core.world import ByOrdinal, Pod, Workload

_ORDINAL: Final = re.compile(r"-([0-9]{1,9})$")


def ordinal(pod: Pod) -> int:
    """The number at the end of its name; -1: it has none, and its controller leaves it alone."""
    found = _ORDINAL.search(pod.name)
    return int(found.group(1)) if found else -1


def surplus(rule: ByOrdinal, workload: Workload, live: Sequence[Pod], now: datetime) -> tuple[Pod, ...]:
    """The pods that are deleted next, first to go first.

    Those beyond the wanted replicas come before those of an old revision. In order (OrderedReady) it is one at a time,
    and only while every wanted pod is there and ready. Else (Parallel) all that are beyond go at once, and of an old
    revision the highest, once those above it are ready; with maxUnavailable in force the highest few, as many as may be
    missing.
    """
    pods = {ordinal(pod): pod for pod in live}
    condemned = [pods[number] for number in _beyond(rule, workload, pods)]
    if condemned:
        if not rule.ordered:
            return tuple(condemned)
        return () if _unready(rule, workload, pods, now) else tuple(condemned[:1])
    old = outdated(rule, workload, live)
    if not old:
        return ()
    if rule.ordered:
        return () if _unready(rule, workload, pods, now, besides=old[:1]) else old[:1]
    if rule.counts_unavailable:
        first = old[: workload.max_unavailable]
        return first[: max(0, workload.max_unavailable - len(_unready(rule, workload, pods, now, besides=first)))]
    waits = any(number > ordinal(old[0]) for number in _unready(rule, workload, pods, now, besides=old[:1]))
    return () if waits else old[:1]


def outdated(rule: ByOrdinal, workload: Workload, live: Sequence[Pod]) -> tuple[Pod, ...]:
    """The pods that a release has yet to replace, first to go first: the highest ordinal, down to the partition."""
    if not rule.replaces:
        return ()
    lowest = rule.start + rule.partition
    pods = [pod for pod in live if pod.revision != workload.current_revision and ordinal(pod) >= lowest]
    return tuple(sorted((pod for pod in pods if ordinal(pod) in _wanted(rule, workload)), key=ordinal, reverse=True))


def deleted_only_if_ready(rule: ByOrdinal, workload: Workload, live: Sequence[Pod], now: datetime) -> Pod | None:
    """The next one, where its controller does not even look at it unless it is ready; None: readiness is no matter.

    In order, it deletes nothing while a wanted pod is not ready, be it the one to be deleted (kubernetes#67250); and of
    those beyond, only the first that is not ready may be it. With maxUnavailable, who is not ready counts as gone.
    """
    going = surplus(rule, workload, live, now)
    if not going:
        return None
    pods = {ordinal(pod): pod for pod in live}
    if going[0] in (beyond := [pods[number] for number in _beyond(rule, workload, pods)]):
        return going[0] if rule.ordered and not all(pod.ready for pod in beyond[1:]) else None
    missing = len(_unready(rule, workload, pods, now))
    stands_still = rule.ordered or (rule.counts_unavailable and missing >= workload.max_unavailable)
    return going[0] if stands_still else None


def _wanted(rule: ByOrdinal, workload: Workload) -> range:
    return range(rule.start, rule.start + workload.wanted)


def _beyond(rule: ByOrdinal, workload: Workload, numbers: Collection[int]) -> list[int]:
    wanted = _wanted(rule, workload)
    return sorted((number for number in numbers if number >= 0 and number not in wanted), reverse=True)


def _unready(
    rule: ByOrdinal, workload: Workload, pods: dict[int, Pod], now: datetime, besides: Sequence[Pod] = ()
) -> tuple[int, ...]:
    """The wanted ordinals whose pod is missing, or not ready for as long as it must be."""
    spoken_for = {ordinal(pod) for pod in besides}
    return tuple(
        number
        for number in _wanted(rule, workload)
        if number not in spoken_for and not (number in pods and _available(rule, pods[number], now))
    )


def available_at(rule: ByOrdinal, pod: Pod) -> datetime | None:
    """When this pod is, or will be, ready for as long as it must be; None: it is not ready (podutil.IsPodAvailable)."""
    return pod.ready_since + rule.min_ready if pod.ready and pod.ready_since else None


def _available(rule: ByOrdinal, pod: Pod, now: datetime) -> bool:
    at = available_at(rule, pod)
    return pod.ready if at is None else now >= at
