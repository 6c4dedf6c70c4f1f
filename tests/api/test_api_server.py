"""What a real API server makes of the definition: it takes it, fills in defaults, and refuses what makes no sense."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from localcluster.api import ApiError
from localcluster.box import Box
from lossless.api.resource import LosslessRollout

PATH = "/apis/lossless.dev/v1alpha1/namespaces/default/losslessrollouts"
MERGE = "application/merge-patch+json"
PORT = {"port": 8080}


def rollout(name: str = "web", target: Any = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "lossless.dev/v1alpha1",
        "kind": "LosslessRollout",
        "metadata": {"name": name},
        "spec": {"targetRef": target or {"name": "web"}, **spec},
    }


def with_request(**request: Any) -> dict[str, Any]:
    return {"warmup": {"requests": [request]}}


def with_header(**header: Any) -> dict[str, Any]:
    return with_request(**PORT, headers=[header])


def stored(box: Box, rollout: dict[str, Any]) -> dict[str, Any]:
    """The resource as it would be stored (a dry run). Raises ApiError when it is refused."""
    made: dict[str, Any] = box.api.request("POST", f"{PATH}?dryRun=All&fieldValidation=Strict", rollout)
    return made


def refusal(box: Box, rollout: dict[str, Any]) -> str:
    with pytest.raises(ApiError) as refused:
        stored(box, rollout)
    assert refused.value.status in (400, 422)
    return str(refused.value)


@pytest.fixture
def web(box: Box) -> Iterator[str]:
    """The path of a LosslessRollout that is there."""
    box.api.request("POST", PATH, rollout())
    yield f"{PATH}/web"
    box.api.request("DELETE", f"{PATH}/web")


def test_the_definition_is_accepted_without_a_complaint(box: Box) -> None:
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/losslessrollouts.lossless.dev"
    conditions = box.api.request("GET", path)["status"]["conditions"]
    assert {"Established": "True", "NamesAccepted": "True"}.items() <= {
        condition["type"]: condition["status"] for condition in conditions
    }.items()
    assert "NonStructuralSchema" not in {condition["type"] for condition in conditions}


def test_a_target_alone_is_enough_and_defaults_are_filled_in(box: Box) -> None:
    """Policies read `params.spec.drain.settle` and must find it in every resource."""
    made = stored(box, rollout())
    assert made["spec"] == {
        "mode": "Enforce",
        "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "warmup": {"delay": "0s", "onFailure": "Continue", "maxParallel": "25%", "timeout": "10m"},
        "drain": {"settle": "5s", "timeout": "10m", "onTimeout": "Hold", "disruption": "Graceful"},
        "traffic": {"affinity": "None"},
        "autoscaler": {"mode": "Hold", "maxHold": "30m"},
    }
    assert "status" not in made


def test_the_defaults_of_the_api_server_are_those_of_the_models(box: Box) -> None:
    plain = LosslessRollout.model_validate(rollout(**with_request(**PORT)))
    assert LosslessRollout.model_validate(stored(box, rollout(**with_request(**PORT)))) == plain


def test_defaults_are_filled_in_below_what_is_given(box: Box) -> None:
    assert stored(box, rollout(drain={"settle": "16s"}))["spec"]["drain"]["onTimeout"] == "Hold"
    (request,) = stored(box, rollout(**with_request(**PORT)))["spec"]["warmup"]["requests"]
    assert request == {
        "port": 8080, "path": "/", "method": "GET", "count": 50, "concurrency": 2, "timeout": "10s",
    }  # fmt: skip


@pytest.mark.parametrize(
    "spec",
    [
        {"mode": "Observe"},
        {"drain": {"settle": "0s"}},
        {"drain": {"settle": "59m59s", "timeout": "1h"}},
        {"drain": {"inFlight": {"port": "metrics", "metric": "http_in_flight"}}},
        {"warmup": {"maxParallel": 3}},
        {"traffic": {"registries": [{"name": "gateway", "http": {"gone": {"url": "http://gateway:9000/{ip}"}}}]}},
        {"traffic": {"affinity": "Hash"}},
        {"warmup": {"maxParallel": "100%"}},
        {"warmup": {"delay": "1m30s", "timeout": "24h"}},
        with_request(exec={"command": ["/warm"]}),
        with_request(port="http", until={"p95": "100ms"}),
        with_header(name="Host", value="web.example.com"),
        with_header(name="X-Tab", value="a\tb"),
    ],
    ids=json.dumps,
)
def test_what_makes_sense_is_accepted(box: Box, spec: dict[str, Any]) -> None:
    stored(box, rollout(**spec))


ETCD = {"endpoints": ["http://etcd:2379"], "prefix": "web/"}
HOOK = {"url": "http://gateway:9000/{ip}"}


TLS = {"serverName": "registry.example.com"}
DUBBO = {"zookeeper": ["zookeeper:2181"], "application": "web"}
NACOS = {"servers": ["http://nacos-0:8848/nacos"], "service": "web"}


def with_registry(**fields: Any) -> dict[str, Any]:
    return {"traffic": {"registries": [{"name": "one", **fields}]}}


HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "negative settle": ({"drain": {"settle": "-5s"}}, "spec.drain.settle"),
    "no unit": ({"drain": {"settle": "5"}}, "spec.drain.settle"),
    "empty duration": ({"drain": {"settle": ""}}, "spec.drain.settle"),
    "a number for a duration": ({"drain": {"settle": 5}}, "spec.drain.settle"),
    "arabic digits": ({"drain": {"settle": "\u0665s"}}, "spec.drain.settle"),
    "a line break after a duration": ({"drain": {"settle": "5s\n"}}, "spec.drain.settle"),
    "a duration that overflows": ({"drain": {"settle": "9999999h"}}, "spec.drain.settle"),
    "the longest duration there is": ({"drain": {"settle": "999999.999h"}}, "must be shorter than an hour"),
    "settle of an hour": ({"drain": {"settle": "1h", "timeout": "2h"}}, "drain.settle must be shorter than an hour"),
    "settle as long as the timeout": ({"drain": {"settle": "10m"}}, "drain.timeout must be longer than drain.settle"),
    "settle beyond the timeout": (
        {"drain": {"settle": "20s", "timeout": "10s"}}, "drain.timeout must be longer than drain.settle",
    ),
    "a drain of two days": ({"drain": {"timeout": "48h"}}, "drain.timeout must be a day or less"),
    "a delay beyond the timeout": (
        {"warmup": {"delay": "11m"}}, "warmup.timeout must be longer than warmup.delay",
    ),
    "a warm-up of two days": ({"warmup": {"timeout": "48h"}}, "warmup.timeout must be a day or less"),
    "a hold of a second": ({"autoscaler": {"maxHold": "1s"}}, "autoscaler.maxHold must be from 1m to 24h"),
    "a hold of two days": ({"autoscaler": {"maxHold": "48h"}}, "autoscaler.maxHold must be from 1m to 24h"),
    "an unknown mode": ({"mode": "enforce"}, 'supported values: "Enforce", "Observe"'),
    "an unknown way to end": ({"drain": {"onTimeout": "Kill"}}, 'supported values: "Hold", "Release"'),
    "an unknown field": ({"drian": {}}, 'unknown field "spec.drian"'),
    "both port and exec": (
        with_request(port=1, exec={"command": ["x"]}), "give exactly one of port (a request to the pod) and exec",
    ),
    "neither port nor exec": (with_request(), "give exactly one of port (a request to the pod) and exec"),
    "port 0": (with_request(port=0), "spec.warmup.requests[0].port"),
    "a negative port": (with_request(port=-1), "spec.warmup.requests[0].port"),
    "port 65536": (with_request(port=65_536), "spec.warmup.requests[0].port"),
    "a port that is no name": (with_request(port="HTTP!"), "spec.warmup.requests[0].port"),
    "a port that is a list": (with_request(port=[80]), "spec.warmup.requests[0].port"),
    "no requests": (with_request(**PORT, count=0), "should be greater than or equal to 1"),
    "a flood": (with_request(**PORT, count=10**9), "should be less than or equal to 100000"),
    "a number beyond 64 bits": (with_request(**PORT, count=10**30), "spec.warmup.requests[0].count"),
    "a fraction": (with_request(**PORT, count=1.5), "spec.warmup.requests[0].count"),
    "a thousand at a time": (with_request(**PORT, concurrency=1000), "should be less than or equal to 100"),
    "no time for a request": (with_request(**PORT, timeout="0s"), "a request's timeout must be longer than 0s"),
    "a path without a slash": (with_request(**PORT, path="warm"), "spec.warmup.requests[0].path"),
    "a path of another host": (with_request(**PORT, path="http://example.com/"), "spec.warmup.requests[0].path"),
    "a second request in the path": (
        with_request(**PORT, path="/ HTTP/1.1\r\nHost: x\r\n\r\nGET /"), "spec.warmup.requests[0].path",
    ),
    "a path that is not encoded": (with_request(**PORT, path="/\u00fc"), "spec.warmup.requests[0].path"),
    "an endless path": (with_request(**PORT, path="/" + "a" * 2048), "may not be more than 2048 bytes"),
    "a method that is none": (with_request(**PORT, method="GET /admin"), "spec.warmup.requests[0].method"),
    "a line break in a header": (with_header(name="X", value="1\r\nEvil: 2"), "headers[0].value"),
    "a null byte in a header": (with_header(name="X", value="\x00"), "headers[0].value"),
    "a bell in a header": (with_header(name="X", value="\x07"), "headers[0].value"),
    "a snowman in a header": (with_header(name="X", value="\u2603"), "headers[0].value"),
    "a header's name with a colon": (with_header(name="X:", value=""), "headers[0].name"),
    "a header without a name": (with_header(name="", value=""), "headers[0].name"),
    "an endless header": (with_header(name="X", value="a" * 4097), "may not be more than 4096 bytes"),
    "a ramp beside a hash": (
        {"warmup": {"ramp": {}}, "traffic": {"affinity": "Hash"}}, "traffic.affinity: Hash exclude each other",
    ),
    "an affinity that nobody knows": ({"traffic": {"affinity": "Ring"}}, 'supported values: "None", "Hash"'),
    "no command": (with_request(exec={"command": []}), "exec.command"),
    "a command that is a text": (with_request(exec={"command": "rm -rf /"}), "exec.command"),
    "too many kinds of requests": ({"warmup": {"requests": [PORT] * 17}}, "must have at most 16 items"),
    "a share of more than all": ({"warmup": {"maxParallel": "101%"}}, "spec.warmup.maxParallel"),
    "a negative share": ({"warmup": {"maxParallel": "-1%"}}, "spec.warmup.maxParallel"),
    "a negative number of pods": ({"warmup": {"maxParallel": -1}}, "spec.warmup.maxParallel"),
    "a metric that is a query": (
        {"drain": {"inFlight": {"port": 1, "metric": 'up{job="x"}'}}}, "spec.drain.inFlight.metric",
    ),
    "a null where a text must be": ({"drain": {"inFlight": {"port": None}}}, "spec.drain.inFlight.port"),
    "a registry of no kind": (with_registry(), "give exactly one of nacos"),
    "a registry of two kinds": (with_registry(etcd=ETCD, preset={"name": "DubboQoS"}), "give exactly one of nacos"),
    "an hour to settle": (with_registry(etcd=ETCD, settle="1h"), "settle must be shorter than an hour"),
    "no time to answer": (with_registry(etcd=ETCD, timeout="0s"), "timeout must be from 100ms to 30s"),
    "a hook that neither tells nor asks": (with_registry(http={}), "give withdraw, or gone"),
    "a way back from where nobody went": (with_registry(http={"gone": HOOK, "restore": HOOK}), "belong to withdraw"),
    "a secret that others in the pod can read": (
        with_registry(http={"withdraw": HOOK, "place": "Pod", "secretHeaders": {"X": {"name": "a", "key": "b"}}}),
        "secretHeaders need place Network",
    ),
    "a port beside an address that has one": (with_registry(http={"withdraw": HOOK}, port=8080), "write it there"),
    "a port beside a preset": (with_registry(preset={"name": "DubboQoS"}, port=8080), "or as preset.port"),
    "asked whether it is in beside whether it is out": (
        with_registry(http={"withdraw": HOOK, "gone": HOOK, "registered": HOOK}), "only where there is no gone",
    ),
    "a container for what is asked over the network": (
        with_registry(http={"withdraw": HOOK, "container": "app"}), "container needs place Pod",
    ),
    "certificates of a ZooKeeper": (with_registry(dubbo=DUBBO, tls=TLS), "ZooKeeper is spoken to without TLS"),
    "certificates of a preset": (with_registry(preset={"name": "DubboQoS"}, tls=TLS), "a preset's addresses are http"),
    "certificates that a command in the pod should check": (
        with_registry(http={"withdraw": {"url": "https://localhost:9000/"}, "place": "Pod"}, tls=TLS),
        "its own curl or wget checks the certificate",
    ),
    "certificates of a hook that is http": (with_registry(http={"withdraw": HOOK}, tls=TLS), "tls is for https"),
    "certificates where no server is https": (with_registry(nacos=NACOS, tls=TLS), "tls is for https"),
    "certificates of an etcd that is http": (with_registry(etcd=ETCD, tls=TLS), "tls is for https"),
    "a Secret of another namespace": (
        with_registry(etcd={**ETCD, "login": {"name": "login", "namespace": "other"}}),
        'unknown field "spec.traffic.registries[0].etcd.login.namespace"',
    ),
    "a Secret by its path": (with_registry(etcd={**ETCD, "login": {"name": "other/login"}}), "etcd.login.name"),
    "certificates of another namespace": (
        with_registry(etcd=ETCD, tls={"ca": {"name": "../other/ca", "key": "ca"}}),
        "tls.ca.name",
    ),
    "an address that is none": (with_registry(etcd={**ETCD, "endpoints": ["file:///etc/passwd"]}), "etcd.endpoints[0]"),
}  # fmt: skip


@pytest.mark.parametrize(
    "kind",
    [
        {"nacos": {**NACOS, "servers": ["http://nacos-0:8848/nacos", "https://nacos-1:8848/nacos"]}},
        {"consul": {"server": "https://consul:8501", "service": "web"}},
        {"consul": {"server": "http://consul:8500", "agent": "https://{host}:8501", "service": "web"}},
        {"eureka": {"servers": ["https://eureka-0:8761/eureka"], "application": "web"}},
        {"etcd": {**ETCD, "endpoints": ["https://etcd:2379"]}},
        {"http": {"gone": {"url": "https://gateway:9000/{ip}"}}},
    ],
    ids=json.dumps,
)
def test_a_registry_with_an_https_address_may_say_how_its_certificate_is_checked(
    box: Box, kind: dict[str, Any]
) -> None:
    stored(box, rollout(**with_registry(**kind, tls=TLS)))


@pytest.mark.parametrize("case", HOSTILE)
def test_what_makes_no_sense_is_refused_with_a_message_that_names_it(box: Box, case: str) -> None:
    spec, said = HOSTILE[case]
    assert said in refusal(box, rollout(**spec))


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ({}, "spec.targetRef.name"),
        ({"name": ""}, "spec.targetRef.name"),
        ({"name": "Web"}, "spec.targetRef.name"),
        ({"name": "../secrets/x"}, "spec.targetRef.name"),
        ({"name": "web", "namespace": "other"}, 'unknown field "spec.targetRef.namespace"'),
        ({"name": "a" * 254}, "spec.targetRef.name"),
        ({"name": "web", "kind": "deployment"}, "spec.targetRef.kind"),
        ({"name": "web", "apiVersion": "apps/v1/../v2"}, "spec.targetRef.apiVersion"),
    ],
)
def test_a_target_that_can_be_none_is_refused(box: Box, target: dict[str, str], said: str) -> None:
    wrong = rollout()
    wrong["spec"]["targetRef"] = target
    assert said in refusal(box, wrong)


def test_no_target_at_all_is_refused(box: Box) -> None:
    assert "spec.targetRef: Required value" in refusal(box, {**rollout(), "spec": {}})
    assert "spec: Required value" in refusal(box, {key: value for key, value in rollout().items() if key != "spec"})


def test_a_name_that_fits_no_label_is_refused(box: Box) -> None:
    stored(box, rollout(name="a" * 63))
    assert "the name must have 63 characters or fewer" in refusal(box, rollout(name="a" * 64))


def test_the_target_cannot_be_changed(box: Box, web: str) -> None:
    for change in ({"name": "other"}, {"kind": "StatefulSet"}, {"apiVersion": "apps/v2"}):
        with pytest.raises(ApiError, match="targetRef cannot be changed"):
            box.api.request("PATCH", web, {"spec": {"targetRef": change}}, MERGE)
    box.api.request("PATCH", web, {"spec": {"drain": {"settle": "7s"}}}, MERGE)


def test_the_status_is_written_apart_and_not_by_users(box: Box, web: str) -> None:
    status = {"phase": "Ready", "ready": "3/3", "pods": {"desired": 3, "serving": 3, "in": 0, "out": 0}}
    assert "status" not in box.api.request("PATCH", web, {"status": status}, MERGE)
    written = box.api.request("PATCH", f"{web}/status", {"status": status, "spec": {"mode": "Observe"}}, MERGE)
    assert written["status"] == status
    assert written["spec"]["mode"] == "Enforce"
    assert written["metadata"]["generation"] == 1


def test_the_largest_status_that_the_models_allow_is_stored(box: Box, web: str) -> None:
    condition = {"status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "R" * 1024}
    status = {
        "waitingFor": "w" * 1024,
        "findings": [{"reason": f"Reason{number}", "message": "m" * 1024, "fix": "f" * 1024} for number in range(32)],
        "conditions": [{**condition, "type": f"Type{number}", "message": "m" * 32_768} for number in range(16)],
    }
    written = box.api.request("PATCH", f"{web}/status", {"status": status}, MERGE)
    assert LosslessRollout.model_validate(written).status.conditions[15].message == "m" * 32_768


def test_two_conditions_of_one_type_are_refused(box: Box, web: str) -> None:
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "Because"}
    with pytest.raises(ApiError, match="Duplicate value"):
        box.api.request("PATCH", f"{web}/status", {"status": {"conditions": [condition, condition]}}, MERGE)


def test_kubectl_get_shows_where_it_stands(box: Box, web: str) -> None:
    waiting = "web-abc-1: 3 requests in flight"
    status = {"phase": "Releasing", "ready": "3/4", "waitingFor": waiting, "pods": {"in": 1, "out": 2}}
    box.api.request("PATCH", f"{web}/status", {"status": status}, MERGE)
    head, line = box.kubectl("get", "lr").splitlines()
    assert head.split() == ["NAME", "PHASE", "READY", "IN", "OUT", "WAITING", "FOR", "AGE"]
    assert line.split()[:5] == ["web", "Releasing", "3/4", "1", "2"]
    assert waiting in line
    assert "Enforce" in box.kubectl("get", "lr", "-o", "wide")


def test_rollouts_can_be_selected_by_their_target(box: Box, web: str) -> None:
    assert box.kubectl("get", "lr", "--field-selector", "spec.targetRef.name=web", "-o", "name").split()
    assert not box.kubectl("get", "lr", "--field-selector", "spec.targetRef.name=other", "-o", "name").split()


def test_they_are_not_in_all(box: Box, web: str) -> None:
    """`kubectl delete all` must not take them away."""
    assert "losslessrollout" not in box.kubectl("get", "all", "-o", "name")
    assert "losslessrollout.lossless.dev/web" in box.kubectl("get", "lossless", "-o", "name")


def explained(schema: dict[str, Any], schemas: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for name, field in schema.get("properties", {}).items():
        if path or name in ("spec", "status"):
            yield f"{path}.{name}", field.get("description", "")
            yield from explained(field, schemas, f"{path}.{name}")
    if "items" in schema:
        yield from explained(schema["items"], schemas, path)


def test_kubectl_explain_has_a_text_for_every_field(box: Box) -> None:
    """From what kubectl reads; and once through kubectl itself."""
    schemas = box.api.request("GET", "/openapi/v3/apis/lossless.dev/v1alpha1")["components"]["schemas"]
    texts = dict(explained(schemas["dev.lossless.v1alpha1.LosslessRollout"], schemas, ""))
    assert len(texts) > 50
    assert [path for path, text in texts.items() if len(text) < 10] == []
    shown = box.kubectl("explain", "losslessrollout.spec.drain.settle")
    assert "the oldest list of addresses" in " ".join(shown.split())
    box.kubectl("explain", "lr.spec", "--recursive")
