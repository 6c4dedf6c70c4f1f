"""Events about pods, in the order they happened and never in anybody's way."""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from localcluster.node.api import MERGE, Api, ApiError, ApiUnreachable
from localcluster.node.objects import Json, init_containers, name, namespace, timestamp, uid

log = logging.getLogger(__name__)

_QUEUE = 1000
"""As client-go's recorder: what does not fit is dropped."""
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class _Event:
    pod: Json
    container: str | None
    kind: str
    reason: str
    message: str
    at: datetime


class EventRecorder:
    """The same event again counts up the first one, as client-go's correlator does."""

    def __init__(self, api: Api, node: str) -> None:
        self._api = api
        self._node = node
        self._queue: asyncio.Queue[_Event] = asyncio.Queue(_QUEUE)
        self._known: dict[tuple[str, str | None, str, str], tuple[str, int]] = {}

    def record(self, pod: Json, container: str | None, kind: str, reason: str, message: str) -> None:
        try:
            self._queue.put_nowait(_Event(pod, container, kind, reason, message, datetime.now(UTC)))
        except asyncio.QueueFull:
            log.warning("event %s of %s dropped", reason, name(pod))

    async def run(self) -> None:
        while True:
            event = await self._queue.get()
            try:
                await self._send(event)
            except (ApiError, ApiUnreachable) as error:
                log.debug("event: %s", error)

    async def _send(self, event: _Event) -> None:
        same = (uid(event.pod), event.container, event.reason, event.message)
        path = f"/api/v1/namespaces/{namespace(event.pod)}/events"
        if (known := self._known.get(same)) is not None:
            event_name, count = known
            self._known[same] = (event_name, count + 1)
            body: Json = {"count": count + 1, "lastTimestamp": timestamp(event.at)}
            await self._api.patch(f"{path}/{event_name}", body, MERGE)
            return
        if len(self._known) >= _REMEMBERED:
            self._known.pop(next(iter(self._known)))
        event_name = f"{name(event.pod)}.{secrets.token_hex(8)}"
        involved: Json = {
            "kind": "Pod",
            "apiVersion": "v1",
            "namespace": namespace(event.pod),
            "name": name(event.pod),
            "uid": uid(event.pod),
        }
        if event.container:
            init = any(c["name"] == event.container for c in init_containers(event.pod))
            involved["fieldPath"] = f"spec.{'initContainers' if init else 'containers'}{{{event.container}}}"
        await self._api.create(
            path,
            {
                "metadata": {"name": event_name, "namespace": namespace(event.pod)},
                "involvedObject": involved,
                "type": event.kind,
                "reason": event.reason,
                "message": event.message,
                "count": 1,
                "firstTimestamp": timestamp(event.at),
                "lastTimestamp": timestamp(event.at),
                "source": {"component": "kubelet", "host": self._node},
                "reportingComponent": "kubelet",
                "reportingInstance": self._node,
            },
        )
        self._known[same] = (event_name, 1)
