"""Reading from an API server, and nothing but reading: list and watch.

For what watches a cluster from outside (load, recorder): it must be light, and must keep on reading while an API server
restarts. It knows the parts of a kubeconfig that the box writes, and no more.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from localcluster.errors import LocalClusterError


class ReadError(LocalClusterError):
    """The API server could not be read; the message says what and why."""


@dataclass(frozen=True, slots=True)
class Listed:
    items: tuple[Mapping[str, Any], ...]
    resource_version: str


@dataclass(frozen=True, slots=True)
class Change:
    """One event of a watch: ADDED, MODIFIED or DELETED, and the object after (or before) it."""

    type: str
    object: Mapping[str, Any]


class ApiReader:
    """List and watch over one session. Made by `connect`."""

    def __init__(self, session: aiohttp.ClientSession, server: str, tls: ssl.SSLContext | bool) -> None:
        self._session = session
        self._server = server
        self._tls = tls

    @classmethod
    @asynccontextmanager
    async def connect(cls, kubeconfig: Path) -> AsyncIterator[ApiReader]:
        """A reader with the current context's server and credentials. Does not speak to the server yet."""
        access = Access.read(kubeconfig)
        headers = {"Authorization": f"Bearer {access.token}"} if access.token else {}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=None)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            yield cls(session, access.server, access.tls)

    async def list(self, path: str, **query: str) -> Listed:
        """All objects of a kind. Raises ReadError."""
        try:
            limit = aiohttp.ClientTimeout(total=10)
            async with self._session.get(self._server + path, params=query, ssl=self._tls, timeout=limit) as response:
                if response.status != 200:
                    raise ReadError(f"{path}: {response.status} {(await response.text())[:200]}")
                data = await response.json()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ReadError(f"{path}: {error!r}") from error
        return Listed(tuple(data["items"]), data["metadata"]["resourceVersion"])

    async def watch(self, path: str, resource_version: str, **query: str) -> AsyncIterator[Change]:
        """Changes after that version, until the server ends the watch. Raises ReadError, also for a version too old."""
        params = {**query, "watch": "1", "resourceVersion": resource_version}
        try:
            async with self._session.get(self._server + path, params=params, ssl=self._tls) as response:
                if response.status != 200:
                    raise ReadError(f"{path}: {response.status} {(await response.text())[:200]}")
                async for line in _lines(response.content):
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise ReadError(f"{path}: {event['object'].get('message')}")
                    yield Change(event["type"], event["object"])
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ReadError(f"{path}: {error!r}") from error

    async def follow(self, path: str, **query: str) -> AsyncIterator[Change]:
        """Everything there is (as ADDED) and then every change, for ever, over restarts of the server.

        After a break everything is listed again: what was there comes as MODIFIED, what has gone as DELETED.
        """
        known: dict[str, Mapping[str, Any]] = {}
        while True:
            try:
                listed = await self.list(path, **query)
                now = {str(item["metadata"]["uid"]): item for item in listed.items}
                for uid in known.keys() - now.keys():
                    yield Change("DELETED", known.pop(uid))
                for uid, item in now.items():
                    yield Change("MODIFIED" if uid in known else "ADDED", item)
                    known[uid] = item
                async for change in self.watch(path, listed.resource_version, **query):
                    uid = str(change.object["metadata"]["uid"])
                    if change.type == "DELETED":
                        known.pop(uid, None)
                    else:
                        known[uid] = change.object
                    yield change
            except ReadError:
                await asyncio.sleep(0.2)


@dataclass(frozen=True, slots=True)
class Access:
    """What a kubeconfig's current context says."""

    server: str
    token: str | None
    tls: ssl.SSLContext | bool

    @classmethod
    def read(cls, kubeconfig: Path) -> Access:
        config = yaml.safe_load(kubeconfig.read_text())
        context = _named(config, "contexts", config["current-context"])["context"]
        cluster = _named(config, "clusters", context["cluster"])["cluster"]
        user = _named(config, "users", context["user"])["user"]
        return cls(cluster["server"].rstrip("/"), user.get("token"), _tls(cluster, user, kubeconfig.parent))


def _named(config: Mapping[str, Any], what: str, name: str) -> Mapping[str, Any]:
    for entry in config[what]:
        if entry["name"] == name:
            found: Mapping[str, Any] = entry
            return found
    raise ReadError(f"the kubeconfig has no {name!r} among its {what}")


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any], folder: Path) -> ssl.SSLContext | bool:
    if cluster.get("insecure-skip-tls-verify"):
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif authority := cluster.get("certificate-authority-data"):
        context = ssl.create_default_context(cadata=base64.b64decode(authority).decode())
    elif file := cluster.get("certificate-authority"):
        context = ssl.create_default_context(cafile=folder / file)
    else:
        return True
    if file := user.get("client-certificate"):
        context.load_cert_chain(folder / file, folder / user["client-key"])
    elif data := user.get("client-certificate-data"):
        with tempfile.NamedTemporaryFile() as pair:  # ssl reads a client's certificate from a file only
            pair.write(base64.b64decode(data) + b"\n" + base64.b64decode(user["client-key-data"]))
            pair.flush()
            context.load_cert_chain(pair.name)
    return context


async def _lines(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Whole lines of any length (aiohttp's own iteration gives up at 64 KiB)."""
    rest = b""
    async for chunk in stream.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if line:
                yield line
