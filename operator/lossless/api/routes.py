"""How a new pod's share of the traffic grows, and which routes it grows in, as users name them.

What a field means is here; what is done with it is in `lossless.core.ramp` and `lossless.traffic.routes`.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Final

from pydantic import ConfigDict, Field

from lossless.api.model import Model, rules
from lossless.api.quantities import Duration

FROM_PATTERN: Final = r"^[1-9]?[0-9]%$"
"""Whole percents below 100 %: a ramp that begins at the end is none."""


class Curve(StrEnum):
    LINEAR = "Linear"
    QUADRATIC = "Quadratic"


class Ramp(Model):
    """A new pod's share of the traffic grows from little to a full one, where a route or a registry carries weights.
    It begins when warm-up requests are done; at its end the pod is let into its Services."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "duration(self.duration) >= duration('1s') && duration(self.duration) <= duration('1h')",
                "a ramp's duration must be from 1s to 1h",
            ),
        )
    )

    duration: Duration = timedelta(minutes=2)
    """How long it takes until the share is a full one."""
    curve: Curve = Curve.LINEAR
    """Linear: it grows evenly. Quadratic: slowly at first, as (t/T)²; for pods that need load to get warm, such as a
    JVM's."""
    from_: Annotated[str, Field(alias="from", max_length=4, pattern=FROM_PATTERN)] = "1%"
    """The least share, of a full one: the ramp stays there until its curve has passed it."""

    @property
    def least(self) -> float:
        """`from` as a fraction of a full share."""
        return int(self.from_.removesuffix("%")) / 100


class RouteKind(StrEnum):
    HTTP_ROUTE = "HTTPRoute"
    GRPC_ROUTE = "GRPCRoute"
    VIRTUAL_SERVICE = "VirtualService"
    TRAEFIK_SERVICE = "TraefikService"
    INGRESS = "Ingress"


class RouteRef(Model):
    """A route that sends requests to the workload's Services, in the namespace of the LosslessRollout: routes of other
    namespaces are never written to."""

    kind: RouteKind
    """HTTPRoute or GRPCRoute of the Gateway API (v1), VirtualService of Istio (networking.istio.io/v1), TraefikService
    (traefik.io/v1alpha1) with a weighted list, or Ingress (networking.k8s.io/v1) whose class is that of ingress-nginx.
    It is never written to: its split is a canary beside it."""
    name: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
    """The route's name."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"
