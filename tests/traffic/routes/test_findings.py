"""A hazard of ramping is seen, with what it can cost and what to do; a sound set-up has none."""

import json
from typing import Any

import pytest

from lossless.analysis.checks import MAX_TEXT
from lossless.api.resource import Finding
from lossless.api.routes import RouteKind, RouteRef
from lossless.traffic.routes.canary import CONTROLLER, Around
from lossless.traffic.routes.edit import lay
from lossless.traffic.routes.findings import CHECKS, RouteFacts, find, not_split, refusals
from lossless.traffic.routes.gateway_api import HTTP_ROUTE
from lossless.traffic.routes.policies import obeys_destination_rules
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


def service(name: str = "web", **port: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80} | port]}}


def facts(*documents: dict[str, Any], ramps: bool = True, **more: Any) -> RouteFacts:
    routes = {
        RouteRef.model_validate({"kind": one["kind"], "name": f"front-{at}"}): one for at, one in enumerate(documents)
    }
    return RouteFacts(NAMESPACE, "web", more.pop("services", [service()]), ramps, routes, **more)


def found(*documents: dict[str, Any], **more: Any) -> list[Finding]:
    seen = facts(*documents, **more)
    return [*not_split(refusals(seen)), *find(seen)]


def reasons(*documents: dict[str, Any], **more: Any) -> list[str]:
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


def test_an_ingress_that_may_have_a_canary_beside_it_is_sound() -> None:
    document = ingress()
    document["spec"]["ingressClassName"] = "nginx"
    named = RouteRef(kind=RouteKind.INGRESS, name="front-0")
    assert reasons(document, around={named: Around(CONTROLLER)}) == []


def test_without_a_ramp_nothing_is_written_to_a_route_so_nothing_is_said_of_it() -> None:
    documents = [http_route([ref("api")]), http_route([ref("web", 9), ref("api", 1)])]
    assert reasons(*documents, ramps=False, ingresses=[ingress(**CANARY), ingress(**alb("web"))]) == []


def test_connections_that_stay_with_a_pod_are_a_hazard_without_a_ramp_as_well() -> None:
    assert reasons(ramps=False, ingresses=[ingress(**SERVICE_UPSTREAM)]) == ["IngressServiceUpstream"]


REFUSED = {"status": {"parents": [{"parentRef": GATE, "conditions": [condition("Accepted", "False"), RESOLVED]}]}}


@pytest.mark.parametrize(
    ("document", "more", "why"),
    [
        (http_route([ref("api")]), {}, "names no Service of these pods"),
        (http_route([ref("web", namespace="other")]), {}, "names no Service of these pods"),
        (http_route([ref("web")]) | REFUSED, {}, "Accepted=False"),
        (http_route([ref(f"web-{at}") for at in range(15)] + [ref("web")]), {}, "allows 16"),
        (virtual_service([to("web")]), {"policies": [destination_rule(trafficPolicy=HASHED)]}, "consistentHash"),
        (traefik_service(ref("web", sticky={"cookie": {}})), {}, "sticky"),
        (ingress("api"), {}, "names no Service of these pods"),
        (ingress(), {}, "names no IngressClass"),
        (
            http_route([ref("web"), ref("admin")]),
            {"services": [service(), service("admin", targetPort=9000)]},
            "port 80 leads to 80 and to 9000",
        ),
    ],
)
def test_why_a_route_would_not_be_split_is_known_before_a_ramp(
    document: dict[str, Any], more: dict[str, Any], why: str
) -> None:
    [finding] = not_split(refusals(facts(document, **more)))
    assert finding.reason == "RouteNotSplit"
    assert f"{document['kind']} front-0: " in finding.message
    assert why in finding.message


def test_destination_rules_are_obeyed_where_istio_serves_a_route() -> None:
    said = {"status": {"parents": [{"parentRef": GATE, "controllerName": "istio.io/gateway-controller"}]}}
    assert obeys_destination_rules(virtual_service([to("web")]))
    assert obeys_destination_rules(http_route([ref("web")]) | said)
    assert not obeys_destination_rules(http_route([ref("web")]))


@pytest.mark.parametrize(
    ("reason", "documents", "more"),
    [
        ("RouteSplitByOwner", [http_route([ref("web", 9), ref("web-canary", 1)])], {}),
        ("IngressServiceUpstream", [http_route([ref("web")])], {"ingresses": [ingress(**SERVICE_UPSTREAM)]}),
        ("IngressCanary", [http_route([ref("web")])], {"ingresses": [ingress(**CANARY)]}),
        ("IngressCanary", [http_route([ref("web")])], {"ingresses": [ingress(**dict.fromkeys(CANARY, "1"))]}),
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
        ("HashByAddress", [], {"policies": [destination_rule(trafficPolicy=HASHED)], "ramps": False, "affine": True}),
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


def test_our_own_split_is_not_the_owners() -> None:
    document = http_route([ref("web")])
    laid = lay(HTTP_ROUTE, document, split()).document
    assert reasons(dict(laid)) == []


def test_a_route_that_its_gateway_has_taken_is_sound() -> None:
    said = {"status": {"parents": [{"parentRef": GATE, "conditions": [ACCEPTED, RESOLVED]}]}}
    assert reasons(http_route([ref("web")]) | said) == []


def test_text_fits_into_the_status() -> None:
    [finding] = not_split({f"HTTPRoute {at}": "it is not there" for at in range(500)})
    assert len(finding.message) == MAX_TEXT
    assert len({check.__name__ for check in CHECKS}) == len(CHECKS)
