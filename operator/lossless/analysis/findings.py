"""Hazards in the workload, its Services and its LosslessRollout: what was seen, what it can cost, and what to do.

Those of routes are in `lossless.traffic.routes.findings`.
"""

import math
from collections.abc import Callable
from typing import Final

from lossless.analysis.checks import listed, run
from lossless.analysis.facts import Facts
from lossless.api import names
from lossless.api.quantities import format_duration
from lossless.api.resource import Finding

GRACE_LEFT: Final = 2
"""Seconds of the grace period that the preStop sleep leaves to the application (manifests: door-in)."""

Check = Callable[[Facts], Finding | None]


def find(facts: Facts) -> list[Finding]:
    """Every hazard that is seen, those that can lose requests first."""
    return run(CHECKS, facts)


# -- pods that the doors can't keep -----------------------------------------------------------------------------------


def ungated_pods(facts: Facts) -> Finding | None:
    """Without a readiness gate a pod is given traffic as soon as its own probes are content."""
    ungated = [pod for pod in facts.pods if pod.live and not pod.gated]
    if not ungated:
        return None
    seen = f"{len(ungated)} of {sum(pod.live for pod in facts.pods)} pods have no readiness gate ({names.GATE})"
    cost = "they get traffic before they are warm, and leave it only through the kubelet's own Ready condition"
    if facts.gate_injection_works is False:
        return Finding(
            reason="UngatedPods",
            message=f"{seen}, and the policy that gives it to new ones does not work in this cluster: {cost}",
            fix="Apply manifests/ on Kubernetes 1.36 or later, or add the gate to the pod template by hand: "
            f"readinessGates: [{{conditionType: {names.GATE}}}]",
        )
    return Finding(
        reason="UngatedPods",
        message=f"{seen}: they were running before they were taken care of; {cost}",
        fix="The next release replaces them by pods that have it. To have it now: "
        + (
            "change something in its pod template (kubectl argo rollouts restart would evict them instead)"
            if facts.kind == "Rollout"
            else f"kubectl rollout restart {facts.kind.lower()}/{facts.spec.target_ref.name}"
        ),
    )


def deleted_while_ready(facts: Facts) -> Finding | None:
    """What outlasts the instant in which a StatefulSet's pod is called ready as it goes is its preStop sleep."""
    short = grace_too_short(facts) or pre_stop_short(facts)
    ungated = sum(1 for pod in facts.pods if pod.live and not pod.gated)
    if not facts.deleted_ready or not (short or ungated):
        return None
    who = "its pods have no preStop sleep that is" if short else f"{ungated} pods that ran before have no preStop sleep"
    return Finding(
        reason="DeletedWhileReady",
        message="This StatefulSet's controller deletes no pod that is not ready, so a drained one is called ready "
        f"again as it goes, and {who} {'long enough ' if short else ''}to outlast that: requests of up to a second are "
        "lost with each of them",
        fix=f"{short.fix}; or make it anew with podManagementPolicy Parallel"
        if short
        else "The next release replaces them by pods that have one: do it when there is little traffic",
    )


def registered_early(facts: Facts) -> Finding | None:
    """Of the pods of the current revision alone: a release may have mended it. It says the same of one pod as of many,
    and the time in powers of two, for a finding that changes is written at once; exact is the metric."""
    new = {pod.uid for pod in facts.pods if pod.revision == facts.current_revision}
    early = [one for one in facts.early if one.uid in new]
    if not early:
        return None
    longest = max(one.took for one in early).total_seconds()
    window = f", for up to {2 ** math.ceil(math.log2(max(1.0, longest)))} s each" if longest else ""
    return Finding(
        reason="RegisteredEarly",
        message=f"New pods were handed out by {listed(sorted({one.source for one in early}))} before they were let in"
        f"{window}: they register themselves before they are fit, and meanwhile a caller may be sent to a cold pod",
        fix="Let the application start closed: docs/registries.md#applications-that-start-closed",
    )


def no_readiness_probe(facts: Facts) -> Finding | None:
    """Nobody says when the application can answer."""
    if not facts.containers or any(container.probed for container in facts.containers):
        return None
    return Finding(
        reason="NoReadinessProbe",
        message="No container has a readiness or startup probe: a pod counts as ready as soon as its processes run, "
        "so requests can reach an application that does not listen yet",
        fix="Give the container that answers requests a readinessProbe",
    )


# -- capacity ---------------------------------------------------------------------------------------------------------


def strategy_recreate(facts: Facts) -> Finding | None:
    if not facts.recreate:
        return None
    return Finding(
        reason="StrategyRecreate",
        message="The strategy is Recreate: each release deletes every pod before it creates the first new one, and "
        "all requests in between are lost",
        fix="Set spec.strategy.type to RollingUpdate, unless two versions must never run side by side",
    )


def single_replica(facts: Facts) -> Finding | None:
    if facts.replicas != 1 or facts.kind == "DaemonSet":
        return None
    return Finding(
        reason="SingleReplica",
        message="One replica is wanted: when its node fails, or it is deleted or evicted past the door, nobody serves "
        "until the next one is up",
        fix="Set spec.replicas to 2 or more",
    )


def no_surge(facts: Facts) -> Finding | None:
    """Pods go before their successors come."""
    if facts.recreate or facts.max_surge or facts.replicas == 0:
        return None
    left = max(0, facts.replicas - facts.max_unavailable)
    cost = "nobody serves in between" if left == 0 else f"only {left} of {facts.replicas} serve meanwhile"
    if facts.kind == "StatefulSet":
        return Finding(
            reason="NoSurge",
            message=f"A StatefulSet deletes a pod before it makes its successor: a release takes away up to "
            f"{facts.max_unavailable} at a time, and {cost}",
            fix="Want as many replicas more than the traffic needs; a StatefulSet has no surge",
        )
    return Finding(
        reason="NoSurge",
        message=f"maxSurge is 0: a release takes away up to {facts.max_unavailable} pods before it makes new ones, and "
        f"{cost}",
        fix="Allow maxSurge of 1 or more and set maxUnavailable to 0",
    )


def refused_deletes(facts: Facts) -> Finding | None:
    """A canary's controller that may go down before it goes up can't be held; see `core.decide`, where it keeps 0."""
    if not facts.canary or facts.routed or facts.max_surge == 0 or facts.max_unavailable == 0:
        return None
    return Finding(
        reason="RefusedDeletes",
        message=f"This canary's maxUnavailable is {facts.max_unavailable}: its controller takes as many old pods away "
        "before it makes new ones, and does nothing else meanwhile, so it can't be held. No request is lost, but until "
        "they are drained the ReplicaSet controller asks for them again and again, and is refused (FailedDelete)",
        fix="Set spec.strategy.canary.maxUnavailable to 0: as many pods serve, and nobody is refused",
    )


def written_by_argo(facts: Facts) -> Finding | None:
    """Two write the weights of one route."""
    if not facts.routed or facts.spec.warmup.ramp is None or not facts.spec.traffic.routes:
        return None
    return Finding(
        reason="RouteWrittenByArgo",
        message="Argo Rollouts writes the weights of this canary's route (trafficRouting), and a ramp would write to "
        "it as well: each undoes what the other has written",
        fix="Leave out warmup.ramp, or the route in spec.traffic.routes; its steps shift the traffic slowly too",
    )


def host_port(facts: Facts) -> Finding | None:
    """A surge pod needs a node whose port is free."""
    ports = sorted({port for container in facts.containers for port in container.host_ports})
    if facts.max_surge == 0 or facts.recreate or not (ports or facts.host_network):
        return None
    what = f"host ports ({', '.join(map(str, ports[:5]))})" if ports else "the host network"
    return Finding(
        reason="HostPortSurge",
        message=f"Pods take {what}, so a node runs one of them: a new pod can't be placed beside the old one, and a "
        "release without a spare node goes down by maxUnavailable, or stands still where that is 0",
        fix="Keep a spare node for them, or allow maxUnavailable of 1 or more",
    )


def several_autoscalers(facts: Facts) -> Finding | None:
    if len(facts.autoscalers) < 2:
        return None
    return Finding(
        reason="SeveralAutoscalers",
        message=f"{len(facts.autoscalers)} HorizontalPodAutoscalers scale this workload "
        f"({listed(one.name for one in facts.autoscalers)}): each undoes what the other wants",
        fix="Keep one of them, with the metrics of all: it goes by the metric that asks for most",
    )


def autoscaler_managed_elsewhere(facts: Facts) -> Finding | None:
    """Whoever owns it would undo what is written to it."""
    managed = [one for one in facts.autoscalers if one.managed_by and not one.managed_by.startswith("ScaledObject ")]
    if not managed:
        return None
    return Finding(
        reason="AutoscalerManagedElsewhere",
        message=f"HorizontalPodAutoscaler {managed[0].name} belongs to {managed[0].managed_by}: it is never written "
        "to, so pods that are under way may mislead it",
        fix=f"Have {managed[0].managed_by} give it a stabilization window for scale-in that is as long as a release",
    )


# -- time -------------------------------------------------------------------------------------------------------------


def grace_too_short(facts: Facts) -> Finding | None:
    """The preStop sleep is put into new pods only where it fits."""
    if all(container.pre_stop or container.sidecar for container in facts.containers):
        return None
    needed = facts.pre_stop_needed + GRACE_LEFT
    if facts.grace >= needed:
        return None
    return Finding(
        reason="GraceTooShort",
        message=f"terminationGracePeriodSeconds is {facts.grace}, and a preStop sleep for drain.settle "
        f"({format_duration(facts.spec.drain.settle)}) needs {needed}: new pods get none, and a pod that is deleted "
        "past the door (kubectl delete, preemption) stops while callers still send to it",
        fix=f"Set terminationGracePeriodSeconds to at least {needed}, plus what the application needs to end its work",
    )


def pre_stop_short(facts: Facts) -> Finding | None:
    """A hook of the container's own is left alone, also where it is too short."""
    short = [
        container
        for container in facts.containers
        if not container.sidecar
        and container.pre_stop_sleep is not None
        and container.pre_stop_sleep < facts.spec.drain.settle.total_seconds()
    ]
    if not short:
        return None
    found = listed(f"{container.name} ({container.pre_stop_sleep:g} s)" for container in short)
    return Finding(
        reason="PreStopShort",
        message=f"The preStop sleep of {found} is shorter than drain.settle "
        f"({format_duration(facts.spec.drain.settle)}): a pod that is deleted past the door (kubectl delete, "
        "preemption) stops while callers still send to it",
        fix=f"Let it sleep for {facts.pre_stop_needed} s or longer, or take the hook out: new pods are then given one",
    )


def progress_deadline_short(facts: Facts) -> Finding | None:
    if facts.kind not in ("Deployment", "Rollout"):
        return None  # The others have none.
    longest = max(facts.longest_warmup, facts.spec.drain.settle).total_seconds()
    if facts.progress_deadline >= longest:
        return None
    return Finding(
        reason="ProgressDeadlineShort",
        message=f"progressDeadlineSeconds is {facts.progress_deadline}, and one pod's way through a door may take "
        f"{longest:g} s: the release is reported as ProgressDeadlineExceeded, and "
        + (
            "with progressDeadlineAbort it is aborted"
            if facts.kind == "Rollout"
            else "kubectl rollout status and pipelines fail, while it goes on"
        ),
        fix=f"Set progressDeadlineSeconds to more than {math.ceil(longest)}, plus the time that its containers need to "
        "start",
    )


def min_ready_seconds(facts: Facts) -> Finding | None:
    if not facts.min_ready or facts.max_unavailable == 0 or facts.recreate or facts.kind == "StatefulSet":
        return None  # A StatefulSet does not go on before, and neither do we.
    return Finding(
        reason="MinReadySeconds",
        message=f"minReadySeconds is {facts.min_ready} and maxUnavailable {facts.max_unavailable}: old pods are "
        "withdrawn as soon as new ones serve, so a release may go on before they have been ready for so long",
        fix="Set maxUnavailable to 0, or let warmup.delay and warmup.requests do what minReadySeconds is for",
    )


# -- what callers see -------------------------------------------------------------------------------------------------


def no_service(facts: Facts) -> Finding | None:
    if facts.services:
        return None
    return Finding(
        reason="NoService",
        message="No Service selects the pods: nothing can be seen of who sends them requests, and a pod counts as gone "
        f"from all traffic as soon as it is withdrawn, {format_duration(facts.spec.drain.settle)} (drain.settle) "
        "before it is let go",
        fix="If callers find the pods by other means, set drain.settle to the age of the oldest list that they may use",
    )


def publishes_not_ready(facts: Facts) -> Finding | None:
    found = listed(service.name for service in facts.services if service.publishes_not_ready)
    if not found:
        return None
    return Finding(
        reason="PublishesNotReadyAddresses",
        message=f"Service {found} lists pods whether they are ready or not: neither door can keep its traffic from "
        "pods that are cold or about to go",
        fix="Set publishNotReadyAddresses to false, or use that Service for peers to find each other and another one "
        "for requests",
    )


def external_traffic_local(facts: Facts) -> Finding | None:
    found = listed(service.name for service in facts.services if service.external_local)
    if not found:
        return None
    return Finding(
        reason="ExternalTrafficPolicyLocal",
        message=f"Service {found} has externalTrafficPolicy Local: the last pod of a node serves it until its preStop "
        f"sleep ends ({facts.pre_stop_needed} s), and what load balancers send there after that is lost",
        fix="Let drain.settle be longer than the load balancer's health check takes to fail (its interval times its "
        "failures), or set externalTrafficPolicy to Cluster",
    )


def internal_traffic_local(facts: Facts) -> Finding | None:
    found = listed(service.name for service in facts.services if service.internal_local)
    if not found:
        return None
    return Finding(
        reason="InternalTrafficPolicyLocal",
        message=f"Service {found} has internalTrafficPolicy Local: callers on a node whose only pod is withdrawn have "
        "nobody to answer them",
        fix="Set internalTrafficPolicy to Cluster; trafficDistribution: PreferSameNode keeps to the node while it can",
    )


# -- what was asked for ----------------------------------------------------------------------------------------------


def unknown_port(facts: Facts) -> Finding | None:
    """A name that no port has: what rests on it can't work."""
    asked = [request.port for request in facts.spec.warmup.requests]
    if facts.spec.drain.in_flight:
        asked.append(facts.spec.drain.in_flight.port)
    unknown = sorted({port for port in asked if isinstance(port, str) and port not in facts.port_names})
    if not unknown or not facts.containers:
        return None
    known = listed(sorted(facts.port_names)) or "none"
    return Finding(
        reason="UnknownPort",
        message=f"No container port is named {listed(unknown)} (named ports: {known}): requests to it can't be made",
        fix="Use a name of the pod template's ports, or the port's number",
    )


def unknown_container(facts: Facts) -> Finding | None:
    known = {container.name for container in facts.containers}
    asked = {request.exec.container for request in facts.spec.warmup.requests if request.exec}
    unknown = sorted(name for name in asked if name and name not in known)
    if not unknown or not known:
        return None
    return Finding(
        reason="UnknownContainer",
        message=f"No container is named {listed(unknown)} (containers: {listed(sorted(known))}): warm-up commands "
        "can't be run in it",
        fix="Name one of the pod template's containers, or none for the first one",
    )


def ramp_without_weights(facts: Facts) -> Finding | None:
    """Which registries have weights: docs/ramp.md."""
    traffic = facts.spec.traffic
    if facts.spec.warmup.ramp is None or traffic.weighted:
        return None
    return Finding(
        reason="RampWithoutWeights",
        message="A ramp is asked for, and nothing that carries weights is named: a Service has none, so a pod gets "
        "either no traffic or a full share",
        fix="Name the route in spec.traffic.routes, or a registry with weights; or take warmup.ramp out and rely on "
        "warm-up requests and warmup.maxParallel",
    )


CHECKS: Final[tuple[Check, ...]] = (
    strategy_recreate,
    ungated_pods,
    registered_early,
    deleted_while_ready,
    publishes_not_ready,
    no_service,
    unknown_port,
    unknown_container,
    no_readiness_probe,
    no_surge,
    refused_deletes,
    written_by_argo,
    single_replica,
    host_port,
    several_autoscalers,
    autoscaler_managed_elsewhere,
    grace_too_short,
    pre_stop_short,
    external_traffic_local,
    internal_traffic_local,
    ramp_without_weights,
    progress_deadline_short,
    min_ready_seconds,
)
