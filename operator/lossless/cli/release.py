"""``kubectl lossless release``: break glass. Gives a workload back to Kubernetes, with no operator to help.

First the mode becomes Observe, and the workload's entry goes out of what the admission policies go by: from then on
they hold nothing any more, and an operator that is running after all would do the same as we. Then everything of ours
comes off the pods, ReplicaSets and autoscalers, and the gates are opened. What it does is `core.decide.let_go`, as the
operator does it.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from lossless.api import names
from lossless.api.resource import Mode
from lossless.cli.errors import CliError
from lossless.cli.look import Look, look
from lossless.cluster import patches
from lossless.cluster.errors import Conflict, NotFound
from lossless.cluster.gateway import Gateway, PatchType
from lossless.cluster.gather import left_behind, left_on_autoscalers
from lossless.cluster.parameters import without
from lossless.cluster.resources import AUTOSCALERS, LIMIT_RANGES, PODS, REPLICA_SETS, ROLLOUTS
from lossless.core import autoscaler
from lossless.core.decide import let_go
from lossless.core.steps import LetGo, SetKeep, Step

ROUNDS: Final = 5
"""Pods come and go while we work: it is looked again until nothing is left to do."""

Say = Callable[[str], None]


async def release(gateway: Gateway, namespace: str, name: str, say: Say) -> None:
    """Let go of everything that a LosslessRollout holds, whether it is still there or not.

    Raises:
        CliError: there is nothing of that name, or something was still held at the end.
        ClusterError: the API server did not do it.
    """
    found = await look(gateway, namespace)
    if not _steps(found, name) and not left_on_autoscalers(found.store, namespace, name) and not _is_there(found, name):
        found.rollouts(name)  # It says that there is none, and which there are.
    if _is_there(found, name):
        await gateway.patch(ROLLOUTS, namespace, name, {"spec": {"mode": Mode.OBSERVE.value}})
        say(f"losslessrollout/{name}: mode is now {Mode.OBSERVE.value}")
        await _open_the_policies(gateway, found, name, say)
    else:
        say(f"losslessrollout/{name} is gone; what it left behind is let go")
    for _ in range(ROUNDS):
        found = await look(gateway, namespace)
        steps = _steps(found, name)
        held = await _autoscalers(gateway, found, name, say)
        if not steps and not held:
            say(f"nothing of {name} is held any more")
            return
        for step in steps:
            await _do(gateway, found, step, say)
    raise CliError(f"{name}: something is being held again and again: is somebody setting the mode back to Enforce?")


def held(found: Look, name: str) -> str:
    """What would be let go, for the question before it is."""
    steps = _steps(found, name)
    pods = sum(isinstance(step, LetGo) for step in steps)
    return f"{pods} pods and {len(steps) - pods} ReplicaSets"


async def _open_the_policies(gateway: Gateway, found: Look, name: str, say: Say) -> None:
    """What the operator would do on hearing of the mode."""
    target = found.rollouts(name)[0].target
    try:
        told = await gateway.get(LIMIT_RANGES, found.namespace, names.PARAMETERS)
    except NotFound:
        return  # No operator has ever told the policies anything here.
    targets = (told["metadata"].get("annotations") or {}).get(names.TARGETS, "")
    rest = without(targets, target.kind, target.name)
    metadata = {"resourceVersion": told["metadata"]["resourceVersion"], "annotations": {names.TARGETS: rest}}
    await gateway.patch(LIMIT_RANGES, found.namespace, names.PARAMETERS, {"metadata": metadata})
    say(f"limitrange/{names.PARAMETERS}: the admission policies leave {target.kind.lower()}/{target.name} alone")


def _is_there(found: Look, name: str) -> bool:
    return found.store.rollouts.named(found.namespace, name) is not None


def _steps(found: Look, name: str) -> tuple[Step, ...]:
    rollout = found.store.rollouts.named(found.namespace, name)
    world = found.gathered(rollout).world if rollout else None
    if world is not None and world.workload is not None:
        return let_go(world.pods, world.workload.groups)
    return let_go(*left_behind(found.store, found.namespace, name))


async def _autoscalers(gateway: Gateway, found: Look, name: str, say: Say) -> bool:
    """Every autoscaler that is held has its owner's behavior back. Whether one was held."""
    every = left_on_autoscalers(found.store, found.namespace, name)
    for seen in every:
        change = autoscaler.give_back(seen.core)
        if change is None:
            continue
        body = patches.autoscaler(seen, change, found.store.autoscalers.version(seen.core.uid))
        try:
            await gateway.patch(AUTOSCALERS, found.namespace, seen.core.name, body)
        except (Conflict, NotFound):
            continue
        say(f"horizontalpodautoscaler/{seen.core.name}: it has its own behavior back")
    return bool(every)


async def _do(gateway: Gateway, found: Look, step: Step, say: Say) -> None:
    """One step. Who is gone, or has just changed, is seen to in the next round."""
    store, namespace = found.store, found.namespace
    try:
        match step:
            case LetGo(pod):
                seen = store.pods.by_uid(pod.uid)
                if seen is None:
                    return
                body = patches.let_go(step, seen, datetime.now(UTC))
                await gateway.patch(PODS, namespace, pod.name, body, "status", PatchType.STRATEGIC)
                say(f"pod/{pod.name}: let go ({'its gate is open' if pod.gated else 'it had no gate'})")
            case SetKeep(group, keep):
                version = store.replica_sets.version(group.uid)
                body = patches.keep(SetKeep(group, keep), version)
                await gateway.patch(REPLICA_SETS, namespace, group.name, body, "status")
                say(f"replicaset/{group.name}: no longer kept at {group.keep}")
            case _:
                raise CliError(f"letting go is no {type(step).__name__}")
    except (Conflict, NotFound):
        return
