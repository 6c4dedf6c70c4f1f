"""nacos-client 2.x, which speaks gRPC, with a Nacos (rnacos)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlencode

import pytest

from localcluster.box import Box
from localcluster.consumers import java
from localcluster.servers.nacos import nacos
from localcluster.servers.server import Server
from tests.localcluster.java import needs_java, running_consumer

pytestmark = needs_java

ONE, TWO = ("10.244.1.7", 8080), ("10.244.1.8", 8080)
WITHIN = 90.0


@pytest.fixture(scope="module")
def server(box: Box) -> Iterator[Server]:
    with nacos(box, "10.0.1.41") as running:  # beside the one of other tests
        yield running


@contextmanager
def registered(box: Box, argv: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A registrar, once it says that it has registered."""
    process = box.popen(argv, stdout=subprocess.PIPE, log="nacos-registrar")
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"registered\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def update(server: Server, service: str, where: tuple[str, int], **what: str) -> None:
    query = urlencode({"serviceName": service, "ip": where[0], "port": where[1], "ephemeral": "true", **what})
    assert server.ask(f"/nacos/v1/ns/instance?{query}", "PUT") is not None


def test_a_registration_by_grpc_is_followed_through_disabling_and_weights_until_it_is_taken_back(
    box: Box, server: Server
) -> None:
    first = java.nacos_registrar("books", server.url, *ONE)
    second = java.nacos_registrar("books", server.url, *TWO, weight=2.5)
    with running_consumer(box, "nacos-books", java.nacos("books", server.url)) as consumer:
        consumer.until(set(), WITHIN)
        with registered(box, first) as one, registered(box, second):
            consumer.until({"10.244.1.7:8080": 1.0, "10.244.1.8:8080": 2.5}, WITHIN)
            update(server, "books", TWO, enabled="false", weight="2.5")
            consumer.until({"10.244.1.7:8080": 1.0}, WITHIN)
            update(server, "books", TWO, enabled="true", weight="0.5")
            consumer.until({"10.244.1.7:8080": 1.0, "10.244.1.8:8080": 0.5}, WITHIN)
            update(server, "books", TWO, enabled="true", weight="0")
            consumer.until({"10.244.1.7:8080": 1.0}, WITHIN)
            one.terminate()
            consumer.until(set(), WITHIN)


def test_a_registration_by_grpc_ends_with_its_connection(box: Box, server: Server) -> None:
    argv = java.nacos_registrar("flowers", server.url, *ONE)
    with running_consumer(box, "nacos-flowers", java.nacos("flowers", server.url)) as consumer:
        with registered(box, argv):
            consumer.until({"10.244.1.7:8080"}, WITHIN)
        consumer.until(set(), WITHIN)  # killed
