"""What kube-proxy's rules say about a Service."""

from __future__ import annotations

import pytest

from localcluster.routes import parse

RULES = """table ip kube-proxy {
	map service-ips {
		elements = { 10.96.77.196 . tcp . 80 : goto service-RNBVDMZH-t/web/tcp/http }
	}

	chain service-RNBVDMZH-t/web/tcp/http {
		ip daddr 10.96.77.196 tcp dport 80 ip saddr != 10.244.0.0/16 jump mark-for-masquerade
		%s
	}

	chain service-2QRHZV4L-default/kubernetes/tcp/https {
		meta l4proto tcp dnat ip to numgen random mod 1 map { 0 : 10.0.0.1 . 6443 }
	}
}
"""
NEW = "meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.244.1.2 . 8080, 1 : 10.244.2.2 . 8080 }"
OLD = (
    "numgen random mod 2 vmap { 0 : goto endpoint-AAAA-t/web/tcp/http__10.244.1.2/8080, "
    "1 : goto endpoint-BBBB-t/web/tcp/http__10.244.2.2/8080 }"
)


@pytest.mark.parametrize("rule", [NEW, OLD], ids=["addresses", "chains"])
def test_the_backends_of_a_service_are_those_its_connections_are_drawn_from(rule: str) -> None:
    assert parse(RULES % rule, "web", "t") == {"10.244.1.2:8080", "10.244.2.2:8080"}


def test_a_service_without_rules_has_none() -> None:
    assert parse(RULES % NEW, "web", "other") == set()
