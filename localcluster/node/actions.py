"""What is to be done for a pod next: a pure function, as computePodActions is in kuberuntime_manager.go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from localcluster.node.objects import Json, containers, init_containers, is_sidecar, should_restart
from localcluster.node.status import ContainerView

KillReason = Literal["startup", "liveness"]


@dataclass(slots=True)
class Actions:
    """kill: container name and the probe that condemned it. start: names in their order, init containers apart."""

    kill_pod: bool = False
    kill: dict[str, KillReason] = field(default_factory=dict)
    start_init: list[str] = field(default_factory=list)
    start: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.kill_pod or self.kill or self.start_init or self.start)


def next_actions(pod: Json, views: Mapping[str, ContainerView], condemned: Mapping[str, KillReason]) -> Actions:
    """`condemned`: running containers whose liveness or startup probe has failed."""
    actions = Actions()
    if init_containers(pod) and not _init_actions(pod, views, condemned, actions):
        return actions
    keep = 0
    for container in containers(pod):
        name = container["name"]
        view = views.get(name, ContainerView())
        if view.current is None:
            actions.start.append(name)
        elif not view.current.running:
            if should_restart(pod, container, view.current.exit_code):
                actions.start.append(name)
        elif name in condemned:
            actions.kill[name] = condemned[name]
            if (container.get("restartPolicy") or pod["spec"].get("restartPolicy", "Always")) != "Never":
                actions.start.append(name)
        else:
            keep += 1
    if keep == 0 and not actions.start:  # all done: the sidecars go too
        actions.kill_pod = True
        actions.start_init = []
    return actions


def _init_actions(
    pod: Json, views: Mapping[str, ContainerView], condemned: Mapping[str, KillReason], actions: Actions
) -> bool:
    """computeInitContainerActions in kuberuntime_container.go: True when the regular containers may run.

    Walked from the last one back: the last one that was created tells how far the pod has come; before it only
    sidecars are still looked after.
    """
    inits = init_containers(pod)
    initialized = any(views[c["name"]].running for c in containers(pod) if c["name"] in views)
    past = initialized
    starts: list[str] = []
    for index in range(len(inits) - 1, -1, -1):
        container = inits[index]
        name = container["name"]
        view = views.get(name, ContainerView())
        run = view.current
        is_last = index == len(inits) - 1
        if run is None:
            if past and is_sidecar(container):
                starts.append(name)
            continue
        if past and not is_sidecar(container):
            continue
        if run.running and is_sidecar(container):
            if name in condemned:
                actions.kill[name] = condemned[name]
                starts.append(name)
            elif container.get("startupProbe") is None or view.startup is True:
                if is_last:
                    initialized = True
                elif not past:
                    starts.append(inits[index + 1]["name"])
        elif run.running:
            pass
        elif is_sidecar(container):
            starts.append(name)
        elif run.exit_code != 0:
            if not should_restart(pod, container, run.exit_code, init=True):
                actions.kill_pod = True
                return False
            starts.append(name)
        elif is_last:
            initialized = True
        else:
            starts.append(inits[index + 1]["name"])
        past = True
    if not past:
        starts.append(inits[0]["name"])
    actions.start_init = list(reversed(starts))
    return initialized
