"""Finds the pods of a workload that do not carry our label: they are in no watch of ours.

They are those that ran before the LosslessRollout came, those made where the admission policy is not installed, and all
of them in Observe mode, where nothing is labelled. What gives them away is that their controllers count more pods than
we know (`counts.py`). Then one LIST of the workload's pods without our label finds them: at once when the workload is
new to this process, else when that has lasted for a while, because counts are late on a busy control plane. Where
nobody is missing, as of a thousand workloads when the operator is started anew, nothing is listed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from lossless.api.names import ROLLOUT_LABEL
from lossless.api.resource import Mode
from lossless.cluster.gateway import Gateway, Listing
from lossless.cluster.gather import pods_of
from lossless.cluster.interest import Key
from lossless.cluster.observed import Owner, SeenPod, SeenRollout
from lossless.cluster.resources import PODS
from lossless.cluster.store import Change, Store
from lossless.cluster.workload import kind_of
from lossless.core.world import Workload

SETTLES_WITHIN: Final = 10.0
"""Seconds for which counts may differ because of a change under way."""
OBSERVED_WITHIN: Final = 2.0
"""The same in Observe mode, where every new pod is one without our label."""
LONGEST_PAUSE: Final = 60.0
"""Seconds between two LISTs at most, while the counts go on differing."""


@dataclass(slots=True)
class _Doubt:
    """Somebody may be missing."""

    look_at: float
    pause: float


@dataclass
class Adoption:
    """Remembers, for each LosslessRollout, whether all pods of its workload are known."""

    gateway: Gateway
    store: Store
    changed: Callable[[Change[Any]], None]
    clock: Callable[[], float]
    _known: dict[Key, str] = field(default_factory=dict)
    """The workload (uid) that was looked through."""
    _doubts: dict[Key, _Doubt] = field(default_factory=dict)

    def forget(self, key: Key) -> None:
        """This LosslessRollout is gone, or has to begin anew."""
        self._known.pop(key, None)
        self._doubts.pop(key, None)

    async def look(self, rollout: SeenRollout, workload: Workload) -> float | None:
        """Find unknown pods if there may be any. Says in how many seconds to come again, if that is called for.

        Raises ClusterError when the API server can't be asked.
        """
        key = rollout.key
        doubtful = self._is_doubtful(rollout, workload)
        if self._known.get(key) != workload.uid:
            if doubtful:
                await self._list(rollout, workload)
                doubtful = self._is_doubtful(rollout, workload)
            self._known[key] = workload.uid
            self._doubts.pop(key, None)
        if not doubtful:
            self._doubts.pop(key, None)
            return None
        now = self.clock()
        observes = rollout.spec is not None and rollout.spec.mode is Mode.OBSERVE
        patience = OBSERVED_WITHIN if observes else SETTLES_WITHIN
        doubt = self._doubts.setdefault(key, _Doubt(now + patience, patience))
        if now < doubt.look_at:
            return doubt.look_at - now
        await self._list(rollout, workload)
        doubt.pause = min(LONGEST_PAUSE, doubt.pause * 2)
        doubt.look_at = now + doubt.pause
        if self._is_doubtful(rollout, workload):
            return doubt.pause
        del self._doubts[key]
        return None

    def _is_doubtful(self, rollout: SeenRollout, workload: Workload) -> bool:
        """Its controllers count somebody who is not known, or of whom no watch tells."""
        kind = kind_of(rollout.target)
        if kind is None:
            return False
        pods = pods_of(self.store, rollout, workload)
        counts = kind.counts(self.store, workload, pods)
        # Of those that bear our label a watch tells everything, so nothing but others can be found.
        are_watched = all(ROLLOUT_LABEL in pod.labels for pod in pods)
        return counts.some_are_unknown if are_watched else counts.differ

    async def _list(self, rollout: SeenRollout, workload: Workload) -> None:
        kind = kind_of(rollout.target)
        selector = kind.selector(self.store, rollout.namespace, workload.name) if kind else ""
        if not selector:
            return
        listing = await self.gateway.list(PODS, rollout.namespace, f"{selector},!{ROLLOUT_LABEL}")
        owners = workload.owners
        ours = tuple(raw for raw in listing.items if (owner := Owner.of(raw)) and owner.uid in owners)

        def concerns(pod: SeenPod) -> bool:
            return ROLLOUT_LABEL not in pod.labels and pod.core.group in owners

        known = self.store.pods.uids("owner", *owners)
        for change in self.store.pods.replace(Listing(ours, listing.resource_version), concerns, known):
            self.changed(change)
