"""The list that a consumer holds, and the line it prints whenever that changes."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

Emit = Callable[[Iterable["Weighted"]], None]
"""Told the whole list each time a consumer has read it."""


@dataclass(frozen=True, slots=True, order=True)
class Weighted:
    """An address that requests may go to."""

    address: str
    """`<ip>:<port>`."""
    weight: float = 1.0
    """Its share, relative to those of the others."""


def line(at: float, addresses: Iterable[Weighted]) -> str:
    """`{"at": <unix time>, "addresses": [{"address": "10.244.1.7:8080", "weight": 1.0}, …]}`, sorted."""
    return json.dumps({"at": round(at, 6), "addresses": [asdict(each) for each in sorted(addresses)]})


def parse(text: str) -> tuple[float, tuple[Weighted, ...]]:
    """The time and the list in such a line. Raises ValueError for any other."""
    try:
        data = json.loads(text)
        return float(data["at"]), tuple(Weighted(each["address"], float(each["weight"])) for each in data["addresses"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"not a list of addresses: {text[:200]!r}") from error


class Printer:
    """Prints a list when it is another than the one before; the first one always, also when it is empty."""

    def __init__(self, write: Callable[[str], object] = sys.stdout.write, now: Callable[[], float] = time.time) -> None:
        self._write = write
        self._now = now
        self._held: list[Weighted] | None = None

    def __call__(self, addresses: Iterable[Weighted]) -> None:
        held = sorted(set(addresses))
        if held != self._held:
            self._held = held
            self._write(line(self._now(), held) + "\n")
            sys.stdout.flush()
