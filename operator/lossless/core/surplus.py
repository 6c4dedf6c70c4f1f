"""Who must go out, and in which order."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from lossless.core import by_group, by_node, by_ordinal
from lossless.core.leaving import is_leaving, is_replaceable
from lossless.core.passage import Stage
from lossless.core.world import ByGroup, ByNode, ByOrdinal, Pod, World

FOR_EVER: Final = datetime.max.replace(tzinfo=UTC)

_UNDER_WAY = {Stage.DRAINED: 0, Stage.DRAINING: 1, Stage.WITHDRAWN: 2}


def surplus(world: World, now: datetime | None = None) -> tuple[Pod, ...]:
    """The pods that must go, first to go first: those of old revisions, then those of the current one.

    Every live pod of an old revision (unless the workload is paused), and of the current one what exceeds the wanted
    replicas. Asked of a workload whose controller has not seen the latest spec, the answer may be about yesterday:
    the caller waits. `now` is of interest where a rule asks for how long a pod has been ready; without it, for ever.

    So it is of a Deployment. Any other kind has a rule of its own that says who goes, and how many at once.
    """
    workload = world.workload
    if workload is None:
        return ()
    live = [pod for pod in world.pods if pod.live]
    order = _victim_order(live, world)
    match workload.rule:
        case ByOrdinal() as rule:
            return by_ordinal.surplus(rule, workload, live, now or FOR_EVER)
        case ByNode() as rule:
            return by_node.surplus(rule, workload, sorted(live, key=order))
        case ByGroup():
            return by_group.surplus(workload, sorted(live, key=order))
    current = sorted((pod for pod in live if pod.revision == workload.current_revision), key=order)
    old = sorted((pod for pod in live if pod.revision != workload.current_revision), key=order)
    if workload.paused:
        # Its controller starts no release, but where there is just one ReplicaSet it still scales that one.
        # Source: pkg/controller/deployment/sync.go, scale.
        alone = old if not current and len({pod.group for pod in old}) == 1 else current
        return tuple(alone[: max(0, len(alone) - workload.wanted)])
    return (*old, *current[: max(0, len(current) - workload.wanted)])


def outdated(world: World) -> tuple[Pod, ...]:
    """The live pods of old revisions that a release has yet to replace. Others may stay: that is up to the rule."""
    workload = world.workload
    if workload is None:
        return ()
    live = [pod for pod in world.pods if pod.live]
    match workload.rule:
        case ByOrdinal() as rule:
            return by_ordinal.outdated(rule, workload, live)
        case ByNode() as rule:
            return by_node.outdated(rule, workload, live)
        case ByGroup():
            return by_group.outdated(workload, sorted(live, key=_victim_order(live, world)))
    return tuple(pod for pod in live if pod.revision != workload.current_revision)


def deleted_only_if_ready(world: World, now: datetime) -> Pod | None:
    """The pod whose controller waits for it to be ready before it deletes it; None: there is none."""
    workload = world.workload
    if workload is None or not isinstance(workload.rule, ByOrdinal):
        return None
    return by_ordinal.deleted_only_if_ready(workload.rule, workload, [pod for pod in world.pods if pod.live], now)


def next_look(world: World, now: datetime) -> datetime | None:
    """When the answer may be another one by the mere passing of time."""
    workload = world.workload
    if workload is None or not isinstance(workload.rule, ByOrdinal):
        return None
    times = (by_ordinal.available_at(workload.rule, pod) for pod in world.pods if pod.live)
    return min((at for at in times if at and at > now), default=None)


def _victim_order(live: list[Pod], world: World) -> Callable[[Pod], tuple[object, ...]]:
    """The order in which the ReplicaSet controller itself would choose, so that it and we agree on who goes.

    Source: pkg/controller/controller_utils.go, ActivePodsWithRanks.Less: unassigned, pending, not ready, deletion cost,
    crowded nodes, ready for less time, more restarts, newer. (It takes times that are alike for the same, and then goes
    by uid; to go by the time is one of the choices which that leaves.)

    Ours before that: pods already on their way out (a choice once made stands), pods whose node is about to go, pods
    that never had traffic (nothing to drain), pods that do not serve (else one that serves could be chosen, and never
    be spared). After readiness comes one more of ours: pods on cordoned nodes.
    """
    replaceable = is_replaceable(world)
    crowd = Counter(pod.node for pod in live if pod.node)
    phases = {"Pending": 0, "Unknown": 1, "Running": 2}

    def key(pod: Pod) -> tuple[object, ...]:
        return (
            _UNDER_WAY.get(pod.stage, 3),
            not (replaceable and is_leaving(pod, world)),
            pod.passage.admitted_at is not None,
            pod.serving,
            pod.node != "",
            phases.get(pod.phase, 2),
            pod.ready,
            not pod.cordoned,
            pod.deletion_cost,
            -crowd[pod.node],
            _newer_first(pod.ready_since) if pod.ready else 0.0,
            -pod.restarts,
            _newer_first(pod.created_at),
            pod.name,
        )

    return key


def _newer_first(at: datetime | None) -> float:
    return -at.timestamp() if at else float("-inf")
