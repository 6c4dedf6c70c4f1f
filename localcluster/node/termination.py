"""Stopping the containers of a pod: who, in which order, and in how much time.

killContainer in pkg/kubelet/kuberuntime/kuberuntime_container.go and kuberuntime_termination_order.go.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection

from localcluster.node.objects import Json, containers, init_containers, is_sidecar

MINIMUM_GRACE = 2
"""minimumGracePeriodInSeconds: what is left of a grace period for SIGTERM, however long preStop took."""


def grace_period(pod: Json, container: Json, failed_probe: str | None) -> int:
    """setTerminationGracePeriod: whole seconds."""
    deletion = pod["metadata"].get("deletionGracePeriodSeconds")
    if deletion is not None:
        return int(deletion)
    if failed_probe is not None:
        own = (container.get(f"{failed_probe}Probe") or {}).get("terminationGracePeriodSeconds")
        if own is not None:
            return int(own)
    return int(pod["spec"].get("terminationGracePeriodSeconds", 30))


def pod_grace(pod: Json) -> int:
    """calculateEffectiveGracePeriod: never less than a second."""
    deletion = pod["metadata"].get("deletionGracePeriodSeconds")
    grace = pod["spec"].get("terminationGracePeriodSeconds", 30) if deletion is None else deletion
    return max(int(grace), 1)


class TerminationOrder:
    """Sidecars stop after all regular containers, and the later one before the earlier one."""

    def __init__(self, pod: Json, running: Collection[str]) -> None:
        self._stopped: dict[str, asyncio.Event] = {}
        self._before: dict[str, list[asyncio.Event]] = {}
        for container in [*containers(pod), *init_containers(pod)]:
            event = asyncio.Event()
            if container["name"] not in running:
                event.set()
            self._stopped[container["name"]] = event
        mains = [self._stopped[c["name"]] for c in containers(pod)]
        later: str | None = None
        for container in reversed(init_containers(pod)):
            if is_sidecar(container):
                self._before[container["name"]] = mains + ([self._stopped[later]] if later else [])
                later = container["name"]

    async def wait_for_turn(self, container: str, grace: float) -> float:
        """Seconds waited; at most `grace`."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                for event in self._before.get(container, []):
                    await event.wait()
        return loop.time() - start

    def stopped(self, container: str) -> None:
        self._stopped[container].set()
