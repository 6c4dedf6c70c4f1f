"""The health endpoints say whether it is well, and why not."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest

from lossless.telemetry import health
from lossless.telemetry.health import Health


@dataclass
class State:
    """What the checks find."""

    live: str | None = None
    ready: str | None = None


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
async def server(state: State) -> AsyncIterator[Health]:
    serving = await health.serve(
        0, lambda: b"lossless_leader 1.0\n", lambda: state.live, lambda: state.ready, "127.0.0.1"
    )
    async with serving:
        yield serving


async def ask(server: Health, path: str) -> tuple[int, str, str]:
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{server.port}{path}") as answer:
        return answer.status, await answer.text(), answer.headers["Content-Type"]


async def test_all_is_well(server: Health) -> None:
    assert (await ask(server, "/livez"))[:2] == (200, "ok\n")
    assert (await ask(server, "/readyz"))[:2] == (200, "ok\n")


async def test_what_is_wrong_is_said(server: Health, state: State) -> None:
    state.live, state.ready = "the oldest key waits for 65 s", "not synced"
    assert (await ask(server, "/livez"))[:2] == (503, "the oldest key waits for 65 s\n")
    assert (await ask(server, "/readyz"))[:2] == (503, "not synced\n")


async def test_metrics_come_as_prometheus_text(server: Health) -> None:
    status, text, kind = await ask(server, "/metrics")
    assert (status, text) == (200, "lossless_leader 1.0\n")
    assert kind == "text/plain; version=0.0.4; charset=utf-8"


async def test_nothing_else_is_there(server: Health) -> None:
    assert (await ask(server, "/"))[0] == 404


async def test_a_taken_port_is_an_error(server: Health) -> None:
    with pytest.raises(OSError, match="address"):
        await health.serve(server.port, lambda: b"", lambda: None, lambda: None, "127.0.0.1")


async def test_once_closed_it_does_not_answer() -> None:
    closed = await health.serve(0, lambda: b"", lambda: None, lambda: None, "127.0.0.1")
    await closed.close()
    with pytest.raises(aiohttp.ClientConnectionError):
        await ask(closed, "/livez")
