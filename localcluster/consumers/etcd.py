"""Follows a service in etcd by a watch, by the HTTP JSON gateway: a reading, then every change after its revision.

https://etcd.io/docs/v3.5/learning/api/#watch-api; a watch that has fallen behind a compaction is cancelled, and one
whose connection ends is over: both mean to read again.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from localcluster.consumers.addresses import Emit, Weighted
from localcluster.consumers.pauses import Pauses

PREFIX = "services/"
WITHIN, NEVER = aiohttp.ClientTimeout(total=10), aiohttp.ClientTimeout(total=None)


async def follow(
    session: aiohttp.ClientSession,
    url: str,
    service: str,
    emit: Emit,
    prefix: str = PREFIX,
    login: tuple[str, str] | None = None,
) -> None:
    """For ever. While etcd does not answer the old list stays.

    Args:
        login: user and password, where etcd wants them.
    """
    key = f"{prefix}{service}/".encode()
    pauses = Pauses()
    while True:
        try:
            headers = await _logged_in(session, url, *login) if login else {}
            await _read_and_watch(session, url, key, emit, pauses, headers)
        except (aiohttp.ClientError, TimeoutError) as error:
            print(f"etcd: {error!r}", file=sys.stderr, flush=True)
            await asyncio.sleep(pauses.after_failure())


async def _logged_in(session: aiohttp.ClientSession, url: str, name: str, password: str) -> dict[str, str]:
    """The header that says who asks."""
    login = {"name": name, "password": password}
    async with session.post(f"{url}/v3/auth/authenticate", json=login, timeout=WITHIN) as answer:
        answer.raise_for_status()
        return {"Authorization": (await answer.json())["token"]}


async def _read_and_watch(
    session: aiohttp.ClientSession, url: str, key: bytes, emit: Emit, pauses: Pauses, headers: dict[str, str]
) -> None:
    """Until the watch ends."""
    whole = {"key": _encoded(key), "range_end": _encoded(after(key))}
    held: dict[str, Weighted] = {}
    async with session.post(f"{url}/v3/kv/range", json=whole, headers=headers, timeout=WITHIN) as answer:
        answer.raise_for_status()
        read: dict[str, Any] = await answer.json()
    for pair in read.get("kvs") or ():
        _put(held, pair)
    pauses.over()
    emit(held.values())
    begin = {"create_request": {**whole, "start_revision": str(int(read["header"]["revision"]) + 1)}}
    async with session.post(f"{url}/v3/watch", json=begin, headers=headers, timeout=NEVER) as answer:
        answer.raise_for_status()
        async for message in _messages(answer.content):
            result = message.get("result")
            if result is None or result.get("canceled"):
                return
            for event in result.get("events") or ():
                if event.get("type") == "DELETE":
                    held.pop(event["kv"]["key"], None)
                else:
                    _put(held, event["kv"])
            emit(held.values())


async def _messages(stream: aiohttp.StreamReader) -> AsyncIterator[dict[str, Any]]:
    """One JSON object a line, of any length."""
    rest = b""
    async for chunk in stream.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line.strip():
                yield json.loads(line)


def _put(held: dict[str, Weighted], pair: dict[str, Any]) -> None:
    try:
        held[pair["key"]] = address_of(base64.b64decode(pair["value"]).decode())
    except ValueError as error:
        print(f"etcd: passed over {pair['key']}: {error}", file=sys.stderr, flush=True)


def address_of(value: str) -> Weighted:
    """Of a value as etcd's naming package writes it. Raises ValueError for any other."""
    data = json.loads(value)
    try:
        return Weighted(data["Addr"], float((data.get("Metadata") or {}).get("weight", 1)))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"no endpoint: {value[:100]}") from error


def after(prefix: bytes) -> bytes:
    """The `range_end` for every key with that prefix."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def _encoded(key: bytes) -> str:
    return base64.b64encode(key).decode()
