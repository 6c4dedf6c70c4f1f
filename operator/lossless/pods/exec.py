"""Running a command inside a pod, through the API server."""

import json
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import aiohttp
from kubernetes.aio.client import ApiException
from kubernetes.aio.stream import WsApiClient

MAX_OUTPUT: Final = 4096
"""Bytes of output that are kept: enough to say why it failed."""

_STDOUT, _STDERR, _ERROR = 1, 2, 3
_Opening = AbstractAsyncContextManager[aiohttp.ClientWebSocketResponse]


class ExecError(Exception):
    """The command could not be run at all, or nobody knows how it ended."""


@dataclass(frozen=True, slots=True)
class ExecResult:
    """How a command ended."""

    exit_code: int
    output: str = ""
    """The beginning of what it printed, standard output and standard error in the order in which they came."""


class ExecInPod(Protocol):
    """Runs commands in pods. Cancelling it closes the connection; the command itself may run on."""

    async def __call__(self, namespace: str, pod: str, container: str, command: Sequence[str]) -> ExecResult:
        """Run a command, no shell around it, and wait for its end.

        Raises:
            ExecError: it was not run, or the connection broke before its end.
        """


def exec_in_pod(client: WsApiClient) -> ExecInPod:
    """Commands through the API server's exec subresource, over a WebSocket (``pods/exec``, verbs get and create).

    `client` is a `WsApiClient` made of the same configuration as the ordinary one; it stays the caller's to close.
    """

    async def run(namespace: str, pod: str, container: str, command: Sequence[str]) -> ExecResult:
        try:
            # Not by the generated method: its module brings every model there is, a second of CPU at each start.
            request = await client.param_serialize(
                method="GET",
                resource_path=f"/api/v1/namespaces/{namespace}/pods/{pod}/exec",
                query_params=[
                    *(("command", word) for word in command),
                    ("container", container),
                    ("stdout", "true"),
                    ("stderr", "true"),
                    ("stdin", "false"),
                ],
                auth_settings=["BearerToken"],
            )
            # Preloaded, the client reads everything by itself, loses the exit code and dies of a character cut in two.
            response = await client.call_api(*request, _preload_content=False)  # type: ignore[no-untyped-call]
            # What is called a response is the WebSocket that is still to be opened.
            async with cast(_Opening, response.response) as socket:
                return await _read(socket)
        except aiohttp.WSServerHandshakeError as error:
            raise ExecError(f"the API server refused it: {error.status} {error.message}") from error
        except (ApiException, aiohttp.ClientError, OSError) as error:
            raise ExecError(f"no connection to the API server: {error}") from error

    return run


async def _read(socket: aiohttp.ClientWebSocketResponse) -> ExecResult:
    """Reads Kubernetes' remote command protocol: the first byte of a message is the number of its channel."""
    output = bytearray()
    status = bytearray()
    async for message in socket:
        if message.type not in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT):
            break
        raw = message.data.encode() if isinstance(message.data, str) else bytes(message.data)
        channel, data = (raw[0], raw[1:]) if raw else (-1, b"")
        if channel in (_STDOUT, _STDERR) and len(output) < MAX_OUTPUT:
            output += data[: MAX_OUTPUT - len(output)]
        elif channel == _ERROR and len(status) < MAX_OUTPUT:
            status += data
    return ExecResult(exit_code_of(bytes(status)), output.decode(errors="replace"))


def exit_code_of(status: bytes) -> int:
    """The exit code in the last message of the error channel: a metav1.Status.

    Raises:
        ExecError: there is none, so the command was not run or the connection broke.
    """
    if not status:
        raise ExecError("the connection ended before the command did")
    try:
        said: dict[str, Any] = json.loads(status)
        if said.get("status") == "Success":
            return 0
        causes = (said.get("details") or {}).get("causes") or []
        code = next((cause["message"] for cause in causes if cause.get("reason") == "ExitCode"), None)
        if code is not None:
            return int(code)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ExecError(f"an answer that is none: {status[:200]!r}") from error
    raise ExecError(str(said.get("message") or said)[:500])
