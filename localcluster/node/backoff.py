"""CrashLoopBackOff."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

INITIAL = timedelta(seconds=10)
LONGEST = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class BackOff:
    """How long a container that ended must stay down. Ten seconds, doubling to five minutes.

    flowcontrol.Backoff as the kubelet uses it (doBackOff in kuberuntime_manager.go): the first restart is free; a
    container that ended more than ten minutes after its last restart starts over.
    """

    delay: timedelta = timedelta(0)
    updated: datetime | None = None

    def _expired(self, finished: datetime) -> bool:
        return self.updated is None or finished - self.updated > 2 * LONGEST

    def until(self, finished: datetime) -> datetime | None:
        """When a container that ended at `finished` may start again; None: at once."""
        return None if self._expired(finished) else finished + self.delay

    def restarted(self, finished: datetime, now: datetime) -> BackOff:
        """What holds after a restart at `now` of a run that ended at `finished`."""
        delay = INITIAL if self._expired(finished) else min(self.delay * 2, LONGEST)
        return replace(self, delay=delay, updated=now)
