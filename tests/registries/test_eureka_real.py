"""Eureka itself, two peers of it, with what the fake says of them: Spring Cloud's server in a box."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from localcluster import Box
from localcluster.servers import eureka
from localcluster.servers.server import Server
from lossless.traffic.registries.errors import RegistryError
from tests.localcluster.java import needs_java
from tests.registries.inside import Inside

pytestmark = needs_java
CACHE_MS = 1500


@pytest.fixture(scope="module")
def peers(box: Box) -> Iterator[list[Server]]:
    both = eureka.peers(box, 2, cache_update_ms=CACHE_MS)
    with both[0], both[1]:
        yield both


@pytest.fixture
def shop(box: Box, peers: list[Server], request: pytest.FixtureRequest) -> App:
    return App(box, peers, "shop-" + request.node.name[-12:].replace("_", "-").replace("[", "").replace("]", ""))


class App:
    """An application of one instance, whose client is this test."""

    ip = "10.244.210.7"

    def __init__(self, box: Box, peers: list[Server], name: str) -> None:
        self.name = name.upper()
        self.id = f"web-0:{name}:8080"
        self._peers = peers
        self.ours = Inside(box, "eureka", servers=[f"{peer.url}/eureka" for peer in peers], application=name)

    def register(self, status: str = "UP", ip: str = "") -> None:
        instance = {
            "instanceId": self.id,
            "hostName": "web-0",
            "app": self.name,
            "ipAddr": ip or self.ip,
            "status": status,
            "port": {"$": 8080, "@enabled": "true"},
            "dataCenterInfo": {
                "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo",
                "name": "MyOwn",
            },
        }
        self._ask("POST", f"/apps/{self.name}", {"instance": instance})

    def beat(self) -> None:
        self._ask("PUT", f"/apps/{self.name}/{self.id}")

    def held(self) -> list[tuple[str, str]]:
        """Status and override, as each peer has them in its registry."""
        leases = [self._ask("GET", f"/apps/{self.name}/{self.id}", peer=peer)["instance"] for peer in self._peers]
        return [(lease["status"], lease.get("overriddenStatus") or lease["overriddenstatus"]) for lease in leases]

    def told_to_consumers(self) -> list[str]:
        """The status in the answer that a client gets which fetches everything, from each peer."""
        said = [self._ask("GET", "/apps/", peer=peer)["applications"]["application"] for peer in self._peers]
        return [
            instance["status"]
            for applications in said
            for application in (applications if isinstance(applications, list) else [applications])
            for instance in _listed(application["instance"])
            if instance["instanceId"] == self.id
        ]

    def _ask(self, method: str, path: str, body: Any = None, peer: Server | None = None) -> Any:
        request = urllib.request.Request(
            f"{(peer or self._peers[0]).outside}/eureka{path}",
            json.dumps(body).encode() if body else None,
            {"Accept": "application/json", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            content = answer.read()
        return json.loads(content) if method == "GET" else None


def _listed(one: Any) -> list[Any]:
    return one if isinstance(one, list) else [one]


def test_a_pod_is_withdrawn_and_put_back_at_both_peers(shop: App) -> None:
    shop.register()
    before = shop.ours.until("Present", shop.ip)
    assert before["original"] == '{"override": "UNKNOWN", "status": "UP"}'

    shop.ours.do("withdraw", shop.ip, original=before["original"])
    out = shop.ours.until("Absent", shop.ip)
    assert (out["fraction"], out["evidence"]) == (0.0, "OUT_OF_SERVICE for the consumers of 2 of 2 peers")
    assert shop.held() == [("OUT_OF_SERVICE", "OUT_OF_SERVICE")] * 2

    shop.ours.do("restore", shop.ip, original=before["original"])
    back = shop.ours.until("Present", shop.ip)
    assert shop.held() == [("UP", "UNKNOWN")] * 2
    assert back["presence"] == "Present"


def test_absent_only_once_those_who_fetch_everything_are_told_so(box: Box, shop: App) -> None:
    shop.register()
    box.wait_until(lambda: shop.told_to_consumers() == ["UP", "UP"], describe="consumers are told of it")
    shop.ours.do("withdraw", shop.ip)
    shop.ours.until("Absent", shop.ip)
    assert shop.told_to_consumers() == ["OUT_OF_SERVICE", "OUT_OF_SERVICE"]


def test_heartbeats_and_registrations_do_not_undo_it(shop: App) -> None:
    shop.register()
    shop.ours.until("Present", shop.ip)
    shop.ours.do("withdraw", shop.ip)
    shop.beat()
    shop.register()
    assert shop.held()[0] == ("OUT_OF_SERVICE", "OUT_OF_SERVICE")


def test_a_client_that_is_down_by_itself_is_not_put_up(box: Box, shop: App) -> None:
    """Once both peers have heard of the override: it is told on half a second later, and takes the place of whatever
    status the client gave meanwhile."""
    shop.register()
    before = shop.ours.until("Present", shop.ip)
    shop.ours.do("withdraw", shop.ip, original=before["original"])

    def both_know() -> bool:
        shop.register("DOWN")
        return shop.held() == [("DOWN", "OUT_OF_SERVICE")] * 2

    box.wait_until(both_know, 90, "both peers know that it is down", every=0.5)
    shop.ours.do("restore", shop.ip, original=before["original"])
    assert shop.held()[0] == ("DOWN", "UNKNOWN")


def test_the_next_pod_of_the_same_id_is_let_in(box: Box, shop: App) -> None:
    shop.register()
    shop.ours.until("Present", shop.ip)
    shop.ours.do("withdraw", shop.ip)
    shop.register(ip="10.244.210.8")
    assert shop.held()[0] == ("OUT_OF_SERVICE", "OUT_OF_SERVICE")

    def known() -> bool:
        return bool(shop.ours.look("10.244.210.8")["fraction"] == 0.0)

    box.wait_until(known, describe="it is registered, and out by an override")
    shop.ours.do("restore", "10.244.210.8", original=shop.ours.look("10.244.210.8")["original"])
    shop.ours.until("Present", "10.244.210.8")


def test_what_is_not_registered_is_absent_and_what_is_no_eureka_is_refused(
    box: Box, peers: list[Server], shop: App
) -> None:
    assert shop.ours.look(shop.ip)["evidence"] == "not registered at any of 2 peers"
    wrong = Inside(box, "eureka", servers=[peers[0].url], application="shop")
    with pytest.raises(RegistryError, match=r"Refused: .* check the context path"):
        wrong.look(shop.ip)


def test_one_peer_less_and_nobody_knows_what_it_tells(peers: list[Server], shop: App) -> None:
    shop.register()
    shop.ours.until("Present", shop.ip)
    shop.ours.do("withdraw", shop.ip)
    shop.ours.until("Absent", shop.ip)
    peers[1].kill()
    try:
        assert shop.ours.look(shop.ip)["presence"] == "Unanswered"
    finally:
        peers[1].start()
