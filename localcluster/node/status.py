"""A pod's status as a pure function of its spec and of what its containers do.

A port of pkg/kubelet/status/generate.go (conditions) and of getPhase, generateAPIPodStatus and
convertToAPIContainerStatuses in pkg/kubelet/kubelet_pods.go, Kubernetes 1.36.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from localcluster.node.objects import (
    Json,
    containers,
    find_condition,
    generation,
    init_containers,
    is_sidecar,
    is_terminal_phase,
    should_restart,
    sidecars,
    timestamp,
)

CONTAINER_ID_PREFIX = "localcluster://"

OWNED_CONDITIONS = frozenset({"PodScheduled", "Ready", "Initialized", "ContainersReady", "PodReadyToStartContainers"})
"""What the kubelet writes and therefore overwrites (pkg/kubelet/types/pod_status.go). Others' conditions stay."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a container."""

    container_id: str
    restart_count: int
    started_at: datetime | None
    finished_at: datetime | None = None
    exit_code: int = 0
    reason: str = ""
    message: str = ""

    @property
    def running(self) -> bool:
        return self.finished_at is None


@dataclass(frozen=True, slots=True)
class ContainerView:
    """What the node knows of a container when a status is made."""

    current: Run | None = None
    """The latest run in the present sandbox."""
    previous: Run | None = None
    """The finished run before it."""
    waiting: tuple[str, str] | None = None
    """Reason and message of the last failure to start it (the kubelet's reason cache)."""
    startup: bool | None = None
    """The startup probe's verdict on the current run; None: none yet, or no such probe."""
    readiness: bool | None = None
    """The readiness probe's verdict on the current run; None: none yet, or no such probe."""

    @property
    def running(self) -> bool:
        return self.current is not None and self.current.running


def is_started(container: Json, view: ContainerView) -> bool:
    """isContainerStarted in prober_manager.go."""
    return view.running and (container.get("startupProbe") is None or view.startup is True)


def is_ready(container: Json, view: ContainerView) -> bool:
    """UpdatePodStatus in prober_manager.go, for regular containers and sidecars."""
    return is_started(container, view) and (container.get("readinessProbe") is None or view.readiness is True)


def _terminated(run: Run) -> Json:
    assert run.finished_at is not None
    state: Json = {
        "exitCode": run.exit_code,
        "reason": run.reason,
        "startedAt": timestamp(run.started_at) if run.started_at else None,
        "finishedAt": timestamp(run.finished_at),
        "containerID": CONTAINER_ID_PREFIX + run.container_id,
    }
    if run.message:
        state["message"] = run.message
    return {"terminated": state}


def image_id(image: str) -> str:
    """There are no images; an id that is stable for a name keeps what reads it content."""
    return f"{image.split('@')[0]}@sha256:{hashlib.sha256(image.encode()).hexdigest()}"


def container_status(pod: Json, container: Json, view: ContainerView, *, init: bool) -> Json:
    """One entry of containerStatuses or initContainerStatuses."""
    current = view.current
    last = view.previous
    state: Json
    if current is None:
        state = {"waiting": {"reason": "PodInitializing" if init_containers(pod) else "ContainerCreating"}}
    elif current.running:
        state = {"running": {"startedAt": timestamp(current.started_at)}} if current.started_at else {"waiting": {}}
    else:
        state = _terminated(current)
    # "If a container should be restarted in next syncpod, it is *Waiting*": only where a start has failed.
    will_restart = current is None or (
        not current.running and should_restart(pod, container, current.exit_code, init=init)
    )
    if view.waiting is not None and will_restart and not pod["metadata"].get("deletionTimestamp"):
        if current is not None and not current.running:
            last = current
        reason, message = view.waiting
        state = {"waiting": {"reason": reason} | ({"message": message} if message else {})}

    regular_init = init and not is_sidecar(container)
    if regular_init:
        started = view.running
        ready = current is not None and not current.running and current.exit_code == 0 and "terminated" in state
    else:
        started = is_started(container, view)
        ready = is_ready(container, view)
    newest = current or last
    status: Json = {
        "name": container["name"],
        "state": state,
        "lastState": _terminated(last) if last is not None else {},
        "ready": ready,
        "started": started,
        "restartCount": newest.restart_count if newest else 0,
        "image": container.get("image", ""),
        "imageID": image_id(container.get("image", "")) if newest else "",
    }
    if newest:
        status["containerID"] = CONTAINER_ID_PREFIX + newest.container_id
        if resources := container.get("resources"):
            status["resources"] = resources
            if requests := resources.get("requests"):
                status["allocatedResources"] = requests
    if mounts := container.get("volumeMounts"):
        status["volumeMounts"] = [_mount_status(mount) for mount in mounts]
    return status


def _mount_status(mount: Json) -> Json:
    status: Json = {"name": mount["name"], "mountPath": mount["mountPath"]}
    if mount.get("readOnly"):
        status |= {"readOnly": True, "recursiveReadOnly": "Disabled"}
    return status


def phase(pod: Json, views: Mapping[str, ContainerView], *, terminal: bool) -> str:
    """getPhase in kubelet_pods.go. `terminal`: the containers are stopped for good."""
    waiting = running = stopped = stopped_for_good = succeeded = unknown = 0
    pending_init = pending_sidecars = init_failed_for_good = 0

    for container in init_containers(pod):
        view = views.get(container["name"], ContainerView())
        if is_sidecar(container):
            if view.running:
                running += 1
                pending_sidecars += not is_started(container, view)
            elif view.current is None and view.previous is None:
                pending_sidecars += 1
                waiting += 1
            continue
        run = view.current or view.previous
        if run is None or run.running:
            pending_init += 1
        elif run.exit_code != 0:
            init_failed_for_good += not should_restart(pod, container, run.exit_code, init=True)

    for container in containers(pod):
        view = views.get(container["name"], ContainerView())
        run = view.current or view.previous
        if run is None:
            waiting += 1
        elif run.running:
            running += 1
        else:
            stopped += 1
            succeeded += run.exit_code == 0
            stopped_for_good += not should_restart(pod, container, run.exit_code)

    initialized = any(views[c["name"]].current is not None for c in containers(pod) if c["name"] in views)
    if init_failed_for_good:
        return "Failed"
    if pending_init or (pending_sidecars and not initialized) or waiting:
        return "Pending"
    if running and not unknown:
        return "Running"
    if stopped and not unknown:
        if not terminal and stopped != stopped_for_good:
            return "Running"  # on its way to a restart
        return "Succeeded" if stopped == succeeded else "Failed"
    return "Pending"


def _quoted(names: Sequence[str]) -> str:
    """As Go prints a []string with %s."""
    return "[" + " ".join(names) + "]"


def _condition(status: bool, reason: str = "", message: str = "") -> Json:
    condition: Json = {"status": "True" if status else "False"}
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition


def containers_ready(pod: Json, statuses: Sequence[Json], pod_phase: str) -> Json:
    """GenerateContainersReadyCondition."""
    by_name = {status["name"]: status for status in statuses}
    names = [c["name"] for c in [*sidecars(pod), *containers(pod)]]
    unknown = [n for n in names if n not in by_name]
    unready = [n for n in names if n in by_name and not by_name[n]["ready"]]
    if pod_phase == "Succeeded" and not unknown:
        return _condition(False, "PodCompleted")
    if pod_phase == "Failed":
        return _condition(False, "PodFailed")
    messages = []
    if unknown:
        messages.append(f"containers with unknown status: {_quoted(unknown)}")
    if unready:
        messages.append(f"containers with unready status: {_quoted(unready)}")
    if messages:
        return _condition(False, "ContainersNotReady", ", ".join(messages))
    return _condition(True)


def pod_ready(pod: Json, conditions: Sequence[Json], statuses: Sequence[Json], pod_phase: str) -> Json:
    """GeneratePodReadyCondition: ContainersReady, and every readiness gate's condition True."""
    ready = containers_ready(pod, statuses, pod_phase)
    if ready["status"] != "True":
        return ready
    by_type = {condition["type"]: condition for condition in conditions}
    messages = []
    for gate in pod["spec"].get("readinessGates") or []:
        kind = gate["conditionType"]
        condition = by_type.get(kind)
        if condition is None:
            messages.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif condition["status"] != "True":
            messages.append(f'the status of pod readiness gate "{kind}" is not "True", but {condition["status"]}')
    if messages:
        return _condition(False, "ReadinessGatesNotReady", ", ".join(messages))
    return _condition(True)


def pod_initialized(pod: Json, statuses: Sequence[Json], pod_phase: str, previous: Json) -> Json:
    """GeneratePodInitializedCondition."""
    by_name = {status["name"]: status for status in statuses}
    unknown = []
    incomplete = []
    for container in init_containers(pod):
        status = by_name.get(container["name"])
        if status is None:
            unknown.append(container["name"])
        elif not (status["started"] if is_sidecar(container) else status["ready"]):
            incomplete.append(container["name"])
    if pod_phase == "Succeeded" and not unknown:
        return _condition(True, "PodCompleted")
    for container in containers(pod):
        status = by_name.get(container["name"], {})
        state = status.get("state") or {}
        if status.get("started") or "running" in state or "terminated" in state or status.get("lastState"):
            return _condition(True)
    messages = []
    if unknown:
        messages.append(f"containers with unknown status: {_quoted(unknown)}")
    if incomplete:
        messages.append(f"containers with incomplete status: {_quoted(incomplete)}")
    if messages:
        return _condition(False, "ContainersNotInitialized", ", ".join(messages))
    return _condition(True)


def pod_status(
    pod: Json,
    views: Mapping[str, ContainerView],
    *,
    previous: Json,
    host_ip: str,
    pod_ip: str | None,
    now: datetime,
    terminal: bool = False,
) -> Json:
    """The status a kubelet would report.

    `previous` is what it reported before (or the API's, at first): transition times change only when a status does,
    and a phase that has ended never begins again. `pod_ip` is None while there is no sandbox.
    """
    init_statuses = [
        container_status(pod, c, views.get(c["name"], ContainerView()), init=True) for c in init_containers(pod)
    ]
    statuses = sorted(
        (container_status(pod, c, views.get(c["name"], ContainerView()), init=False) for c in containers(pod)),
        key=lambda status: str(status["name"]),
    )
    everything = [*init_statuses, *statuses]
    pod_phase = phase(pod, views, terminal=terminal)
    for known in (previous.get("phase"), (pod.get("status") or {}).get("phase")):
        if is_terminal_phase(known):
            pod_phase = str(known)
            break

    others = [c for c in (pod.get("status") or {}).get("conditions") or [] if c["type"] not in OWNED_CONDITIONS]
    sandbox_ready = pod_ip is not None and not terminal
    owned = {
        "PodReadyToStartContainers": _condition(sandbox_ready),
        "Initialized": pod_initialized(pod, everything, pod_phase, previous),
        "Ready": pod_ready(pod, others, everything, pod_phase),
        "ContainersReady": containers_ready(pod, everything, pod_phase),
        "PodScheduled": _condition(True),
    }
    status: Json = {
        "observedGeneration": generation(pod),
        "phase": pod_phase,
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
        "startTime": previous.get("startTime") or timestamp(now),
        "conditions": [
            *others,
            *(_with_transition(kind, new, previous, generation(pod), now) for kind, new in owned.items()),
        ],
        "containerStatuses": statuses,
    }
    if init_statuses:
        status["initContainerStatuses"] = init_statuses
    if pod_ip is not None:
        status |= {"podIP": pod_ip, "podIPs": [{"ip": pod_ip}]}
    for field in ("reason", "message"):
        if previous.get(field) and previous.get("phase") == pod_phase:
            status[field] = previous[field]
    return status


def _with_transition(kind: str, condition: Json, previous: Json, observed: int, now: datetime) -> Json:
    """updateLastTransitionTime in status_manager.go."""
    before = find_condition(previous, kind)
    changed = before is None or before["status"] != condition["status"] or not before.get("lastTransitionTime")
    return {
        "type": kind,
        "observedGeneration": observed,
        "lastTransitionTime": timestamp(now) if changed or before is None else before["lastTransitionTime"],
        **condition,
    }


def with_terminal_phase(pod: Json, status: Json, now: datetime) -> Json:
    """TerminatePod in status_manager.go: no pod leaves the node without a terminal phase.

    A container that never ran, or whose end nobody saw, is reported as failed once the pod had been initialized.
    """
    if is_terminal_phase(status["phase"]):
        return status
    unknown: Json = {
        "terminated": {
            "exitCode": 137,
            "reason": "ContainerStatusUnknown",
            "message": "The container could not be located when the pod was terminated",
            "startedAt": None,
            "finishedAt": None,
        }
    }
    initialized = find_condition(status, "Initialized")
    entries = status["containerStatuses"]
    if not init_containers(pod) or (initialized or {}).get("status") == "True":
        entries = [e if "terminated" in e["state"] else {**e, "state": unknown, "ready": False} for e in entries]
    failed: Json = _condition(False, "PodFailed")
    conditions = [
        _with_transition(c["type"], failed, status, generation(pod), now)
        if c["type"] in ("Ready", "ContainersReady")
        else c
        for c in status["conditions"]
    ]
    return {**status, "phase": "Failed", "containerStatuses": entries, "conditions": conditions}


def needs_readiness_reconcile(pod: Json) -> bool:
    """NeedToReconcilePodReadiness in status_manager.go: only pods with readiness gates are looked at between syncs."""
    if not pod["spec"].get("readinessGates"):
        return False
    status = pod.get("status") or {}
    current = find_condition(status, "Ready")
    if current is None:
        return False
    wanted = pod_ready(
        pod, status.get("conditions") or [], status.get("containerStatuses") or [], status.get("phase", "")
    )
    return bool(current["status"] != wanted["status"] or current.get("message", "") != wanted.get("message", ""))
