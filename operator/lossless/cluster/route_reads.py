"""Where the API server has routes, and what is said of those that it does not show."""

from collections.abc import Sequence
from typing import Final

from lossless.api.routes import RouteKind
from lossless.cluster.errors import Forbidden, NotFound
from lossless.cluster.gateway import Gateway
from lossless.cluster.resources import Raw, Resource
from lossless.traffic.routes.kinds import KINDS

NOT_THERE: Final = "it is not there"
NOT_OURS: Final = "the operator may not read it (ClusterRole lossless-operator-routes)"


def resource_of(kind: RouteKind) -> Resource:
    """Where the API server has the routes of this kind."""
    route = KINDS[kind]
    group, _, version = route.api_version.rpartition("/")
    return Resource(group, version, route.plural)


async def listed(
    gateway: Gateway, resource: Resource, namespace: str | None, label_selector: str = ""
) -> Sequence[Raw]:
    """None where the kind is not there, or not ours to read (components/without-routes): then nothing of ours can be in
    it either."""
    try:
        return (await gateway.list(resource, namespace, label_selector)).items
    except (NotFound, Forbidden):
        return ()
