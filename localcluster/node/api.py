"""The API server as a node sees it: raw JSON over HTTP, and a watch that survives everything.

Raw, because typed models drop fields they do not know, and because importing a generated client costs every node more
start-up time than all the rest of it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml

from localcluster.node.objects import Json

log = logging.getLogger(__name__)

STRATEGIC_MERGE = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"

_RETRY_FIRST = 0.1
_RETRY_LONGEST = 2.0
_WATCH_SECONDS = 300
_WATCH_SILENCE = 120
"""Seconds. Bookmarks come every minute: a server that says nothing for longer is asked anew."""
_PATIENCE = (0.05, 0.1, 0.2, 0.4, 0.8)


class ApiError(Exception):
    """The API server refused."""

    def __init__(self, what: str, status: int, message: str) -> None:
        super().__init__(f"{what}: {status}: {message}")
        self.status = status


class ApiUnreachable(Exception):
    """No answer. Whatever was asked may or may not have happened."""


class Api:
    """One server, one identity, taken from a kubeconfig. Use as an async context manager."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        context = next(c["context"] for c in config["contexts"] if c["name"] == config["current-context"])
        cluster = next(c["cluster"] for c in config["clusters"] if c["name"] == context["cluster"])
        user = next(u["user"] for u in config["users"] if u["name"] == context["user"])
        self.server: str = cluster["server"].rstrip("/")
        self.ca_pem = _inline_or_file(cluster, "certificate-authority", kubeconfig.parent)
        self._token: str = user.get("token", "")
        self._ssl = _tls(self.ca_pem, user, cluster, kubeconfig.parent)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        headers = {"Accept": "application/json", "User-Agent": "localcluster-node"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        self._session = aiohttp.ClientSession(
            headers=headers,
            connector=aiohttp.TCPConnector(ssl=self._ssl, limit=0),
            timeout=aiohttp.ClientTimeout(total=30),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Json:
        """Raises ApiError, ApiUnreachable."""
        assert self._session is not None
        try:
            async with self._session.request(
                method,
                self.server + path,
                params=query,
                data=None if body is None else json.dumps(body).encode(),
                headers={} if body is None else {"Content-Type": content_type},
            ) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnreachable(f"{method} {path}: {error or type(error).__name__}") from error
        try:
            answer: Json = json.loads(text) if text else {}
        except ValueError:
            answer = {"message": text}
        if response.status >= 400:
            raise ApiError(f"{method} {path}", response.status, str(answer.get("message", text)))
        return answer

    async def get(self, path: str) -> Json:
        return await self.request("GET", path)

    async def get_of_pod(self, path: str) -> Json:
        """GET of something a pod of this node names, such as a Secret.

        The Node authorizer learns that a pod is ours from a watch of its own, a moment after we may have: until then
        it forbids.
        """
        for wait in _PATIENCE:
            try:
                return await self.get(path)
            except ApiError as error:
                if error.status != 403:
                    raise
            await asyncio.sleep(wait)
        return await self.get(path)

    async def create(self, path: str, body: Json) -> Json:
        return await self.request("POST", path, body)

    async def patch(self, path: str, body: Json, content_type: str = STRATEGIC_MERGE) -> Json:
        return await self.request("PATCH", path, body, content_type=content_type)

    async def watch(
        self,
        path: str,
        query: Mapping[str, str],
        *,
        on_list: Callable[[list[Json]], None],
        on_event: Callable[[str, Json], None],
    ) -> None:
        """List, then watch, for ever: the list anew whenever the server has forgotten where we were.

        `on_list` gets all there is; `on_event` a type (ADDED, MODIFIED, DELETED) and an object.
        """
        wait = _RETRY_FIRST
        version: str | None = None
        while True:
            try:
                if version is None:
                    listed = await self.request("GET", path, query=query)
                    version = listed["metadata"]["resourceVersion"]
                    on_list(listed.get("items") or [])
                version = await self._watch_once(path, query, version, on_event)
                wait = _RETRY_FIRST
            except (ApiError, ApiUnreachable) as error:
                log.info("watch of %s: %s; again in %.1f s", path, error, wait)
                if isinstance(error, ApiError):
                    version = None  # 410 and whatever else the server may object to
                await asyncio.sleep(wait)
                wait = min(wait * 2, _RETRY_LONGEST)

    async def _watch_once(
        self, path: str, query: Mapping[str, str], version: str, on_event: Callable[[str, Json], None]
    ) -> str:
        """One watch request to its end; the version to go on from. Raises ApiError, ApiUnreachable."""
        assert self._session is not None
        params = {
            **query,
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        try:
            async with self._session.get(
                self.server + path,
                params=params,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_WATCH_SILENCE),
                read_bufsize=1 << 22,
            ) as response:
                if response.status >= 400:
                    raise ApiError(f"watch {path}", response.status, await response.text())
                buffer = b""
                async for chunk in response.content.iter_any():
                    buffer += chunk
                    *lines, buffer = buffer.split(b"\n")
                    for line in lines:
                        event: dict[str, Any] = json.loads(line)
                        if event["type"] == "ERROR":
                            raise ApiError(f"watch {path}", event["object"].get("code", 500), str(event["object"]))
                        version = event["object"]["metadata"]["resourceVersion"]
                        if event["type"] != "BOOKMARK":
                            on_event(event["type"], event["object"])
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiUnreachable(f"watch {path}: {error or type(error).__name__}") from error
        return version


def _inline_or_file(section: Json, field: str, base: Path) -> str | None:
    if data := section.get(f"{field}-data"):
        return base64.b64decode(data).decode()
    if name := section.get(field):
        return (base / str(name)).read_text()
    return None


def _tls(ca: str | None, user: Json, cluster: Json, base: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=ca)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if user.get("client-certificate"):
        context.load_cert_chain(base / user["client-certificate"], base / user["client-key"])
    return context
