"""The EndpointSlices of a warm-up Service: the pods that ramp now, and nobody else.

They are ready and serving here although their pods are not Ready: that they are not is our doing, for the gate is what
keeps them out of their own Services. A pod that is on its way out is none of them; the caller leaves it out.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, Final

from lossless.traffic.routes.route import Raw, mapping, mappings
from lossless.traffic.routes.warmup_service import MANAGER, labels, owner_reference, warmup_name
from lossless.traffic.services import SERVICE_NAME

MOST: Final = 100
"""Endpoints in one slice, as the endpointslice controller's default; the API allows 1000."""
MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"
_Group = tuple[str, tuple[tuple[str, str, int, str], ...]]


def slices(
    rollout: Raw,
    warmup: Raw,
    pods: Sequence[Raw],
    zones: Mapping[str, str] | None = None,
    present: Sequence[Raw] = (),
) -> list[dict[str, Any]]:
    """The slices that there should be, by name; those of ours that are not among them are to be deleted afterwards.

    A pod that is in a slice already stays in it, so that nobody is away for a moment between two writes.

    Args:
        rollout: the LosslessRollout.
        warmup: its warm-up Service, for the ports and, once the API server has filled them in, the address families.
        pods: those that ramp.
        zones: `topology.kubernetes.io/zone` of the nodes that have one.
        present: the slices that there are.
    """
    name = str(mapping(rollout.get("metadata")).get("name", ""))
    families = mapping(warmup.get("spec")).get("ipFamilies")
    grouped: dict[_Group, list[dict[str, Any]]] = {}
    for pod in sorted(pods, key=_uid):
        found = _ports(mappings(mapping(warmup.get("spec")).get("ports")), pod)
        for address in _addresses(pod) if found else ():
            family = f"IPv{ipaddress.ip_address(address).version}"
            if not families or family in families:
                grouped.setdefault((family, found), []).append(_endpoint(pod, address, zones or {}))
    taken = {str(mapping(one.get("metadata")).get("name", "")) for one in present}
    made = []
    for (family, found), endpoints in sorted(grouped.items(), key=lambda one: one[0]):
        there = [one for one in present if one.get("addressType") == family and _same_ports(one, found)]
        for slice_name, part in _placed(warmup_name(name), family, endpoints, there, taken):
            made.append(
                {
                    "apiVersion": "discovery.k8s.io/v1",
                    "kind": "EndpointSlice",
                    "metadata": {
                        "name": slice_name,
                        "namespace": mapping(rollout.get("metadata")).get("namespace"),
                        "labels": {**labels(name), SERVICE_NAME: warmup_name(name), MANAGED_BY: MANAGER},
                        "ownerReferences": [owner_reference(rollout)],
                    },
                    "addressType": family,
                    "ports": [_port(one) for one in found],
                    "endpoints": part,
                }
            )
    return sorted(made, key=lambda one: str(one["metadata"]["name"]))


def _placed(
    prefix: str, family: str, endpoints: Sequence[dict[str, Any]], there: Sequence[Raw], taken: set[str]
) -> list[tuple[str, list[dict[str, Any]]]]:
    """Which endpoints are in which slice: where they are now, then where there is room, then in new slices."""
    rooms: dict[str, list[dict[str, Any]]] = {}
    before: dict[str, str] = {}
    for one in there:
        slice_name = str(mapping(one.get("metadata")).get("name", ""))
        rooms[slice_name] = []
        for endpoint in mappings(one.get("endpoints")):
            before.setdefault(str(mapping(endpoint.get("targetRef")).get("uid", "")), slice_name)
    taken.update(rooms)
    homeless: list[dict[str, Any]] = []
    for endpoint in endpoints:
        home = rooms.get(before.get(endpoint["targetRef"]["uid"], ""))
        (homeless if home is None or len(home) >= MOST else home).append(endpoint)
    for endpoint in homeless:
        room = next((rooms[key] for key in sorted(rooms) if 0 < len(rooms[key]) < MOST), None)
        if room is None:
            room = next((rooms[key] for key in sorted(rooms) if not rooms[key]), None)
        if room is None:
            free = next(key for n in range(len(taken) + 1) if (key := f"{prefix}-{family.lower()}-{n}") not in taken)
            taken.add(free)
            room = rooms[free] = []
        room.append(endpoint)
    return [(key, sorted(part, key=_endpoint_uid)) for key, part in rooms.items() if part]


def _endpoint(pod: Raw, address: str, zones: Mapping[str, str]) -> dict[str, Any]:
    metadata, node = mapping(pod.get("metadata")), str(mapping(pod.get("spec")).get("nodeName") or "")
    endpoint: dict[str, Any] = {
        "addresses": [address],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "targetRef": {"kind": "Pod", **{key: metadata.get(key) for key in ("namespace", "name", "uid")}},
    }
    if node:
        endpoint["nodeName"] = node
    return endpoint | ({"zone": zones[node]} if node in zones else {})


def _addresses(pod: Raw) -> tuple[str, ...]:
    status = mapping(pod.get("status"))
    every = [str(one["ip"]) for one in mappings(status.get("podIPs")) if one.get("ip")]
    return tuple(dict.fromkeys(every or ([str(status["podIP"])] if status.get("podIP") else [])))


def _ports(wanted: Sequence[Raw], pod: Raw) -> tuple[tuple[str, str, int, str], ...]:
    """(name, protocol, number, appProtocol): a target port's name means what this pod's containers say. One that the
    pod does not have is left out, as by the endpointslice controller."""
    named = {
        (str(port.get("name", "")), str(port.get("protocol") or "TCP")): int(port["containerPort"])
        for container in _containers(pod)
        for port in mappings(container.get("ports"))
        if port.get("containerPort")
    }
    found = []
    for port in wanted:
        protocol, target = str(port.get("protocol") or "TCP"), port.get("targetPort") or port.get("port")
        number = named.get((target, protocol)) if isinstance(target, str) else target
        if isinstance(number, int):
            found.append((str(port.get("name") or ""), protocol, number, str(port.get("appProtocol") or "")))
    return tuple(found)


def _containers(pod: Raw) -> list[Raw]:
    spec = mapping(pod.get("spec"))
    sidecars = [one for one in mappings(spec.get("initContainers")) if one.get("restartPolicy") == "Always"]
    return [*mappings(spec.get("containers")), *sidecars]


def _port(one: tuple[str, str, int, str]) -> dict[str, Any]:
    name, protocol, number, spoken = one
    return {"name": name, "protocol": protocol, "port": number} | ({"appProtocol": spoken} if spoken else {})


def _same_ports(one: Raw, found: tuple[tuple[str, str, int, str], ...]) -> bool:
    return {
        (
            str(port.get("name") or ""),
            str(port.get("protocol") or "TCP"),
            port.get("port"),
            str(port.get("appProtocol") or ""),
        )
        for port in mappings(one.get("ports"))
    } == set(found)


def _uid(pod: Raw) -> str:
    return str(mapping(pod.get("metadata")).get("uid", ""))


def _endpoint_uid(endpoint: Raw) -> str:
    return str(mapping(endpoint.get("targetRef")).get("uid", ""))
