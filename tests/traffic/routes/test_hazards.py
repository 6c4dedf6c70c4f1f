"""A hazard of ramping is seen, with what it can cost and what to do; a sound set-up has none."""

import json
from typing import Any

import pytest

from lossless.api.resource import Finding
from lossless.api.routes import Ramp, RouteRef
from lossless.traffic.routes.edit import lay
from lossless.traffic.routes.hazards import CHECKS, Named, RouteFacts, find
from lossless.traffic.routes.kinds import KINDS
from tests.traffic.routes.given import (
    NAMESPACE,
    destination_rule,
    http_route,
    ref,
    split,
    to,
    traefik_service,
    virtual_service,
)
from tests.traffic.routes.test_status import ACCEPTED, GATE, RESOLVED, condition

HASHED = {"loadBalancer": {"consistentHash": {"useSourceIp": True}}}


def named(document: dict[str, Any] | None, kind: str = "HTTPRoute") -> Named:
    return Named(RouteRef.model_validate({"kind": document["kind"] if document else kind, "name": "front"}), document)


def found(*documents: dict[str, Any] | None, ramp: Ramp | None = Ramp(), **more: Any) -> list[Finding]:  # noqa: B008
    return find(RouteFacts(NAMESPACE, split(), ramp, routes=tuple(named(one) for one in documents), **more))


def reasons(*documents: dict[str, Any] | None, **more: Any) -> list[str]:
    return [finding.reason for finding in found(*documents, **more)]


def ingress(service: str = "web", **annotations: str) -> dict[str, Any]:
    path = {"path": "/", "backend": {"service": {"name": service, "port": {"number": 80}}}}
    return {
        "kind": "Ingress",
        "metadata": {"name": "shop", "namespace": NAMESPACE, "annotations": annotations},
        "spec": {"rules": [{"http": {"paths": [path]}}]},
    }


SERVICE_UPSTREAM = {"nginx.ingress.kubernetes.io/service-upstream": "true"}
CANARY = {"nginx.ingress.kubernetes.io/canary": "true"}


def alb(service: str) -> dict[str, str]:
    groups = [{"serviceName": service, "servicePort": 80, "weight": 9}]
    action = {"type": "forward", "forwardConfig": {"targetGroups": groups}}
    return {"alb.ingress.kubernetes.io/actions.front": json.dumps(action)}


def test_a_sound_set_up_has_none() -> None:
    assert reasons(http_route([ref("web")]), virtual_service([to("web")]), traefik_service(ref("web"))) == []


def test_nor_has_one_without_a_ramp() -> None:
    assert reasons(ramp=None) == []


@pytest.mark.parametrize(
    ("reason", "documents", "more"),
    [
        ("RouteMissing", [None], {}),
        ("RouteNamesOtherServices", [http_route([ref("api")])], {}),
        ("RouteNamesOtherServices", [http_route([ref("web", namespace="other")])], {}),
        (
            "RouteNotAccepted",
            [
                http_route([ref("web")])
                | {
                    "status": {
                        "parents": [{"parentRef": GATE, "conditions": [condition("Accepted", "False"), RESOLVED]}]
                    }
                }
            ],
            {},
        ),
        ("RouteNotSplit", [virtual_service([to("web")])], {"policies": [destination_rule(trafficPolicy=HASHED)]}),
        ("RampWithoutWeights", [], {}),
        ("RouteSplitByOwner", [http_route([ref("web", 9), ref("web-canary", 1)])], {}),
        ("IngressServiceUpstream", [http_route([ref("web")])], {"ingresses": [ingress(**SERVICE_UPSTREAM)]}),
        ("IngressCanary", [http_route([ref("web")])], {"ingresses": [ingress(**CANARY)]}),
        ("AlbWeights", [http_route([ref("web")])], {"ingresses": [ingress("front", **alb("web"))]}),
        (
            "OutlierDetection",
            [virtual_service([to("web")])],
            {"policies": [destination_rule(trafficPolicy={"outlierDetection": {"consecutive5xxErrors": 5}})]},
        ),
        (
            "RampedTwice",
            [virtual_service([to("web")])],
            {"policies": [destination_rule(trafficPolicy={"loadBalancer": {"warmup": {"duration": "60s"}}})]},
        ),
    ],
)
def test_a_hazard_is_found(reason: str, documents: list[Any], more: dict[str, Any]) -> None:
    hazards = found(*documents, **more)
    assert [one.reason for one in hazards] == [reason]
    assert hazards[0].message
    assert hazards[0].fix


@pytest.mark.parametrize(
    ("on", "expected"), [("5xx,reset", ["RetriesHideColdPods"]), ("connect-failure", []), ("", [])]
)
def test_retries_of_answers(on: str, expected: list[str]) -> None:
    document = virtual_service([to("web")])
    document["spec"]["http"][0]["retries"] = {"attempts": 2, "retryOn": on}
    assert reasons(document) == expected


@pytest.mark.parametrize(
    "annotations", [SERVICE_UPSTREAM, CANARY, alb("api"), {"alb.ingress.kubernetes.io/actions.x": "{"}]
)
def test_an_ingress_of_others_is_no_matter(annotations: dict[str, str]) -> None:
    assert reasons(http_route([ref("web")]), ingresses=[ingress("api", **annotations)]) == []


def test_registries_with_weights_carry_a_ramp() -> None:
    assert reasons(weighing_registries=True) == []


def test_our_own_split_is_not_the_owners() -> None:
    document = http_route([ref("web")])
    laid = lay(KINDS[named(document).ref.kind], document, split()).document
    assert reasons(dict(laid)) == []


def test_a_route_that_its_gateway_has_taken_is_sound() -> None:
    said = {"status": {"parents": [{"parentRef": GATE, "conditions": [ACCEPTED, RESOLVED]}]}}
    assert reasons(http_route([ref("web")]) | said) == []


def test_text_fits_into_the_status() -> None:
    many = [named(None) for _ in range(500)]
    assert all(
        len(one.message) <= 1024 and len(one.fix) <= 1024
        for one in find(RouteFacts(NAMESPACE, split(), routes=tuple(many)))
    )
    assert len({check.__name__ for check in CHECKS}) == len(CHECKS)
