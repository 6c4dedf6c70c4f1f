"""What part of the cluster is looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lossless.api import names
from lossless.cluster.resources import (
    ARGO_ROLLOUTS,
    AUTOSCALERS,
    BUDGETS,
    CONTROLLER_REVISIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    NODES,
    PODS,
    REPLICA_SETS,
    ROLLOUTS,
    SERVICES,
    STATEFUL_SETS,
    Resource,
)

OPTIONAL: Final = frozenset({ARGO_ROLLOUTS})
"""Kinds of others that a cluster need not have. Nobody waits for one that is not there, but who names it."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The whole cluster, or some namespaces: then nothing outside of them is asked for, and a Role is all it takes."""

    namespaces: tuple[str, ...] = ()

    @property
    def watched(self) -> tuple[Resource, ...]:
        """The kinds to watch. Nodes belong to no namespace: without them nothing is known of cordons, and evictions
        that wait for us would wait for ever, so PodDisruptionBudgets are none of our business then."""
        workloads = (DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS, CONTROLLER_REVISIONS, ARGO_ROLLOUTS)
        everywhere = (ROLLOUTS, *workloads, PODS, SERVICES, ENDPOINT_SLICES, AUTOSCALERS)
        return everywhere if self.namespaces else (*everywhere, NODES, BUDGETS)

    @property
    def parts(self) -> Sequence[str | None]:
        """One LIST each: a namespace, or None for all of them."""
        return self.namespaces or (None,)

    @staticmethod
    def label_selector(resource: Resource) -> str:
        """Which of them to watch. Of pods only those in our care: the others are not ours to read."""
        return names.ROLLOUT_LABEL if resource is PODS else ""
