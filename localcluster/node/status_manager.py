"""Sends pod statuses to the API server: pkg/kubelet/status/status_manager.go.

Statuses are kept here with a version; a change is sent at once, one pod after the other. Every ten seconds all of them
are compared with what the API server has, and only then is put right what somebody else has written over the node's own
conditions. So a stranger's `Ready: True` lives for up to ten seconds here, as it does on a kubelet.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from localcluster.node.api import Api, ApiError, ApiUnreachable
from localcluster.node.objects import Json, find_condition, is_being_deleted, is_terminal_phase, key, uid
from localcluster.node.status import OWNED_CONDITIONS

log = logging.getLogger(__name__)

SYNC_PERIOD = 10.0
"""syncPeriod upstream, seconds."""

_FIELDS = (
    "observedGeneration",
    "phase",
    "reason",
    "message",
    "hostIP",
    "hostIPs",
    "podIP",
    "podIPs",
    "startTime",
    "containerStatuses",
    "initContainerStatuses",
)


def _plain(value: object) -> object:
    """Without empty parts: the API server leaves some of them out and writes others."""
    if isinstance(value, dict):
        pruned = {k: _plain(v) for k, v in value.items()}
        return {k: v for k, v in pruned.items() if v not in (None, {}, [], "")}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def same_status(one: Json, other: Json) -> bool:
    """isPodStatusByKubeletEqual: owned conditions by status, reason and message; all else as it is."""
    for kind in OWNED_CONDITIONS:
        a = find_condition(one, kind) or {}
        b = find_condition(other, kind) or {}
        if any((a.get(field) or "") != (b.get(field) or "") for field in ("status", "reason", "message")):
            return False
    return all(_plain(one.get(field)) == _plain(other.get(field)) for field in _FIELDS)


def status_patch(pod_uid: str, status: Json) -> Json:
    """A strategic merge patch with all the node owns and nothing else.

    Conditions merge by type, so those of others stay. The uid makes it fail for a new pod of the same name.
    A kubelet reads the pod first and sends the difference; sending all of what is owned ends in the same object.
    """
    conditions = [
        {"reason": None, "message": None, "lastProbeTime": None, **condition}
        for condition in status["conditions"]
        if condition["type"] in OWNED_CONDITIONS
    ]
    body: Json = {field: status.get(field) for field in _FIELDS if field != "initContainerStatuses"}
    if "initContainerStatuses" in status:
        body["initContainerStatuses"] = status["initContainerStatuses"]
    # Lists of addresses merge too: name the old ones away.
    for field in ("podIPs", "hostIPs"):
        if status.get(field):
            body[field] = [{"$patch": "replace"}, *status[field]]
        else:
            body.pop(field)
    return {"metadata": {"uid": pod_uid}, "status": {**body, "conditions": conditions}}


@dataclass(slots=True)
class _Entry:
    pod: Json
    status: Json
    version: int = 1
    sent: int = 0
    finished: bool = False
    """All is stopped and cleaned up: a pod that is being deleted may go."""


class StatusManager:
    """`current(uid)` gives the pod as the watch last had it; None when it is gone."""

    def __init__(self, api: Api, current: Callable[[str], Json | None]) -> None:
        self._api = api
        self._current = current
        self._entries: dict[str, _Entry] = {}
        self._changed = asyncio.Event()

    def get(self, pod_uid: str) -> Json | None:
        """What was reported last, sent or not."""
        entry = self._entries.get(pod_uid)
        return entry.status if entry else None

    def set(self, pod: Json, status: Json, *, force: bool = False) -> None:
        """Takes note of a status. Unless `force`d, the same again is no change."""
        entry = self._entries.get(uid(pod))
        if entry is None:
            self._entries[uid(pod)] = _Entry(pod, status)
        else:
            entry.pod = pod
            if same_status(entry.status, status) and not force:
                return
            entry.status = status
            entry.version += 1
        self._changed.set()

    def finish(self, pod: Json) -> None:
        """TerminatePod: nothing of the pod is left on the node."""
        entry = self._entries[uid(pod)]
        entry.finished = True
        entry.version += 1
        self._changed.set()

    def forget(self, pod_uid: str) -> None:
        self._entries.pop(pod_uid, None)

    def look_again(self) -> None:
        """A finished pod is now being deleted."""
        self._changed.set()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        tick = loop.time() + SYNC_PERIOD
        while True:
            try:
                async with asyncio.timeout_at(tick):
                    await self._changed.wait()
                self._changed.clear()
                await self._sync(everything=False)
            except TimeoutError:
                tick = max(tick + SYNC_PERIOD, loop.time())
                await self._sync(everything=True)

    async def _sync(self, *, everything: bool) -> None:
        for pod_uid, entry in list(self._entries.items()):
            pod = self._current(pod_uid)
            stale = entry.sent < entry.version
            if everything and pod is not None:
                stale = stale or not same_status(pod.get("status") or {}, entry.status)
            if stale or (pod is not None and self._may_delete(pod, entry)):
                await self._sync_pod(pod_uid, entry)

    async def _sync_pod(self, pod_uid: str, entry: _Entry) -> None:
        version = entry.version
        path = f"/api/v1/namespaces/{entry.pod['metadata']['namespace']}/pods/{entry.pod['metadata']['name']}"
        try:
            pod = await self._api.patch(path + "/status", status_patch(pod_uid, entry.status))
            entry.sent = version
            if self._may_delete(pod, entry):
                await self._api.request(
                    "DELETE",
                    path,
                    {
                        "kind": "DeleteOptions",
                        "apiVersion": "v1",
                        "gracePeriodSeconds": 0,
                        "preconditions": {"uid": pod_uid},
                    },
                )
                self.forget(pod_uid)
        except ApiUnreachable as error:
            log.warning("status of %s: %s; the next tick tries again", key(entry.pod), error)
        except ApiError as error:
            if error.status in (404, 409):  # gone, or another pod of that name
                entry.sent = version
            else:
                log.warning("status of %s: %s", key(entry.pod), error)

    def _may_delete(self, pod: Json, entry: _Entry) -> bool:
        """canBeDeleted."""
        return entry.finished and is_being_deleted(pod) and is_terminal_phase((pod.get("status") or {}).get("phase"))
