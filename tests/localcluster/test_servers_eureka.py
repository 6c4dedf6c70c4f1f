"""Real Eureka servers, and Netflix' own client as a consumer."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from localcluster.box import Box
from localcluster.consumers import java
from localcluster.servers.eureka import eureka, peers
from localcluster.servers.server import Server
from tests.localcluster.java import needs_java, running_consumer

pytestmark = needs_java

CACHE_MS = 2000
"""What a client fetches may be so old: long enough to see it, short enough to wait for it."""
WITHIN = 90.0


class Shop:
    """An app's registrations with one server, by plain REST."""

    def __init__(self, server: Server, app: str) -> None:
        self.server = server
        self.app = app

    def register(self, ip: str, port: int = 8080) -> None:
        instance = {
            "instanceId": f"{ip}:{self.app}:{port}",
            "hostName": ip,
            "app": self.app.upper(),
            "ipAddr": ip,
            "status": "UP",
            "port": {"$": port, "@enabled": "true"},
            "vipAddress": self.app,
            "dataCenterInfo": {
                "@class": "com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo",
                "name": "MyOwn",
            },
        }
        self._tell(f"/{self.app}", "POST", json.dumps({"instance": instance}).encode())

    def set_status(self, ip: str, status: str) -> None:
        self._tell(f"/{self.app}/{ip}:{self.app}:8080/status?value={status}", "PUT")

    def take_override_away(self, ip: str) -> None:
        self._tell(f"/{self.app}/{ip}:{self.app}:8080/status?value=UP", "DELETE")

    def status(self, ip: str) -> str | None:
        """By the registry itself, past every cache."""
        said = self.server.ask(f"/eureka/apps/{self.app}/{ip}:{self.app}:8080")
        return None if said is None else str(json.loads(said)["instance"]["status"])

    def _tell(self, path: str, method: str, body: bytes | None = None) -> None:
        url = f"{self.server.outside}/eureka/apps{path}"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=30):
            pass


@pytest.fixture(scope="module")
def server(box: Box) -> Iterator[Server]:
    with eureka(box, cache_update_ms=CACHE_MS) as running:
        yield running


def test_a_registration_by_rest_reaches_the_consumer_and_an_override_takes_it_out_after_the_caches(
    box: Box, server: Server
) -> None:
    shop = Shop(server, "books")
    with running_consumer(box, "eureka-books", java.eureka("books", [server.url], fetch_seconds=1)) as consumer:
        consumer.until(set())
        shop.register("10.244.1.7")
        shop.register("10.244.1.8")
        consumer.until({"10.244.1.7:8080", "10.244.1.8:8080"})
        shop.set_status("10.244.1.7", "OUT_OF_SERVICE")
        assert shop.status("10.244.1.7") == "OUT_OF_SERVICE"
        assert consumer.held is not None
        consumer.until({"10.244.1.8:8080"})
        shop.take_override_away("10.244.1.7")
        consumer.until({"10.244.1.7:8080", "10.244.1.8:8080"})


def test_an_override_outlives_what_the_app_says_of_itself(server: Server) -> None:
    shop = Shop(server, "flowers")
    shop.register("10.244.1.9")
    shop.set_status("10.244.1.9", "OUT_OF_SERVICE")
    shop.register("10.244.1.9")
    assert shop.status("10.244.1.9") == "OUT_OF_SERVICE"


def test_what_one_peer_is_told_the_other_knows_and_serves_when_the_first_is_gone(box: Box) -> None:
    with ExitStack() as stack:
        # Beside the server of the other tests.
        both = peers(box, 2, first="10.0.1.90", cache_update_ms=500)
        for each in both:
            each.process.start(wait=False)
            stack.callback(each.kill)
        for each in both:
            each.process.wait_ready()
        first, second = (Shop(each, "toys") for each in both)
        first.register("10.244.1.7")
        box.wait_until(lambda: second.status("10.244.1.7") == "UP", WITHIN, "the other peer knows the app")
        urls = [each.url for each in both]
        with running_consumer(box, "eureka-toys", java.eureka("toys", urls, fetch_seconds=1)) as consumer:
            consumer.until({"10.244.1.7:8080"})
            both[0].kill()
            second.register("10.244.1.8")
            consumer.until({"10.244.1.7:8080", "10.244.1.8:8080"})
