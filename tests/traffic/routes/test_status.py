"""Whether a gateway has taken a route is told from what it says of this generation, and of no other."""

from typing import Any

import pytest

from lossless.traffic.routes.status import Answer, taken
from tests.traffic.routes.given import http_route, ref, traefik_service, virtual_service

GATE = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gate"}


def condition(kind: str, status: str = "True", generation: int = 3, reason: str = "X") -> dict[str, Any]:
    return {"type": kind, "status": status, "observedGeneration": generation, "reason": reason, "message": "why"}


def answered(*conditions: dict[str, Any], parent: dict[str, Any] = GATE) -> dict[str, Any]:
    return http_route([ref("web")]) | {"status": {"parents": [{"parentRef": parent, "conditions": list(conditions)}]}}


ACCEPTED, RESOLVED = condition("Accepted"), condition("ResolvedRefs")


@pytest.mark.parametrize(
    ("document", "answer", "evidence"),
    [
        (answered(ACCEPTED, RESOLVED), Answer.TAKEN, "Gateway gate says Accepted and ResolvedRefs of generation 3"),
        (http_route([ref("web")]), Answer.PENDING, "Gateway gate has not answered"),
        (answered(ACCEPTED, RESOLVED, parent=GATE | {"name": "x"}), Answer.PENDING, "Gateway gate has not answered"),
        (answered(ACCEPTED), Answer.PENDING, "not said ResolvedRefs"),
        (answered(condition("Accepted", generation=2), RESOLVED), Answer.PENDING, "not said Accepted of generation 3"),
        (answered(condition("Accepted", "Unknown"), RESOLVED), Answer.PENDING, "Accepted=Unknown"),
        (answered(condition("Accepted", "False", reason="Pending"), RESOLVED), Answer.PENDING, "Accepted=False"),
        (
            answered(ACCEPTED, condition("ResolvedRefs", "False", reason="BackendNotFound")),
            Answer.REFUSED,
            "BackendNotFo",
        ),
        (answered(condition("Accepted", "False", generation=2), RESOLVED), Answer.PENDING, "not said Accepted"),
        (virtual_service(), Answer.SILENT, "VirtualService"),
        (traefik_service(), Answer.SILENT, "TraefikService"),
    ],
)
def test_what_the_gateways_say(document: dict[str, Any], answer: Answer, evidence: str) -> None:
    found = taken(document)
    assert found.answer is answer
    assert evidence in found.evidence


def test_every_parent_must_have_taken_it() -> None:
    document = answered(ACCEPTED, RESOLVED)
    document["spec"]["parentRefs"].append({"name": "gate", "sectionName": "internal"})
    assert taken(document).answer is Answer.PENDING
    inside = {"parentRef": GATE | {"sectionName": "internal", "namespace": "shop"}, "conditions": [ACCEPTED, RESOLVED]}
    document["status"]["parents"].append(inside)
    assert taken(document).answer is Answer.TAKEN


def test_a_route_without_a_parent_is_served_by_nobody() -> None:
    document = answered(ACCEPTED, RESOLVED)
    document["spec"]["parentRefs"] = []
    assert taken(document).answer is Answer.REFUSED
