"""What an Ingress says to ingress-nginx, by annotations; Traefik's provider kubernetesingressnginx reads the same."""

from typing import Final

from lossless.traffic.routes.route import Raw, mapping

CANARY: Final = "nginx.ingress.kubernetes.io/canary"
WEIGHT: Final = "nginx.ingress.kubernetes.io/canary-weight"
AFFINITY: Final = "nginx.ingress.kubernetes.io/affinity"
HASH_BY: Final = "nginx.ingress.kubernetes.io/upstream-hash-by"
PASSTHROUGH: Final = "nginx.ingress.kubernetes.io/ssl-passthrough"
SERVICE_UPSTREAM: Final = "nginx.ingress.kubernetes.io/service-upstream"
CLASS: Final = "kubernetes.io/ingress.class"
"""Everybody's, from before `spec.ingressClassName`; it still counts."""

_YES: Final = frozenset({"true", "t", "1"})


def annotation(ingress: Raw, name: str) -> str:
    """Its text; empty when it is not there."""
    return str(mapping(mapping(ingress.get("metadata")).get("annotations")).get(name, ""))


def says(ingress: Raw, name: str) -> bool:
    """Whether an annotation says yes, in any of the words that are read as one (Go's strconv.ParseBool)."""
    return annotation(ingress, name).lower() in _YES
