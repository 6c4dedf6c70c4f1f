"""HTTPRoute and GRPCRoute of the Gateway API (v1): `spec.rules[].backendRefs[]`.

A weight is from 0 to 1000000 and relative to the others of its rule; absent it is 1; 0 means no traffic
(gateway.networking.k8s.io/v1, BackendRef). A rule has at most 16 backends. Filters of a backend are copied with it;
filters of a rule (redirect, mirror) are not backends and stay as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from lossless.api.routes import RouteKind
from lossless.traffic.routes.policies import keeps_sessions
from lossless.traffic.routes.route import Backend, BackendList, Raw, Split, mapping, mappings, namespace_of

_MOST: Final = 16


@dataclass(frozen=True, slots=True)
class GatewayRoute:
    """Both kinds: as far as backends are concerned they are the same."""

    kind: RouteKind
    plural: str
    api_version: str = "gateway.networking.k8s.io/v1"
    most: int | None = _MOST

    def lists(self, document: Raw) -> tuple[BackendList, ...]:
        namespace = namespace_of(document)
        rules = mappings(mapping(document.get("spec")).get("rules"))
        return tuple(
            BackendList(
                ("rules", at, "backendRefs"),
                tuple(_backend(entry, namespace) for entry in mappings(rule["backendRefs"])),
            )
            for at, rule in enumerate(rules)
            if rule.get("backendRefs")
        )

    def counts(self, weights: Sequence[int | None]) -> tuple[int, ...]:
        return tuple(1 if weight is None else weight for weight in weights)

    def renamed(self, entry: Raw, service: str) -> dict[str, Any]:
        return {**entry, "name": service}

    def refusal(self, document: Raw, split: Split, policies: Sequence[Raw]) -> str:
        namespace = namespace_of(document)
        for at, rule in enumerate(mappings(mapping(document.get("spec")).get("rules"))):
            backends = [_backend(entry, namespace) for entry in mappings(rule.get("backendRefs"))]
            if rule.get("sessionPersistence") and any(one.service in split.services for one in backends):
                return (
                    f"rules/{at} has sessionPersistence: a session that began at the warm-up Service would lose its pod"
                )
        return keeps_sessions(policies, document, split.services)


HTTP_ROUTE: Final = GatewayRoute(RouteKind.HTTP_ROUTE, "httproutes")
GRPC_ROUTE: Final = GatewayRoute(RouteKind.GRPC_ROUTE, "grpcroutes")


def _backend(entry: Raw, namespace: str) -> Backend:
    """A reference into another namespace needs a ReferenceGrant there, and is none of ours, whatever its name is."""
    group, kind = entry.get("group") or "", entry.get("kind") or "Service"
    where, name = entry.get("namespace") or namespace, str(entry.get("name", ""))
    ours = group == "" and kind == "Service" and where == namespace
    named = name if ours else f"{group}/{kind}/{where}/{name}"
    return Backend(entry, name if ours else "", "", f"{named}:{entry.get('port', '')}")
