"""Worlds that read as sentences: ``world(wanted(2), old("a", serving()), new("b", warming()))``.

Everything is said by modifiers, small functions from a thing to the same thing changed; they apply from left to right.
What is not said is as plain as it can be: two replicas wanted, a surge of one, pods just created and taken care of.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from lossless.api.resource import LosslessRolloutSpec, LosslessRolloutStatus, Mode, PodCounts
from lossless.core.decide import decide
from lossless.core.passage import Hold, Passage, Stage
from lossless.core.steps import Decision, LetGo, Move, SetKeep, SetReplicas, StartWarmup, Verb
from lossless.core.waits import Wait
from lossless.core.world import (
    Group,
    InFlightCount,
    Pod,
    Presence,
    Problem,
    Registered,
    Sighting,
    WarmupProgress,
    Workload,
    World,
)

Thing = TypeVar("Thing")
NOW = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
OLD, NEW = "old", "new"
SERVICE = "Service web"

PodModifier = Callable[[Pod], Pod]
WorldModifier = Callable[[World], World]


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def within(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


# -- pods --------------------------------------------------------------------------------------------------------------


def pod(name: str, revision: str, *modifiers: PodModifier) -> Pod:
    plain = Pod(uid=f"uid-{name}", name=name, group=f"rs-{revision}", revision=revision, created_at=ago(60))
    return _modified(plain, modifiers)


def old(name: str, *modifiers: PodModifier) -> Pod:
    return pod(name, OLD, *modifiers)


def new(name: str, *modifiers: PodModifier) -> Pod:
    return pod(name, NEW, *modifiers)


def having(**fields: Any) -> PodModifier:
    return lambda pod: replace(pod, **fields)


def passing(**fields: Any) -> PodModifier:
    """Fields of its passage."""
    return lambda pod: replace(pod, passage=replace(pod.passage, **fields))


def running() -> PodModifier:
    return having(phase="Running", node="node-1", ip="10.244.0.1")


def containers_ready(seconds: float = 30) -> PodModifier:
    return _both(running(), having(containers_ready=True, containers_ready_since=ago(seconds)))


def crashed() -> PodModifier:
    return _both(
        having(containers_ready=False, containers_ready_since=None, ready=False, ready_since=ago(1)), unlisted()
    )


def listed(source: str = SERVICE) -> PodModifier:
    return _seen(source, Presence.PRESENT)


def unlisted(source: str = SERVICE) -> PodModifier:
    return _seen(source, Presence.ABSENT)


def unknown_to(source: str) -> PodModifier:
    return _seen(source, Presence.UNKNOWN)


def unanswered_by(source: str) -> PodModifier:
    return _seen(source, Presence.UNANSWERED)


def missing_in(registry: str, seconds: float) -> PodModifier:
    """It answers that it does not know the pod, for so long."""
    gone = Registered(registry, missing=True, since=ago(seconds))
    return _both(unlisted(registry), lambda pod: replace(pod, registrations=(*pod.registrations, gone)))


def warming(seconds: float = 1, warmed: int = 0) -> PodModifier:
    return _both(containers_ready(), unlisted(), passing(stage=Stage.WARMING, since=ago(seconds), warmed=warmed))


def requested(sent: int, total: int = 50, failed: int = 0, done: bool | None = None) -> PodModifier:
    """So much of its warm-up has been done, in this life of its containers."""

    def modify(pod: Pod) -> Pod:
        finished = sent >= total if done is None else done
        return replace(pod, warmup=WarmupProgress(pod.epoch, sent, total, failed, finished))

    return modify


def let_in(seconds: float = 30) -> PodModifier:
    """Its gate is open; nobody has seen it ready yet."""
    return _both(
        containers_ready(seconds + 1),
        unlisted(),
        having(gate_open=True),
        passing(stage=Stage.ADMITTED, since=ago(seconds), admitted_at=ago(seconds)),
    )


def serving(seconds: float = 30) -> PodModifier:
    return _both(let_in(seconds), having(ready=True, ready_since=ago(seconds)), listed())


def withdrawn(seconds: float = 0) -> PodModifier:
    return _both(
        serving(3600),
        having(gate_open=False, ready=False, ready_since=ago(seconds)),
        passing(stage=Stage.WITHDRAWN, since=ago(seconds), withdrawn_at=ago(seconds)),
    )


def draining(seconds: float = 0) -> PodModifier:
    """Seen to be gone so long ago."""
    return _both(
        withdrawn(seconds + 1),
        unlisted(),
        passing(stage=Stage.DRAINING, since=ago(seconds), gone_at=ago(seconds), waiting_for="Settling: gone"),
    )


def drained(seconds: float = 0) -> PodModifier:
    return _both(
        draining(seconds + 5),
        having(deletion_cost=-(2**31)),
        passing(stage=Stage.DRAINED, since=ago(seconds), drained_at=ago(seconds), waiting_for="", cost_before=""),
    )


def restarted(times: int = 1) -> PodModifier:
    return lambda pod: replace(pod, restarts=pod.restarts + times)


def ungated() -> PodModifier:
    """Created before anybody took care of it: there is no gate, only the Ready condition."""
    return having(gated=False, gate_open=False)


def unmanaged() -> PodModifier:
    """Without our label, and nothing written on it."""
    return having(managed=False, passage=Passage())


def held(text: str, who: str = "exporter") -> PodModifier:
    """With an annotation ``hold.lossless.dev/<who>``."""
    return lambda pod: replace(pod, holds=(*pod.holds, *Hold.all_in({f"hold.lossless.dev/{who}": text})))


def deleting() -> PodModifier:
    return having(deleting_since=ago(1))


def leaving() -> PodModifier:
    """Its node is about to be taken away by an autoscaler."""
    return having(cordoned=True, node_going=True)


def unschedulable(seconds: float) -> PodModifier:
    return having(phase="Pending", node="", unschedulable_since=ago(seconds))


def working_on(requests: float | None) -> PodModifier:
    return having(in_flight=InFlightCount(requests, f"{requests} in flight"))


# -- worlds ------------------------------------------------------------------------------------------------------------


def world(*parts: Pod | WorldModifier) -> World:
    pods = tuple(part for part in parts if isinstance(part, Pod))
    plain = World(
        spec=spec(),
        workload=Workload(
            kind="Deployment",
            name="web",
            uid="uid-web",
            wanted=2,
            current_revision=NEW,
            groups=tuple(Group(group, f"web-{revision}", revision) for group, revision in _groups(pods)),
        ),
        pods=pods,
    )
    return _modified(plain, [part for part in parts if not isinstance(part, Pod)])


def spec(**sections: Any) -> LosslessRolloutSpec:
    return LosslessRolloutSpec.model_validate({"targetRef": {"name": "web"}, **sections})


def asking(**sections: Any) -> WorldModifier:
    """With this spec, in the words of the resource: ``asking(drain={"settle": "5s"})``."""
    return lambda world: replace(world, spec=spec(**sections))


def warm_up(**fields: Any) -> WorldModifier:
    """Asking for 50 warm-up requests."""
    return asking(warmup={"requests": [{"port": 8080}], **fields})


def observing() -> WorldModifier:
    return lambda world: replace(world, spec=world.spec.model_copy(update={"mode": Mode.OBSERVE}))


def wanted(replicas: int, surge: int = 1, unavailable: int = 0) -> WorldModifier:
    return _workload(wanted=replicas, max_surge=surge, max_unavailable=unavailable)


def paused() -> WorldModifier:
    return _workload(paused=True)


def followers_caught_up(at: datetime) -> WorldModifier:
    """After an outage of the API server."""
    return lambda world: replace(world, followers_caught_up_at=at)


def recreating() -> WorldModifier:
    return _workload(recreate=True, max_surge=0, max_unavailable=0)


def unobserved() -> WorldModifier:
    """Its controller has not seen the latest spec."""
    return _workload(settled_generation=False)


def about_to_release() -> WorldModifier:
    """With a new pod template, which its controller has not seen."""
    return _workload(settled_generation=False, releases_next=True)


def without_a_current_revision() -> WorldModifier:
    return _workload(current_revision="")


def cannot_create(seconds: float) -> WorldModifier:
    return _workload(create_failed_since=ago(seconds))


def established(pods: int) -> WorldModifier:
    """So many have served at once before."""
    return lambda world: replace(world, status=LosslessRolloutStatus(pods=PodCounts(established=pods)))


def keeping(**keeps: int | None) -> WorldModifier:
    """Hold labels, by revision."""

    def modify(world: World) -> World:
        assert world.workload
        known = {group.revision: group for group in world.workload.groups}
        for revision in keeps:
            known.setdefault(revision, Group(f"rs-{revision}", f"web-{revision}", revision))
        groups = tuple(replace(group, keep=keeps.get(revision, group.keep)) for revision, group in known.items())
        return replace(world, workload=replace(world.workload, groups=groups))

    return modify


def sized(**replicas: int) -> WorldModifier:
    """What the ReplicaSets ask for, by revision."""

    def modify(world: World) -> World:
        assert world.workload
        groups = tuple(replace(group, replicas=replicas.get(group.revision, 0)) for group in world.workload.groups)
        return replace(world, workload=replace(world.workload, groups=groups))

    return modify


def having_status(status: LosslessRolloutStatus) -> WorldModifier:
    return lambda world: replace(world, status=status)


def rejected(reason: str = "TargetNotFound", message: str = "there is no Deployment web") -> WorldModifier:
    return lambda world: replace(world, workload=None, problem=Problem(reason, message))


# -- what was decided --------------------------------------------------------------------------------------------------


def decided(*parts: Pod | WorldModifier, now: datetime = NOW) -> Decision:
    return decide(world(*parts), now)


def moves(decision: Decision) -> dict[str, Verb]:
    """What is done to which pod."""
    return {step.pod.name: step.verb for step in decision.steps if isinstance(step, Move)}


def move(decision: Decision, name: str) -> Move:
    return next(step for step in decision.steps if isinstance(step, Move) and step.pod.name == name)


def keeps(decision: Decision) -> dict[str, int | None]:
    """The hold labels that are written, by revision."""
    return {step.group.revision: step.keep for step in decision.steps if isinstance(step, SetKeep)}


def sizes(decision: Decision) -> dict[str, int]:
    """What ReplicaSets are asked to grow to, by revision."""
    return {step.group.revision: step.replicas for step in decision.steps if isinstance(step, SetReplicas)}


def started_warmups(decision: Decision) -> dict[str, int]:
    """By pod: how many requests are skipped."""
    return {step.pod.name: step.skip for step in decision.steps if isinstance(step, StartWarmup)}


def let_go_of(decision: Decision) -> set[str]:
    return {step.pod.name for step in decision.steps if isinstance(step, LetGo)}


def wait_of(decision: Decision, name: str) -> Wait:
    return next(wait for pod, wait in decision.waits if pod.name == name)


def condition(decision: Decision, kind: str) -> tuple[str, str]:
    one = next(one for one in decision.status.conditions if one.type == kind)
    return one.status, one.reason


def _modified(thing: Thing, modifiers: Iterable[Callable[[Thing], Thing]]) -> Thing:
    for modify in modifiers:
        thing = modify(thing)
    return thing


def _both(*modifiers: PodModifier) -> PodModifier:
    return lambda pod: _modified(pod, modifiers)


def _workload(**fields: Any) -> WorldModifier:
    def modify(world: World) -> World:
        assert world.workload
        return replace(world, workload=replace(world.workload, **fields))

    return modify


def _seen(source: str, presence: Presence) -> PodModifier:
    def modify(pod: Pod) -> Pod:
        others = tuple(one for one in pod.sightings if one.source != source)
        return replace(pod, sightings=(*others, Sighting(source, presence)))

    return modify


def _groups(pods: tuple[Pod, ...]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((pod.group, pod.revision) for pod in pods))
