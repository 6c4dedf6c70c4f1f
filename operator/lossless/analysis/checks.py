"""What findings have in common, whatever they rest on.

A check is a small pure function of facts that says one thing or nothing. A finding never stops anything.
"""

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

from lossless.api.resource import Finding

MAX_FINDINGS: Final = 32
"""As many as the status may hold."""
MAX_TEXT: Final = 1024
"""As long as a message there may be, in characters."""
_LONGEST: Final = 100

F = TypeVar("F")


def run(checks: Iterable[Callable[[F], Finding | None]], facts: F) -> list[Finding]:
    """What these checks have found, in their order."""
    return [finding for check in checks if (finding := check(facts))]


def listed(what: Iterable[str], most: int = 3) -> str:
    """The first few of them, and how many more there are; long ones are cut, so that a message keeps its length."""
    every = [one if len(one) <= _LONGEST else f"{one[:_LONGEST]}…" for one in what]
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
