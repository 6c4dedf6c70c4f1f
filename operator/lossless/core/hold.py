"""The hold: below which number of pods each ReplicaSet may not be taken yet, and what it is asked for beyond that."""

from datetime import datetime, timedelta
from typing import Final

from lossless.core import leaving
from lossless.core.moment import Moment
from lossless.core.steps import Move, SetKeep, SetReplicas, Step

NUDGE_EVERY: Final = timedelta(seconds=3)
"""How often a ReplicaSet that could not create pods is woken, while there is room for one again."""

DELETIONS: Final = 10
"""How many pods a ReplicaSet may be asked to delete at once. The controller manager sends 20 requests a second for all
workloads together: a scale-in by 200 in one step kept everybody else's new pods waiting for 8 s."""


def labels(here: Moment, moves: tuple[Step, ...]) -> tuple[tuple[SetKeep, ...], tuple[SetKeep, ...]]:
    """The hold labels to raise before, and to lower after, the pods are written to.

    A ReplicaSet from which something must go is kept at its undrained pods, and gives up a few at a time. Any other is
    kept at what it is growing to, so that a release costs one write to it and not one for every pod.
    """
    workload = here.world.workload
    if workload is None:
        return (), ()
    drained = {step.pod.uid for step in moves if isinstance(step, Move) and step.passage.drained_at}
    undrained = {step.pod.uid for step in moves if isinstance(step, Move) and not step.passage.drained_at}
    raised, lowered = [], []
    growing, more = leaving.extra(here.world)
    for group in workload.groups:
        live = [pod for pod in here.world.pods if pod.live and pod.group == group.uid]
        exact = sum(1 for pod in live if pod.uid not in drained and (not pod.drained or pod.uid in undrained))
        if group.asked is None:
            old = group.revision != workload.current_revision and not workload.paused
        else:
            old = group.asked == 0
        shrinking = old or any(here.is_surplus(pod) for pod in live)
        nudge = 0 if shrinking else _nudge(here)
        keep = max(exact, len(live) - DELETIONS) if shrinking else max(exact, workload.wanted) + nudge
        if group.first and sum(one.replicas for one in workload.groups) < workload.wanted + workload.max_surge:
            keep = 0  # Held up, it would keep its controller from making the pods that there is room for.
        if growing is not None and group.uid == growing.uid and more:
            keep = max(keep, workload.wanted + more)
        if keep == group.keep or not (live or group.keep or nudge):
            continue
        if group.keep is None or keep > group.keep:
            raised.append(SetKeep(group, keep))
        else:
            lowered.append(SetKeep(group, keep))
    return tuple(raised), tuple(lowered)


def replacements(here: Moment) -> tuple[SetReplicas, ...]:
    """Pods in place of those whose node is about to go. The hold has been raised before, so they stay."""
    group, more = leaving.extra(here.world)
    if group is None or not more or here.world.workload is None:
        return ()
    replicas = here.world.workload.wanted + more
    return (SetReplicas(group, replicas),) if group.replicas < replicas else ()


def _nudge(here: Moment) -> int:
    """Added to the number of a growing ReplicaSet, where it changes nothing, to wake its controller.

    That controller backs off, up to 1,000 s, while it can't create pods. Room that was made for one by our doing comes
    without an event of the ReplicaSet: a write to it is one.
    """
    workload = here.world.workload
    if workload is None or workload.create_failed_since is None or len(here.world.pods) >= workload.wanted:
        return 0
    return 1 + (here.now - workload.create_failed_since) // NUDGE_EVERY % 2


def next_nudge(here: Moment) -> datetime | None:
    """When a ReplicaSet is woken again; None: none has to be."""
    workload = here.world.workload
    if not _nudge(here) or workload is None or workload.create_failed_since is None:
        return None
    turns = (here.now - workload.create_failed_since) // NUDGE_EVERY
    return workload.create_failed_since + (turns + 1) * NUDGE_EVERY
