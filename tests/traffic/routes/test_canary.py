"""The canary beside an Ingress: what is in it, and where there must be none."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossless.traffic.routes.canary import (
    CONTROLLER,
    Around,
    Owner,
    canary,
    canary_name,
    owner_of,
    percent,
    refusal,
)
from lossless.traffic.routes.ingress import INGRESS
from lossless.traffic.routes.nginx import CLASS
from lossless.traffic.routes.route import names_ours
from tests.traffic.routes.given import Object, route, split

NGINX = "nginx.ingress.kubernetes.io/"
OF_NGINX = {"ingressClassName": "nginx"}


def path(service: str, at: str = "/", port: int | str = 80, kind: str = "Prefix") -> Object:
    reference = {"number": port} if isinstance(port, int) else {"name": port}
    return {"path": at, "pathType": kind, "backend": {"service": {"name": service, "port": reference}}}


def rule(*paths: Object, host: str = "shop.example") -> Object:
    return ({"host": host} if host else {}) | {"http": {"paths": list(paths)}}


def ingress(*rules: Object, name: str = "front", marks: dict[str, str] | None = None, **spec: Any) -> Object:
    """Of ingress-nginx; `marks` are annotations of it."""
    annotations = {f"{NGINX}{mark}": value for mark, value in (marks or {}).items()}
    made = route(INGRESS, OF_NGINX | spec | {"rules": list(rules)}, name=name, uid=f"uid-{name}")
    made["metadata"]["annotations"] = annotations
    return made


def by_annotation(document: Object, named: str) -> Object:
    """The same with the annotation that was there before the field."""
    del document["spec"]["ingressClassName"]
    document["metadata"]["annotations"][CLASS] = named
    return document


def around(*ingresses: Object, controller: str = CONTROLLER, **more: Any) -> Around:
    return Around(controller, ingresses=ingresses, **more)


FRONT = ingress(rule(path("web")))


# -- what is in it -----------------------------------------------------------------------------------------------------


def test_it_has_two_annotations_and_of_the_owners_rules_what_leads_to_the_workload() -> None:
    owners = ingress(
        rule(path("web", "/", "http"), path("api", "/api"), path("web", "/exact", kind="Exact")),
        rule(path("api"), host="api.example"),
        rule(path("web", "/any", 8080), host=""),
        tls=[{"hosts": ["shop.example"], "secretName": "shop"}],
        defaultBackend={"service": {"name": "web", "port": {"number": 80}}},
        marks={"rewrite-target": "/", "proxy-body-size": "8m"},
    )
    assert canary(owners, split(0.166)) == {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "name": canary_name("web", "front"),
            "namespace": "shop",
            "labels": {"lossless.dev/rollout": "web", "app.kubernetes.io/managed-by": "lossless.dev"},
            "annotations": {f"{NGINX}canary": "true", f"{NGINX}canary-weight": "17"},
            "ownerReferences": [
                {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "front", "uid": "uid-front"}
            ],
        },
        "spec": {
            "ingressClassName": "nginx",
            "rules": [
                rule(path("web-warmup", "/", "http"), path("web-warmup", "/exact", kind="Exact")),
                rule(path("web-warmup", "/any", 8080), host=""),
            ],
        },
    }


def test_a_class_that_is_named_by_annotation_is_named_so_again() -> None:
    """A new Ingress may not have both."""
    made = canary(by_annotation(ingress(rule(path("web"))), "nginx"), split())
    assert made["metadata"]["annotations"][CLASS] == "nginx"
    assert "ingressClassName" not in made["spec"]


def test_a_canary_of_ours_is_known_again_and_no_other() -> None:
    ours = canary(FRONT, split())
    assert owner_of(ours) == Owner("web", "front")
    assert owner_of(FRONT) is None
    assert owner_of(ours | {"metadata": ours["metadata"] | {"name": "another"}}) is None
    assert owner_of(ours | {"metadata": ours["metadata"] | {"labels": {}}}) is None
    assert owner_of(ours | {"metadata": ours["metadata"] | {"annotations": {}}}) is None


@pytest.mark.parametrize("name", ["front", "a" * 253, "a" * 229 + ".b" + "c" * 20])
def test_its_name_is_one(name: str) -> None:
    found = canary_name("web", name)
    assert len(found) <= 253
    assert ".-" not in found
    assert found != canary_name("web-too", name)
    assert found != canary_name("web", name[:-1])


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_percents_are_whole_and_grow_with_the_share_and_are_never_all(one: float, other: float) -> None:
    less, more = sorted((one, other))
    assert 0 <= percent(less) <= percent(more) <= 99
    assert abs(percent(less) - 100 * less) <= 1


services = st.sampled_from(["web", "web-too", "api", "web-warmup"])
paths = st.builds(path, services, st.sampled_from(["/", "/a", "/b"]), st.sampled_from([80, "http"]))
rules = st.lists(paths, min_size=1, max_size=4).flatmap(
    lambda drawn: st.builds(lambda host: rule(*drawn, host=host), st.sampled_from(["", "a.example", "b.example"]))
)


def served(document: Object) -> list[tuple[str, str, str]]:
    return [
        (each.get("host", ""), one["path"], str(one["backend"]["service"]["port"]))
        for each in document["spec"]["rules"]
        for one in each["http"]["paths"]
    ]


@given(st.lists(rules, min_size=1, max_size=3))
def test_it_serves_what_the_owner_serves_by_the_workload_and_leads_nowhere_else(drawn: list[Object]) -> None:
    wanted = split(services=("web", "web-too"))
    owners = ingress(*drawn)
    made = canary(owners, wanted)
    assert set(served(made)) <= set(served(owners))
    assert not names_ours(INGRESS, made, frozenset({"web", "web-too", "api"}))
    assert bool(served(made)) == names_ours(INGRESS, owners, wanted.services)


# -- where there must be none ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [FRONT, by_annotation(ingress(rule(path("web"))), "nginx"), ingress(rule(path("api"), path("web", "/web")))],
)
def test_an_ingress_of_ingress_nginx_may_have_one(document: Object) -> None:
    assert refusal(document, split(), around(document)) == ""


BY_NOBODY = ingress(rule(path("web")))
del BY_NOBODY["spec"]["ingressClassName"]
BY_TWO = ingress(rule(path("web")))
BY_TWO["metadata"]["annotations"][CLASS] = "other"
BY_DEFAULT = ingress(rule(path("api")), defaultBackend={"service": {"name": "web", "port": {"number": 80}}})


@pytest.mark.parametrize(
    ("document", "beside", "why"),
    [
        (FRONT, around(controller="traefik.io/ingress-controller"), "nginx is of traefik.io/ingress-controller"),
        (FRONT, around(controller="k8s.io/ingress-nginx-internal"), "which may not know canaries"),
        (FRONT, around(controller="", unread="its IngressClass nginx is not there"), "is not there"),
        (FRONT, Around(), "nginx is of no controller"),
        (BY_NOBODY, around(), "names no IngressClass"),
        (BY_TWO, around(), "two IngressClasses, nginx and other"),
        (ingress(rule(path("api"))), around(), "no path of it leads to a Service of these pods"),
        (BY_DEFAULT, around(), "no path of it leads to a Service of these pods"),
        (ingress(rule(path("web")), marks={"canary": "true"}), around(), "a canary itself"),
        (ingress(rule(path("web")), marks={"canary": "1"}), around(), "a canary itself"),
        (ingress(rule(path("web")), marks={"affinity": "cookie"}), around(), f"front has {NGINX}affinity"),
        (ingress(rule(path("web")), marks={"upstream-hash-by": "$arg_user"}), around(), "would move clients"),
        (ingress(rule(path("web")), marks={"ssl-passthrough": "true"}), around(), "goes past every canary"),
        (FRONT, around(FRONT, ingress(name=canary_name("web", "front"))), "another Ingress front-warmup-"),
    ],
)
def test_where_there_must_be_none(document: Object, beside: Around, why: str) -> None:
    assert why in refusal(document, split(), beside)


def test_an_ingress_of_the_same_service_that_keeps_clients_is_divided_too() -> None:
    """nginx and Traefik divide what leads to a Service, by whatever Ingress."""
    keeps = {"affinity": "cookie"}
    sticky = ingress(rule(path("web"), host="sticky.example"), name="sticky", marks=keeps)
    assert "Ingress sticky has" in refusal(FRONT, split(), around(FRONT, sticky))
    elsewhere = ingress(rule(path("api"), host="sticky.example"), name="sticky", marks=keeps)
    assert refusal(FRONT, split(), around(FRONT, elsewhere)) == ""


def test_one_canary_counts_so_ours_does_not_come_beside_another() -> None:
    marks = {"canary": "true", "canary-weight": "10"}
    theirs = ingress(rule(path("web-next")), name="next", marks=marks)
    assert "a canary already, Ingress next" in refusal(FRONT, split(), around(FRONT, theirs))
    of_another_rollout = canary(FRONT, split(rollout="other"))
    assert "a canary already" in refusal(FRONT, split(), around(FRONT, of_another_rollout))
    assert refusal(FRONT, split(), around(FRONT, canary(FRONT, split()))) == ""


def test_a_canary_of_another_ingress_counts_where_that_leads_to_the_same_service() -> None:
    other = ingress(rule(path("web"), host="other.example"), name="other")
    theirs = ingress(rule(path("web-next"), host="other.example"), name="next", marks={"canary": "true"})
    assert "a canary already" in refusal(FRONT, split(), around(FRONT, other, theirs))
    elsewhere = ingress(rule(path("api"), host="other.example"), name="other")
    assert refusal(FRONT, split(), around(FRONT, elsewhere, theirs)) == ""
