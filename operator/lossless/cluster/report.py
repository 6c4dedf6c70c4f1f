"""Writes the status of a LosslessRollout, when it says something new, and no more often than is of use.

What programs wait for (phase, conditions, generation, revision, findings) is written at once. Mere counts and messages
follow every few seconds: a release of many pods would otherwise cost a write for each step of each pod.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from lossless.api.resource import LosslessRolloutStatus
from lossless.cluster import patches
from lossless.cluster.errors import Conflict, NotFound, Outdated
from lossless.cluster.gateway import Gateway
from lossless.cluster.interest import Key
from lossless.cluster.observed import SeenRollout
from lossless.cluster.resources import ROLLOUTS
from lossless.cluster.store import Change, Store

EVERY: Final = 5.0
"""Seconds between two writes that nobody is in a hurry for."""
SHARE: Final = 0.01
"""Of its time, at most, that an API server spends on those of one LosslessRollout: one that is slow has more urgent
things to do. It is slow when two writes on end were, whosever: one by chance keeps nothing from people."""
LONGEST: Final = 30.0
"""Seconds. However slow it is, for longer nobody is kept from seeing what is waited for."""


@dataclass
class Reporter:
    """Knows what was said of each LosslessRollout last, written or not."""

    gateway: Gateway
    store: Store
    changed: Callable[[Change[SeenRollout]], None]
    clock: Callable[[], float]
    _said: dict[Key, tuple[str, LosslessRolloutStatus]] = field(default_factory=dict)
    """With the uid of whom it was said."""
    _due_at: dict[Key, float] = field(default_factory=dict)
    """When the next write is due that nobody is in a hurry for."""
    _took: float = 0.0
    """Seconds, the last write."""

    def last(self, rollout: SeenRollout) -> LosslessRolloutStatus:
        """What was said last: also what is still to be written, or transition times would be lost."""
        uid, said = self._said.get(rollout.key, ("", rollout.status))
        return said if uid == rollout.uid else rollout.status

    def forget(self, key: Key) -> None:
        """This LosslessRollout is gone."""
        self._said.pop(key, None)
        self._due_at.pop(key, None)

    async def report(self, rollout: SeenRollout, status: LosslessRolloutStatus) -> float | None:
        """Say this. Answers in how many seconds to come again for what was put off.

        Raises Outdated when it was changed meanwhile or is gone, ClusterError when it could not be written.
        """
        key = rollout.key
        self._said[key] = (rollout.uid, status)
        current = self.store.rollouts.by_uid(rollout.uid) or rollout
        if current.status == status:
            return None
        due = self._due_at.get(key, 0.0) - self.clock()
        if due > 0 and not _urgent(current.status, status):
            return due
        await self._write(current, status)
        return None

    async def _write(self, rollout: SeenRollout, status: LosslessRolloutStatus) -> None:
        version = self.store.rollouts.version(rollout.uid)
        body = patches.status(status, rollout.uid, version)
        began = self.clock()
        try:
            answer = await self.gateway.patch(ROLLOUTS, rollout.namespace, rollout.name, body, "status")
        except NotFound as error:
            self._told(self.store.rollouts.remove(rollout.uid, int(version)))
            raise Outdated("the LosslessRollout is gone") from error
        except Conflict as error:
            # It was changed: what we are about to say may be of a spec that is no more.
            self._told(self.store.rollouts.put(await self.gateway.get(ROLLOUTS, rollout.namespace, rollout.name)))
            raise Outdated("the LosslessRollout has changed") from error
        now = self.clock()
        before, self._took = self._took, now - began
        self._due_at[rollout.key] = now + min(LONGEST, max(EVERY, min(before, self._took) / SHARE))
        self._told(self.store.rollouts.put(answer))

    def _told(self, change: Change[SeenRollout] | None) -> None:
        if change is not None:
            self.changed(change)


def _urgent(before: LosslessRolloutStatus, after: LosslessRolloutStatus) -> bool:
    """Somebody may be waiting for just this."""
    return (
        before.phase != after.phase
        or before.observed_generation != after.observed_generation
        or before.revision.current != after.revision.current
        or before.findings != after.findings
        or {(one.type, one.status) for one in before.conditions} != {(one.type, one.status) for one in after.conditions}
        or {one.reason for one in before.conditions if one.type in ("Accepted", "Stalled")}
        != {one.reason for one in after.conditions if one.type in ("Accepted", "Stalled")}
    )
