"""What a pod waits for: the one thing that stage, status text, metric label and wake-up are all taken from."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from lossless.core.passage import Stage
from lossless.core.world import Pod

if TYPE_CHECKING:
    from lossless.core.moment import Moment

MAX_NOTE: Final = 512
"""As much of it is written on the pod: part of it may be somebody else's words, and annotations have a limit."""
NOTEWORTHY: Final = timedelta(seconds=2)
"""A wait that has lasted so long is written on the pod; a shorter one is not worth an API call."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Why a pod can't go on yet."""

    stage: Stage
    reason: str
    """One CamelCase word."""
    message: str
    """What is waited for, on what evidence."""
    since: datetime
    until: datetime | None = None
    """When it will look different by itself; None: only an event ends it."""
    overdue: bool = False
    """Its timeout has passed."""

    @property
    def text(self) -> str:
        """As it is written on the pod."""
        return f"{self.reason}: {self.message}"[:MAX_NOTE]

    def worth_noting_at(self) -> datetime:
        """When this wait has lasted long enough to be worth writing on the pod."""
        return self.since + NOTEWORTHY


def first_wait(way: "Iterable[Check]", pod: Pod, moment: "Moment") -> Wait | None:
    """The first check that is not content says what is waited for; None: the way is free."""
    return next((wait for check in way if (wait := check(pod, moment))), None)


def bounded(wait: Wait, deadline: datetime) -> Wait:
    """The same wait, looked at again at its deadline at the latest."""
    return replace(wait, until=deadline if wait.until is None else min(wait.until, deadline))


Check = Callable[[Pod, "Moment"], Wait | None]
"""One condition on a way: nothing when it is content, else what it waits for."""
