"""A ZooKeeper that is away, mute, or where the operator does not go. One that works: tests/registries."""

import asyncio
import threading

import pytest

from lossless.traffic.registries.errors import Refused, Unreachable
from lossless.traffic.registries.zookeeper import ZooKeeper, host_and_port


def anywhere(address: str) -> bool:
    return True


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if not thread.name.startswith("asyncio_")}


async def test_away_is_unreachable_and_leaves_no_thread(unused_tcp_port: int) -> None:
    before = threads()
    zookeeper = ZooKeeper((f"127.0.0.1:{unused_tcp_port}",), 0.3, anywhere)
    for _ in range(2):
        with pytest.raises(Unreachable, match=r"no answer within 0\.3 s"):
            await zookeeper.get("/dubbo")
    await zookeeper.close()
    assert threads() - before == set()


async def test_mute_is_unreachable_and_the_loop_goes_on() -> None:
    connected = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    before = threads()
    zookeeper = ZooKeeper((f"127.0.0.1:{server.sockets[0].getsockname()[1]}",), 0.5, anywhere)
    asking = asyncio.create_task(zookeeper.children("/dubbo"))
    await connected.wait()  # this loop has served the connection meanwhile
    with pytest.raises(Unreachable):
        await asking
    await zookeeper.close()
    server.close()
    await server.wait_closed()
    assert threads() - before == set()


async def test_who_gives_up_leaves_no_thread(unused_tcp_port: int) -> None:
    before = threads()
    zookeeper = ZooKeeper((f"127.0.0.1:{unused_tcp_port}",), 30, anywhere)
    asking = asyncio.create_task(zookeeper.get("/dubbo"))
    await asyncio.sleep(0.2)  # whenever it comes, it must leave nothing behind
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await zookeeper.close()
    assert threads() - before == set()


@pytest.mark.parametrize("server", ["127.0.0.1:2181", "[::1]:2181", "169.254.169.254:80", "0.0.0.0:2181", "localhost"])
async def test_the_operators_own_host_is_refused(server: str) -> None:
    zookeeper = ZooKeeper((server,), 5)
    with pytest.raises(Refused, match="does not go there"):
        await zookeeper.get("/dubbo")
    await zookeeper.close()


async def test_a_name_that_nobody_knows_is_unreachable() -> None:
    zookeeper = ZooKeeper(("no-such-host.invalid:2181",), 30)
    with pytest.raises(Unreachable, match="none of the names"):
        await zookeeper.get("/dubbo")
    await zookeeper.close()


def test_addresses_of_servers() -> None:
    assert host_and_port("zk-0.zk:2182") == ("zk-0.zk", 2182)
    assert host_and_port("zk") == ("zk", 2181)
    assert host_and_port("[fd00::1]:2182") == ("fd00::1", 2182)
    assert host_and_port("[fd00::1]") == ("fd00::1", 2181)
    with pytest.raises(Refused):
        host_and_port("zk:port")
