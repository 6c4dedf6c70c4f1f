"""Whether a gateway has taken a route as it is now: `status.parents` of the Gateway API's routes.

Each parent that the route names is answered by its controller with conditions of the generation they were said of:
Accepted, and ResolvedRefs, which is False when a backend does not exist (RouteParentStatus). It says what the control
plane has taken; the data plane follows. Istio writes no status on a VirtualService unless told to, Traefik none at all,
and that of an Ingress is no more than addresses: there is nothing to wait for but time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from lossless.api.routes import RouteKind
from lossless.traffic.routes.route import Raw, mapping, mappings, namespace_of

_GATEWAY_GROUP: Final = "gateway.networking.k8s.io"
TRAEFIK: Final = timedelta(seconds=0.8)
OTHERS: Final = timedelta(seconds=0.1)
_CONDITIONS: Final = ("Accepted", "ResolvedRefs")


class Answer(StrEnum):
    TAKEN = "Taken"
    PENDING = "Pending"
    """Not yet said of this generation."""
    REFUSED = "Refused"
    SILENT = "Silent"
    """This kind says nothing: only time helps."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a route's gateways say."""

    answer: Answer
    evidence: str


def taken(document: Raw) -> Taken:
    """What the gateways say of the route's current generation. The worst answer counts: a refusal, then silence."""
    if not str(document.get("apiVersion", "")).startswith(f"{_GATEWAY_GROUP}/"):
        return Taken(Answer.SILENT, f"a {document.get('kind', 'route')} does not say whether it was taken")
    generation = _number(mapping(document.get("metadata")).get("generation"))
    asked = mappings(mapping(document.get("spec")).get("parentRefs"))
    said = mappings(mapping(document.get("status")).get("parents"))
    if not asked:
        return Taken(Answer.REFUSED, "it names no parent, so no gateway serves it")
    answers = [_of_parent(parent, said, generation, namespace_of(document)) for parent in asked]
    worst = (Answer.REFUSED, Answer.PENDING, Answer.TAKEN)
    return min(answers, key=lambda one: worst.index(one.answer))


def follows_after(kind: RouteKind, document: Raw) -> timedelta:
    """How long gateways take to follow a change of weights, on average.

    Traefik gathers changes for up to 2 s (providersThrottleDuration) where they come one after the other, and of an
    Ingress nobody knows whether it is Traefik's or nginx's. istiod, and whoever else is not known to do so, sends them
    on at once.
    """
    parents = mappings(mapping(document.get("status")).get("parents"))
    by_traefik = any(str(one.get("controllerName", "")).startswith("traefik.io/") for one in parents)
    return TRAEFIK if kind in (RouteKind.TRAEFIK_SERVICE, RouteKind.INGRESS) or by_traefik else OTHERS


def _of_parent(parent: Raw, said: Sequence[Raw], generation: int, namespace: str) -> Taken:
    name = f"{parent.get('kind') or 'Gateway'} {parent.get('name', '')}"
    theirs = [one for one in said if _same(mapping(one.get("parentRef")), parent, namespace)]
    if not theirs:
        return Taken(Answer.PENDING, f"{name} has not answered")
    for one in theirs:
        conditions = {str(condition.get("type")): condition for condition in mappings(one.get("conditions"))}
        for kind in _CONDITIONS:
            condition = conditions.get(kind, {})
            if _number(condition.get("observedGeneration")) < generation or not condition:
                return Taken(Answer.PENDING, f"{name} has not said {kind} of generation {generation}")
            if condition.get("status") == "False" and condition.get("reason") != "Pending":
                why = ": ".join(str(condition[word]) for word in ("reason", "message") if condition.get(word))
                return Taken(Answer.REFUSED, f"{name} says {kind}=False of generation {generation} ({why})")
            if condition.get("status") != "True":
                return Taken(Answer.PENDING, f"{name} says {kind}={condition.get('status')} of generation {generation}")
    return Taken(Answer.TAKEN, f"{name} says Accepted and ResolvedRefs of generation {generation}")


def _same(one: Raw, other: Raw, namespace: str) -> bool:
    def key(parent: Raw) -> tuple[object, ...]:
        return (
            parent.get("group", _GATEWAY_GROUP),
            parent.get("kind") or "Gateway",
            parent.get("namespace") or namespace,
            parent.get("name"),
            parent.get("sectionName"),
            parent.get("port"),
        )

    return key(one) == key(other)


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
