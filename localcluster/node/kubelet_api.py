"""The kubelet's own HTTPS server, as far as `kubectl exec`, `kubectl logs` and metrics-server need it.

The API server comes here for pods/exec and pods/log. Exec is spoken over WebSockets (v4 and v5.channel.k8s.io; SPDY is
not): from 1.36 the API server passes them through to nodes that declare the feature ExtendWebSocketsToKubelet, which
kubectl uses; with an older one only clients that speak v4, such as kubernetes.aio, get through.

There is no authentication: the server listens inside the box, where everybody may do everything to everybody anyway.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import ssl
import subprocess
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import WSMsgType, web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from localcluster.node.container import Container, NotRunning
from localcluster.node.objects import Json, name, namespace
from localcluster.node.pod_worker import PodWorker
from localcluster.node.process import Process, StartError
from localcluster.node.usage import ContainerUsage, Usage, own_usage, resource_metrics, usage_by_session

log = logging.getLogger(__name__)

DECLARED_FEATURE = "ExtendWebSocketsToKubelet"
PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")

_STDIN, _STDOUT, _STDERR, _ERROR = 0, 1, 2, 3
_CLOSE = 255
"""v5: this byte and a channel's number close that channel."""
_FOLLOW_SECONDS = 0.2


def self_signed(address: str, node: str) -> ssl.SSLContext:
    """A certificate of the node's own, as a kubelet makes one that was given none."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(node)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "pair.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context.load_cert_chain(path)
    return context


class KubeletApi:
    """`find(namespace, name)` and `all()` give the pods of this node."""

    def __init__(self, find: Callable[[str, str], PodWorker | None], all_pods: Callable[[], list[PodWorker]]) -> None:
        self._find = find
        self._all = all_pods
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        app.router.add_get("/metrics/resource", self._metrics)
        for path in ("/exec/{namespace}/{pod}/{container}", "/exec/{namespace}/{pod}/{uid}/{container}"):
            app.router.add_get(path, self._exec)
            app.router.add_post(path, self._exec)
        self._runner = web.AppRunner(app, access_log=None)

    async def start(self, address: str, port: int, node: str) -> int:
        """Listens; the port it got, which matters when 0 was asked for."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, address, port, ssl_context=self_signed(address, node), shutdown_timeout=0.5)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        await self._runner.cleanup()

    def _container(self, request: web.Request) -> Container:
        worker = self._find(request.match_info["namespace"], request.match_info["pod"])
        if worker is None:
            raise web.HTTPNotFound(text="pod does not exist")
        try:
            return worker.container(request.match_info["container"])
        except KeyError:
            raise web.HTTPNotFound(text=f"container not found ({request.match_info['container']!r})") from None

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.Response(text="ok")

    # ------------------------------------------------------------------ logs

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        """tailLines, limitBytes, previous and follow. Lines carry no time, so `timestamps` and `since…` do nothing."""
        container = self._container(request)
        query = request.query
        path = container.log_path(previous=query.get("previous") == "true")
        if not path.exists():
            raise web.HTTPBadRequest(text=f"container {container.name!r} has not started yet")
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        with path.open("rb") as file:
            text = file.read()
            if "tailLines" in query:
                lines = text.splitlines(keepends=True)
                text = b"".join(lines[len(lines) - min(int(query["tailLines"]), len(lines)) :])
            if "limitBytes" in query:
                text = text[: int(query["limitBytes"])]
            await response.write(text)
            # Only while somebody follows is a file looked at again and again.
            while query.get("follow") == "true":
                over = not container.running or container.log_path() != path
                if more := file.read():
                    await response.write(more)
                elif over:
                    break
                await asyncio.sleep(_FOLLOW_SECONDS)
        await response.write_eof()
        return response

    # ------------------------------------------------------------------ metrics

    async def _metrics(self, request: web.Request) -> web.Response:
        sessions = usage_by_session()
        found = [
            ContainerUsage(namespace(worker.pod), name(worker.pod), container.name, started, sessions.get(pid, Usage()))
            for worker in self._all()
            for container in worker.all_containers()
            if (running := container.running_since()) is not None
            for pid, started in [running]
        ]
        return web.Response(text=resource_metrics(found, own_usage()), content_type="text/plain")

    # ------------------------------------------------------------------ exec

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        container = self._container(request)
        socket = web.WebSocketResponse(protocols=PROTOCOLS)
        if not socket.can_prepare(request):
            raise web.HTTPBadRequest(text="this node speaks exec over WebSockets only")
        command = request.query.getall("command", [])
        tty = request.query.get("tty") in ("1", "true")
        wants_stdin = request.query.get("input", request.query.get("stdin")) in ("1", "true")
        await socket.prepare(request)
        if socket.ws_protocol is None:
            await socket.close(message=b"v4 or v5.channel.k8s.io is needed")
            return socket
        try:
            status = await _run(container, command, socket, tty=tty, wants_stdin=wants_stdin)
        except (NotRunning, StartError) as error:
            status = _failure("InternalError", str(error))
        if not socket.closed:
            await socket.send_bytes(bytes([_ERROR]) + json.dumps(status).encode())
            await socket.close()
        return socket


def _failure(reason: str, message: str, exit_code: int | None = None) -> Json:
    status: Json = {"metadata": {}, "status": "Failure", "reason": reason, "message": message}
    if exit_code is not None:
        status["details"] = {"causes": [{"reason": "ExitCode", "message": str(exit_code)}]}
    return status


async def _run(
    container: Container, command: list[str], socket: web.WebSocketResponse, *, tty: bool, wants_stdin: bool
) -> Json:
    """Runs a command with the socket's channels as its streams; the Status for the error channel."""
    if tty:
        master, slave = os.openpty()
        try:
            process = container.spawn(command, stdin=slave, stdout=slave, stderr=slave)
        finally:
            os.close(slave)
        stdin: int | None = os.dup(master)
        outputs = [(_STDOUT, master)]
    else:
        process = container.spawn(
            command,
            stdin=subprocess.PIPE if wants_stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        stdin = os.dup(process.stdin.fileno()) if process.stdin is not None else None
        if process.stdin is not None:
            process.stdin.close()
        outputs = [(_STDOUT, os.dup(process.stdout.fileno())), (_STDERR, os.dup(process.stderr.fileno()))]
        process.stdout.close()
        process.stderr.close()
    readers = [asyncio.create_task(_copy_out(channel, fd, socket)) for channel, fd in outputs]
    writer = asyncio.create_task(_copy_in(socket, stdin, process))
    try:
        code = await process.wait()
        await asyncio.wait(readers, timeout=1)  # what a child left behind may hold them open
    finally:
        process.kill_group()
        for task in (writer, *readers):
            task.cancel()
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return _failure("NonZeroExitCode", f"command terminated with non-zero exit code: exit status {code}", code)


async def _copy_out(channel: int, fd: int, socket: web.WebSocketResponse) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", 0))
    try:
        while chunk := await reader.read(1 << 15):
            await socket.send_bytes(bytes([channel]) + chunk)
    except OSError:
        pass  # a pty whose other end has closed; a caller who has gone
    finally:
        transport.close()


async def _copy_in(socket: web.WebSocketResponse, stdin: int | None, process: Process) -> None:
    """Channel 0 to the process. A caller who goes away takes the command along."""
    try:
        async for message in socket:
            if message.type != WSMsgType.BINARY and message.type != WSMsgType.TEXT:
                continue
            data = message.data.encode() if isinstance(message.data, str) else message.data
            if data[:2] == bytes([_CLOSE, _STDIN]) and stdin is not None:
                os.close(stdin)
                stdin = None
            elif data[:1] == bytes([_STDIN]) and stdin is not None and len(data) > 1:
                await asyncio.to_thread(_write_all, stdin, data[1:])
        process.kill_group()
    except OSError:
        pass
    finally:
        if stdin is not None:
            os.close(stdin)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
