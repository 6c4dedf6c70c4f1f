"""``kubectl lossless status``: where a rollout stands, and what each of its pods waits for."""

from datetime import datetime
from typing import Final

from lossless.api.resource import LosslessRolloutSpec, Mode
from lossless.cli.look import Look
from lossless.cli.table import age, shortened, table
from lossless.cluster.gather import Gathered
from lossless.core.capacity import serving
from lossless.core.decide import decide
from lossless.core.passage import Stage
from lossless.core.steps import Move
from lossless.core.world import Pod, World

WIDEST_WAIT: Final = 100
_ORDER: Final = {stage: number for number, stage in enumerate(Stage)}
_HEAD: Final = ("POD", "STAGE", "SINCE", "WAITING FOR", "NODE")


def status(look: Look, name: str | None) -> str:
    """The rollout of that name, or all of the namespace, as text.

    Raises CliError when there is none.
    """
    return "\n\n".join(_block(look.gathered(rollout), look.at) for rollout in look.rollouts(name))


def _block(gathered: Gathered, now: datetime) -> str:
    world, rollout = gathered.world, gathered.rollout
    said = rollout.status
    target = rollout.target
    wanted = world.workload.wanted if world.workload else 0
    mode = rollout.spec.mode.value if rollout.spec else "?"
    phase = said.phase or "Unknown (no operator has looked at it yet)"
    lines = [
        f"{rollout.name}: {phase}, {len(serving(world))} of {wanted} serving ({target.kind} {target.name}, {mode})"
    ]
    if world.problem:
        lines.append(f"  problem: {world.problem.message}")
    elif said.waiting_for:
        lines.append(f"  waiting for: {said.waiting_for}")
    if said.findings:
        lines.append(f"  findings: {len(said.findings)}, see kubectl lossless check {rollout.name}")
    if world.pods:
        waits = _waits(world, now)
        pods = sorted(world.pods, key=lambda pod: (_ORDER[pod.stage], pod.created_at, pod.name))
        lines.append(table(_HEAD, [_row(pod, waits.get(pod.uid, ""), world.spec, now) for pod in pods]))
    return "\n".join(lines)


def _row(pod: Pod, wait: str, spec: LosslessRolloutSpec, now: datetime) -> tuple[str, ...]:
    stage, since = pod.stage.value, pod.passage.since or pod.created_at
    waiting = pod.passage.waiting_for or wait
    if pod.deleting_since:
        stage, since, waiting = "Deleting", pod.deleting_since, "" if pod.drained else "it was not drained"
    elif not pod.managed:
        why = "the mode is Observe" if spec.mode is Mode.OBSERVE else "it is not taken care of yet"
        stage, since, waiting = "-", pod.created_at, why
    return (pod.name, stage, age(since, now), shortened(waiting, WIDEST_WAIT) or "-", pod.node or "-")


def _waits(world: World, now: datetime) -> dict[str, str]:
    """What the operator would say that each pod waits for, by uid. It writes only the longer waits on the pods.

    Where its next step is due, the operator itself is waited for: for an instant, or because it is down.
    """
    if world.workload is None:
        return {}
    decision = decide(world, now)
    due = {step.pod.uid: f"the operator, to {step.verb.value}" for step in decision.steps if isinstance(step, Move)}
    return due | {pod.uid: wait.text for pod, wait in decision.waits if wait.reason not in _OPERATORS_OWN}


_OPERATORS_OWN: Final = frozenset({"WarmingUp", "InFlight", "WarmupSlot", "Turn"})
"""Waits on what is known to the operator's process alone."""
