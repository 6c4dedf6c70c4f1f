"""Every kind of route there is."""

from collections.abc import Mapping
from typing import Final

from lossless.api.routes import RouteKind
from lossless.traffic.routes.gateway_api import GRPC_ROUTE, HTTP_ROUTE
from lossless.traffic.routes.ingress import INGRESS
from lossless.traffic.routes.route import Route, WeightedRoute
from lossless.traffic.routes.traefik_service import TRAEFIK_SERVICE
from lossless.traffic.routes.virtual_service import VIRTUAL_SERVICE

WEIGHTED: Final[Mapping[RouteKind, WeightedRoute]] = {
    route.kind: route for route in (HTTP_ROUTE, GRPC_ROUTE, VIRTUAL_SERVICE, TRAEFIK_SERVICE)
}
"""Those that a split is laid in (`edit.py`)."""
KINDS: Final[Mapping[RouteKind, Route]] = {**WEIGHTED, INGRESS.kind: INGRESS}
"""And the one that it is laid beside (`canary.py`)."""
