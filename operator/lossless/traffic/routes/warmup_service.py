"""The warm-up Service: one without a selector, whose endpoints are the pods that ramp now (`warmup_slices.py`).

It speaks as the Services do whose traffic it takes a part of: the same ports with the same names and protocols, the
same address families, headless where they are. It does not look like them: none of their labels (a ServiceMonitor
would scrape the pods twice), no node ports, no load balancer. Whose it is, and when it
goes, is said where it is made (`lossless.cluster.ramping`).
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from lossless.api import names
from lossless.traffic.routes.route import Raw, mapping, mappings

MANAGER: Final = names.GROUP
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
_LABEL: Final = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
"""A Service's name is a DNS label (RFC 1035): shorter and stricter than a LosslessRollout's."""
_ANNOTATIONS: Final = ("traefik.ingress.kubernetes.io/service.", "projectcontour.io/upstream-protocol.")
"""Annotations of a Service, by their beginnings, that say how gateways speak to its pods."""
_FAMILIES: Final = ("ipFamilies", "ipFamilyPolicy")


class PortsClash(ValueError):
    """Two Services of one workload mean different things by one port, so no one Service can stand for both."""


def warmup_name(rollout: str) -> str:
    """`<rollout>-warmup`; what is no name for a Service is cut and told apart by a hash."""
    name = f"{rollout}-warmup"
    if _LABEL.fullmatch(name):
        return name
    readable = re.sub(r"[^-a-z0-9]", "-", rollout)[:38].strip("-")
    return f"w-{readable}-{hashlib.sha256(rollout.encode()).hexdigest()[:10]}-warmup"


def labels(rollout: str) -> dict[str, str]:
    """On everything that is made for a ramp."""
    return {names.ROLLOUT_LABEL: rollout, MANAGED_BY: MANAGER}


def owner_reference(rollout: Raw) -> dict[str, Any]:
    """To the LosslessRollout, so that the garbage collector takes along what was made for it."""
    metadata = mapping(rollout.get("metadata"))
    return {
        "apiVersion": names.API_VERSION,
        "kind": names.KIND,
        "name": metadata.get("name"),
        "uid": metadata.get("uid"),
        "controller": True,
        "blockOwnerDeletion": False,
    }


def service(rollout: Raw, stables: Sequence[Raw]) -> dict[str, Any]:
    """The warm-up Service of a LosslessRollout.

    Args:
        rollout: it.
        stables: the Services that its routes name; at least one.

    Raises PortsClash where they can't be stood for by one.
    """
    metadata = mapping(rollout.get("metadata"))
    first = mapping(stables[0].get("spec"))
    spec: dict[str, Any] = {"type": "ClusterIP", "ports": ports(stables)}
    spec |= {key: first[key] for key in _FAMILIES if first.get(key)}
    if first.get("clusterIP") == "None":
        spec["clusterIP"] = "None"
    name = str(metadata.get("name", ""))
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": warmup_name(name),
            "namespace": metadata.get("namespace"),
            "labels": labels(name),
            "ownerReferences": [owner_reference(rollout)],
        }
        | ({"annotations": spoken} if (spoken := _spoken(stables)) else {}),
        "spec": spec,
    }


def ports(stables: Sequence[Raw]) -> list[dict[str, Any]]:
    """Every port of these Services once.

    An unnamed one gets a name where there are several, as Kubernetes demands; one that names no protocol, because
    Istio reads them. Raises PortsClash where one number or one name stands for two things.
    """
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for stable in stables:
        for raw in mappings(mapping(stable.get("spec")).get("ports")):
            port = {key: value for key, value in raw.items() if key != "nodePort"}
            port = {"protocol": "TCP", "targetPort": port.get("port"), **port}
            known = found.setdefault((port["protocol"], int(port["port"])), port)
            if any(known.get(key) != port.get(key) for key in ("targetPort", "appProtocol")):
                raise PortsClash(f"port {port['port']} leads to {known['targetPort']} and to {port['targetPort']}")
            if "name" in port and known.setdefault("name", port["name"]) != port["name"]:
                raise PortsClash(f"port {port['port']} is named {known['name']} and {port['name']}")
    every = list(found.values())
    if len(every) > 1:
        for port in every:
            port.setdefault(
                "name", f"p{port['port']}" + ("" if port["protocol"] == "TCP" else port["protocol"].lower())
            )
        if clash := next((one for one in every if sum(one["name"] == other["name"] for other in every) > 1), None):
            raise PortsClash(f"two ports are named {clash['name']}")
    return every


def _spoken(stables: Sequence[Raw]) -> Mapping[str, str]:
    return {
        key: value
        for stable in stables
        for key, value in mapping(mapping(stable.get("metadata")).get("annotations")).items()
        if key.startswith(_ANNOTATIONS)
    }
