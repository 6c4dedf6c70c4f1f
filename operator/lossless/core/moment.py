"""The world at one moment, and what follows from it for all pods together: who may warm up, who must be let in cold."""

from dataclasses import dataclass, replace
from datetime import datetime

from lossless.api.quantities import resolve
from lossless.api.resource import OnWarmupFailure
from lossless.core import autoscaler, capacity, demand, ramp
from lossless.core.passage import Stage
from lossless.core.surplus import deleted_only_if_ready, surplus
from lossless.core.world import Pod, RampStep, WarmupProgress, World


@dataclass(frozen=True, slots=True)
class Turns:
    """Whose turn it is to be let in, where pods are swapped one at a time (`lossless.core.swaps`)."""

    pods: frozenset[str]
    """Those who may come in now (uids)."""
    why: str
    """What the others wait for."""
    until: datetime | None = None
    """When that will look different by itself; None: only an event ends it."""


@dataclass(frozen=True, slots=True)
class Moment:
    """What every check of a way may look at."""

    world: World
    now: datetime
    surplus: tuple[Pod, ...]
    going: frozenset[str]
    """The same pods, by uid."""
    shown_ready: str
    """The pod (uid) that its controller deletes only if it is ready; empty: there is none."""
    floor: int
    serving: int
    established: int
    tolerated: int
    slots: frozenset[str]
    """Pods that may be warming up now (uids): maxParallel of them."""
    ramp: RampStep | None
    """What the pods that ramp are given now; None: none does."""
    needed: int
    """How many pods the load needs (`lossless.core.demand`); 0: no more than are wanted."""
    held_until: datetime | None
    """How long pods stay for that at most; None: as long as others are on their way in."""
    needed_cold: frozenset[str]
    """Pods to be let in at once, warm or not, since fewer serve than the strategy tolerates, or the load needs
    (uids)."""
    overload: str
    """The evidence that those that serve are too few for the traffic (`autoscaler.overload`); or nothing."""
    turns: Turns | None = None
    """None: everybody may come in as soon as it is ready to."""
    last_of_nodes: frozenset[str] = frozenset()
    """Pods on their way out that stay in their Services until they are deleted (`lossless.core.last_of_node`; uids)."""

    def is_surplus(self, pod: Pod) -> bool:
        return pod.uid in self.going

    def stays_listed(self, pod: Pod) -> bool:
        return pod.uid in self.last_of_nodes


def at(world: World, now: datetime) -> Moment:
    """Works out what one decision needs to know of all pods together."""
    leaving = surplus(world, now)
    going = frozenset(pod.uid for pod in leaving)
    established = capacity.established(world)
    coming = _coming(world, going, now)
    waited_for = deleted_only_if_ready(world, now)
    overload, needed = autoscaler.overload(world), demand.needed(world, now)
    held_until = demand.held_until(world) if needed else None
    return Moment(
        world=world,
        now=now,
        surplus=leaving,
        going=going,
        shown_ready=waited_for.uid if waited_for else "",
        floor=max(capacity.floor(world, now), demand.floor(world, needed, held_until, now)),
        serving=len(capacity.serving(world)),
        established=established,
        tolerated=capacity.tolerated(world.workload, established) if world.workload else 0,
        slots=_slots(world, [pod for pod in coming if _may_warm_up(pod, world)]),
        ramp=_ramp(world, now),
        needed=needed,
        held_until=held_until,
        needed_cold=_needed_cold(world, established, coming, needed if overload else None),
        overload=overload,
    )


def _ramp(world: World, now: datetime) -> RampStep | None:
    """The step in force, as long as it is one for the pods that ramp now; else the next."""
    asked = world.spec.warmup.ramp
    pods = sorted((pod for pod in world.pods if _ramps(pod)), key=lambda pod: pod.uid)
    if asked is None or not pods:
        return None
    serving = max(1, len(capacity.serving(world)))
    before = world.ramp_step
    same = before is not None and [uid for uid, _ in before.fractions] == [pod.uid for pod in pods]
    if before is not None and same and before.until is not None and now < before.until:
        return replace(before, serving=serving)
    step = ramp.step(asked, [now - (pod.passage.since or now) + world.ramp_lag for pod in pods])
    fractions = tuple((pod.uid, fraction) for pod, fraction in zip(pods, step.fractions, strict=True))
    return RampStep(fractions, serving, now + step.lasts if step.lasts else None)


def _ramps(pod: Pod) -> bool:
    return pod.live and pod.stage is Stage.RAMPING and pod.containers_ready


def progress_of(pod: Pod) -> WarmupProgress | None:
    """How far this pod's warm-up is; what was done before its containers started over does not count."""
    return pod.warmup if pod.warmup and pod.warmup.epoch == pod.epoch else None


def _coming(world: World, going: frozenset[str], now: datetime) -> list[Pod]:
    """Wanted pods behind the door in whose containers are ready and have settled; the furthest first."""
    delay = world.spec.warmup.delay
    ready = [
        pod
        for pod in world.pods
        if pod.live
        and pod.gated
        and pod.managed
        and pod.stage.is_in
        and pod.uid not in going
        and pod.containers_ready_since
        and pod.containers_ready
        and not any(hold.closes_in for hold in pod.holds)
    ]
    settled = [pod for pod in ready if pod.containers_ready_since and now >= pod.containers_ready_since + delay]
    unsettled = [pod for pod in ready if pod not in settled]

    def furthest(pod: Pod) -> tuple[object, ...]:
        progress = progress_of(pod)
        return (
            pod.stage is not Stage.RAMPING,
            pod.stage is not Stage.WARMING,
            -(progress.sent if progress else 0),
            pod.created_at,
            pod.name,
        )

    return sorted(settled, key=furthest) + sorted(unsettled, key=furthest)


def _slots(world: World, coming: list[Pod]) -> frozenset[str]:
    wanted = world.workload.wanted if world.workload else 0
    limit = max(1, resolve(world.spec.warmup.max_parallel, wanted, round_up=True))
    warming = sum(1 for pod in coming if pod.stage is Stage.WARMING)
    # Whoever warms up keeps its slot, also when maxParallel was lowered meanwhile.
    return frozenset(pod.uid for pod in coming[: max(limit, warming)])


def _may_warm_up(pod: Pod, world: World) -> bool:
    """It is not beyond that: neither does it ramp, nor is it warm and waits for its turn."""
    progress = progress_of(pod)
    waits = world.affine and progress is not None and progress.done and not has_failed(pod, world)
    return pod.stage is not Stage.RAMPING and not waits


def _needed_cold(world: World, established: int, coming: list[Pod], for_load: int | None) -> frozenset[str]:
    """`for_load`: how many the load needs, where those that serve are too few; None: they are enough."""
    if world.workload is None:
        return frozenset()
    have = sum(1 for pod in world.pods if pod.serving or _comes_in(pod))
    tolerated = capacity.tolerated(world.workload, established)
    least = tolerated if for_load is None else max(world.workload.wanted, for_load)
    missing = least - have
    able = [pod for pod in coming if not has_failed(pod, world)]
    return frozenset(pod.uid for pod in able[: max(0, missing)])


def _comes_in(pod: Pod) -> bool:
    """It has been let in, and is only not seen to serve yet."""
    return pod.live and pod.stage is Stage.ADMITTED and pod.containers_ready


def has_failed(pod: Pod, world: World) -> bool:
    """Its warm-up has failed, and its owner would rather have it stay outside."""
    progress = progress_of(pod)
    return world.spec.warmup.on_failure is OnWarmupFailure.HOLD and progress is not None and progress.failed > 0
