"""A real ZooKeeper in the box."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from localcluster.box import Box
from localcluster.errors import BoxError
from localcluster.servers.zookeeper import ZooKeeper
from tests.localcluster.java import needs_java

pytestmark = needs_java


@pytest.fixture(scope="module")
def zookeeper(box: Box) -> Iterator[ZooKeeper]:
    # Beside the one that tests of Dubbo have.
    with ZooKeeper(box, "10.0.1.51") as running:
        yield running


def test_what_is_written_is_read_and_stays_over_a_restart_and_a_kill(zookeeper: ZooKeeper) -> None:
    assert zookeeper.read("/shop/name") is None
    zookeeper.write("/shop/name", "Blumen: Ä\nund mehr")
    zookeeper.write("/shop/size", "")
    zookeeper.restart()
    zookeeper.process.kill()
    zookeeper.start()
    # Who connects in its first moments may be cut off once more.
    for _ in range(50):
        with contextlib.suppress(BoxError):
            zookeeper.read("/shop/name")
            break
        time.sleep(0.2)
    assert zookeeper.read("/shop/name") == "Blumen: Ä\nund mehr"
    assert zookeeper.children("/shop") == ["name", "size"]
    zookeeper.delete("/shop/size")
    assert zookeeper.children("/shop") == ["name"]
    assert zookeeper.children("/nowhere") == []
