"""When everybody who follows a source can be believed to know again what it knows.

While a source (the API server, a registry) is out of reach nobody hears of anything; when it is back, they do not hear
at once. Whoever follows it waits before he connects again, longer at each failure. A kube-proxy (any client-go
reflector): 0.8 s at first, doubled up to 30 s, each wait longer by a random part of up to as much again (client-go,
tools/cache/reflector.go). So he can go on with what he holds for twice as long as the outage lasted, and what has gone
from the source meanwhile says nothing about who is still called.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

FIRST_WAIT: Final = timedelta(seconds=0.8)
LONGEST_WAIT: Final = timedelta(seconds=60)


class Outages:
    """Of one source: told of every answer and of every missing one."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._answered: datetime | None = None
        self._out_since: datetime | None = None
        self.caught_up_at: datetime | None = None
        """Before this, what the source says is no evidence of what its followers do. None: no outage was seen."""

    def unwatched_since(self, at: datetime) -> None:
        """None of us was there to see it since then: it may have been out all that time, and be back just now."""
        until = self._caught_up(self._clock() - at)
        self.caught_up_at = max(until, self.caught_up_at or until)

    def missed(self) -> None:
        """It did not answer. It may have been out since its last answer."""
        self._out_since = self._out_since or self._answered or self._clock()

    def missed_since(self, at: datetime) -> None:
        """Somebody before us has had no answer since then. Of no interest to who has had one himself."""
        if self._answered is None:
            self._out_since = min(at, self._out_since or at)

    def answered(self) -> None:
        """It did, whatever it said."""
        now = self._clock()
        if self._out_since is not None:
            self.caught_up_at = self._caught_up(now - self._out_since)
            self._out_since = None
        self._answered = now

    def _caught_up(self, out_for: timedelta) -> datetime:
        """When everybody has connected again, if it was out so long, until now."""
        return self._clock() + min(LONGEST_WAIT, 2 * (max(out_for, timedelta(0)) + FIRST_WAIT))
