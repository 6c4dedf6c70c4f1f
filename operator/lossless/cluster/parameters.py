"""What the admission policies go by: one LimitRange without limits in each namespace that has LosslessRollouts.

Not the LosslessRollouts themselves: an API server that has just started may not know our CRD for up to 30 s (its REST
mapper is renewed that seldom), and asks no policy meanwhile whose parameter is of it. Not ConfigMaps: once the last
policy with a parameter of a core kind is taken away, an API server follows that kind no more, until it is started anew
(k8s.io/apiserver, policy_source.go: the shared informer is stopped, and none starts twice). But LimitRanges it follows
in any case, for a plugin of its own. What is to be known stands in an annotation; without limits, nothing is limited.
And one object a namespace costs one evaluation a pod, however many LosslessRollouts there are.

The policies believe an entry only while the LimitRange has an ownerReference to its LosslessRollout. The garbage
collector takes that away with the LosslessRollout (or with the CRD), so the doors open without the operator.
"""

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Final

from lossless.api import names
from lossless.api.resource import LosslessRolloutSpec, Mode
from lossless.cluster.gateway import Gateway
from lossless.cluster.gather import winner
from lossless.cluster.observed import SeenRollout
from lossless.cluster.resources import LIMIT_RANGES, Raw
from lossless.cluster.store import Store
from lossless.cluster.workload import kind_of

BELIEVED_FOR: Final = 300.0
"""Seconds for which what was written is taken to be there still. Later, the next turn writes it once more: somebody may
have changed it."""
MANAGER: Final = "lossless-operator"
ABOUT: Final = "What the admission policies of Lossless Rollout go by. Written by its operator: changes are undone."


class Parameters:
    """Keeps those LimitRanges what they should be."""

    def __init__(self, gateway: Gateway, store: Store, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self._gateway = gateway
        self._store = store
        self._clock = clock
        self._written: dict[str, tuple[Raw, float]] = {}
        self._known: dict[str, list[SeenRollout]] = {}
        """From whom what was written was worked out."""
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ensure(self, namespace: str) -> None:
        """Write the namespace's, unless it was written like this a short time ago.

        Raises:
            ClusterError: it could not be written.
        """
        async with self._turns[namespace]:
            rollouts = list(self._store.rollouts.where("namespace", namespace))
            if not rollouts:  # It has no owner left: the garbage collector's.
                self._written.pop(namespace, None)
                self._known.pop(namespace, None)
                return
            written, at = self._written.get(namespace, (None, 0.0))
            believed = self._clock() - at <= BELIEVED_FOR
            if believed and self._known.get(namespace) == rollouts:
                self._known[namespace] = rollouts  # Equal ones are compared faster if they are the same.
                return
            enforced = [one for one in rollouts if _is_enforced(self._store, one)]
            wanted = document(namespace, rollouts, enforced)
            if written != wanted or not believed:
                await self._gateway.apply(LIMIT_RANGES, namespace, names.PARAMETERS, wanted, MANAGER)
                self._written[namespace] = (wanted, self._clock())
            self._known[namespace] = rollouts


def document(namespace: str, rollouts: Iterable[SeenRollout], enforced: Iterable[SeenRollout]) -> Raw:
    """The LimitRange: `rollouts` are all that there are, `enforced` those whose doors the policies are to keep."""
    owners = [
        {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": one.name, "uid": one.uid}
        for one in sorted(rollouts, key=lambda one: one.name)
    ]
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {
            "name": names.PARAMETERS,
            "namespace": namespace,
            "annotations": {names.ABOUT: ABOUT, names.TARGETS: _targets(enforced)},
            "ownerReferences": owners,
        },
        "spec": {"limits": []},
    }


def without(targets: str, kind: str, name: str) -> str:
    """The same annotation with one workload less."""
    return "".join(line for line in targets.splitlines(keepends=True) if not line.startswith(f"{kind}/{name}="))


def _targets(enforced: Iterable[SeenRollout]) -> str:
    """A line for each workload, between line breaks so that CEL finds a whole one:
    `<kind>/<name>=<LosslessRollout>/<seconds of preStop sleep>`, with `/registers` where its pods register themselves:
    such a pod can have traffic before anybody has let it in."""
    lines = [
        f"{one.target.kind}/{one.target.name}={one.name}/{sleep_of(one.spec)}"
        f"{'/registers' if one.spec.traffic.registries else ''}\n"
        for one in sorted(enforced, key=lambda one: one.name)
        if one.spec
    ]
    return "\n" + "".join(lines)


def sleep_of(spec: LosslessRolloutSpec) -> int:
    """The preStop sleep of new pods: drain.settle in whole seconds, rounded up, at least 1."""
    return max(1, math.ceil(spec.drain.settle.total_seconds()))


def _is_enforced(store: Store, rollout: SeenRollout) -> bool:
    return (
        rollout.spec is not None
        and not rollout.deleting
        and rollout.spec.mode is Mode.ENFORCE
        and kind_of(rollout.target) is not None
        and winner(store, rollout).uid == rollout.uid
    )
