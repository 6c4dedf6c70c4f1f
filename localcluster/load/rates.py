"""How many requests each pod got, over time: for comparing a new pod's share with the line it should follow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping

from localcluster.load.result import Result


def by_pod(result: Result) -> str | None:
    """Who answered; a request that nobody answered belongs to none."""
    return None if result.lost else result.pod


def by_address(result: Result) -> str | None:
    """The address asked, whatever became of the request."""
    return result.address


def rates(
    results: Iterable[Result], whose: Callable[[Result], str | None] = by_pod, step: float = 1.0
) -> Mapping[str, tuple[tuple[float, float], ...]]:
    """Requests per second of each, as pairs of a moment and the rate in the `step` seconds from it on.

    Everybody has the same moments, from the first request to the last, also those with a rate of 0. The last step may
    be cut short by the end of the load. A request counts at the moment at which it was due.

    >>> rates(outcome.window("new pod").results)["web-2"][0]
    (1790000000.0, 2.0)
    """
    results = list(results)
    if not results:
        return {}
    first = math.floor(min(result.at for result in results))
    steps = math.floor((max(result.at for result in results) - first) / step) + 1
    counts: dict[str, list[int]] = {}
    for result in results:
        if (name := whose(result)) is not None:
            counts.setdefault(name, [0] * steps)[math.floor((result.at - first) / step)] += 1
    return {
        name: tuple((first + number * step, count / step) for number, count in enumerate(counts[name]))
        for name in sorted(counts)
    }


def shares(
    results: Iterable[Result], whose: Callable[[Result], str | None] = by_pod, step: float = 1.0
) -> Mapping[str, tuple[tuple[float, float], ...]]:
    """As `rates`, but each as a part (0 to 1) of all that were somebody's in that step; 0 where there were none."""
    found = rates(results, whose, step)
    totals: dict[float, float] = {}
    for series in found.values():
        for at, rate in series:
            totals[at] = totals.get(at, 0.0) + rate
    return {
        name: tuple((at, rate / totals[at] if totals[at] else 0.0) for at, rate in series)
        for name, series in found.items()
    }
