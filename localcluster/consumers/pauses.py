"""How long a consumer waits before it asks again what did not answer: longer each time, as clients do."""

from __future__ import annotations

from typing import Final

FIRST: Final = 1.0
LONGEST: Final = 30.0


class Pauses:
    """Doubled at each failure, from a second to half a minute; as client-go does, and much like etcd's and Consul's
    own clients."""

    def __init__(self) -> None:
        self._next = FIRST

    def after_failure(self) -> float:
        """Seconds to wait now."""
        pause = self._next
        self._next = min(LONGEST, 2 * pause)
        return pause

    def over(self) -> None:
        """It answered."""
        self._next = FIRST
