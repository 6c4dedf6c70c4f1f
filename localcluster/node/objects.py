"""Small questions about pods as they come from the API: plain JSON, so that no field is lost on the way."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

Json = dict[str, Any]


def uid(pod: Json) -> str:
    return cast(str, pod["metadata"]["uid"])


def name(pod: Json) -> str:
    return cast(str, pod["metadata"]["name"])


def namespace(pod: Json) -> str:
    return cast(str, pod["metadata"]["namespace"])


def key(pod: Json) -> str:
    """`namespace/name`, for logs and messages."""
    return f"{namespace(pod)}/{name(pod)}"


def generation(pod: Json) -> int:
    return cast(int, pod["metadata"].get("generation", 0))


def is_being_deleted(pod: Json) -> bool:
    return pod["metadata"].get("deletionTimestamp") is not None


def containers(pod: Json) -> list[Json]:
    """The regular containers."""
    return cast(list[Json], pod["spec"]["containers"])


def init_containers(pod: Json) -> list[Json]:
    """The init containers, native sidecars among them, in their order."""
    return cast(list[Json], pod["spec"].get("initContainers") or [])


def all_containers(pod: Json) -> list[Json]:
    return [*init_containers(pod), *containers(pod)]


def is_sidecar(init_container: Json) -> bool:
    """A native sidecar is an *init* container with `restartPolicy: Always`."""
    return init_container.get("restartPolicy") == "Always"


def sidecars(pod: Json) -> list[Json]:
    return [c for c in init_containers(pod) if is_sidecar(c)]


def find_container(pod: Json, container: str) -> Json:
    """The spec of a container of any kind; KeyError when there is none of that name."""
    for spec in all_containers(pod):
        if spec["name"] == container:
            return spec
    raise KeyError(container)


def find_condition(status: Json, condition_type: str) -> Json | None:
    for condition in status.get("conditions") or []:
        if condition["type"] == condition_type:
            return cast(Json, condition)
    return None


def is_terminal_phase(phase: str | None) -> bool:
    return phase in ("Succeeded", "Failed")


def should_restart(pod: Json, container: Json, exit_code: int, *, init: bool = False) -> bool:
    """Whether a container that ended so is started again.

    ContainerShouldRestart in pkg/api/v1/pod/util.go: the container's own rules, then its own policy, then the pod's.
    An init container that is no sidecar restarts under the pod's policy unless that is Never.
    """
    for rule in container.get("restartPolicyRules") or []:
        on = rule.get("exitCodes") or {}
        listed = exit_code in (on.get("values") or [])
        if rule.get("action") == "Restart" and listed == (on.get("operator") == "In"):
            return True
    policy = container.get("restartPolicy") or pod["spec"].get("restartPolicy", "Always")
    if policy == "Always":
        return not (init and exit_code == 0) or is_sidecar(container)
    return policy == "OnFailure" and exit_code != 0


def timestamp(moment: datetime) -> str:
    """As the API writes times: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def micro_timestamp(moment: datetime) -> str:
    """As the API writes a MicroTime (Leases, Events)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
