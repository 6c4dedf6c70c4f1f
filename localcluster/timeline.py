"""What was seen of pods, endpoints and a Deployment over time: the recorder's file, read back.

Pure data: the recorder writes it, demo and tests read it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

STAGE = "/stage"
"""An annotation that ends so says how far a pod is on its way, in the words of whoever put it there."""


@dataclass(frozen=True, slots=True)
class PodState:
    """A pod from `at` on (seconds since the epoch, when the change was seen), until its next state."""

    at: float
    scheduled: bool = False
    running: bool = False
    """Every container runs."""
    containers_ready: bool = False
    ready: bool = False
    terminating: bool = False
    gone: bool = False
    restarts: int = 0
    node: str | None = None
    address: str | None = None
    gates: Mapping[str, bool] = field(default_factory=dict)
    """The conditions its readiness gates ask for."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """The reason of each condition that gives one."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Those with a recorded prefix."""

    @property
    def stage(self) -> str:
        """One word: from a stage annotation if there is one, else as Kubernetes sees it."""
        if self.gone:
            return "Gone"
        if self.terminating:
            return "Terminating"
        for key, value in self.annotations.items():
            if key.endswith(STAGE):
                return value
        if self.ready:
            return "Ready"
        if self.running:
            return "Started"
        return "Scheduled" if self.scheduled else "Created"

    @classmethod
    def of(cls, pod: Mapping[str, Any], at: float, prefixes: Sequence[str] = (), *, gone: bool = False) -> PodState:
        """The state that a pod object shows."""
        meta, status = pod["metadata"], pod.get("status") or {}
        conditions = {each["type"]: each for each in status.get("conditions") or ()}
        containers = status.get("containerStatuses") or ()
        annotations = meta.get("annotations") or {}

        def true(condition: str) -> bool:
            return bool(conditions.get(condition, {}).get("status") == "True")

        gates = [gate["conditionType"] for gate in pod["spec"].get("readinessGates") or ()]
        return cls(
            at=at,
            scheduled=bool(pod["spec"].get("nodeName")),
            running=bool(containers) and all("running" in (each.get("state") or {}) for each in containers),
            containers_ready=true("ContainersReady"),
            ready=true("Ready"),
            terminating="deletionTimestamp" in meta,
            gone=gone,
            restarts=sum(each.get("restartCount", 0) for each in containers),
            node=pod["spec"].get("nodeName"),
            address=status.get("podIP"),
            gates={gate: true(gate) for gate in gates},
            reasons={kind: each["reason"] for kind, each in conditions.items() if each.get("reason")},
            annotations={key: value for key, value in annotations.items() if key.startswith(tuple(prefixes))},
        )


@dataclass(frozen=True, slots=True)
class PodHistory:
    """A pod from its creation (or the recorder's start) on."""

    name: str
    uid: str
    revision: str
    """Its pod-template-hash or controller-revision-hash; empty for a pod with neither."""
    created: float
    states: tuple[PodState, ...]

    def at(self, moment: float) -> PodState | None:
        """Its state at that moment; None when it was not there yet."""
        return next((state for state in reversed(self.states) if state.at <= moment), None)

    @property
    def address(self) -> str | None:
        return next((state.address for state in reversed(self.states) if state.address), None)

    @property
    def ended(self) -> float | None:
        """When it was gone."""
        return next((state.at for state in self.states if state.gone), None)

    def stages(self) -> tuple[tuple[float, str], ...]:
        """Since when it was in which stage; only the changes."""
        changes: list[tuple[float, str]] = []
        for state in self.states:
            if not changes or changes[-1][1] != state.stage:
                changes.append((state.at, state.stage))
        return tuple(changes)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The addresses in all EndpointSlices of a Service, from `at` on."""

    at: float
    service: str
    ready: tuple[str, ...]
    """Those that kube-proxy sends new connections to."""
    terminating: tuple[str, ...]
    """Those of pods being deleted; not ready, perhaps still serving."""

    @classmethod
    def of(cls, service: str, slices: Iterable[Mapping[str, Any]], at: float) -> Endpoints:
        ready: set[str] = set()
        terminating: set[str] = set()
        for endpoint_slice in slices:
            for endpoint in endpoint_slice.get("endpoints") or ():
                conditions = endpoint.get("conditions") or {}
                if conditions.get("ready") is not False:
                    ready.update(endpoint["addresses"])
                elif conditions.get("terminating"):
                    terminating.update(endpoint["addresses"])
        return cls(at, service, tuple(sorted(ready)), tuple(sorted(terminating)))


@dataclass(frozen=True, slots=True)
class DeploymentState:
    """A Deployment's counts, from `at` on."""

    at: float
    name: str
    replicas: int
    """Wanted."""
    updated: int
    ready: int
    available: int
    total: int
    settled: bool
    """Whether all wanted pods are of the present version and available, and none is left over: a release is done."""

    @classmethod
    def of(cls, deployment: Mapping[str, Any], at: float) -> DeploymentState:
        wanted = deployment["spec"].get("replicas", 1)
        status = deployment.get("status") or {}
        updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
        total = status.get("replicas", 0)
        seen = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        return cls(
            at=at,
            name=deployment["metadata"]["name"],
            replicas=wanted,
            updated=updated,
            ready=status.get("readyReplicas", 0),
            available=available,
            total=total,
            settled=seen and updated == available == total == wanted,
        )


@dataclass(frozen=True, slots=True)
class Timeline:
    pods: tuple[PodHistory, ...] = ()
    """In the order of their creation."""
    endpoints: tuple[Endpoints, ...] = ()
    deployments: tuple[DeploymentState, ...] = ()

    def pod(self, name: str) -> PodHistory | None:
        return next((pod for pod in self.pods if pod.name == name), None)

    def pod_at(self, address: str, moment: float) -> PodHistory | None:
        """The pod that had this address (with or without a port) then, or had it last before."""
        host = address.rpartition(":")[0] or address
        holders = [pod for pod in self.pods if pod.address == host and pod.created <= moment]
        return holders[-1] if holders else None

    def serving(self, service: str, start: float, end: float) -> tuple[tuple[float, int], ...]:
        """How many ready endpoints the Service had from when on, within the window."""
        counts: list[tuple[float, int]] = []
        for state in self.endpoints:
            if state.service != service or state.at > end:
                continue
            step = (max(state.at, start), len(state.ready))
            if counts and counts[-1][0] >= step[0]:
                counts[-1] = step
            elif not counts or counts[-1][1] != step[1]:
                counts.append(step)
        return tuple(counts)

    def fewest_serving(self, service: str, start: float, end: float) -> int:
        return min((count for _, count in self.serving(service, start, end)), default=0)

    def most_serving(self, service: str, start: float, end: float) -> int:
        return max((count for _, count in self.serving(service, start, end)), default=0)

    @classmethod
    def read(cls, path: Path) -> Timeline:
        with path.open() as file:
            return cls.parse(file)

    @classmethod
    def parse(cls, lines: Iterable[str]) -> Timeline:
        """A recorder's lines; one that is still being written at the end is left out."""
        pods: dict[str, PodHistory] = {}
        endpoints: list[Endpoints] = []
        deployments: list[DeploymentState] = []
        for line in lines:
            if not line.endswith("\n"):
                break
            data = json.loads(line)
            if head := data.get("pod"):
                state = PodState(**data["state"])
                before = pods[head["uid"]].states if head["uid"] in pods else ()
                pods[head["uid"]] = PodHistory(**head, states=(*before, state))
            elif "endpoints" in data:
                seen = data["endpoints"]
                endpoints.append(
                    Endpoints(seen["at"], seen["service"], tuple(seen["ready"]), tuple(seen["terminating"]))
                )
            elif "deployment" in data:
                deployments.append(DeploymentState(**data["deployment"]))
        ordered = sorted(pods.values(), key=lambda pod: (pod.created, pod.states[0].at, pod.name))
        return cls(tuple(ordered), tuple(endpoints), tuple(deployments))


def line_of(entry: PodHistory | Endpoints | DeploymentState) -> str:
    """A line of the file. Of a pod's history only the last state is written: the lines before have the rest."""
    if isinstance(entry, PodHistory):
        head = {"name": entry.name, "uid": entry.uid, "revision": entry.revision, "created": entry.created}
        return json.dumps({"pod": head, "state": asdict(entry.states[-1])}) + "\n"
    if isinstance(entry, Endpoints):
        return json.dumps({"endpoints": asdict(entry)}) + "\n"
    return json.dumps({"deployment": asdict(entry)}) + "\n"
