"""When everybody who follows the API server can be believed to know again what it knows.

While the API server is out of reach nobody hears of anything; when it is back, they do not hear at once. A kube-proxy
(any client-go reflector) waits before it connects again: 0.8 s at first, doubled at each failure up to 30 s, each wait
longer by a random part of up to as much again (client-go, tools/cache/reflector.go). So it can go on for twice as long
as the outage lasted, and an EndpointSlice from which a pod has gone meanwhile says nothing about who still calls it.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

FIRST_WAIT: Final = timedelta(seconds=0.8)
LONGEST_WAIT: Final = timedelta(seconds=60)


class Outages:
    """Told of every answer and of every missing one; the Lease alone asks every two seconds."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._answered: datetime | None = None
        self._out = False
        self.caught_up_at: datetime | None = None
        """Before this, what the API server says is no evidence of what its followers do. None: no outage was seen."""

    def saw(self, code: int) -> None:
        """An HTTP status; 0 when there was no answer."""
        now = self._clock()
        if code == 0:
            self._out = True
            return
        if self._out:
            lasted = now - (self._answered or now)
            self.caught_up_at = now + min(LONGEST_WAIT, 2 * (lasted + FIRST_WAIT))
            self._out = False
        self._answered = now
