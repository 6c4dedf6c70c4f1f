"""TraefikService (traefik.io/v1alpha1): `spec.weighted.services[]`.

A weight is 0 or more and relative; absent it is 1; 0 means no traffic (traefik, loadWRRService and the weighted
balancer). Mirroring, failover and other TraefikServices in the list are not Services of ours and stay as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from lossless.api.routes import RouteKind
from lossless.traffic.routes.route import Backend, BackendList, Raw, Split, mapping, mappings, namespace_of


@dataclass(frozen=True, slots=True)
class TraefikService:
    kind: RouteKind = RouteKind.TRAEFIK_SERVICE
    plural: str = "traefikservices"
    api_version: str = "traefik.io/v1alpha1"
    most: int | None = None

    def lists(self, document: Raw) -> tuple[BackendList, ...]:
        services = mappings(mapping(mapping(document.get("spec")).get("weighted")).get("services"))
        namespace = namespace_of(document)
        backends = tuple(_backend(entry, namespace) for entry in services)
        return (BackendList(("weighted", "services"), backends),) if backends else ()

    def counts(self, weights: Sequence[int | None]) -> tuple[int, ...]:
        return tuple(1 if weight is None else weight for weight in weights)

    def renamed(self, entry: Raw, service: str) -> dict[str, Any]:
        return {**entry, "name": service}

    def refusal(self, document: Raw, split: Split, policies: Sequence[Raw]) -> str:
        spec, namespace = mapping(document.get("spec")), namespace_of(document)
        hashed = mappings(mapping(spec.get("highestRandomWeight")).get("services"))
        if any(_backend(entry, namespace).service in split.services for entry in hashed):
            return "highestRandomWeight sends each client to one Service, so a weight moves clients and not requests"
        ours = [one for each in self.lists(document) for one in each.backends if one.service in split.services]
        if ours and mapping(spec.get("weighted")).get("sticky"):
            return (
                "weighted.sticky keeps each client at one Service: one that began at the warm-up Service would lose it"
            )
        for one in ours:
            if one.entry.get("sticky"):
                return f"{one.service} is sticky: a client that began at the warm-up Service would lose its pod"
            if one.entry.get("strategy") == "hrw":
                return f"{one.service} has strategy hrw, which keeps each client at one pod: a split would move clients"
        return ""


TRAEFIK_SERVICE: Final = TraefikService()


def _backend(entry: Raw, namespace: str) -> Backend:
    """A name with an @ is another provider's; so is one of another namespace none of ours."""
    name, kind = str(entry.get("name", "")), entry.get("kind") or "Service"
    where = entry.get("namespace") or namespace
    ours = kind == "Service" and where == namespace and "@" not in name
    named = name if ours else f"{kind}/{where}/{name}"
    return Backend(entry, name if ours else "", "", f"{named}:{entry.get('port', '')}")
