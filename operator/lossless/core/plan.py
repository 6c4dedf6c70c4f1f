"""What one pod waits for and what is done about it now; and when a wait is worth writing on it."""

from dataclasses import dataclass, replace

from lossless.core.moment import Moment, progress_of
from lossless.core.passage import Stage
from lossless.core.steps import Move, Step, Verb
from lossless.core.waits import Wait
from lossless.core.world import Pod


@dataclass(frozen=True, slots=True)
class Plan:
    """What one pod waits for and what is done about it now."""

    pod: Pod
    wait: Wait | None = None
    steps: tuple[Step, ...] = ()


def note(pod: Pod, wait: Wait, here: Moment) -> tuple[Step, ...]:
    """Write on the pod what it waits for, once that has become worth an API call."""
    passage = pod.passage
    # Warm-up that was cut off by a restart is worth nothing, and must not be found there later.
    stale = passage.stage is Stage.WARMING and wait.stage is Stage.STARTING
    if not stale and (is_noted(pod, wait) or here.now < wait.worth_noting_at()):
        return ()
    noted = replace(
        passage,
        stage=wait.stage,
        since=passage.since if passage.stage is wait.stage else here.now,
        waiting_for=wait.text,
        warmed=0 if stale else _to_be_noted(pod) or passage.warmed,
    )
    return (Move(Verb.NOTE, pod, noted, wait.reason, wait.message),)


def is_noted(pod: Pod, wait: Wait) -> bool:
    """It stands on the pod already."""
    said = pod.stage is wait.stage and pod.passage.waiting_for.startswith(f"{wait.reason}: ")
    return said and not _to_be_noted(pod)


def _to_be_noted(pod: Pod) -> int:
    """How many warm-up requests have been made, if so many more that it would be a pity to make them again."""
    progress = progress_of(pod)
    if pod.stage is not Stage.WARMING or progress is None or progress.done:
        return 0
    return progress.sent if progress.sent - pod.passage.warmed >= max(25, progress.total // 4) else 0
