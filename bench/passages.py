"""From a recorded timeline to how long each door kept a pod. Pure.

API timestamps are whole seconds; a timeline has the moment at which each change was seen in a watch. Both ends of each
duration come through the same watch, so its own delay is in neither.
"""

from __future__ import annotations

from collections.abc import Callable

from localcluster.timeline import PodHistory, PodState, Timeline

GATE = "lossless.dev/admitted"
WITHDRAWN_AT = "lossless.dev/withdrawn-at"
DRAINED_AT = "lossless.dev/drained-at"


def first(pod: PodHistory, is_so: Callable[[PodState], bool]) -> float | None:
    """When this was first seen of the pod."""
    return next((state.at for state in pod.states if is_so(state)), None)


def door_in(timeline: Timeline, since: float) -> list[float]:
    """Of each pod that was first seen after this moment: seconds from its containers being ready to its gate True."""
    return _between(timeline, since, lambda state: state.containers_ready, lambda state: state.gates.get(GATE, False))


def door_out(timeline: Timeline, since: float) -> list[float]:
    """Of each pod that was marked drained after this moment: seconds from the mark to its deletionTimestamp."""
    return _between(timeline, since, lambda state: DRAINED_AT in state.annotations, lambda state: state.terminating)


def way_out(timeline: Timeline, since: float) -> list[float]:
    """Of each pod that was withdrawn after this moment: seconds until it was marked drained, settle included."""
    return _between(
        timeline,
        since,
        lambda state: WITHDRAWN_AT in state.annotations,
        lambda state: DRAINED_AT in state.annotations,
    )


def start(timeline: Timeline, since: float) -> list[float]:
    """Of each pod that was first seen after this moment: seconds from then to its containers being ready. That is the
    cluster's doing, not ours."""
    return _between(timeline, since, lambda state: True, lambda state: state.containers_ready)


def released_in(timeline: Timeline, since: float) -> float:
    """Seconds from this moment, of a release, to the Deployment's own word that it is over.

    Raises ValueError when it has not said so.
    """
    after = [state for state in timeline.deployments if state.at >= since]
    begun = next((state.at for state in after if not state.settled), None)
    if begun is not None:
        for state in after:
            if state.at > begun and state.settled:
                return state.at - since
    raise ValueError("the release was not seen to end")


def _between(
    timeline: Timeline, since: float, one: Callable[[PodState], bool], other: Callable[[PodState], bool]
) -> list[float]:
    """A pod that has come to the first and not to the other is left out: it was not over when the recording ended."""
    durations = []
    for pod in timeline.pods:
        start, end = first(pod, one), first(pod, other)
        if start is not None and end is not None and start >= since:
            durations.append(max(0.0, end - start))
    return durations
