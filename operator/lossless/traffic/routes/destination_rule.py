"""DestinationRules of Istio: which one applies to a Service, whether it hashes, and the warm-up Service's copy of it.

A host without a dot is a Service of the namespace of whoever names it; anything else is taken as it is
(istio, ResolveShortnameToFQDN). Of several rules that apply, the most specific host wins.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from lossless.traffic.routes.route import Raw, mapping, mappings, namespace_of

KIND: Final = "DestinationRule"
API_VERSION: Final = "networking.istio.io/v1"
_DOMAIN: Final = "cluster.local"
"""What a wildcard is matched with. Full names are recognised with any domain."""
_FULL: Final = 1000
"""More specific than the longest wildcard: names of hosts have 253 characters or fewer."""


def service_of(host: str, namespace: str) -> str:
    """The Service of this namespace that a host means; empty: none. `web.shop` is no name of a Service in Istio."""
    if "." not in host:
        return host if host != "*" else ""
    name, _, rest = host.partition(".")
    domain = rest.removeprefix(f"{namespace}.svc.")
    return name if name != "*" and domain and domain != rest else ""


def applying(policies: Iterable[Raw], service: str, namespace: str) -> list[Raw]:
    """The DestinationRules among these that say how this Service's pods are balanced: those of the most specific
    host."""
    found = [
        (rank, rule)
        for rule in policies
        if rule.get("kind") == KIND and (rank := _rank(rule, service, namespace)) is not None
    ]
    best = max((rank for rank, _ in found), default=0)
    return [rule for rank, rule in found if rank == best]


def subsets(policies: Sequence[Raw], service: str, namespace: str) -> Mapping[str, Mapping[str, str]]:
    """The subsets of a Service, by name, with the labels of their pods."""
    return {
        str(subset.get("name", "")): {str(key): str(value) for key, value in mapping(subset.get("labels")).items()}
        for rule in applying(policies, service, namespace)
        for subset in mappings(mapping(rule.get("spec")).get("subsets"))
    }


def traffic_policies(rule: Raw) -> list[Raw]:
    """Every traffic policy in a rule: its own, those of its ports and of its subsets."""
    spec = mapping(rule.get("spec"))
    own = [spec, *mappings(spec.get("subsets"))]
    policies = [mapping(one.get("trafficPolicy")) for one in own]
    return policies + [port for one in policies for port in mappings(one.get("portLevelSettings"))]


def hashes(rule: Raw) -> bool:
    """It sends requests that hash alike to the same pod."""
    return any(mapping(policy.get("loadBalancer")).get("consistentHash") for policy in traffic_policies(rule))


def copied(
    policies: Sequence[Raw], service: str, warmup: str, namespace: str, owner: Raw, labels: Mapping[str, str]
) -> dict[str, Any] | None:
    """A DestinationRule for the warm-up Service as the Service's own is: without it, the warm-up pods would be spoken
    to without its TLS and connection settings, and a subset would have no cluster. None: it has none of its own, and
    one with a wildcard for its host applies to the warm-up Service as it is.

    What ejects pods (outlierDetection) and what ramps them itself (warmup) is left out: the warm-up Service has few
    pods, and Envoy may always eject one of them.

    Args:
        policies: among which to look for the Service's own.
        service: it.
        warmup: the name of the warm-up Service, and of the copy.
        namespace: of both.
        owner: the owner reference, to the LosslessRollout.
        labels: to put on the copy.
    """
    rules = applying(policies, service, namespace)
    host = str(mapping(rules[0].get("spec")).get("host", "")) if rules else "*"
    if host.startswith("*"):
        return None
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": warmup, "namespace": namespace, "labels": dict(labels), "ownerReferences": [dict(owner)]},
        "spec": {**_calm(mapping(rules[0].get("spec"))), "host": warmup + host[len(service) :]},
    }


def _calm(node: Any) -> Any:
    if isinstance(node, Mapping):
        left_out = ("outlierDetection", "warmup", "warmupDurationSecs")
        return {key: _calm(value) for key, value in node.items() if key not in left_out}
    return [_calm(one) for one in node] if isinstance(node, list) else node


def _rank(rule: Raw, service: str, namespace: str) -> int | None:
    """How specific a rule's host is for a Service: longer is more, a full name is most; None: it does not apply."""
    host, full = str(mapping(rule.get("spec")).get("host", "")), f"{service}.{namespace}.svc.{_DOMAIN}"
    if host.startswith("*"):
        return len(host) if full.endswith(host[1:]) else None
    theirs = namespace_of(rule)
    if "." not in host:
        return _FULL if host == service and theirs == namespace else None
    return _FULL if service_of(host, namespace) == service else None
