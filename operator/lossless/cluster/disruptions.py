"""Evictions: `drain.disruption: Gate` has them wait, by a PodDisruptionBudget of our own and a label on the pods.

Only one budget may select a pod: with two, the API server answers every eviction with 500, and `kubectl drain` gives
up. So where there is one already, ours is not made, or taken away.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from lossless.analysis.checks import listed
from lossless.api.resource import Disruption, Finding, Mode
from lossless.cluster.budgets import SeenBudget, document, name_of
from lossless.cluster.errors import ClusterError, Forbidden, NotFound, NotLeading
from lossless.cluster.gateway import Gateway
from lossless.cluster.gather import pods_of, target_of
from lossless.cluster.interest import Key
from lossless.cluster.observed import SeenRollout
from lossless.cluster.resources import BUDGETS
from lossless.cluster.store import Change, Store
from lossless.core.world import Workload

MANAGER: Final = "lossless-operator"
AGAIN: Final = 5.0
BELIEVED_FOR: Final = timedelta(minutes=10)
"""For so long a hold that did not hold is not tried again."""

_log = logging.getLogger(__name__)


@dataclass
class Disruptions:
    """Knows whether evictions can wait for us, and sees to it that they do."""

    gateway: Gateway
    store: Store
    changed: Callable[[Change[SeenBudget]], None]
    clock: Callable[[], datetime]
    sees_nodes: bool = True
    """Else nothing is known of cordons, and whoever waited for us would wait for ever."""
    _raised: dict[str, int] = field(default_factory=dict)
    """ReplicaSets (by uid) that were asked for so many pods, more than are wanted."""
    _unheld: dict[str, datetime] = field(default_factory=dict)
    """Those whose Deployment took them back against the hold, and when."""
    _refused: dict[Key, str] = field(default_factory=dict)
    """Why our budget could not be made."""

    def raised(self, uid: str, replicas: int) -> None:
        """A ReplicaSet was asked for more pods than its Deployment wants."""
        self._raised[uid] = replicas

    def hold_works(self, rollout: SeenRollout) -> bool:
        """The Deployment controller leaves this workload's ReplicaSets at what the hold says; as far as is known."""
        if not self._raised and not self._unheld:
            return True
        workload, _ = target_of(self.store, rollout)
        groups = workload.groups if workload else ()
        for group in groups:
            asked = self._raised.get(group.uid)
            if asked is None or group.replicas >= asked:
                continue
            del self._raised[group.uid]
            if group.keep is not None and group.keep >= asked:
                self._unheld[group.uid] = self.clock()
        unheld = [self._unheld.get(group.uid) for group in groups]
        return not any(at and self.clock() < at + BELIEVED_FOR for at in unheld)

    def evictions_wait(self, rollout: SeenRollout) -> bool:
        """They do, of pods that are not drained."""
        return self._is_asked(rollout) and self._hindrance(rollout) is None

    async def ensure(self, rollout: SeenRollout) -> float | None:
        """Make our budget, or take it away. Says in how many seconds to try again. No passage ever waits for it."""
        seen = self.store.budgets.named(rollout.namespace, name_of(rollout.name))
        mine = seen is not None and seen.rollout == rollout.uid
        wanted = self.evictions_wait(rollout) or (self._is_asked(rollout) and rollout.key in self._refused)
        if wanted == mine:
            self._refused.pop(rollout.key, None)
            return None
        try:
            if wanted:
                body = document(rollout.namespace, rollout.name, rollout.uid)
                raw = await self.gateway.apply(BUDGETS, rollout.namespace, name_of(rollout.name), body, MANAGER)
                self._told(self.store.budgets.put(raw))
                self._refused.pop(rollout.key, None)
            elif seen is not None:
                await self._take_away(seen)
        except NotLeading:
            raise
        except Forbidden as error:
            self._refused[rollout.key] = "the operator may not write PodDisruptionBudgets"
            _log.warning("evictions can't be made to wait: %s", error, extra={"rollout": "/".join(rollout.key)})
            return BELIEVED_FOR.total_seconds()
        except ClusterError as error:
            _log.warning("evictions can't be made to wait: %s", error, extra={"rollout": "/".join(rollout.key)})
            return AGAIN
        return None

    def findings(self, rollout: SeenRollout) -> list[Finding]:
        """Why evictions do not wait, though they were asked to."""
        hindrance = self._hindrance(rollout) if self._is_asked(rollout) else None
        if hindrance is None:
            return []
        what, fix = hindrance
        message = f"drain.disruption is Gate, and evictions do not wait all the same: {what}"
        return [Finding(reason="EvictionsNotGated", message=message, fix=fix)]

    def forget(self, key: Key) -> None:
        """This LosslessRollout is gone; so is its budget, by the garbage collector."""
        self._refused.pop(key, None)

    def _is_asked(self, rollout: SeenRollout) -> bool:
        spec = rollout.spec
        if spec is None or rollout.deleting or spec.mode is not Mode.ENFORCE:
            return False
        return spec.drain.disruption is Disruption.GATE and target_of(self.store, rollout)[0] is not None

    def _hindrance(self, rollout: SeenRollout) -> tuple[str, str] | None:
        """What it is, and what to do about it; None: there is none."""
        workload, _ = target_of(self.store, rollout)
        if workload is None:
            return None
        if workload.kind != "Deployment":
            what = f"a {workload.kind} makes no pod before another one has gone, so an eviction would wait for ever"
            return what, "drain.disruption: Graceful; a PodDisruptionBudget lets few of them go at a time"
        if workload.recreate:
            what = "with strategy Recreate no pod comes before another one has gone, so an eviction would wait for ever"
            return what, "drain.disruption: Graceful, or strategy RollingUpdate"
        if not self.sees_nodes:
            what = "this operator looks at single namespaces and may not read nodes, so it can't tell who has to go"
            return what, "drain.disruption: Graceful, or the cluster-wide install"
        if not self.hold_works(rollout):
            what = "no pod can come before another one has gone, for the policy lossless-hold is not in force"
            return what, "Apply manifests/admin on Kubernetes 1.36 or later, or drain.disruption: Graceful"
        others = sorted(self._others(rollout, workload))
        if others:
            what = f"PodDisruptionBudget {listed(others)} selects the pods, and of two every eviction would fail"
            fix = "Nothing, if evictions are to go by that one: pods on nodes that go are replaced first all the same. "
            return what, f"{fix}Else delete it"
        if rollout.key in self._refused:
            return self._refused[rollout.key], "Apply manifests/install"
        return None

    def _others(self, rollout: SeenRollout, workload: Workload) -> set[str]:
        """Somebody else's budgets that select its pods."""
        pods = pods_of(self.store, rollout, workload)
        every = [one for one in self.store.budgets.where("namespace", rollout.namespace) if one.rollout != rollout.uid]
        selecting = {one.name for one in every if any(one.selects(pod.labels) for pod in pods)}
        return selecting | {one.name for one in every if one.name == name_of(rollout.name)}

    async def _take_away(self, seen: SeenBudget) -> None:
        with suppress(NotFound):
            await self.gateway.delete(BUDGETS, seen.namespace, seen.name)
        version = self.store.budgets.version(seen.uid)
        self._told(self.store.budgets.remove(seen.uid, int(version or 0)))

    def _told(self, change: Change[SeenBudget] | None) -> None:
        if change is not None:
            self.changed(change)
