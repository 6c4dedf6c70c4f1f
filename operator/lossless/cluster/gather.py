"""From the store to the World that the core decides on."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from lossless.api.resource import LosslessRolloutSpec, LosslessRolloutStatus, TargetRef
from lossless.cluster.interest import workload_of
from lossless.cluster.observed import Owner, SeenAutoscaler, SeenPod, SeenRollout
from lossless.cluster.store import Store
from lossless.cluster.workload import kind_of, supported
from lossless.core.world import (
    Autoscaler,
    Group,
    InFlightCount,
    Pod,
    Problem,
    RampStep,
    Sighting,
    WarmupProgress,
    Workload,
    World,
)
from lossless.traffic.registries.book import View
from lossless.traffic.services import EndpointSlice, Service, Services
from lossless.traffic.source import Subject

UNREADABLE: Final = LosslessRolloutSpec(target_ref=TargetRef(name="unknown"))
"""Stands in for a spec that can't be read: nothing is done by it, for the world it is in has a Problem."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What no watch tells: the operator found it out itself. Of pods by uid."""

    warmups: Callable[[str], WarmupProgress | None] = lambda uid: None
    in_flight: Mapping[str, InFlightCount] | None = None
    views: Callable[[str], Sequence[View]] = lambda uid: ()
    """What the registries hold."""
    ramp_step: RampStep | None = None
    ramp_lag: timedelta = timedelta(0)
    followers_caught_up_at: datetime | None = None
    evictions_wait: bool = False
    hold_works: bool = True


@dataclass(frozen=True, slots=True)
class Gathered:
    """A World, and the objects that it was made of."""

    world: World
    rollout: SeenRollout
    pods: Mapping[str, SeenPod]
    """By uid."""

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """The pods, as traffic sources know them."""
        return tuple(subject_of(pod) for pod in self.pods.values())


def gather(store: Store, rollout: SeenRollout, status: LosslessRolloutStatus, asked: Asked) -> Gathered:
    """All that there is to know for one decision. Costs as much as the workload has pods, however large the cluster.

    `status` is what was said of it last, which may not have been written yet.
    """
    workload, problem = target_of(store, rollout)
    seen = pods_of(store, rollout, workload) if workload else ()
    sightings = sightings_of(store, rollout.namespace, seen)
    pods = tuple(_pod(store, rollout, pod, sightings.get(pod.uid, ()), asked) for pod in seen)
    world = World(
        spec=rollout.spec or UNREADABLE,
        status=status,
        generation=rollout.generation,
        workload=workload,
        problem=problem,
        pods=pods,
        autoscalers=_autoscalers(store, rollout) if workload else (),
        ramp_step=asked.ramp_step,
        ramp_lag=asked.ramp_lag,
        evictions_wait=asked.evictions_wait,
        hold_works=asked.hold_works,
        followers_caught_up_at=asked.followers_caught_up_at,
    )
    return Gathered(world, rollout, {pod.uid: pod for pod in seen})


def winner(store: Store, rollout: SeenRollout) -> SeenRollout:
    """Of all LosslessRollouts that name the same workload, the one that has it: the oldest, then the first by name."""
    target = rollout.target
    rivals = (
        one
        for one in store.rollouts.where("target", (rollout.namespace, target.kind, target.name))
        if one.target.api_version == target.api_version and not one.deleting
    )
    return min(rivals, key=lambda one: (one.created_at, one.name), default=rollout)


def pods_of(store: Store, rollout: SeenRollout, workload: Workload) -> tuple[SeenPod, ...]:
    """The known pods of a workload, whoever's label they carry."""
    kind = kind_of(rollout.target)
    return tuple(kind.pods(store, workload)) if kind else ()


def sightings_of(store: Store, namespace: str, pods: Sequence[SeenPod]) -> Mapping[str, tuple[Sighting, ...]]:
    """What every traffic source holds of these pods."""
    subjects = [subject_of(pod) for pod in pods]
    return services_of(store, namespace, subjects).sightings(subjects)


def services_of(store: Store, namespace: str, pods: Sequence[Subject]) -> Services:
    """The Services of a namespace as a traffic source: as much of them as may have to do with these pods."""
    services = {one.name: one for pod in pods for one in selecting(store, namespace, pod.labels)}
    slices: dict[str, EndpointSlice] = {}
    for name in services:
        slices |= {one.name: one for one in store.slices.where("service", (namespace, name))}
    for pod in pods:
        for who in (pod.uid, *pod.addresses):
            slices |= {one.name: one for one in store.slices.where("endpoint", (namespace, who))}
    for listed in slices.values():
        if listed.service not in services and (service := store.services.named(namespace, listed.service)):
            services[service.name] = service
    return Services(tuple(services.values()), tuple(slices.values()))


def selecting(store: Store, namespace: str, labels: Mapping[str, str]) -> tuple[Service, ...]:
    """The Services of a namespace that select pods with these labels."""
    candidates = (one for label in labels.items() for one in store.services.where("label", (namespace, label)))
    return tuple(one for one in candidates if one.selects(labels))


def left_behind(
    store: Store, namespace: str, name: str, besides: SeenRollout | None = None
) -> tuple[tuple[Pod, ...], tuple[Group, ...]]:
    """Pods and ReplicaSets that bear the marks of a LosslessRollout which is no more, or can't take care of them.

    What belongs to a workload that another one (`besides` this one) takes care of is that one's to see to.
    """
    pods = tuple(
        replace(pod.core, managed=True, resource_version=store.pods.version(pod.uid))
        for pod in store.pods.where("rollout", (namespace, name))
        if not _is_cared_for(store, workload_of(store, pod), namespace, besides)
    )
    groups = tuple(
        Group(one.uid, one.name, one.pod_template_hash, one.keep if one.keep is not None else 0)
        for one in store.replica_sets.where("held", namespace)
        if not _is_cared_for(store, one.owner, namespace, besides)
    )
    return pods, groups


def left_on_autoscalers(store: Store, namespace: str, name: str) -> list[SeenAutoscaler]:
    """The autoscalers that bear the marks of a LosslessRollout."""
    return list(store.autoscalers.where("rollout", (namespace, name)))


def subject_of(pod: SeenPod) -> Subject:
    """A pod, as traffic sources know it."""
    return Subject(pod.uid, pod.name, pod.addresses, pod.labels)


def target_of(store: Store, rollout: SeenRollout) -> tuple[Workload | None, Problem | None]:
    """The workload, or why it can't be taken care of."""
    target = rollout.target
    if rollout.spec is None:
        return None, Problem("InvalidSpec", f"{rollout.refused}: mend it, then it is taken up again")
    kind = kind_of(target)
    if kind is None:
        return None, Problem(
            "UnsupportedKind", f"{target.kind} ({target.api_version}) is not supported; supported: {supported()}"
        )
    holder = winner(store, rollout)
    if holder.uid != rollout.uid:
        message = f"LosslessRollout {holder.name} takes care of {target.kind} {target.name}: delete one of the two"
        return None, Problem("AlreadyTaken", message)
    workload = kind.workload(store, rollout.namespace, target.name)
    if workload is None and kind.resource in store.unserved:
        message = f"{target.kind} ({target.api_version}) is not known to this cluster: its CRD is not installed"
        return None, Problem("TargetKindNotServed", message)
    if workload is None:
        return None, Problem("TargetNotFound", f"there is no {target.kind} {target.name} in {rollout.namespace}")
    return workload, None


def _autoscalers(store: Store, rollout: SeenRollout) -> tuple[Autoscaler, ...]:
    target = (rollout.namespace, rollout.target.kind, rollout.target.name)
    return tuple(sorted((one.core for one in store.autoscalers.where("target", target)), key=lambda one: one.name))


def _pod(store: Store, rollout: SeenRollout, pod: SeenPod, sightings: tuple[Sighting, ...], asked: Asked) -> Pod:
    node = store.nodes.named("", pod.core.node)
    views = asked.views(pod.uid)
    named = {one.name for one in rollout.spec.traffic.registries} if rollout.spec and views else set()
    heard = [view for view in views if view.registered.source in named]
    return replace(
        pod.core,
        managed=pod.rollout == rollout.name,
        cordoned=node.cordoned if node else False,
        node_going=node.going if node else False,
        node_lost=node.lost if node else False,
        sightings=(*sightings, *(view.sighting for view in heard)),
        registrations=tuple(view.registered for view in heard),
        unnamed=tuple(view.registered for view in views if view.registered.source not in named),
        warmup=asked.warmups(pod.uid),
        in_flight=(asked.in_flight or {}).get(pod.uid),
        resource_version=store.pods.version(pod.uid),
    )


def _is_cared_for(store: Store, owner: Owner | None, namespace: str, besides: SeenRollout | None) -> bool:
    if owner is None:
        return False
    targets: Iterable[SeenRollout] = store.rollouts.where("target", (namespace, owner.kind, owner.name))
    return any(not one.deleting and one != besides for one in targets)
