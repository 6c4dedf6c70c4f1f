"""Services, as everybody sees them who routes by EndpointSlices: kube-proxy, ingress gateways, meshes, cluster DNS."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from lossless.analysis.facts import is_external_local
from lossless.core.world import Presence, Sighting
from lossless.traffic.source import Subject

SERVICE_NAME: Final = "kubernetes.io/service-name"
"""The label of an EndpointSlice that says whose it is."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One entry of an EndpointSlice."""

    pod: str
    """The uid of the pod it stands for; empty if it names none."""
    addresses: tuple[str, ...]
    ready: bool
    node: str = ""

    def is_of(self, pod: Subject) -> bool:
        return self.pod == pod.uid if self.pod else any(address in pod.addresses for address in self.addresses)


@dataclass(frozen=True, slots=True)
class EndpointSlice:
    namespace: str
    name: str
    service: str
    """The Service it belongs to; empty for one that belongs to none."""
    endpoints: tuple[Endpoint, ...] = ()

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> "EndpointSlice":
        """From JSON. An endpoint whose `ready` is not said is to be taken as ready (discovery.k8s.io/v1)."""
        metadata = raw["metadata"]
        return cls(
            namespace=metadata["namespace"],
            name=metadata["name"],
            service=(metadata.get("labels") or {}).get(SERVICE_NAME, ""),
            endpoints=tuple(
                Endpoint(
                    pod=_pod_uid(endpoint.get("targetRef") or {}),
                    addresses=tuple(endpoint.get("addresses") or ()),
                    ready=(endpoint.get("conditions") or {}).get("ready") is not False,
                    node=sys.intern(endpoint.get("nodeName") or ""),
                )
                for endpoint in raw.get("endpoints") or ()
            ),
        )

    @property
    def source(self) -> str:
        return f"Service {self.service}" if self.service else f"EndpointSlice {self.name}"


@dataclass(frozen=True, slots=True)
class Service:
    namespace: str
    name: str
    selector: tuple[tuple[str, str], ...] = ()
    """Empty: it selects nothing, somebody else writes its EndpointSlices."""
    lists_unready: bool = False
    """publishNotReadyAddresses: it lists pods whether they are ready or not, so no gate keeps anybody off it."""
    by_node: bool = False
    """externalTrafficPolicy Local: what comes to a node goes to the pods there, and load balancers notice late that
    there are none."""
    raw: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Its name, annotations and spec, for the findings."""

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> "Service":
        """From JSON. A Service of type ExternalName has no endpoints, whatever it selects."""
        spec = raw.get("spec") or {}
        selects = spec.get("selector") or {} if spec.get("type") != "ExternalName" else {}
        return cls(
            namespace=raw["metadata"]["namespace"],
            name=raw["metadata"]["name"],
            selector=tuple(sorted(selects.items())),
            lists_unready=bool(spec.get("publishNotReadyAddresses")),
            by_node=is_external_local(spec),
            raw={
                "metadata": {key: raw["metadata"].get(key) for key in ("name", "namespace", "annotations")},
                "spec": spec,
            },
        )

    def selects(self, labels: Mapping[str, str]) -> bool:
        return bool(self.selector) and all(labels.get(key) == value for key, value in self.selector)


@dataclass(frozen=True, slots=True)
class Services:
    """The Services and EndpointSlices of one namespace that may have to do with some pods, as a traffic source."""

    services: Sequence[Service]
    slices: Sequence[EndpointSlice]

    def sightings(self, pods: Sequence[Subject]) -> Mapping[str, tuple[Sighting, ...]]:
        """Present where a slice lists the pod as ready; absent where a Service selects it and no slice does."""
        listed = self._listed(pods)
        unready = {service.name for service in self.services if service.lists_unready}
        seen: dict[str, tuple[Sighting, ...]] = {}
        for pod in pods:
            sources = listed.get(pod.uid, {})
            selecting = {f"Service {service.name}": service for service in self.services if service.selects(pod.labels)}
            sightings = []
            for source in sorted({*sources, *selecting}):
                if source.removeprefix("Service ") in unready:
                    evidence = "publishNotReadyAddresses: it lists pods that are not ready as well"
                    sightings.append(Sighting(source, Presence.UNKNOWN, evidence))
                elif source in sources:
                    alone = source in selecting and selecting[source].by_node and not self._beside(source, pod, pods)
                    evidence = f"EndpointSlice {sources[source]}"
                    sightings.append(Sighting(source, Presence.PRESENT, evidence, alone=alone))
                else:
                    sightings.append(Sighting(source, Presence.ABSENT, "in none of its EndpointSlices as ready"))
            if sightings:
                seen[pod.uid] = tuple(sightings)
        return seen

    def concerned(self, pods: Sequence[Subject]) -> tuple[str, ...]:
        """The names of the Services that could send requests to any of these pods: all whose slices have to be read."""
        selecting = {service.name for service in self.services if any(service.selects(pod.labels) for pod in pods)}
        listing = {
            listed.service
            for listed in self.slices
            if listed.service and any(end.is_of(pod) for end in listed.endpoints for pod in pods)
        }
        return tuple(sorted(selecting | listing))

    def _beside(self, source: str, pod: Subject, pods: Sequence[Subject]) -> bool:
        """Whether somebody else than these pods is ready on this one's node."""
        ready = [end for one in self.slices if one.source == source for end in one.endpoints if end.ready]
        node = next((end.node for end in ready if end.is_of(pod)), "")
        others = (end for end in ready if end.node == node)
        return any(not any(end.is_of(one) for one in pods) for end in others)

    def _listed(self, pods: Sequence[Subject]) -> Mapping[str, Mapping[str, str]]:
        """By pod: the sources that list it as ready, and the slice where they do."""
        by_address = {address: pod.uid for pod in pods for address in pod.addresses}
        known = {pod.uid for pod in pods}
        found: dict[str, dict[str, str]] = {}
        for listed in self.slices:
            for endpoint in listed.endpoints:
                if endpoint.ready:
                    for uid in _uids(endpoint, by_address):
                        if uid in known:
                            found.setdefault(uid, {}).setdefault(listed.source, listed.name)
        return found


def _uids(endpoint: Endpoint, by_address: Mapping[str, str]) -> Iterable[str]:
    """An endpoint that names its pod is that pod's; one that does not is whoever has the address."""
    if endpoint.pod:
        return (endpoint.pod,)
    return {by_address[address] for address in endpoint.addresses if address in by_address}


def _pod_uid(target: Mapping[str, Any]) -> str:
    return str(target.get("uid", "")) if target.get("kind") == "Pod" else ""
