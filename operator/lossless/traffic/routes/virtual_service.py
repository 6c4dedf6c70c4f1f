"""VirtualService of Istio (networking.istio.io/v1): the `route[]` of each of `spec.http[]`, `spec.tcp[]`, `spec.tls[]`.

Weights are relative. Where there are several destinations, one without a weight, or with 0, gets nothing; a lone one
gets everything whatever its weight is (HTTPRouteDestination, RouteDestination). So a lone destination counts as 100,
and both entries stay in while the split is laid. Redirects, direct responses, delegates and mirrors are no
destinations of a `route` and stay as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from lossless.api.routes import RouteKind
from lossless.traffic.routes import destination_rule
from lossless.traffic.routes.policies import keeps_sessions
from lossless.traffic.routes.route import Backend, BackendList, Raw, Split, mapping, mappings, namespace_of

PROTOCOLS: Final = ("http", "tcp", "tls")
_LONE: Final = 100


@dataclass(frozen=True, slots=True)
class VirtualService:
    kind: RouteKind = RouteKind.VIRTUAL_SERVICE
    plural: str = "virtualservices"
    api_version: str = "networking.istio.io/v1"
    most: int | None = None

    def lists(self, document: Raw) -> tuple[BackendList, ...]:
        namespace = namespace_of(document)
        spec = mapping(document.get("spec"))
        return tuple(
            BackendList((protocol, at, "route"), tuple(_backend(entry, namespace) for entry in mappings(rule["route"])))
            for protocol in PROTOCOLS
            for at, rule in enumerate(mappings(spec.get(protocol)))
            if rule.get("route")
        )

    def counts(self, weights: Sequence[int | None]) -> tuple[int, ...]:
        return (_LONE,) if len(weights) == 1 else tuple(weight or 0 for weight in weights)

    def renamed(self, entry: Raw, service: str) -> dict[str, Any]:
        destination = mapping(entry.get("destination"))
        _, dot, domain = str(destination.get("host", "")).partition(".")
        return {**entry, "destination": {**destination, "host": service + dot + domain}}

    def refusal(self, document: Raw, split: Split, policies: Sequence[Raw]) -> str:
        named = {
            backend.subset
            for each in self.lists(document)
            for backend in each.backends
            if backend.subset and split.odds(backend.service, backend.subset) is not None
        }
        known = destination_rule.subsets(policies, split.warmup, namespace_of(document))
        if unknown := sorted(named - set(known)):
            return (
                f"it routes to subset {unknown[0]}, and no DestinationRule of {split.warmup} has that subset: "
                "requests for it would be answered with 503"
            )
        return keeps_sessions(policies, document, split.services)


VIRTUAL_SERVICE: Final = VirtualService()


def _backend(entry: Raw, namespace: str) -> Backend:
    destination = mapping(entry.get("destination"))
    host, subset = str(destination.get("host", "")), str(destination.get("subset") or "")
    service = destination_rule.service_of(host, namespace)
    port = mapping(destination.get("port")).get("number", "")
    return Backend(entry, service, subset, f"{host}:{port}" + (f"/{subset}" if subset else ""))
