"""Which pods may be taken out of the traffic now without going below the floor."""

from lossless.core import leaving, swaps, way_in
from lossless.core.moment import Moment
from lossless.core.world import Pod


def may_be_spared(here: Moment) -> frozenset[str]:
    """The pods that may be taken out of the traffic now without going below the floor (uids): surplus ones to be
    withdrawn, then those that are cold again.

    Pods that are able to serve are counted beside those that do: where no source lists anybody (a Service that is just
    being replaced, say), nobody serves, and still they must not all go at once.
    """
    serving, able = here.serving, sum(1 for pod in here.world.pods if pod.able)
    found = set()
    cold = [pod for pod in here.world.pods if pod.live and not here.is_surplus(pod) and way_in.cold_again(pod, here)]
    # To close a cold pod where it would be let in cold again is no use (Recreate has no floor, but wants one to serve).
    needed = max(here.floor, here.tolerated)
    out = ((pod, least(pod, here)) for pod in swaps.first_out(here))
    for pod, at_least in (*out, *((pod, needed) for pod in cold)):
        if pod.stage.is_out or (pod.able and able <= at_least) or (pod.serving and serving <= at_least):
            continue
        able -= pod.able
        serving -= pod.serving
        found.add(pod.uid)
    return frozenset(found)


def least(pod: Pod, here: Moment) -> int:
    """How many must serve when this one is withdrawn. Whoever leaves its node waits until all that are wanted do: no
    release depends on it, so a cluster without room is no reason to go below them."""
    workload = here.world.workload
    moves = leaving.is_moved(pod, here.world) and leaving.is_replaceable(here.world)
    return max(here.floor, workload.wanted) if workload and moves else here.floor
