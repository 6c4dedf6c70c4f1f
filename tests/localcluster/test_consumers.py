"""What consumers make of a registry's answers: the rules of each registry's own clients."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localcluster.consumers import consul, etcd, nacos_http
from localcluster.consumers.addresses import Printer, Weighted, parse


def test_a_list_is_printed_first_and_then_only_when_it_changes() -> None:
    lines: list[str] = []
    printer = Printer(lines.append, now=lambda: 12.5)
    printer([])
    printer([Weighted("10.244.1.3:8080"), Weighted("10.244.1.2:8080", 2)])
    printer([Weighted("10.244.1.2:8080", 2), Weighted("10.244.1.3:8080")])  # another order is no change
    printer([Weighted("10.244.1.2:8080", 3), Weighted("10.244.1.3:8080")])
    assert [parse(line) for line in lines] == [
        (12.5, ()),
        (12.5, (Weighted("10.244.1.2:8080", 2), Weighted("10.244.1.3:8080"))),
        (12.5, (Weighted("10.244.1.2:8080", 3), Weighted("10.244.1.3:8080"))),
    ]
    assert json.loads(lines[1])["addresses"][0] == {"address": "10.244.1.2:8080", "weight": 2}


@pytest.mark.parametrize("line", ["", "started", "{}", '{"at": 1, "addresses": [{"address": "a"}]}'])
def test_any_other_line_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse(line)


@pytest.mark.parametrize(("asked", "read", "following"), [(0, 7, 7), (7, 9, 9), (9, 9, 9), (9, 3, 0), (9, 0, 0)])
def test_a_consul_index_that_goes_backwards_begins_anew(asked: int, read: int, following: int) -> None:
    """https://developer.hashicorp.com/consul/api-docs/features/blocking, "Implementation details"."""
    assert consul.next_index(asked, read) == following


def test_a_consul_service_without_an_address_has_its_nodes() -> None:
    entry: dict[str, Any] = {"Node": {"Address": "10.0.1.11"}, "Service": {"Address": "", "Port": 80}}
    assert consul.address_of(entry) == Weighted("10.0.1.11:80")
    entry["Service"] |= {"Address": "10.244.1.2", "Weights": {"Passing": 3, "Warning": 1}}
    assert consul.address_of(entry) == Weighted("10.244.1.2:80", 3)


def test_an_etcd_endpoint_is_read_as_its_naming_package_writes_it() -> None:
    assert etcd.address_of('{"Op":0,"Addr":"10.244.1.2:80","Metadata":null}') == Weighted("10.244.1.2:80")
    assert etcd.address_of('{"Addr":"10.244.1.2:80","Metadata":{"weight":0.5}}') == Weighted("10.244.1.2:80", 0.5)
    with pytest.raises(ValueError, match="no endpoint"):
        etcd.address_of("[]")


def test_the_range_of_an_etcd_prefix_ends_before_the_next_one() -> None:
    assert etcd.after(b"services/web/") == b"services/web0"


def test_a_nacos_client_selects_what_is_enabled_healthy_and_has_a_weight() -> None:
    """com.alibaba.nacos.client.naming.NacosNamingService.selectInstances, 1.4."""

    def host(ip: str, **values: object) -> dict[str, object]:
        return {"ip": ip, "port": 80, "weight": 1.0, "enabled": True, "healthy": True, **values}

    hosts = [host("a", weight=2.0), host("b", enabled=False), host("c", healthy=False), host("d", weight=0.0)]
    assert nacos_http.selected({"hosts": hosts}) == [Weighted("a:80", 2.0)]
    assert nacos_http.selected({}) == []
