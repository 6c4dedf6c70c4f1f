"""Startup, readiness and liveness probes: pkg/kubelet/prober/worker.go and prober.go."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from localcluster.node.handlers import CommandRunner, HandlerError, http_get, resolve_port, tcp_connect
from localcluster.node.objects import Json

log = logging.getLogger(__name__)

Kind = Literal["startup", "readiness", "liveness"]
KINDS: tuple[Kind, ...] = ("startup", "readiness", "liveness")
AGENT = "kube-probe/1.36"


@dataclass(slots=True)
class Thresholds:
    """Turns single answers into a verdict: so many failures, or successes, in a row."""

    failure: int
    success: int
    _last: bool | None = None
    _run: int = 0

    @classmethod
    def of(cls, probe: Json) -> Thresholds:
        return cls(failure=probe.get("failureThreshold", 3), success=probe.get("successThreshold", 1))

    def count(self, answer: bool) -> bool | None:
        """The verdict this answer leads to; None: not enough of them yet, the verdict so far stands."""
        self._run = self._run + 1 if answer == self._last else 1
        self._last = answer
        return answer if self._run >= (self.success if answer else self.failure) else None

    def restart(self) -> None:
        """resultRun = 0; the last answer stays, as upstream."""
        self._run = 0


@dataclass(frozen=True, slots=True)
class Target:
    """The running container as the *reported* status has it: probes look at nothing fresher."""

    container_id: str
    running: bool
    started: bool
    age: float
    """Seconds since it started, counted from the whole second the API knows."""
    pod_ip: str


class ProbeHost(Protocol):
    """What a probe needs of the pod it belongs to."""

    def probe_target(self, container: str) -> Target | None:
        """None: there is no such container yet."""

    def command_runner(self, container: str) -> CommandRunner: ...

    def probe_verdict(self, container: str, kind: Kind, container_id: str, verdict: bool | None) -> None:
        """A verdict has changed; None is "no verdict yet" (startup)."""

    def probe_failed(self, container: str, kind: Kind, message: str) -> None:
        """A single answer was a failure: an Event."""


_INITIAL: dict[Kind, bool | None] = {"startup": None, "readiness": False, "liveness": True}


class ProbeWorker:
    """Probes one container, run after run, until it is stopped."""

    def __init__(self, host: ProbeHost, container: Json, kind: Kind, *, first_delay: Callable[[float], float]) -> None:
        """`first_delay(period)`: seconds to wait before the first probe; a freshly started kubelet spreads them."""
        self._host = host
        self._container = container
        self._kind: Kind = kind
        self._spec: Json = container[f"{kind}Probe"]
        self._period = float(self._spec.get("periodSeconds") or 10)
        self._timeout = float(self._spec.get("timeoutSeconds") or 1)
        self._thresholds = Thresholds.of(self._spec)
        self._first_delay = first_delay
        self._now = asyncio.Event()
        self._container_id = ""
        self._verdict: bool | None = None
        self._on_hold = False
        self._task = asyncio.create_task(self._run(), name=f"probe {kind} {container['name']}")

    def stop(self) -> None:
        self._task.cancel()

    def trigger(self) -> None:
        """Probe now, and count the period from now: each sync of an unready container does this."""
        self._now.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        if delay := self._first_delay(self._period):
            await asyncio.sleep(delay)
        next_tick = loop.time() + self._period
        while True:
            try:
                await self._probe_once()
            except Exception:  # upstream eats panics here too: a probe that cannot be made is no verdict
                log.exception("%s probe of %s", self._kind, self._container["name"])
            try:
                async with asyncio.timeout_at(next_tick):
                    await self._now.wait()
                self._now.clear()
                next_tick = loop.time() + self._period
            except TimeoutError:
                # A Go ticker holds one missed tick, no more.
                next_tick = max(next_tick + self._period, loop.time())

    def _set(self, verdict: bool | None, *, first: bool = False) -> None:
        if first or verdict != self._verdict:
            self._verdict = verdict
            self._host.probe_verdict(self._container["name"], self._kind, self._container_id, verdict)

    async def _probe_once(self) -> None:
        """doProbe in worker.go. A worker ends when it is stopped: by its pod, when that is being stopped."""
        target = self._host.probe_target(self._container["name"])
        if target is None:
            return
        if target.container_id != self._container_id:
            self._container_id = target.container_id
            self._set(_INITIAL[self._kind], first=True)
            self._on_hold = False
        if self._on_hold:
            return
        if not target.running:
            self._set(False)
            return
        if int(target.age) < (self._spec.get("initialDelaySeconds") or 0):
            return
        if target.started == (self._kind == "startup"):
            return  # startup probes end once it has started; the others wait until then

        try:
            answer, message = await self._ask(target)
        except HandlerError as error:
            self._host.probe_failed(self._container["name"], self._kind, str(error))
            return
        if not answer:
            self._host.probe_failed(self._container["name"], self._kind, message)
        verdict = self._thresholds.count(answer)
        if verdict is None:
            return
        self._set(verdict)
        if self._kind == "startup" or (self._kind == "liveness" and not verdict):
            self._on_hold = True
            self._thresholds.restart()

    async def _ask(self, target: Target) -> tuple[bool, str]:
        if action := self._spec.get("exec"):
            run = self._host.command_runner(self._container["name"])
            try:
                code, output = await run(action.get("command") or [], self._timeout)
            except TimeoutError:
                return False, f"command timed out: {action.get('command')} timed out after {self._timeout:g}s"
            except OSError as error:
                return False, str(error)
            return code == 0, output
        if action := self._spec.get("httpGet"):
            return await http_get(action, self._container, target.pod_ip, self._timeout, agent=AGENT)
        if action := self._spec.get("tcpSocket"):
            port = resolve_port(action["port"], self._container)
            return await tcp_connect(action.get("host") or target.pod_ip, port, self._timeout)
        raise HandlerError("this node knows exec, httpGet and tcpSocket probes; grpc is not supported")


def spread_after_start(node_started: float, now: float) -> Callable[[float], float]:
    """Workers made within a period of the node's own start wait a random part of it (worker.run upstream)."""

    def delay(period: float) -> float:
        return random.random() * period if period > now - node_started else 0.0

    return delay
