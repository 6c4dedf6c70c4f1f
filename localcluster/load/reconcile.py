"""The same requests from the other side: what the pods logged as served, against what the callers saw."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from localcluster.load.result import HarnessBroken, Result

SERVED = re.compile(r"(?:^|\s)served (?P<id>\S+)")
"""For apps that log in words."""


@dataclass(frozen=True, slots=True)
class Served:
    """A line in a container's log: this pod has worked on the request."""

    id: str
    pod: str


@dataclass(frozen=True, slots=True)
class Reconciliation:
    served_by: Mapping[str, str]
    """Who served a request, by its id; of several the first."""
    answer_lost: tuple[Result, ...]
    """Served, but the answer never came: lost on the way back, or too late."""
    never_served: tuple[Result, ...]
    """Lost, and no pod has worked on it: such a request could have been repeated without harm."""
    served_twice: tuple[str, ...]
    """Ids that were served more than once: something between repeats requests (a gateway may)."""
    unlogged: tuple[Result, ...] = ()
    """Answered, but not logged by a pod that showed no sign of life afterwards: it died between the two."""


def reconcile(results: Sequence[Result], served: Iterable[Served]) -> Reconciliation:
    """Compare. Raises HarnessBroken when an answer came that no pod has served: then the harness lies somewhere.

    One such answer is possible at the end of a pod's life: it may die between answering and logging. That is told as
    `unlogged`, and only believed of a pod that logged before and of which nothing came after.

    What pods served besides (probes, warm-up) has ids that no result has, and is left out.
    """
    sent = {result.id for result in results}
    by: dict[str, str] = {}
    times: Counter[str] = Counter()
    for each in served:
        if each.id in sent:
            by.setdefault(each.id, each.pod)
            times[each.id] += 1
    ghosts = [result for result in results if not result.lost and result.id not in by]
    last_sign: dict[str | None, float] = {}
    for result in results:
        if not result.lost and result.id in by:
            last_sign[result.pod] = max(last_sign.get(result.pod, 0.0), result.ended)
    proven = [ghost for ghost in ghosts if ghost.pod is None or ghost.ended <= last_sign.get(ghost.pod, math.inf)]
    if proven:
        raise HarnessBroken(
            f"{len(proven)} of {len(results)} requests were answered but no pod logged them as served, "
            f"the first: {proven[0].id}, answered by {proven[0].pod or 'nobody named'}"
        )
    for result in results:
        if not result.lost and result.pod and times[result.id] == 1 and result.pod != by[result.id]:
            raise HarnessBroken(f"{result.id} was answered by {result.pod} but logged as served by {by[result.id]}")
    lost = [result for result in results if result.lost]
    return Reconciliation(
        served_by=by,
        answer_lost=tuple(result for result in lost if result.id in by),
        never_served=tuple(result for result in lost if result.id not in by),
        served_twice=tuple(id for id, count in times.items() if count > 1),
        unlogged=tuple(ghosts),
    )


def served_in(lines: Iterable[str], pod: str) -> Iterable[Served]:
    """The requests that a container's log says were served: a JSON line with an `id`, or `served <id>` in words."""
    for line in lines:
        if line.startswith("{"):
            try:
                data = json.loads(line)
            except json.JSONDecodeError:
                continue  # cut short by the pod's death
            if isinstance(data.get("id"), str) and data["id"]:
                yield Served(data["id"], pod)
        elif found := SERVED.search(line):
            yield Served(found["id"], pod)


def served_by_pods(pod_logs: Path, namespace: str) -> Iterable[Served]:
    """What all pods of a namespace logged, also those that are gone: `<ns>_<pod>_<uid>/<container>/<restart>.log`."""
    for folder in sorted(pod_logs.glob(f"{namespace}_*_*")):
        pod = folder.name.split("_")[1]
        for log in sorted(folder.glob("*/*.log")):
            with log.open(errors="replace") as file:
                yield from served_in(file, pod)
