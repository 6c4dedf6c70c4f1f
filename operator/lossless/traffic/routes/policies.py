"""Policies beside a route that keep clients at their pods. Such a route must not be split by weight: the split comes
before the hash, so clients change pods with every write, and a session that began at the warm-up Service ends there.

Known are: DestinationRules of Istio (consistentHash), session persistence of the Gateway API (XBackendTrafficPolicy,
BackendLBPolicy: experimental) and BackendTrafficPolicy of Envoy Gateway (ConsistentHash).
"""

from collections.abc import Sequence
from typing import Final

from lossless.api.routes import RouteKind
from lossless.traffic.routes import destination_rule
from lossless.traffic.routes.route import Raw, mapping, mappings, namespace_of

_PERSISTENT: Final = frozenset({"XBackendTrafficPolicy", "BackendTrafficPolicy", "BackendLBPolicy"})
_GATEWAY: Final = "Gateway"


def obeys_destination_rules(document: Raw) -> bool:
    """Istio serves this route, so DestinationRules say how its backends are balanced: a VirtualService, or a route of
    the Gateway API that Istio's controllers (istio.io/gateway-controller, istio.io/mesh-controller) have answered."""
    parents = mappings(mapping(document.get("status")).get("parents"))
    answered = any(str(parent.get("controllerName", "")).startswith("istio.io/") for parent in parents)
    return answered or document.get("kind") == RouteKind.VIRTUAL_SERVICE


def keeps_sessions(policies: Sequence[Raw], document: Raw, services: frozenset[str]) -> str:
    """What keeps the clients of this route's Services at their pods, in a sentence; empty: nothing that is known."""
    namespace = namespace_of(document)
    for service in sorted(services):
        for rule in destination_rule.applying(policies, service, namespace):
            if destination_rule.hashes(rule):
                return f"DestinationRule {_name(rule)} hashes requests to {service} (consistentHash): " + MOVES_CLIENTS
    for policy in policies:
        if policy.get("kind") not in _PERSISTENT or not _targets(policy, document, services):
            continue
        spec = mapping(policy.get("spec"))
        if spec.get("sessionPersistence"):
            return f"{policy['kind']} {_name(policy)} has sessionPersistence: " + MOVES_CLIENTS
        if mapping(spec.get("loadBalancer")).get("type") == "ConsistentHash":
            return f"{policy['kind']} {_name(policy)} hashes requests (ConsistentHash): " + MOVES_CLIENTS
    return ""


MOVES_CLIENTS: Final = "the split comes before it, and would move clients away from their pods"


def _targets(policy: Raw, document: Raw, services: frozenset[str]) -> bool:
    """It is attached to the route, to one of the Services, or to a Gateway of the route's."""
    spec = mapping(policy.get("spec"))
    refs = [*mappings(spec.get("targetRefs")), mapping(spec.get("targetRef"))]
    here = namespace_of(policy) == namespace_of(document)
    own = (document.get("kind"), mapping(document.get("metadata")).get("name"))
    parents = {
        (str(parent.get("namespace") or namespace_of(document)), str(parent.get("name", "")))
        for parent in mappings(mapping(document.get("spec")).get("parentRefs"))
        if (parent.get("kind") or _GATEWAY) == _GATEWAY
    }
    return any(
        (here and (ref.get("kind"), ref.get("name")) == own)
        or (here and ref.get("kind") == "Service" and ref.get("name") in services)
        or (ref.get("kind") == _GATEWAY and (namespace_of(policy), str(ref.get("name", ""))) in parents)
        for ref in refs
    )


def _name(one: Raw) -> str:
    return f"{namespace_of(one)}/{mapping(one.get('metadata')).get('name', '')}"
