"""The three things probes and lifecycle hooks can do: ask over HTTP, connect over TCP, run a command in the container.

One connection a request and no TLS verification, as pkg/probe/http and pkg/probe/tcp do it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Protocol
from urllib.parse import urljoin, urlsplit

from localcluster.node.objects import Json

_BODY_LIMIT = 10 * 1024
"""maxRespBodyLength in pkg/probe/http/request.go: no more of an answer is read."""
_MAX_REDIRECTS = 10


class HandlerError(Exception):
    """The handler itself is written wrong, or its kind is not supported."""


class CommandRunner(Protocol):
    """Runs a command in a container's surroundings; exit code and what it printed. TimeoutError after `timeout`."""

    async def __call__(self, command: list[str], timeout: float | None) -> tuple[int, str]: ...


def resolve_port(port: int | str, container: Json) -> int:
    """A port by number or by the name the container gives it."""
    if isinstance(port, int):
        return port
    for named in container.get("ports") or []:
        if named.get("name") == port:
            return int(named["containerPort"])
    if port.isdigit():
        return int(port)
    raise HandlerError(f'couldn\'t find port name "{port}" in container {container["name"]}')


async def tcp_connect(host: str, port: int, timeout: float) -> tuple[bool, str]:
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return False, f"dial tcp {host}:{port}: i/o timeout"
    except OSError as error:
        return False, f"dial tcp {host}:{port}: {error.strerror or error}"
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True, ""


async def http_get(
    action: Json, container: Json, pod_ip: str, timeout: float | None, *, agent: str
) -> tuple[bool, str]:
    """GET as the action says. Success is 200 to 399; a redirect to another host counts as success, unfollowed."""
    host = action.get("host") or pod_ip
    port = resolve_port(action["port"], container)
    scheme = (action.get("scheme") or "HTTP").lower()
    path = action.get("path") or "/"
    url = f"{scheme}://{host}:{port}{path if path.startswith('/') else '/' + path}"
    headers = {h["name"]: h["value"] for h in action.get("httpHeaders") or []}
    try:
        async with asyncio.timeout(timeout):
            for _ in range(_MAX_REDIRECTS):
                status, location, body = await _request(url, headers, agent)
                if status // 100 == 3 and location:
                    target = urljoin(url, location)
                    if urlsplit(target).hostname == urlsplit(url).hostname:
                        url = target
                        continue
                if 200 <= status < 400:
                    return True, body
                return False, f"HTTP probe failed with statuscode: {status}"
            return False, f"Get {url!r}: stopped after {_MAX_REDIRECTS} redirects"
    except TimeoutError:
        return False, f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
    except (OSError, EOFError, ValueError) as error:
        return False, f'Get "{url}": {error}'


async def _request(url: str, headers: dict[str, str], agent: str) -> tuple[int, str | None, str]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    context = None
    if parts.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or (443 if context else 80), ssl=context)
    try:
        given = {name.lower() for name in headers}
        lines = [f"GET {parts.path or '/'}{'?' + parts.query if parts.query else ''} HTTP/1.1"]
        for name, value in (("Host", parts.netloc), ("User-Agent", agent), ("Accept", "*/*")):
            if name.lower() not in given:
                lines.append(f"{name}: {value}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += ["Connection: close", "", ""]
        writer.write("\r\n".join(lines).encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split()[1])
        answer = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:] if line)}
        body = b""
        if "content-length" in answer:
            body = await reader.readexactly(min(int(answer["content-length"]), _BODY_LIMIT))
        else:
            while len(body) < _BODY_LIMIT and (chunk := await reader.read(_BODY_LIMIT)):
                body += chunk
                if answer.get("transfer-encoding") == "chunked" and body.endswith(b"0\r\n\r\n"):
                    break
        return status, answer.get("location"), body.decode("utf-8", "replace")
    finally:
        writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await writer.wait_closed()
