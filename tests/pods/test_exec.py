"""Commands run in pods through the API server: how they ended, or that nobody knows."""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.aio.client import Configuration
from kubernetes.aio.stream import WsApiClient

from lossless.pods import exec as pod_exec
from lossless.pods.exec import ExecError, ExecInPod, ExecResult, exec_in_pod, exit_code_of
from tests.pods.servers import refusing, serving

SUCCESS = b'{"metadata":{},"status":"Success"}'
EXIT_3 = (
    b'{"metadata":{},"status":"Failure","message":"command terminated with exit code 3","reason":"NonZeroExitCode",'
    b'"details":{"causes":[{"reason":"ExitCode","message":"3"}]}}'
)
NO_SUCH_FILE = b'{"metadata":{},"status":"Failure","message":"exec: \\"warm\\": executable file not found in $PATH"}'

Script = Callable[[web.WebSocketResponse], Awaitable[None]]


@asynccontextmanager
async def api_server(script: Script, asked: list[web.Request] | None = None) -> AsyncIterator[ExecInPod]:
    """A fake API server that speaks the remote command protocol (v4.channel.k8s.io) as `script` says."""

    async def handler(request: web.Request) -> web.StreamResponse:
        if asked is not None:
            asked.append(request)
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",))
        await socket.prepare(request)
        await script(socket)
        await socket.close()
        return socket

    async with serving(handler) as port, client_of(port) as run:
        yield run


@asynccontextmanager
async def client_of(port: int) -> AsyncIterator[ExecInPod]:
    configuration = Configuration(host=f"http://127.0.0.1:{port}")
    async with WsApiClient(configuration) as client:  # type: ignore[no-untyped-call]
        yield exec_in_pod(client)


def says(*messages: bytes) -> Script:
    async def script(socket: web.WebSocketResponse) -> None:
        for message in messages:
            await socket.send_bytes(message)

    return script


async def test_a_command_is_run_as_it_is_and_its_output_kept() -> None:
    asked: list[web.Request] = []
    async with api_server(says(b"\x01", b"\x02", b"\x01warm ", b"\x02enough", b"\x03" + SUCCESS), asked) as run:
        result = await run("shop", "web-1", "app", ["warm", "--up", "a b&c"])
    assert result == ExecResult(0, "warm enough")
    [request] = asked
    assert request.path == "/api/v1/namespaces/shop/pods/web-1/exec"
    assert request.query.getall("command") == ["warm", "--up", "a b&c"]
    assert (request.query["container"], request.query["stdin"]) == ("app", "false")


async def test_the_exit_code_is_told() -> None:
    async with api_server(says(b"\x02no such table\n", b"\x03" + EXIT_3)) as run:
        assert await run("shop", "web-1", "app", ["warm"]) == ExecResult(3, "no such table\n")


async def test_output_is_bounded_and_a_character_may_come_in_two_parts() -> None:
    flood = [b"\x01" + b"x" * 1000 for _ in range(100)]
    async with api_server(says(b"\x01\xc3", b"\x01\xa9", *flood, b"\x03" + SUCCESS)) as run:
        result = await run("shop", "web-1", "app", ["yes"])
    assert result.output.startswith("éxxx")
    assert len(result.output.encode()) == pod_exec.MAX_OUTPUT


async def test_a_command_that_cannot_be_run_is_an_error() -> None:
    async with api_server(says(b"\x03" + NO_SUCH_FILE)) as run:
        with pytest.raises(ExecError, match="executable file not found"):
            await run("shop", "web-1", "app", ["warm"])


async def test_a_connection_that_ends_too_early_is_an_error() -> None:
    async with api_server(says(b"\x01half of")) as run:
        with pytest.raises(ExecError, match="the connection ended before the command did"):
            await run("shop", "web-1", "app", ["warm"])


async def test_what_the_api_server_refuses_is_an_error() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response({"message": "pods is forbidden"}, status=403)

    async with serving(handler) as port, client_of(port) as run:
        with pytest.raises(ExecError, match="refused it: 403"):
            await run("shop", "web-1", "app", ["warm"])


async def test_no_api_server_is_an_error() -> None:
    async with client_of(await refusing()) as run:
        with pytest.raises(ExecError, match="no connection to the API server"):
            await run("shop", "web-1", "app", ["warm"])


@given(
    st.binary(max_size=80)
    | st.recursive(
        st.none() | st.integers() | st.sampled_from(["Failure", "Success", "ExitCode", "x"]),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(st.sampled_from(["status", "details", "causes", "reason", "message"]), inner)
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode())
)
def test_whatever_comes_is_a_code_or_an_error(status: bytes) -> None:
    with contextlib.suppress(ExecError):
        assert isinstance(exit_code_of(status), int)
