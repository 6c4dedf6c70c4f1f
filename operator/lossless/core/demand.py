"""How many pods the load needs in the middle of a release, while its autoscaler can't say so.

A HorizontalPodAutoscaler that is about to want more by their CPU counts each pod that is not ready as one without any
load (replica_calculator.go, scaleUpWithUnready). With as many new pods behind the door as old ones before it, it does
nothing until the load is twice the target, for as long as the release lasts. So what it would want if there were only
those that serve is worked out here. That many are let in, warm or not, and stay in until it can see for itself.
"""

import math
from datetime import datetime, timedelta
from typing import Final

from lossless.core import autoscaler, capacity
from lossless.core.autoscaler import STEADY_FOR, TOLERANCE, Scene
from lossless.core.world import Autoscaler, World

SEEN_WITHIN: Final = timedelta(seconds=75)
"""For so long after the last pod was let in, others stay for it: its metrics are left out until a window of them has
begun after that (up to 30 s), they are up to 30 s old, and an autoscaler looks every 15 s."""


def needed(world: World, now: datetime) -> int:
    """As many pods as the load needs, in a release; 0: no more than are wanted, or it can't be told."""
    if not (world.autoscalers or world.status.pods.needed):
        return 0
    here, workload = autoscaler.scene(world), world.workload
    if workload is None or workload.recreate or not here.releasing or not autoscaler.is_enforced(world):
        return 0
    passages = [
        at for pod in world.pods if pod.live for at in (pod.passage.admitted_at, pod.passage.withdrawn_at) if at
    ]
    if passages and now < max(passages) + STEADY_FOR:
        return world.status.pods.needed  # The autoscaler's averages are of other pods than those that serve now.
    return max((_needed_by(one, here) for one in world.autoscalers), default=0)


def floor(world: World, needed: int, until: datetime | None, now: datetime) -> int:
    """Serving pods don't fall below this by our doing, for the load; 0: there is no more to it than `capacity.floor`.
    `until` is what `held_until` said.

    Where there is no room for more than are wanted, they could never be reached: the release would end there.
    """
    workload = world.workload
    if not needed or workload is None or capacity.has_no_room(world, now) or (until is not None and now >= until):
        return 0
    return min(needed, workload.wanted + workload.max_surge) if workload.max_surge else 0


def held_until(world: World) -> datetime | None:
    """When the autoscaler has had the time to see everybody who was let in; None: some are still on their way."""
    if autoscaler.scene(world).coming:
        return None
    admitted = [pod.passage.admitted_at for pod in world.pods if pod.live and pod.passage.admitted_at]
    return max(admitted) + SEEN_WITHIN if admitted else None


def _needed_by(one: Autoscaler, here: Scene) -> int:
    """As many as it would want: nothing within its tolerance, and never more than its owner allows."""
    loads = [autoscaler.own_load(metric, here) for metric in one.metrics]
    whole = max((load for load in loads if load is not None), default=0.0) * here.serving
    return min(math.ceil(round(whole, 6)), one.most) if whole > here.wanted * (1 + TOLERANCE) else 0
