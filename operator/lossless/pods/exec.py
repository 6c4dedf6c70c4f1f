"""Running a command inside a pod, through the API server."""

import json
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import aiohttp
from kubernetes.aio.client import ApiException, CoreV1Api
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
    core = CoreV1Api(client)

    async def run(namespace: str, pod: str, container: str, command: Sequence[str]) -> ExecResult:
        try:
            # The generated method returns what `WsApiClient` makes of it: an open WebSocket to be entered. Its other
            # method, which reads everything by itself, loses the exit code and dies of a character cut in two.
            connection = await core.connect_get_namespaced_pod_exec_without_preload_content(
                pod, namespace, command=list(command), container=container, stdout=True, stderr=True, stdin=False
            )
            # What the stubs call a response is the WebSocket that is still to be opened.
            async with cast(_Opening, connection) as socket:
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
