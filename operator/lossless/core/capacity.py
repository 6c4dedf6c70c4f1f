"""Who serves, and how many must: the floor under everything that the operator does."""

from datetime import datetime, timedelta
from typing import Final

from lossless.core.world import Pod, Workload, World

NO_ROOM_AFTER: Final = timedelta(seconds=10)
"""A surge pod that can't be placed for this long means that there is no room: a scheduler needs milliseconds."""


def serving(world: World) -> tuple[Pod, ...]:
    """The pods that carry traffic now."""
    return tuple(pod for pod in world.pods if pod.serving)


def no_room_since(world: World) -> datetime | None:
    """Since when a wanted pod can't be created or placed."""
    if world.workload is None:
        return None
    since = [
        pod.unschedulable_since
        for pod in world.pods
        if pod.live and pod.revision == world.workload.current_revision and pod.unschedulable_since
    ]
    if world.workload.create_failed_since:
        since.append(world.workload.create_failed_since)
    return min(since, default=None)


def has_no_room(world: World, now: datetime) -> bool:
    since = no_room_since(world)
    return since is not None and now >= since + NO_ROOM_AFTER


def floor(world: World, now: datetime) -> int:
    """Serving pods never fall below this by our doing.

    The wanted replicas; less maxUnavailable where the strategy gives no surge or there is no room for it, for else a
    full cluster would never finish a release. Pods that are swapped one at a time are missing one at a time.
    """
    workload = world.workload
    if workload is None or workload.recreate:
        return 0
    if workload.max_surge == 0 or has_no_room(world, now):
        missing = min(1, workload.max_unavailable) if world.affine else workload.max_unavailable
        return max(0, workload.wanted - missing)
    return workload.wanted


def established(world: World) -> int:
    """The most pods that have served at once since so many were last wanted: what callers have come to rely on."""
    if world.workload is None:
        return 0
    return min(world.workload.wanted, max(world.status.pods.established, len(serving(world))))


def tolerated(workload: Workload, established: int) -> int:
    """How few serving pods the user's own strategy puts up with. Below it, a cold pod is better than none."""
    if workload.recreate:
        return min(1, established)
    return max(0, min(established, workload.wanted) - workload.max_unavailable)
