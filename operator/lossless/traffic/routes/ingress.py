"""Ingress (networking.k8s.io/v1): `spec.rules[].http.paths[]`, each with one backend.

There are no weights in it. Its split lies in another Ingress, beside it: `canary.py`. The `defaultBackend` has neither
host nor path that one could be for, so it is no list here.
"""

from dataclasses import dataclass
from typing import Final

from lossless.api.routes import RouteKind
from lossless.traffic.routes.route import Backend, BackendList, Raw, mapping, mappings


@dataclass(frozen=True, slots=True)
class IngressRoute:
    kind: RouteKind = RouteKind.INGRESS
    plural: str = "ingresses"
    api_version: str = "networking.k8s.io/v1"

    def lists(self, document: Raw) -> tuple[BackendList, ...]:
        """One for each path, with the one backend that it has."""
        rules = mappings(mapping(document.get("spec")).get("rules"))
        return tuple(
            BackendList(("rules", nth, "http", "paths", at, "backend"), (_backend(mapping(path.get("backend"))),))
            for nth, rule in enumerate(rules)
            for at, path in enumerate(paths_of(rule))
        )


INGRESS: Final = IngressRoute()


def leads_to(document: Raw) -> frozenset[str]:
    """Every Service that an Ingress names, its default one as well."""
    named = {backend.service for each in INGRESS.lists(document) for backend in each.backends}
    return frozenset({*named, service_of(mapping(mapping(document.get("spec")).get("defaultBackend")))} - {""})


def paths_of(rule: Raw) -> list[Raw]:
    return mappings(mapping(rule.get("http")).get("paths"))


def service_of(backend: Raw) -> str:
    """The Service that a backend names; empty: it names another kind of object."""
    return str(mapping(backend.get("service")).get("name", ""))


def _backend(entry: Raw) -> Backend:
    service, port = service_of(entry), mapping(mapping(entry.get("service")).get("port"))
    return Backend(entry, service, "", f"{service}:{port.get('name') or port.get('number', '')}")
