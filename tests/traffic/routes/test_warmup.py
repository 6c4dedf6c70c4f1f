"""The warm-up Service and its EndpointSlices: the pods that ramp, spoken to as their own Service is."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossless.traffic.routes import destination_rule
from lossless.traffic.routes.warmup_service import PortsClash, owner_reference, ports, service, warmup_name
from lossless.traffic.routes.warmup_slices import MOST, slices
from lossless.traffic.services import EndpointSlice
from tests.traffic.routes.given import destination_rule as rule

ROLLOUT = {"metadata": {"name": "web", "namespace": "shop", "uid": "u-1"}}
OWNER = {
    "apiVersion": "lossless.dev/v1alpha1",
    "kind": "LosslessRollout",
    "name": "web",
    "uid": "u-1",
    "controller": True,
    "blockOwnerDeletion": False,
}


def stable(*given_ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    annotations = {"traefik.ingress.kubernetes.io/service.serversscheme": "h2c", "team": "shop"}
    return {
        "metadata": {"name": "web", "labels": {"app": "web"}, "annotations": annotations},
        "spec": {"selector": {"app": "web"}, "ports": list(given_ports) or [port()], "type": "NodePort"} | spec,
    }


def port(number: int = 80, target: int | str = "http", **more: Any) -> dict[str, Any]:
    return {"port": number, "targetPort": target, "protocol": "TCP"} | more


def pod(number: int, *ips: str, container_port: int = 8080) -> dict[str, Any]:
    own = [{"name": "http", "containerPort": container_port, "protocol": "TCP"}]
    return {
        "metadata": {"name": f"web-{number}", "namespace": "shop", "uid": f"pod-{number:04}"},
        "spec": {"nodeName": "node-1", "containers": [{"name": "app", "ports": own}]},
        "status": {"podIPs": [{"ip": ip} for ip in ips or (f"10.0.{number // 250}.{number % 250 + 1}",)]},
    }


def made(pods: list[dict[str, Any]], warmup: dict[str, Any] | None = None, **more: Any) -> list[dict[str, Any]]:
    return slices(ROLLOUT, warmup or service(ROLLOUT, [stable()]), pods, **more)


def test_the_service() -> None:
    given_port = port(appProtocol="kubernetes.io/h2c", nodePort=30080, name="http")
    assert service(ROLLOUT, [stable(given_port, ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack")]) == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "web-warmup",
            "namespace": "shop",
            "labels": {"lossless.dev/rollout": "web", "app.kubernetes.io/managed-by": "lossless.dev"},
            "ownerReferences": [OWNER],
            "annotations": {"traefik.ingress.kubernetes.io/service.serversscheme": "h2c"},
        },
        "spec": {
            "type": "ClusterIP",
            "ports": [port(appProtocol="kubernetes.io/h2c", name="http")],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
        },
    }


def test_a_headless_one_is_headless() -> None:
    assert service(ROLLOUT, [stable(clusterIP="None")])["spec"]["clusterIP"] == "None"
    assert "clusterIP" not in service(ROLLOUT, [stable(clusterIP="10.1.2.3")])["spec"]


def test_ports_of_several_services_are_each_there_once() -> None:
    found = ports([stable(port(name="http")), stable(port(), port(9090, 9090))])
    assert found == [port(name="http"), port(9090, 9090, name="p9090")]


@pytest.mark.parametrize(
    "other", [port(target=8081), port(name="web"), port(81, name="http"), port(name="http", appProtocol="h2c")]
)
def test_ports_that_mean_two_things_clash(other: dict[str, Any]) -> None:
    with pytest.raises(PortsClash):
        service(ROLLOUT, [stable(port(name="http")), stable(other)])


@settings(deadline=None)
@given(st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?", fullmatch=True))
def test_a_name_is_a_dns_label(rollout: str) -> None:
    name = warmup_name(rollout)
    assert len(name) <= 63
    assert name[0].isalpha()
    assert name[-1].isalnum()
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_names_that_are_cut_are_told_apart() -> None:
    assert warmup_name("web") == "web-warmup"
    assert len({warmup_name("a.b"), warmup_name("a-b"), warmup_name("x" * 62), warmup_name("x" * 63)}) == 4


def test_the_slice() -> None:
    assert made([pod(1, "10.0.0.7")], zones={"node-1": "a"}) == [
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "web-warmup-ipv4-0",
                "namespace": "shop",
                "labels": {
                    "lossless.dev/rollout": "web",
                    "app.kubernetes.io/managed-by": "lossless.dev",
                    "kubernetes.io/service-name": "web-warmup",
                    "endpointslice.kubernetes.io/managed-by": "lossless.dev",
                },
                "ownerReferences": [OWNER],
            },
            "addressType": "IPv4",
            "ports": [{"name": "", "protocol": "TCP", "port": 8080}],
            "endpoints": [
                {
                    "addresses": ["10.0.0.7"],
                    "conditions": {"ready": True, "serving": True, "terminating": False},
                    "targetRef": {"kind": "Pod", "namespace": "shop", "name": "web-1", "uid": "pod-0001"},
                    "nodeName": "node-1",
                    "zone": "a",
                }
            ],
        }
    ]


def test_dual_stack_has_a_slice_for_each_family_that_the_service_has() -> None:
    both = pod(1, "10.0.0.7", "fd00::7")
    assert [one["addressType"] for one in made([both])] == ["IPv4", "IPv6"]
    single = service(ROLLOUT, [stable(ipFamilies=["IPv6"])])
    assert [one["endpoints"][0]["addresses"] for one in made([both], single)] == [["fd00::7"]]


def test_a_port_name_means_what_each_pod_says() -> None:
    found = made([pod(1), pod(2, container_port=9090)])
    assert [one["ports"][0]["port"] for one in found] == [8080, 9090]


def test_pods_without_an_address_or_the_port_are_in_none() -> None:
    bare = pod(1)
    bare["status"] = {}
    other = pod(2)
    other["spec"]["containers"][0]["ports"] = []
    assert made([bare, other]) == []


def test_slices_are_of_100() -> None:
    found = made([pod(number) for number in range(250)])
    assert [len(one["endpoints"]) for one in found] == [MOST, MOST, 50]


@settings(deadline=None)
@given(st.sets(st.integers(0, 300), max_size=260), st.sets(st.integers(0, 300), max_size=260))
def test_a_pod_stays_in_the_slice_where_it_is(before: set[int], after: set[int]) -> None:
    def places(found: list[dict[str, Any]]) -> dict[str, str]:
        return {one["targetRef"]["uid"]: each["metadata"]["name"] for each in found for one in each["endpoints"]}

    first = made([pod(number) for number in sorted(before)])
    second = made([pod(number) for number in sorted(after)], present=first)
    assert len(places(second)) == len(after) == sum(len(one["endpoints"]) for one in second)
    stayed = {f"pod-{number:04}" for number in before & after}
    assert all(places(first)[uid] == places(second)[uid] for uid in stayed)
    assert all(len(one["endpoints"]) <= MOST for one in second)
    assert made([pod(number) for number in sorted(after)], present=second) == second


def test_the_rest_of_this_program_reads_it() -> None:
    read = EndpointSlice.parse(made([pod(1)])[0])
    assert (read.service, read.endpoints[0].pod, read.endpoints[0].ready) == ("web-warmup", "pod-0001", True)


def test_the_destination_rule_of_the_warm_up_service() -> None:
    own = rule(
        "web.shop.svc.cluster.local",
        trafficPolicy={"tls": {"mode": "SIMPLE"}, "outlierDetection": {}, "loadBalancer": {"simple": "RANDOM"}},
        subsets=[{"name": "v1", "trafficPolicy": {"loadBalancer": {"warmup": {"duration": "60s"}}}}],
    )
    copy = destination_rule.copied([own], "web", "web-warmup", "shop", owner_reference(ROLLOUT), {})
    assert copy is not None
    assert copy["metadata"]["name"] == "web-warmup"
    assert copy["spec"] == {
        "host": "web-warmup.shop.svc.cluster.local",
        "trafficPolicy": {"tls": {"mode": "SIMPLE"}, "loadBalancer": {"simple": "RANDOM"}},
        "subsets": [{"name": "v1", "trafficPolicy": {"loadBalancer": {}}}],
    }
    assert destination_rule.copied([rule("*.local")], "web", "web-warmup", "shop", owner_reference(ROLLOUT), {}) is None
