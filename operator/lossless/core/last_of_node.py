"""The last ready pod of a node behind a Service with ``externalTrafficPolicy: Local``.

Load balancers send to a node until its health check fails, which it does once none of the node's pods is ready. Until
they notice, kube-proxy drops what they send: unless a pod there is terminating and ready, for to such a one it goes on
sending (KEP-1669). So the last of a node is not taken out by its gate. It stays open, whoever else has to be told is
told, then it is drained; and its preStop sleep is the time in which they notice.
"""

from dataclasses import replace

from lossless.core.moment import Moment
from lossless.core.world import Pod


def with_the_last_of_nodes(here: Moment, spared: frozenset[str]) -> Moment:
    """The moment, and who stays listed until it is deleted. `spared`: who may be taken out of the traffic now."""
    going = [pod for pod in here.world.pods if here.is_surplus(pod) and (pod.uid in spared or pod.stage.is_out)]
    return replace(here, last_of_nodes=frozenset(pod.uid for pod in going if _is_last(pod, here, going)))


def _is_last(pod: Pod, here: Moment, going: list[Pod]) -> bool:
    """Whether nobody else of its node stays in one of its Services. Of several that go, that is the first by uid."""
    services = _alone_in(pod)
    if not services or not pod.live or not pod.gated:
        return False
    leave = {other.uid for other in going if other.uid >= pod.uid}
    beside = [other for other in here.world.pods if other.live and other.node == pod.node and other.uid not in leave]
    return any(not any(service in _alone_in(other) for other in beside) for service in services)


def _alone_in(pod: Pod) -> frozenset[str]:
    return frozenset(sighting.source for sighting in pod.sightings if sighting.alone) if pod.open else frozenset()
