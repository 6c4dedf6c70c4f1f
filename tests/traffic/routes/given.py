"""Routes as their owners write them, and what is asked of them: few and plain."""

from copy import deepcopy
from typing import Any

from lossless.api import names
from lossless.traffic.routes.edit import Change, lay
from lossless.traffic.routes.gateway_api import GRPC_ROUTE, HTTP_ROUTE
from lossless.traffic.routes.route import Raw, Route, Split, WeightedRoute
from lossless.traffic.routes.traefik_service import TRAEFIK_SERVICE
from lossless.traffic.routes.virtual_service import VIRTUAL_SERVICE

Object = dict[str, Any]
NAMESPACE = "shop"


def split(share: float = 0.05, rollout: str = "web", services: tuple[str, ...] = ("web",), **more: Any) -> Split:
    return Split(rollout, frozenset(services), f"{rollout}-warmup", share, **more)


def route(kind: Route, spec: Object, **metadata: Any) -> Object:
    """A route of this kind in our namespace."""
    common = {"name": "front", "namespace": NAMESPACE, "resourceVersion": "41", "generation": 3}
    return {"apiVersion": kind.api_version, "kind": str(kind.kind), "metadata": common | metadata, "spec": spec}


def ref(name: str, weight: int | None = None, **more: Any) -> Object:
    """A backendRef of the Gateway API, or a service of Traefik."""
    return {"name": name, "port": 80} | more | ({} if weight is None else {"weight": weight})


def to(host: str, weight: int | None = None, subset: str = "", **more: Any) -> Object:
    """A destination of Istio."""
    destination: Object = {"host": host, "port": {"number": 80}} | ({"subset": subset} if subset else {})
    return {"destination": destination} | more | ({} if weight is None else {"weight": weight})


def http_route(*rules: list[Object]) -> Object:
    return route(HTTP_ROUTE, {"parentRefs": [{"name": "gate"}], "rules": [{"backendRefs": each} for each in rules]})


def grpc_route(*rules: list[Object]) -> Object:
    return route(GRPC_ROUTE, {"parentRefs": [{"name": "gate"}], "rules": [{"backendRefs": each} for each in rules]})


def virtual_service(*rules: list[Object]) -> Object:
    return route(VIRTUAL_SERVICE, {"hosts": ["web"], "http": [{"route": each} for each in rules]})


def traefik_service(*services: Object) -> Object:
    return route(TRAEFIK_SERVICE, {"weighted": {"services": list(services)}})


def destination_rule(host: str = "web", namespace: str = NAMESPACE, **spec: Any) -> Object:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"host": host} | spec,
    }


def backends(kind: Route, document: Raw) -> list[list[tuple[str, int | None]]]:
    """What a reader sees: for each list, who gets how much."""
    return [[(one.key.split(":")[0], one.weight) for one in each.backends] for each in kind.lists(document)]


def without_annotation(document: Raw) -> Object:
    """The document but for what we keep on it."""
    copy: Object = deepcopy(dict(document))
    copy["metadata"].get("annotations", {}).pop(names.ORIGINAL_WEIGHTS, None)
    if not copy["metadata"].get("annotations"):
        copy["metadata"].pop("annotations", None)
    return copy


def after(kind: WeightedRoute, document: Raw, *splits: Split) -> Raw:
    """The route with these splits on it, laid one after the other."""
    for one in splits:
        document = lay(kind, document, one).document
    return document


def patched(document: Raw, change: Change) -> Object:
    """What an API server makes of the change: RFC 7386, written here a second time to check the first."""

    def merge(target: Any, patch: Any) -> Any:
        if not isinstance(patch, dict):
            return patch
        result = dict(target) if isinstance(target, dict) else {}
        for key, value in patch.items():
            if value is None:
                result.pop(key, None)
            else:
                result[key] = merge(result.get(key), value)
        return result

    if change.patch is None:
        return dict(document)
    assert change.patch["metadata"]["resourceVersion"] == document["metadata"]["resourceVersion"]
    merged: Object = merge(document, change.patch)
    if not merged["metadata"].get("annotations"):
        merged["metadata"].pop("annotations", None)
    return merged
