"""What is known of a user's set-up: the part of a Deployment, its Services and its pods that findings are made of."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from lossless.api.quantities import parse_int_or_percent, resolve
from lossless.api.resource import LosslessRolloutSpec
from lossless.core.world import Autoscaler, ByOrdinal, Early, Pod, Workload

Raw = Mapping[str, Any]
"""An object as the API server writes it."""

DEFAULT_GRACE: Final = 30
DEFAULT_DEADLINE: Final = 600
_SLEEP: Final = re.compile(r"(?:^|[\s;&/])sleep\s+(\d+(?:\.\d+)?)s?(?=$|[\s;&])")


@dataclass(frozen=True, slots=True)
class Container:
    """One container that runs as long as the pod does: ordinary ones and native sidecars."""

    name: str
    probed: bool
    """It says itself when it is ready."""
    pre_stop: bool
    """It has a preStop hook of its own."""
    pre_stop_sleep: float | None
    """The seconds that hook sleeps, as far as can be told: a sleep action, or a command that says ``sleep N``."""
    ports: tuple[str, ...] = ()
    """The names of its ports."""
    host_ports: tuple[int, ...] = ()
    sidecar: bool = False
    """It outlives the ordinary ones, so that its own preStop hook comes too late to matter to callers."""


@dataclass(frozen=True, slots=True)
class Service:
    """A Service that selects the pods."""

    name: str
    kind: str
    """Its ``type``."""
    publishes_not_ready: bool
    external_local: bool
    internal_local: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that a finding may rest on."""

    spec: LosslessRolloutSpec
    kind: str
    """Deployment, StatefulSet, DaemonSet or Rollout."""
    deleted_ready: bool
    """Its controller goes by readiness, so its pods are called ready for an instant as they go."""
    replicas: int
    max_surge: int
    max_unavailable: int
    recreate: bool
    grace: int
    """``terminationGracePeriodSeconds``."""
    progress_deadline: int
    min_ready: int
    host_network: bool
    containers: tuple[Container, ...]
    services: tuple[Service, ...]
    pods: tuple[Pod, ...]
    early: tuple[Early, ...] = ()
    autoscalers: tuple[Autoscaler, ...] = ()
    current_revision: str = ""
    canary: bool = False
    """It is an Argo Rollout with that strategy."""
    routed: bool = False
    """Its own controller writes the weights of its routes."""
    gate_injection_works: bool | None = None
    """Whether new pods get their readiness gate from the admission policy; None: nobody can tell yet."""

    @classmethod
    def of(
        cls,
        *,
        spec: LosslessRolloutSpec,
        deployment: Raw,
        workload: Workload | None = None,
        services: Sequence[Raw] = (),
        pods: Sequence[Pod] = (),
        early: Sequence[Early] = (),
        autoscalers: Sequence[Autoscaler] = (),
        current_revision: str = "",
        gate_injection_works: bool | None = None,
    ) -> "Facts":
        """Takes what it needs out of raw objects. What is absent, or not what it should be, reads as its default.

        Args:
            spec: of the LosslessRollout.
            deployment: its target, of whatever kind.
            workload: the same as the core knows it, where it is not a Deployment: it knows how many go at a time.
            services: those whose selectors match the target's pods; others must not be among them.
            pods: the target's.
            early: those that a registry has handed out before they were let in.
            autoscalers: those that scale it.
            current_revision: the pod-template-hash that the target wants.
            gate_injection_works: whether the admission policy that gives pods their gate is there and works.
        """
        wanted = _mapping(deployment.get("spec"))
        template = _mapping(_mapping(wanted.get("template")).get("spec"))
        strategy = _mapping(wanted.get("strategy"))
        replicas = _number(wanted.get("replicas"), 1)
        surge, unavailable = _rolling(_mapping(strategy.get("rollingUpdate")), replicas)
        canary = _mapping(strategy.get("canary"))
        kind = workload.kind if workload else "Deployment"
        rule = workload.rule if workload and isinstance(workload.rule, ByOrdinal) else None
        if workload and kind != "Deployment":
            replicas, surge, unavailable = workload.wanted, workload.max_surge, workload.max_unavailable
        return cls(
            spec=spec,
            kind=kind,
            deleted_ready=rule is not None and rule.replaces and (rule.ordered or rule.counts_unavailable),
            replicas=replicas,
            max_surge=surge,
            max_unavailable=unavailable,
            recreate=strategy.get("type") == "Recreate",
            grace=_number(template.get("terminationGracePeriodSeconds"), DEFAULT_GRACE),
            progress_deadline=_number(wanted.get("progressDeadlineSeconds"), DEFAULT_DEADLINE),
            min_ready=_number(wanted.get("minReadySeconds"), 0),
            host_network=template.get("hostNetwork") is True,
            containers=_running(template),
            services=tuple(_service(raw) for raw in services),
            pods=tuple(pods),
            early=tuple(early),
            autoscalers=tuple(autoscalers),
            current_revision=current_revision,
            canary=kind == "Rollout" and "canary" in strategy,
            routed=kind == "Rollout" and bool(canary.get("trafficRouting")),
            gate_injection_works=gate_injection_works,
        )

    @property
    def pre_stop_needed(self) -> int:
        """The seconds of preStop sleep that cover settle: whole ones, rounded up, at least 1 (manifests: door-in)."""
        return max(1, math.ceil(self.spec.drain.settle.total_seconds()))

    @property
    def port_names(self) -> frozenset[str]:
        return frozenset(name for container in self.containers for name in container.ports)

    @property
    def longest_warmup(self) -> timedelta:
        """The longest that the way in of one pod may take, from the moment its containers are ready."""
        warmup = self.spec.warmup
        requests = [-(-request.count // request.concurrency) * request.timeout for request in warmup.requests]
        return min(warmup.timeout, sum(requests, start=warmup.delay))


def _rolling(strategy: Raw, replicas: int) -> tuple[int, int]:
    """maxSurge and maxUnavailable in pods, as the Deployment controller works them out (util.ResolveFenceposts)."""
    surge = resolve(_share(strategy.get("maxSurge")), replicas, round_up=True)
    unavailable = resolve(_share(strategy.get("maxUnavailable")), replicas, round_up=False)
    return surge, (1 if surge == 0 and unavailable == 0 else unavailable)


def _running(template: Raw) -> tuple[Container, ...]:
    ordinary = [_container(raw, sidecar=False) for raw in _mappings(template.get("containers"))]
    first = _mappings(template.get("initContainers"))
    sidecars = [_container(raw, sidecar=True) for raw in first if raw.get("restartPolicy") == "Always"]
    return (*ordinary, *sidecars)


def _container(raw: Raw, *, sidecar: bool) -> Container:
    ports = _mappings(raw.get("ports"))
    pre_stop = _mapping(_mapping(raw.get("lifecycle")).get("preStop"))
    return Container(
        name=str(raw.get("name", "")),
        probed=bool(raw.get("readinessProbe") or raw.get("startupProbe")),
        pre_stop=bool(pre_stop),
        pre_stop_sleep=_sleep(pre_stop),
        ports=tuple(str(port["name"]) for port in ports if port.get("name")),
        host_ports=tuple(port["hostPort"] for port in ports if isinstance(port.get("hostPort"), int)),
        sidecar=sidecar,
    )


def _sleep(pre_stop: Raw) -> float | None:
    seconds = _mapping(pre_stop.get("sleep")).get("seconds")
    if isinstance(seconds, int):
        return float(seconds)
    command = _mapping(pre_stop.get("exec")).get("command")
    if not isinstance(command, list):
        return None
    found = _SLEEP.findall(" ".join(str(part) for part in command))
    return sum(float(number) for number in found) if found else None


def is_external_local(service: Raw) -> bool:
    """Of a Service's spec: what comes to a node from outside goes to the pods there alone."""
    return service.get("type") in ("LoadBalancer", "NodePort") and service.get("externalTrafficPolicy") == "Local"


def _service(raw: Raw) -> Service:
    spec = _mapping(raw.get("spec"))
    metadata = _mapping(raw.get("metadata"))
    kind = str(spec.get("type", "ClusterIP"))
    return Service(
        name=str(metadata.get("name", "")),
        kind=kind,
        publishes_not_ready=spec.get("publishNotReadyAddresses") is True,
        external_local=is_external_local(spec),
        internal_local=spec.get("internalTrafficPolicy") == "Local",
    )


def _share(value: object) -> int | str:
    try:
        return parse_int_or_percent(value)
    except ValueError:
        return "25%"


def _mapping(value: object) -> Raw:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: object) -> list[Raw]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _number(value: object, default: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else default
