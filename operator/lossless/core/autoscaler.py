"""What a HorizontalPodAutoscaler is asked to do while pods are under way: nothing hasty.

Where the numbers below come from: pkg/controller/podautoscaler/replica_calculator.go. A pod whose gate is closed is
unready to the autoscaler and adds nothing to its CPU, so the door in by itself keeps cold pods from calling for more of
them. What is left is done here, by two fields of the autoscaler's own `behavior`:

- `scaleDown.selectPolicy: Disabled` while pods come in. A pod that was just let in is left out of the average until a
  whole window of its metrics is after that, and one that was withdrawn after its CPU initialisation period stays in it
  with no load: for a moment the average is of the idle ones, and a good part of the workload would go.
- `scaleUp.stabilizationWindowSeconds` where pods that come and go call for more by being there: memory and metrics of
  Pods are averages over pods that serve nobody as well, times their number.

It never takes more than it needs: each field is left alone that its owner has written to meanwhile, and scale-out is
free as soon as the pods that serve are themselves above the target.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from lossless.api.autoscaler import AutoscalerMode
from lossless.api.resource import Mode
from lossless.core.passage import format_time, parse_time
from lossless.core.surplus import surplus
from lossless.core.world import Autoscaler, AutoscalerMetric, Behavior, World

TOLERANCE: Final = 0.1
"""What an autoscaler puts up with on both sides of its target (--horizontal-pod-autoscaler-tolerance)."""
STEADY_FOR: Final = timedelta(seconds=45)
"""For so long metrics must not have moved before an autoscaler is its owner's again: a window of metrics-server (up to
30 s) must have begun after the last passage, and an autoscaler looks every 15 s."""
STEADY_AT_MOST: Final = timedelta(minutes=5)
"""After this long without a pod under way, metrics that still move do so by themselves."""
WARMUP_ALLOWANCE: Final = timedelta(seconds=30)
"""For the start of a pod and its warm-up requests, whose length nobody knows beforehand."""
LONGEST_WINDOW: Final = 3600
"""Seconds that a stabilisation window may have."""

Field = tuple[str, str]
SCALE_IN: Final[Field] = ("scaleDown", "selectPolicy")
SCALE_OUT: Final[Field] = ("scaleUp", "stabilizationWindowSeconds")
DISABLED: Final = "Disabled"


# -- what is written on an autoscaler ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Record:
    """What stands in the one annotation on an autoscaler, while something of ours is in its behavior."""

    rollout: str
    since: datetime
    original: Behavior | None
    """Its owner's; None: there was none."""
    ours: tuple[tuple[Field, Any], ...] = ()
    """The fields that we have written, and what."""
    theirs: tuple[Field, ...] = ()
    """Fields that somebody else has written over ours: not ours any more until all this is over."""

    def to_annotation(self) -> str:
        return json.dumps(
            {
                "rollout": self.rollout,
                "since": format_time(self.since),
                "original": self.original,
                "ours": {".".join(field): value for field, value in self.ours},
                "theirs": [".".join(field) for field in self.theirs],
            },
            sort_keys=True,
        )

    @classmethod
    def from_annotation(cls, text: str | None) -> "Record | None":
        """Reads what `to_annotation` wrote. Anything else is none: nothing could be put back by it."""
        try:
            found = json.loads(text or "null")
            since = parse_time(found["since"])
            original, rollout = found["original"], found["rollout"]
            ours = tuple((_field(path), value) for path, value in sorted(found["ours"].items()))
            theirs = tuple(_field(path) for path in found["theirs"])
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        if since is None or not isinstance(rollout, str) or not isinstance(original, dict | None):
            return None
        return cls(rollout, since, original, ours, theirs)


def _field(path: str) -> Field:
    part, name = path.split(".")
    if (part, name) not in (SCALE_IN, SCALE_OUT):
        raise ValueError(path)
    return part, name


@dataclass(frozen=True, slots=True)
class Change:
    """What an autoscaler is to have from now on: its behavior, and our note beside it."""

    behavior: Behavior | None
    record: Record | None


# -- what is asked of it -----------------------------------------------------------------------------------------------


class State(StrEnum):
    """What is done to an autoscaler, in one word for programs: a condition's reason."""

    UNTOUCHED = "Untouched"
    HELD = "ScaleInHeld"
    DAMPED = "Damped"
    OVERLOADED = "ServingAboveTarget"
    STEADYING = "WaitingForSteadyMetrics"
    TIMED_OUT = "MaxHoldReached"

    @property
    def holds(self) -> bool:
        return self not in (State.UNTOUCHED, State.TIMED_OUT)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is done about one autoscaler."""

    autoscaler: Autoscaler
    state: State
    message: str
    change: Change | None = None
    """None: it is as it should be."""
    wake_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Calm:
    """That no pod is under way, and since when no metric has moved."""

    since: datetime
    metrics: tuple[AutoscalerMetric, ...]
    over_at: datetime
    """When the last pod was through its door."""

    @property
    def until(self) -> datetime:
        """When this has been so for long enough."""
        return min(self.since + STEADY_FOR, self.over_at + STEADY_AT_MOST)


@dataclass(frozen=True, slots=True)
class Scene:
    """The workload's pods, as an autoscaler is misled by them."""

    wanted: int
    there: int
    """All that are not being deleted."""
    serving: int
    coming: int
    """On their way in."""
    idle: int
    """Withdrawn, but counted by it until they are deleted."""
    releasing: bool
    """There are pods of an old revision, or will be in a moment: whoever waits for the first new pod is late."""

    @property
    def under_way(self) -> bool:
        return bool(self.coming or self.idle or self.releasing)


def scene(world: World) -> Scene:
    """What there is to know of the pods."""
    workload = world.workload
    live = [pod for pod in world.pods if pod.live]
    going = {pod.uid for pod in surplus(world)}
    return Scene(
        wanted=workload.wanted if workload else 0,
        there=len(live),
        serving=sum(1 for pod in live if pod.serving),
        coming=sum(1 for pod in live if pod.stage.is_in and pod.uid not in going),
        idle=sum(1 for pod in live if pod.stage.is_out),
        releasing=workload is not None
        and not workload.paused
        and any(workload.releases_next or pod.revision != workload.current_revision for pod in live),
    )


def decide(
    world: World, autoscaler: Autoscaler, rollout: str, calm: Calm | None, spent: bool, now: datetime
) -> Verdict:
    """What to do about one autoscaler of the workload.

    Args:
        world: the workload and its pods.
        autoscaler: as it was last seen.
        rollout: the name of the LosslessRollout.
        calm: what `calm` said.
        spent: maxHold was reached, and passages have been open ever since.
        now: the time.
    """
    record = Record.from_annotation(autoscaler.note)
    here, spec = scene(world), world.spec
    if autoscaler.managed_by:
        return _given_back(autoscaler, record, f"it belongs to {autoscaler.managed_by}, and is left alone")
    if not is_enforced(world):
        return _given_back(autoscaler, record, "nothing is asked for")
    if record is None and not here.under_way:
        return Verdict(autoscaler, State.UNTOUCHED, "no pod is under way")
    since = record.since if record else now
    until = since + spec.autoscaler.max_hold
    if spent or now >= until:
        message = f"its own behavior is back: it was held for {spec.autoscaler.max_hold} (spec.autoscaler.maxHold)"
        return replace(_given_back(autoscaler, record, message), state=State.TIMED_OUT)
    if calm is not None and now >= calm.until:
        return _given_back(autoscaler, record, "no pod is under way, and its metrics are steady")
    original, ours, theirs = _untangled(autoscaler.behavior, record)
    state, message, wanted = _asked(world, here, autoscaler, dict(ours), calm)
    wanted = {field: value for field, value in wanted.items() if field not in theirs and _tells(original, field, value)}
    if record is None and not wanted:
        return Verdict(autoscaler, State.UNTOUCHED, "nothing that goes on misleads it")
    after = Record(rollout, since, original, tuple(sorted(wanted.items())), theirs)
    behavior = laid(original, wanted)
    change = None if (behavior, after) == (autoscaler.behavior, record) else Change(behavior, after)
    wake_at = min(until, calm.until) if calm else until
    return Verdict(autoscaler, state, f"{message}; until {until:%H:%M:%S} UTC at the latest", change, wake_at)


def is_enforced(world: World) -> bool:
    """Something may be asked of its autoscalers at all."""
    asked = world.spec.mode is Mode.ENFORCE and world.spec.autoscaler.mode is AutoscalerMode.HOLD
    return asked and world.problem is None and world.workload is not None


def calm(before: Calm | None, world: World, autoscaler: Autoscaler, now: datetime) -> Calm | None:
    """Since when no pod is under way and no metric has moved; None: pods are under way."""
    if scene(world).under_way:
        return None
    if before is None:
        return Calm(now, autoscaler.metrics, now)
    return Calm(now, autoscaler.metrics, before.over_at) if _moved(before.metrics, autoscaler.metrics) else before


def overload(world: World) -> str:
    """The evidence that in a release the pods that serve are above an autoscaler's target by themselves; or nothing.

    In a release alone: scale-out by itself means as much, and there new pods are to be warm before they serve.
    """
    if not world.autoscalers:
        return ""
    here = scene(world)
    if not here.releasing or world.spec.autoscaler.mode is not AutoscalerMode.HOLD:
        return ""
    return next((above for one in world.autoscalers if (above := _above(one.metrics, here))), "")


def give_back(autoscaler: Autoscaler) -> Change | None:
    """The LosslessRollout is gone: its owner's behavior. None: nothing of ours is there."""
    return _given_back(autoscaler, Record.from_annotation(autoscaler.note), "").change


# -- what misleads it --------------------------------------------------------------------------------------------------


def own_load(metric: AutoscalerMetric, here: Scene) -> float | None:
    """The load of the pods that serve, against the target; None: it can't be told from what all of them have."""
    if metric.ratio is None or not here.serving:
        return None
    if not metric.of_pods and metric.per_pod:  # Divided by all that were there when the autoscaler looked last.
        return metric.ratio if metric.ratio > 1 + TOLERANCE else None
    if not metric.of_pods or metric.name == "memory":
        return metric.ratio  # It is of the traffic as a whole; or, of memory, about the same in every pod.
    if metric.name == "cpu":
        return metric.ratio * (here.serving + here.idle) / here.serving  # Those on their way in are not counted.
    highest = metric.ratio * (here.serving + here.idle + here.coming) / here.serving
    if highest <= 1 + TOLERANCE:
        return highest
    # Pods that drain may have nothing of it, or go on with what they had; cold ones may have more than the others.
    return metric.ratio if not here.coming and metric.ratio > 1 + TOLERANCE else None


def misleads(metric: AutoscalerMetric, here: Scene) -> bool:
    """Pods that come and go call for more of them by this metric, though the traffic does not."""
    if metric.name == "cpu" and metric.of_pods:
        # The same sum over more pods: only what is within the tolerance when it is spread over few is not any more.
        load = own_load(metric, here)
        return bool(here.idle) and load is not None and _is_tolerated(load)
    if metric.of_pods:
        return here.under_way
    if metric.per_pod:  # As of CPU. Nobody knows whether the autoscaler has counted those that are too many yet.
        too_many = here.there > here.wanted > 0
        ratio, spread = metric.ratio or 0, here.there / here.wanted if too_many else 1
        return (here.releasing or too_many) and (_is_tolerated(ratio) or _is_tolerated(ratio * spread))
    return here.serving > here.wanted


def _always_tells(metric: AutoscalerMetric) -> bool:
    """`own_load` knows it whatever pods there are."""
    of_all = metric.per_pod and (not metric.of_pods or metric.name not in ("cpu", "memory"))
    return metric.ratio is not None and not of_all


def _is_tolerated(load: float) -> bool:
    """More than the target, and the autoscaler does nothing about it."""
    return 1 < load <= 1 + TOLERANCE


def _above(metrics: Iterable[AutoscalerMetric], here: Scene) -> str:
    for metric in metrics:
        load = own_load(metric, here)
        if load is not None and load > 1 + TOLERANCE:
            return f"{metric.name} is at {load:.0%} of its target in the pods that serve"
    return ""


def _moved(before: tuple[AutoscalerMetric, ...], after: tuple[AutoscalerMetric, ...]) -> bool:
    if len(before) != len(after):
        return True
    return any(
        one.ratio != two.ratio if one.ratio is None or two.ratio is None else abs(one.ratio - two.ratio) > TOLERANCE
        for one, two in zip(before, after, strict=True)
    )


def _asked(
    world: World, here: Scene, autoscaler: Autoscaler, ours: dict[Field, Any], calm: Calm | None
) -> tuple[State, str, dict[Field, Any]]:
    """What is to stand in its behavior now."""
    above = _above(autoscaler.metrics, here)
    damping = {SCALE_OUT: ours[SCALE_OUT]} if SCALE_OUT in ours else {}
    if calm is not None:
        kept = {SCALE_IN: ours[SCALE_IN]} if SCALE_IN in ours else {}
        return State.STEADYING, "no pod is under way; its metrics have to be steady", kept | ({} if above else damping)
    held = {SCALE_IN: DISABLED} if here.coming or here.releasing or SCALE_IN in ours else {}
    if above:
        return State.OVERLOADED, f"scale-in is held; scale-out is free: {above}", held
    if damping or any(misleads(metric, here) for metric in autoscaler.metrics):
        damping = damping or {SCALE_OUT: _window(world, here, autoscaler)}
        message = "scale-in is held; scale-out waits for pods that are under way, or for a load that stays"
        return State.DAMPED, message, held | damping
    return State.HELD, "scale-in is held while pods are under way; scale-out is free", held


def _window(world: World, here: Scene, autoscaler: Autoscaler) -> int:
    """Seconds for which a call for more must last: about one passage. In a release as many of them as it has waves,
    where it can be told from the metrics when the pods that serve need help."""
    warmup, workload = world.spec.warmup, world.workload
    ramp = warmup.ramp.duration if warmup.ramp else timedelta(0)
    passage = WARMUP_ALLOWANCE + warmup.delay + ramp + world.spec.drain.settle
    tells = all(_always_tells(one) for one in autoscaler.metrics)
    waves = math.ceil(workload.wanted / max(1, workload.max_surge)) if workload and here.releasing and tells else 1
    return min(LONGEST_WINDOW, math.ceil(passage.total_seconds() * waves))


# -- whose text it is --------------------------------------------------------------------------------------------------


def with_defaults(behavior: Behavior) -> Behavior:
    """As the API server stores it (pkg/apis/autoscaling/v2/defaults.go): nothing if there is none, else in full."""
    up = {
        "stabilizationWindowSeconds": 0,
        "selectPolicy": "Max",
        "policies": [
            {"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15},
        ],
    }
    down = {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}
    return {
        "scaleUp": {**up, **(behavior.get("scaleUp") or {})},
        "scaleDown": {**down, **(behavior.get("scaleDown") or {})},
    }


def laid(original: Behavior | None, fields: Mapping[Field, Any]) -> Behavior | None:
    """Somebody's behavior with some fields of ours in it."""
    if not fields:
        return original
    full = with_defaults(original or {})
    for (part, name), value in fields.items():
        full = {**full, part: {**full[part], name: value}}
    return full


def _untangled(
    current: Behavior | None, record: Record | None
) -> tuple[Behavior | None, tuple[tuple[Field, Any], ...], tuple[Field, ...]]:
    """Its owner's behavior, the fields of it that are ours, and those that were and are its owner's now."""
    if record is None:
        return current, (), ()
    if current == laid(record.original, dict(record.ours)):
        return record.original, record.ours, record.theirs
    # Somebody has written to it: what is not ours any more is theirs, and everything beside it as well.
    kept = tuple((field, value) for field, value in record.ours if _value(current, field) == value)
    lost = tuple(field for field, _ in record.ours if field not in dict(kept))
    full = with_defaults(record.original or {})
    original = current
    for (part, name), _ in kept:
        assert original is not None
        before = {name: full[part][name]} if name in full[part] else {}
        rest = {key: value for key, value in original[part].items() if key != name}
        original = {**original, part: {**rest, **before}}
    return original, kept, tuple(sorted({*record.theirs, *lost}))


def _given_back(autoscaler: Autoscaler, record: Record | None, message: str) -> Verdict:
    if record is None:
        return Verdict(autoscaler, State.UNTOUCHED, message)
    original, _, _ = _untangled(autoscaler.behavior, record)
    return Verdict(autoscaler, State.UNTOUCHED, message, Change(original, None))


def _tells(original: Behavior | None, field: Field, value: Any) -> bool:
    """It says more than what is there already."""
    there = _value(original, field)
    if field == SCALE_OUT:
        return not isinstance(there, int) or there < value
    return bool(there != value)


def _value(behavior: Behavior | None, field: Field) -> Any:
    part, name = field
    return ((behavior or {}).get(part) or {}).get(name)
