"""Which pods of an Argo Rollout must go.

Its controller shifts pods from ReplicaSet to ReplicaSet by the steps of a canary, a blue-green switch, delays, pauses
and aborts. Whatever its reason, what comes of it is one number for each ReplicaSet: what exceeds that is surplus, of an
old revision as of the current one, and nothing else is. In the middle of a canary both revisions are wanted.
"""

from collections.abc import Sequence

from lossless.core.world import Pod, Workload


def surplus(workload: Workload, live: Sequence[Pod]) -> tuple[Pod, ...]:
    """The pods that must go: those of old revisions, then those of the current one, each in the given order.

    Of a ReplicaSet that is not known, or of which nothing is asked, nobody goes.
    """
    old = [group for group in workload.groups if group.revision != workload.current_revision]
    current = [group for group in workload.groups if group.revision == workload.current_revision]
    leaving: list[Pod] = []
    for group in (*old, *current):
        pods = [pod for pod in live if pod.group == group.uid]
        if group.asked is not None:
            leaving += pods[: max(0, len(pods) - group.asked)]
    return tuple(leaving)


def outdated(workload: Workload, live: Sequence[Pod]) -> tuple[Pod, ...]:
    """The pods of old revisions that are on their way out. With others a canary is at rest: they are wanted."""
    return tuple(pod for pod in surplus(workload, live) if pod.revision != workload.current_revision)
