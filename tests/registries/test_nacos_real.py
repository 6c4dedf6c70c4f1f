"""Nacos as rnacos in a box: the v1 API as it is spoken, with an instance that beats.

rnacos keeps no override of its own for longer than the instance, and takes a weight of exactly 1 for no weight at all
(openapi/naming/instance.rs: update_tag), so the instances here weigh 2.
"""

from __future__ import annotations

import urllib.parse
import urllib.request
from collections.abc import Iterator

import pytest

from localcluster import Box
from localcluster.servers import nacos
from localcluster.servers.server import Server
from lossless.traffic.registries.errors import RegistryError
from tests.localcluster.registries import made
from tests.registries.inside import Inside

IP = "10.244.211.7"


@pytest.fixture(scope="module")
def server(box: Box) -> Iterator[Server]:
    with made(lambda: nacos.nacos(box)) as running:
        yield running


class Shop:
    """A service whose one client is this test."""

    def __init__(self, box: Box, server: Server, name: str) -> None:
        self.name = name
        self._server = server
        self.ours = Inside(box, "nacos", servers=[f"{server.url}/nacos"], service=name)

    def register(self, ip: str = IP) -> None:
        self._ask("POST", "instance", ip=ip, port="8080", weight="2", enabled="true", ephemeral="true")

    def deregister(self, ip: str = IP) -> None:
        self._ask("DELETE", "instance", ip=ip, port="8080", ephemeral="true")

    def beat(self, ip: str = IP) -> None:
        beat = f'{{"ip":"{ip}","port":8080,"weight":2,"cluster":"DEFAULT","serviceName":"DEFAULT_GROUP@@{self.name}"}}'
        self._ask("PUT", "instance/beat", ip=ip, port="8080", ephemeral="true", beat=beat)

    def _ask(self, method: str, path: str, **params: str) -> None:
        query = urllib.parse.urlencode({"serviceName": f"DEFAULT_GROUP@@{self.name}", **params})
        request = urllib.request.Request(f"{self._server.outside}/nacos/v1/ns/{path}?{query}", method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            answer.read()


@pytest.fixture
def shop(box: Box, server: Server, request: pytest.FixtureRequest) -> Shop:
    return Shop(box, server, request.node.name.replace("_", "-"))


def test_a_pod_is_withdrawn_beats_do_not_bring_it_back_and_we_do(shop: Shop) -> None:
    """Also over rnacos, which has nobody in a list who is disabled."""
    shop.register()
    before = shop.ours.until("Present", IP)
    assert (before["fraction"], before["original"]) == (1.0, f'{{"weights": {{"{IP}:8080": 2.0}}}}')
    shop.ours.do("withdraw", IP, original=before["original"])
    shop.ours.until("Absent", IP)
    shop.beat()
    out = shop.ours.look(IP, original=before["original"])
    assert (out["presence"], out["fraction"]) == ("Absent", 0.0)
    shop.ours.do("restore", IP, original=before["original"])
    assert shop.ours.until("Present", IP)["fraction"] == 1.0


def test_a_ramp_is_a_fraction_of_the_weight_that_it_registered_with(shop: Shop) -> None:
    shop.register()
    original = shop.ours.until("Present", IP)["original"]
    for fraction in (0.01, 0.25, 1.0):
        shop.ours.do("weigh", IP, fraction, original=original)
        seen = shop.ours.look(IP, original=original)
        assert seen["presence"] == "Present"
        assert seen["fraction"] == pytest.approx(fraction, rel=1e-6)


def test_nothing_is_made_of_what_is_not_registered(shop: Shop) -> None:
    """rnacos makes an instance of an update about nobody."""
    for what in ("withdraw", "restore"):
        shop.ours.do(what, IP)
    assert shop.ours.look(IP)["evidence"] == "not registered on any of 1 nodes"


def test_a_wrong_context_path_is_refused(box: Box, server: Server) -> None:
    with pytest.raises(RegistryError, match="none of Nacos' APIs"):
        Inside(box, "nacos", servers=[f"{server.url}/wrong"], service="shop").look(IP)
