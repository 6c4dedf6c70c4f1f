"""Which pods of a DaemonSet must go.

Source: pkg/controller/daemon/daemon_controller.go, podsShouldBeOnNode, and update.go, rollingUpdate.
"""

from collections import defaultdict
from collections.abc import Sequence

from lossless.core.world import ByNode, Pod, Workload


def surplus(rule: ByNode, workload: Workload, live: Sequence[Pod]) -> tuple[Pod, ...]:
    """The pods that must go, in the order in which they are given: those on nodes where none may stay, those that are
    too many on their node, and those of an old revision.

    Without surge, a pod of an old revision goes before its successor comes. With it, only once its successor on the
    same node can serve, or if it is no use itself.
    """
    nodes: defaultdict[str, list[Pod]] = defaultdict(list)
    for pod in live:
        if pod.node:
            nodes[pod.node].append(pod)
    going = {pod.uid for node, pods in nodes.items() for pod in _on_a_node(rule, workload, node, pods)}
    return tuple(pod for pod in live if pod.uid in going)


def outdated(rule: ByNode, workload: Workload, live: Sequence[Pod]) -> tuple[Pod, ...]:
    """The pods that a release has yet to replace."""
    return tuple(pod for pod in live if pod.revision != workload.current_revision) if rule.replaces else ()


def _on_a_node(rule: ByNode, workload: Workload, node: str, pods: list[Pod]) -> list[Pod]:
    if node in rule.unwanted:
        return pods
    # The oldest one stays, of two kinds where there is a surge: podByCreationTimestampAndPhase.
    pods = sorted(pods, key=lambda pod: (pod.created_at, pod.name))
    if not rule.surges:
        old = [pod for pod in pods[:1] if rule.replaces and pod.revision != workload.current_revision]
        return old + pods[1:]
    new = [pod for pod in pods if pod.revision == workload.current_revision]
    old = [pod for pod in pods if pod.revision != workload.current_revision]
    succeeded = any(pod.able for pod in new[:1])
    replaced = [pod for pod in old[:1] if new and (succeeded or not pod.containers_ready)]
    return new[1:] + old[1:] + replaced
