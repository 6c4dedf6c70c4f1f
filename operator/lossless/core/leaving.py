"""Pods whose node is about to go: for each, another one comes first, and only then it goes out.

No write to the Deployment, and no pod of nobody: its ReplicaSet is asked for a few pods more than are wanted, and the
hold keeps the Deployment controller from taking them back. So there are more pods of the current revision than are
wanted, which is a surplus like any other, and goes through the door like any other; only that those on such nodes go
first. When the last has gone, or its node has come back, the hold is lowered, and the Deployment controller puts the
number right. Without the operator it does so, too, the next time it looks: there is nothing that could be left behind.

To take the pod out of its ReplicaSet instead, by taking its label `pod-template-hash` off, would leave it without a
controller, and `kubectl drain` refuses to empty a node that has such a pod.
"""

from lossless.api.resource import Disruption
from lossless.core.world import Group, Pod, World


def is_leaving(pod: Pod, world: World) -> bool:
    """Its node is about to go: an autoscaler says so, or somebody has cordoned it and evictions wait for us."""
    gate = world.spec.drain.disruption is Disruption.GATE
    return pod.live and (pod.node_going or (pod.cordoned and gate))


def is_moved(pod: Pod, world: World) -> bool:
    """It has to go for no other reason than that its node is about to."""
    current = world.workload is not None and pod.revision == world.workload.current_revision
    return current and is_leaving(pod, world)


def is_replaceable(world: World) -> bool:
    """A pod can come before another one goes, without a release."""
    workload = world.workload
    return workload is not None and workload.kind == "Deployment" and not workload.recreate and world.hold_works


def extra(world: World) -> tuple[Group | None, int]:
    """The current ReplicaSet, and how many pods more than are wanted it is to have now: maxSurge of them, at least 1.

    None while a release is under way, for then pods that leave go with it or after it; nor while a drained pod is
    there, which must be gone before the next one can be told from it.
    """
    workload = world.workload
    if workload is None or not workload.settled_generation or not is_replaceable(world):
        return None, 0
    live = [pod for pod in world.pods if pod.live]
    group = next((one for one in workload.groups if one.revision == workload.current_revision), None)
    if group is None or group.replicas < workload.wanted or any(pod.group != group.uid for pod in live):
        return None, 0
    if any(pod.drained for pod in live):
        return None, 0
    leaving = sum(1 for pod in live if is_leaving(pod, world))
    return group, min(leaving, max(1, workload.max_surge), workload.wanted)
