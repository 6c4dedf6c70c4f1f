"""A split is laid beside what the owner wrote: by examples, one or more for each kind."""

from typing import Any

import pytest

from lossless.api import names
from lossless.traffic.routes.edit import lay, rollouts_on
from lossless.traffic.routes.gateway_api import GRPC_ROUTE, HTTP_ROUTE
from lossless.traffic.routes.traefik_service import TRAEFIK_SERVICE
from lossless.traffic.routes.virtual_service import VIRTUAL_SERVICE
from tests.traffic.routes.given import (
    NAMESPACE,
    after,
    backends,
    destination_rule,
    grpc_route,
    http_route,
    ref,
    route,
    split,
    to,
    traefik_service,
    virtual_service,
)


def test_the_whole_patch() -> None:
    change = lay(HTTP_ROUTE, http_route([ref("web", filters=[{"type": "X"}])]), split(0.05))
    text = (
        '{"lists":{"rules/0/backendRefs":[["web:80",null,95000,100000]]},'
        '"rollouts":{"web":{"services":["web"],"share":0.05,"warmup":"web-warmup"}}}'
    )
    assert change.patch == {
        "metadata": {"resourceVersion": "41", "annotations": {names.ORIGINAL_WEIGHTS: text}},
        "spec": {
            "rules": [
                {
                    "backendRefs": [
                        {"name": "web", "port": 80, "filters": [{"type": "X"}], "weight": 95000},
                        {"name": "web-warmup", "port": 80, "filters": [{"type": "X"}], "weight": 5000},
                    ]
                }
            ]
        },
    }


def test_others_keep_their_part() -> None:
    document = http_route([ref("web", 3), ref("api", 1)], [ref("api")])
    assert backends(HTTP_ROUTE, after(HTTP_ROUTE, document, split(0.1))) == [
        [("web", 67500), ("web-warmup", 7500), ("api", 25000)],
        [("api", None)],
    ]


def test_a_share_of_nothing_puts_the_backend_in_without_traffic() -> None:
    laid = after(HTTP_ROUTE, http_route([ref("web")]), split(0.0))
    assert backends(HTTP_ROUTE, laid) == [[("web", 100000), ("web-warmup", 0)]]


def test_weights_that_are_fine_enough_are_not_scaled() -> None:
    laid = after(HTTP_ROUTE, http_route([ref("web", 1_000_000), ref("api", 1_000_000)]), split(0.25))
    assert backends(HTTP_ROUTE, laid) == [[("web", 750_000), ("web-warmup", 250_000), ("api", 1_000_000)]]


def test_a_weight_of_0_gets_no_warm_up_backend() -> None:
    change = lay(HTTP_ROUTE, http_route([ref("web", 0), ref("api", 1)]), split())
    assert change.patch is None
    assert not change.laid


def test_every_service_of_the_workload_is_split() -> None:
    laid = after(
        GRPC_ROUTE, grpc_route([ref("web"), ref("web-internal")]), split(0.5, services=("web", "web-internal"))
    )
    assert backends(GRPC_ROUTE, laid) == [
        [("web", 25000), ("web-warmup", 25000), ("web-internal", 25000), ("web-warmup", 25000)]
    ]


def test_only_services_of_the_routes_own_namespace_are_ours() -> None:
    document = http_route([ref("web", namespace="other")], [ref("web", namespace=NAMESPACE)], [ref("web", kind="X")])
    assert backends(HTTP_ROUTE, after(HTTP_ROUTE, document, split(0.1))) == [
        [("/Service/other/web", None)],
        [("web", 90000), ("web-warmup", 10000)],
        [("/X/shop/web", None)],
    ]


def test_rules_without_backends_are_left_alone() -> None:
    redirect = {"filters": [{"type": "RequestRedirect"}]}
    document = route(HTTP_ROUTE, {"rules": [redirect, {"backendRefs": [ref("web")]}]})
    assert after(HTTP_ROUTE, document, split())["spec"]["rules"][0] == redirect


def test_a_rule_without_room_is_refused() -> None:
    document = http_route([ref("web"), *(ref(f"other-{number}") for number in range(15))])
    change = lay(HTTP_ROUTE, document, split())
    assert change.patch is None
    assert "17 backends" in change.refusal


@pytest.mark.parametrize("weight", [None, 0, 100, 30])
def test_istio_a_lone_destination_gets_everything_whatever_its_weight(weight: int | None) -> None:
    laid = after(VIRTUAL_SERVICE, virtual_service([to("web", weight)]), split(0.2))
    assert backends(VIRTUAL_SERVICE, laid) == [[("web", 80000), ("web-warmup", 20000)]]


def test_istio_an_absent_weight_among_several_is_none() -> None:
    change = lay(VIRTUAL_SERVICE, virtual_service([to("web"), to("api", 100)]), split())
    assert change.patch is None


@pytest.mark.parametrize(
    ("host", "warm"),
    [
        ("web", "web-warmup"),
        ("web.shop.svc.cluster.local", "web-warmup.shop.svc.cluster.local"),
        ("web.shop.svc.corp.example", "web-warmup.shop.svc.corp.example"),
        ("web.shop", None),
        ("web.other.svc.cluster.local", None),
        ("webshop", None),
    ],
)
def test_istio_hosts(host: str, warm: str | None) -> None:
    laid = after(VIRTUAL_SERVICE, virtual_service([to(host)]), split(0.2))
    expected = [[(host, 80000), (warm, 20000)]] if warm else [[(host, None)]]
    assert backends(VIRTUAL_SERVICE, laid) == expected


def test_istio_tcp_and_tls_and_what_is_no_route() -> None:
    spec: dict[str, Any] = {
        "http": [
            {"redirect": {"uri": "/new"}},
            {"delegate": {"name": "web"}},
            {"route": [to("api")], "mirror": {"host": "web"}},
        ],
        "tcp": [{"route": [to("web")]}],
        "tls": [{"match": [{"sniHosts": ["web"]}], "route": [to("web")]}],
    }
    laid = after(VIRTUAL_SERVICE, route(VIRTUAL_SERVICE, spec), split(0.5))
    assert laid["spec"]["http"] == spec["http"]
    for protocol in ("tcp", "tls"):
        assert [one["weight"] for one in laid["spec"][protocol][0]["route"]] == [50000, 50000]


def test_istio_a_subset_needs_its_own_share_and_a_rule_for_the_warm_up_service() -> None:
    document = virtual_service([to("web", 90, "v1"), to("web", 10, "v2")])
    assert lay(VIRTUAL_SERVICE, document, split(0.5)).patch is None, "no share for either"

    wanted = split(0.5, subsets={"v2": 0.5})
    assert "subset v2" in lay(VIRTUAL_SERVICE, document, wanted).refusal
    rule = destination_rule("web-warmup", subsets=[{"name": "v2", "labels": {"version": "v2"}}])
    laid = lay(VIRTUAL_SERVICE, document, wanted, [rule])
    assert [(one["destination"], one["weight"]) for one in laid.document["spec"]["http"][0]["route"]] == [
        ({"host": "web", "port": {"number": 80}, "subset": "v1"}, 90000),
        ({"host": "web", "port": {"number": 80}, "subset": "v2"}, 5000),
        ({"host": "web-warmup", "port": {"number": 80}, "subset": "v2"}, 5000),
    ]


def test_traefik() -> None:
    others = [ref("web", kind="TraefikService"), ref("web@file"), ref("web", namespace="other"), ref("api", 0)]
    laid = after(TRAEFIK_SERVICE, traefik_service(ref("web", 2), *others), split(0.1))
    assert backends(TRAEFIK_SERVICE, laid) == [
        [
            ("web", 36000),
            ("web-warmup", 4000),
            ("TraefikService/shop/web", 20000),
            ("Service/shop/web@file", 20000),
            ("Service/other/web", 20000),
            ("api", 0),
        ]
    ]


def test_two_rollouts_behind_one_service_each_stand_to_it_as_they_asked() -> None:
    laid = after(HTTP_ROUTE, http_route([ref("web")]), split(0.5), split(0.5, rollout="blue"))
    assert backends(HTTP_ROUTE, laid) == [[("web", 33333), ("blue-warmup", 33333), ("web-warmup", 33334)]]
    assert rollouts_on(laid) == ("blue", "web")


# -- what must not be split -------------------------------------------------------------------------------------------

HASHED = {"loadBalancer": {"consistentHash": {"httpHeaderName": "x-user"}}}


@pytest.mark.parametrize(
    "rule",
    [
        destination_rule(trafficPolicy=HASHED),
        destination_rule("web.shop.svc.cluster.local", "mesh", trafficPolicy=HASHED),
        destination_rule("*.shop.svc.cluster.local", "mesh", trafficPolicy=HASHED),
        destination_rule(trafficPolicy={"portLevelSettings": [{"port": {"number": 80}, **HASHED}]}),
        destination_rule(subsets=[{"name": "v1", "trafficPolicy": HASHED}]),
    ],
)
def test_a_hash_for_affinity_is_not_split(rule: dict[str, Any]) -> None:
    for kind, document in ((VIRTUAL_SERVICE, virtual_service([to("web")])), (HTTP_ROUTE, http_route([ref("web")]))):
        change = lay(kind, document, split(), [rule])
        assert change.patch is None
        assert "consistentHash" in change.refusal


@pytest.mark.parametrize(
    "rules",
    [
        [destination_rule("api", trafficPolicy=HASHED)],
        [destination_rule("web", "other", trafficPolicy=HASHED)],
        [destination_rule("*.local", trafficPolicy=HASHED), destination_rule("web")],
    ],
    ids=["of another host", "of another namespace", "overruled by a more specific one"],
)
def test_a_hash_that_does_not_concern_us_is_no_matter(rules: list[dict[str, Any]]) -> None:
    assert lay(VIRTUAL_SERVICE, virtual_service([to("web")]), split(), rules).laid


@pytest.mark.parametrize(
    "spec",
    [
        {"highestRandomWeight": {"services": [ref("web"), ref("api")]}},
        {"weighted": {"services": [ref("web")], "sticky": {"cookie": {}}}},
        {"weighted": {"services": [ref("web", sticky={"cookie": {}})]}},
        {"weighted": {"services": [ref("web", strategy="hrw")]}},
    ],
)
def test_traefik_affinity_is_not_split(spec: dict[str, Any]) -> None:
    change = lay(TRAEFIK_SERVICE, route(TRAEFIK_SERVICE, spec), split())
    assert change.patch is None
    assert change.refusal


def test_sessions_of_the_gateway_api_are_not_split() -> None:
    document = route(HTTP_ROUTE, {"rules": [{"backendRefs": [ref("web")], "sessionPersistence": {"type": "Cookie"}}]})
    assert "sessionPersistence" in lay(HTTP_ROUTE, document, split()).refusal
    session = {
        "targetRefs": [{"group": "", "kind": "Service", "name": "web"}],
        "sessionPersistence": {"type": "Cookie"},
    }
    hashed = {
        "targetRef": {"kind": "HTTPRoute", "name": "front"},
        "loadBalancer": {"type": "ConsistentHash"},
    }
    for kind, spec in (("XBackendTrafficPolicy", session), ("BackendTrafficPolicy", hashed)):
        policy = {"kind": kind, "metadata": {"name": "p", "namespace": NAMESPACE}, "spec": spec}
        assert lay(HTTP_ROUTE, http_route([ref("web")]), split(), [policy]).refusal
        elsewhere = {**policy, "metadata": {"name": "p", "namespace": "other"}}
        assert lay(HTTP_ROUTE, http_route([ref("web")]), split(), [elsewhere]).laid


def test_affinity_that_comes_while_pods_ramp_takes_the_split_out() -> None:
    document = virtual_service([to("web")])
    change = lay(
        VIRTUAL_SERVICE, after(VIRTUAL_SERVICE, document, split()), split(), [destination_rule(trafficPolicy=HASHED)]
    )
    assert change.document == document
    assert change.refusal
