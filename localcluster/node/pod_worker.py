"""The life of one pod on the node: one task that syncs it, stops it, and reports.

As pkg/kubelet/pod_workers.go and SyncPod, SyncTerminatingPod, SyncTerminatedPod in pkg/kubelet/kubelet.go: everything
is level-triggered; a wake-up says that something has changed, not what.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from localcluster.node.actions import Actions, KillReason, next_actions
from localcluster.node.container import Container, Launch
from localcluster.node.environment import ConfigError, Sources, command_line, environment, expand, needed_sources
from localcluster.node.handlers import CommandRunner
from localcluster.node.hooks import HookFailed, run_hook
from localcluster.node.mounts import mount_wrapper
from localcluster.node.objects import (
    Json,
    all_containers,
    containers,
    init_containers,
    is_being_deleted,
    is_sidecar,
    is_terminal_phase,
    key,
    name,
    namespace,
    uid,
)
from localcluster.node.probes import KINDS, Kind, ProbeWorker, Target
from localcluster.node.process import StartError
from localcluster.node.status import ContainerView, Run, pod_status, with_terminal_phase
from localcluster.node.termination import MINIMUM_GRACE, TerminationOrder, grace_period, pod_grace
from localcluster.node.volumes import VolumeError

log = logging.getLogger(__name__)

_JITTER = 0.5
"""workerBackOffPeriodJitterFactor: a back-off is followed by up to half of it again."""
_RETRY = 10.0
"""backOffPeriod: seconds until a sync that failed is tried again."""
_RESYNC = 60.0
"""syncFrequency: seconds until a sync that went well is repeated anyway."""


class NodeServices(Protocol):
    """What the node offers to its pods."""

    host_ip: str

    def take_address(self) -> str: ...
    def give_back_address(self, address: str) -> None: ...
    def next_relist(self, callback: Callable[[], None]) -> None: ...
    def first_probe_delay(self, period: float) -> float: ...
    def status_of(self, pod_uid: str) -> Json | None: ...
    def report(self, pod: Json, status: Json, *, force: bool = False) -> None: ...
    def report_finished(self, pod: Json) -> None: ...
    def event(self, pod: Json, container: str | None, kind: str, reason: str, message: str) -> None: ...
    async def sources(self, pod: Json, needed: set[tuple[str, str]]) -> Sources: ...
    async def service_variables(self) -> Mapping[str, str]: ...
    async def volumes(self, pod: Json, directory: Path, pod_ip: str) -> Mapping[str, Path]: ...
    def base_environment(self, pod: Json) -> Mapping[str, str]: ...
    def allocatable(self) -> Mapping[str, float]: ...


class PodWorker:
    """Runs until the pod's containers are stopped for good; `update` and `remove` are called from the watch."""

    def __init__(self, pod: Json, node: NodeServices, *, logs: Path, run: Path) -> None:
        self.pod = pod
        self._node = node
        self._run_dir = run / uid(pod)
        log_dir = logs / "pods" / f"{namespace(pod)}_{name(pod)}_{uid(pod)}"
        self._containers: dict[str, Container] = {
            spec["name"]: Container(spec, log_dir, init=spec in init_containers(pod), on_exit=self._container_ended)
            for spec in all_containers(pod)
        }
        self._ip: str | None = None
        self._ip_seen: str | None = None
        self._volumes: Mapping[str, Path] | None = None
        self._probes: dict[tuple[str, Kind], ProbeWorker] = {}
        self._condemned: dict[str, tuple[str, KillReason]] = {}
        self._wake = asyncio.Event()
        self._wake.set()
        self._timer: asyncio.TimerHandle | None = None
        self._removed = False
        self._terminating = False
        self._pod_as_stopped: Json | None = None
        self._grace: int | None = None
        self._grace_changed = asyncio.Event()
        self._remember_former_runs()
        self._task = asyncio.create_task(self._run(), name=f"pod {key(pod)}")

    # ------------------------------------------------------------------ from the node

    def update(self, pod: Json) -> None:
        """The pod has changed on the API server.

        A change of status alone makes nobody look, except that of a readiness gate (agent.py decides).
        """
        self.pod = pod
        if self._terminating:
            grace = pod_grace(pod)
            if self._grace is not None and is_being_deleted(pod) and grace < self._grace:
                self._grace = grace
                self._grace_changed.set()
        else:
            self._wake.set()

    def refresh(self, pod: Json) -> None:
        """A newer copy of the pod that is no reason to sync."""
        self.pod = pod

    def remove(self) -> None:
        """The pod is gone from the API server (finished, or deleted by force)."""
        self._removed = True
        self._wake.set()

    @property
    def done(self) -> bool:
        return self._task.done()

    def when_done(self, callback: Callable[[], object]) -> None:
        self._task.add_done_callback(lambda _: callback())

    def container(self, container: str) -> Container:
        """Raises KeyError."""
        return self._containers[container]

    def all_containers(self) -> list[Container]:
        return list(self._containers.values())

    def kill_now(self) -> None:
        """The node is going down: everything dies at once, nothing is reported."""
        self._task.cancel()
        for probe in self._probes.values():
            probe.stop()
        for container in self._containers.values():
            container.kill_now()

    # ------------------------------------------------------------------ the loop

    async def _run(self) -> None:
        if is_terminal_phase((self.pod.get("status") or {}).get("phase")):  # it had ended before the node came up
            self._node.report(self.pod, self.pod["status"])
            self._node.report_finished(self.pod)
            return
        while not (self._removed or is_being_deleted(self.pod)):
            await self._wake.wait()
            self._wake.clear()
            if self._removed or is_being_deleted(self.pod):
                break
            try:
                if await self._sync():
                    break
            except Exception:  # as a kubelet: say it and try again
                log.exception("sync of %s failed; again in %g s", key(self.pod), _RETRY)
                self._wake_in(_RETRY)
        await self._terminate()

    def _wake_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._wake.set)

    async def _sync(self) -> bool:
        """One look at the pod and what follows from it; True when it has ended by itself."""
        self._wake_in(_RESYNC * (1 + random.random() * _JITTER))
        status = self._report()
        if is_terminal_phase(status["phase"]):
            return True
        if self._ip is None:
            on_host = self.pod["spec"].get("hostNetwork")
            self._ip = self._node.host_ip if on_host else self._node.take_address()
        if self._volumes is None:
            try:
                self._volumes = await self._node.volumes(self.pod, self._run_dir / "volumes", self._ip)
            except VolumeError as error:
                self._node.event(self.pod, None, "Warning", "FailedMount", str(error))
                self._wake_in(_RETRY * (1 + random.random() * _JITTER))
                return False
        self._start_probes()
        actions = next_actions(self.pod, self._views(), self._condemned_now())
        if not actions:
            return False
        if await self._act(actions):
            self._look()
        return False

    async def _act(self, actions: Actions) -> bool:
        """True when something was done, so that it is worth looking at once."""
        if actions.kill_pod:
            await self._kill(list(self._containers), None)
            return True
        if actions.kill:
            await asyncio.gather(
                *(
                    self._kill_container(self._containers[container], probe, None, None)
                    for container, probe in actions.kill.items()
                )
            )
        done = bool(actions.kill)
        for container in actions.start_init:
            started = await self._start(container, restarted=container in actions.kill)
            done = done or started
            if not started and not is_sidecar(self._containers[container].spec):
                return done
        for container in actions.start:
            done = await self._start(container, restarted=container in actions.kill) or done
        return done

    # ------------------------------------------------------------------ status

    def _views(self) -> dict[str, ContainerView]:
        return {container: c.view() for container, c in self._containers.items()}

    def _report(self, *, terminal: bool = False, force: bool = False) -> Json:
        previous = self._node.status_of(uid(self.pod)) or self.pod.get("status") or {}
        status = pod_status(
            self._pod_as_stopped or self.pod,
            self._views(),
            previous=previous,
            host_ip=self._node.host_ip,
            pod_ip=self._ip_seen,
            now=datetime.now(UTC),
            terminal=terminal,
        )
        self._node.report(self.pod, status, force=force)
        if not self._terminating:
            self._trigger_readiness(status)
        return status

    def _trigger_readiness(self, status: Json) -> None:
        """UpdatePodStatus in prober_manager.go: a started container that is not ready is probed at every sync."""
        for entry in [*status["containerStatuses"], *status.get("initContainerStatuses", [])]:
            worker = self._probes.get((entry["name"], "readiness"))
            if worker is not None and entry["started"] and not entry["ready"]:
                worker.trigger()

    def _look(self) -> None:
        """A relist of this pod: take notice of everything, and sync."""
        self._ip_seen = self._ip
        for container in self._containers.values():
            container.look()
        self._wake.set()

    def _container_ended(self) -> None:
        self._node.next_relist(self._relisted)

    def _relisted(self) -> None:
        if not self._terminating:
            self._look()

    def _remember_former_runs(self) -> None:
        """What ran before this node process did is gone, as after a reboot: the runtime tells 255, Unknown."""
        status = self.pod.get("status") or {}
        if is_terminal_phase(status.get("phase")):
            return
        now = datetime.now(UTC)
        for entry in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
            container = self._containers.get(entry["name"])
            state = entry.get("state") or {}
            ended = state.get("terminated") or (entry.get("lastState") or {}).get("terminated")
            if container is None:
                continue
            if running := state.get("running"):
                container.remember(
                    Run(
                        container_id=entry.get("containerID", "").rpartition("/")[2],
                        restart_count=entry.get("restartCount", 0),
                        started_at=datetime.fromisoformat(running["startedAt"]),
                        finished_at=now,
                        exit_code=255,
                        reason="Unknown",
                    )
                )
            elif ended:
                container.remember(
                    Run(
                        container_id=ended.get("containerID", "").rpartition("/")[2],
                        restart_count=entry.get("restartCount", 0),
                        started_at=_moment(ended.get("startedAt")),
                        finished_at=_moment(ended.get("finishedAt")) or now,
                        exit_code=ended.get("exitCode", 255),
                        reason=ended.get("reason", "Unknown"),
                        message=ended.get("message", ""),
                    )
                )

    # ------------------------------------------------------------------ starting

    async def _start(self, container_name: str, *, restarted: bool) -> bool:
        """Starts a container unless it is in back-off; True when it runs."""
        container = self._containers[container_name]
        spec = container.spec
        run = None if restarted else container.seen.current
        now = datetime.now(UTC)
        if run is not None and run.finished_at is not None:
            until = container.backoff.until(run.finished_at)
            if until is not None and until > now:
                delay = container.backoff.delay
                first = container.waiting is None or container.waiting[0] != "CrashLoopBackOff"
                message = (
                    f"back-off {_duration(delay)} restarting failed container={container.name} "
                    f"pod={name(self.pod)}_{namespace(self.pod)}({uid(self.pod)})"
                )
                container.waiting = ("CrashLoopBackOff", message)
                self._node.event(
                    self.pod,
                    container.name,
                    "Warning",
                    "BackOff",
                    f"Back-off restarting failed container {container.name} in pod "
                    f"{name(self.pod)}_{namespace(self.pod)}({uid(self.pod)})",
                )
                self._wake_in((until - now).total_seconds() * (1 + random.random() * _JITTER))
                if first:
                    self._wake.set()  # so that the reason is shown now and not after the wait
                return False
            container.backoff = container.backoff.restarted(run.finished_at, now)
        try:
            launch = await self._launch(spec)
        except ConfigError as error:
            container.waiting = ("CreateContainerConfigError", str(error))
            self._node.event(self.pod, container.name, "Warning", "Failed", f"Error: {error}")
            self._wake_in(_RETRY * (1 + random.random() * _JITTER))
            self._report()
            return False
        try:
            container.start(launch)
        except StartError as error:
            container.waiting = ("RunContainerError", str(error))
            self._node.event(self.pod, container.name, "Warning", "Failed", f"Error: {error}")
            self._container_ended()
            return False
        container.waiting = None
        self._node.event(self.pod, container.name, "Normal", "Started", "Container started")
        if hook := (spec.get("lifecycle") or {}).get("postStart"):
            try:
                await run_hook(hook, spec, self._ip or "", container.run_command)
            except HookFailed as error:
                self._node.event(self.pod, container.name, "Warning", "FailedPostStartHook", "PostStartHook failed")
                log.info("%s: postStart of %s failed: %s", key(self.pod), container.name, error)
                await self._kill_container(container, None, None, None)
                container.waiting = ("PostStartHookError", str(error))
        return True

    async def _launch(self, spec: Json) -> Launch:
        """Raises ConfigError."""
        needed = needed_sources(spec)
        variables = environment(
            self.pod,
            spec,
            pod_ip=self._ip or "",
            host_ip=self._node.host_ip,
            services=await self._node.service_variables(),
            sources=await self._node.sources(self.pod, needed) if needed else Sources({}),
            allocatable=self._node.allocatable(),
        )
        pod_spec = self.pod["spec"]
        return Launch(
            argv=command_line(spec, variables),
            env={**self._node.base_environment(self.pod), **variables},
            cwd=expand(spec.get("workingDir") or "/", variables),
            wrapper=mount_wrapper(self.pod, spec, self._volumes or {}, variables),
            as_init=not (pod_spec.get("hostPID") or pod_spec.get("shareProcessNamespace")),
        )

    # ------------------------------------------------------------------ probes

    def _start_probes(self) -> None:
        for spec in [*containers(self.pod), *(c for c in init_containers(self.pod) if is_sidecar(c))]:
            for kind in KINDS:
                if spec.get(f"{kind}Probe") and (spec["name"], kind) not in self._probes:
                    self._probes[spec["name"], kind] = ProbeWorker(
                        self, spec, kind, first_delay=self._node.first_probe_delay
                    )

    def _stop_probes(self, *kinds: Kind) -> None:
        for (_, kind), worker in self._probes.items():
            if kind in kinds:
                worker.stop()

    def probe_target(self, container: str) -> Target | None:
        status = self._node.status_of(uid(self.pod)) or {}
        entries = [*(status.get("containerStatuses") or []), *(status.get("initContainerStatuses") or [])]
        entry = next((e for e in entries if e["name"] == container), None)
        if entry is None or not entry.get("containerID"):
            return None
        running = entry["state"].get("running")
        return Target(
            container_id=entry["containerID"].rpartition("/")[2],
            running=running is not None,
            started=bool(entry.get("started")),
            age=(datetime.now(UTC) - datetime.fromisoformat(running["startedAt"])).total_seconds() if running else 0,
            pod_ip=status.get("podIP", ""),
        )

    def command_runner(self, container: str) -> CommandRunner:
        return self._containers[container].run_command

    def probe_verdict(self, container: str, kind: Kind, container_id: str, verdict: bool | None) -> None:
        c = self._containers[container]
        if c.probed_id != container_id:
            c.probed_id = container_id
            c.startup = c.readiness = None
        if kind == "readiness":
            c.readiness = verdict
            self._report_probe()
        elif kind == "startup":
            c.startup = verdict
            self._report_probe()
        if kind != "readiness":
            if verdict is False:
                self._condemned[container] = (container_id, kind)
            elif (sentence := self._condemned.get(container)) is not None and sentence[1] == kind:
                del self._condemned[container]
        self._wake.set()

    def _report_probe(self) -> None:
        """SetContainerReadiness, SetContainerStartup: reported at once, also while the pod is being stopped."""
        if self._node.status_of(uid(self.pod)) is not None:
            self._report()

    def probe_failed(self, container: str, kind: Kind, message: str) -> None:
        self._node.event(
            self.pod, container, "Warning", "Unhealthy", f"{kind.capitalize()} probe failed: {message[:1024]}"
        )

    def _condemned_now(self) -> dict[str, KillReason]:
        return {
            container: reason
            for container, (container_id, reason) in self._condemned.items()
            if self._containers[container].container_id == container_id
        }

    # ------------------------------------------------------------------ stopping

    async def _kill_container(
        self, container: Container, probe: KillReason | None, override: int | None, order: TerminationOrder | None
    ) -> None:
        """killContainer: preStop and the wait for others come out of the grace period; two seconds always remain."""
        loop = asyncio.get_running_loop()
        spec = container.spec
        if not container.running:
            await container.stop(0)
            if order is not None:
                order.stopped(container.name)
            return
        grace = grace_period(self.pod, spec, probe) if override is None else override
        why = f"Container {container.name} failed {probe} probe, will be restarted" if probe else ""
        self._node.event(self.pod, container.name, "Normal", "Killing", why or f"Stopping container {container.name}")
        hook = (spec.get("lifecycle") or {}).get("preStop")
        running_hook: asyncio.Task[None] | None = None
        if hook and grace > 0:
            start = loop.time()
            running_hook = asyncio.create_task(run_hook(hook, spec, self._ip or "", container.run_command))
            done, _ = await asyncio.wait([running_hook], timeout=grace)
            if done and (error := running_hook.exception()) is not None:
                log.info("%s: preStop of %s failed: %s", key(self.pod), container.name, error)
                self._node.event(self.pod, container.name, "Warning", "FailedPreStopHook", "PreStopHook failed")
            grace -= int(loop.time() - start)
        if order is not None and grace > 0:
            grace -= int(await order.wait_for_turn(container.name, grace))
        await container.stop(max(grace, MINIMUM_GRACE))
        if running_hook is not None:
            running_hook.cancel()
        if order is not None:
            order.stopped(container.name)

    async def _kill(self, names: list[str], override: int | None) -> None:
        running = [n for n in names if self._containers[n].running]
        has_sidecars = any(is_sidecar(c) for c in init_containers(self.pod))
        order = TerminationOrder(self.pod, running) if has_sidecars else None
        await asyncio.gather(*(self._kill_container(self._containers[n], None, override, order) for n in running))

    async def _terminate(self) -> None:
        """SyncTerminatingPod and SyncTerminatedPod.

        Ready is not touched: it stays what the probes and gates last said, and only the readiness probes go on, until
        the containers have stopped. Endpoints go because of the pod's deletionTimestamp, not because of Ready.
        """
        if self._timer is not None:
            self._timer.cancel()
        pod = self.pod
        self._report(force=True)
        self._terminating = True
        self._pod_as_stopped = pod  # gates are read in a sync, and there is none any more
        self._stop_probes("startup", "liveness")
        self._grace = pod_grace(pod)
        await self._kill_with_changing_grace()
        self._stop_probes(*KINDS)
        self._look()
        status = self._report(terminal=True)
        self._node.report(self.pod, with_terminal_phase(self.pod, status, datetime.now(UTC)), force=True)
        if self._ip is not None and self._ip != self._node.host_ip:
            self._node.give_back_address(self._ip)
        await asyncio.to_thread(shutil.rmtree, self._run_dir, ignore_errors=True)
        self._node.report_finished(self.pod)

    async def _kill_with_changing_grace(self) -> None:
        """Deleting again with a shorter grace period starts the stop anew with that one, hooks included."""
        while True:
            self._grace_changed.clear()
            override = self._grace if is_being_deleted(self.pod) else None
            kill = asyncio.create_task(self._kill(list(self._containers), override))
            changed = asyncio.create_task(self._grace_changed.wait())
            await asyncio.wait([kill, changed], return_when=asyncio.FIRST_COMPLETED)
            changed.cancel()
            if kill.done():
                kill.result()
                return
            kill.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await kill


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _duration(delay: timedelta) -> str:
    """As Go prints it: 10s, 2m40s, 5m0s."""
    minutes, seconds = divmod(int(delay.total_seconds()), 60)
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
