"""A container's environment, as makeEnvironmentVariables in pkg/kubelet/kubelet_pods.go builds it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

from localcluster.node.objects import Json, name, namespace, uid

_REFERENCE = re.compile(r"\$(?:\$|\(([^()]*)\))|\$")
_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['(.*)'\]$")


class ConfigError(Exception):
    """The container cannot be created as it is written: the pod waits with reason CreateContainerConfigError."""


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replaces `$(VAR)`; `$$` is a dollar; what is unknown stays as it is written.

    third_party/forked/golang/expansion/expand.go.
    """

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        if match[1] is None:
            return match[0]
        return variables.get(match[1], match[0])

    return _REFERENCE.sub(value, text)


def field_value(pod: Json, path: str, *, pod_ip: str, host_ip: str) -> str:
    """A downward-API field. Raises ConfigError for one that env does not know."""
    metadata = pod["metadata"]
    if subscript := _SUBSCRIPT.match(path):
        return str((metadata.get(subscript[1]) or {}).get(subscript[2], ""))
    fields = {
        "metadata.name": name(pod),
        "metadata.namespace": namespace(pod),
        "metadata.uid": uid(pod),
        "spec.nodeName": pod["spec"].get("nodeName", ""),
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", ""),
        "status.hostIP": host_ip,
        "status.hostIPs": host_ip,
        "status.podIP": pod_ip,
        "status.podIPs": pod_ip,
    }
    if path not in fields:
        raise ConfigError(f"unsupported fieldPath: {path}")
    return cast(str, fields[path])


_UNITS = {"": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12} | {
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
}


def quantity(text: str) -> float:
    """A resource quantity as a plain number (cores, bytes)."""
    match = re.fullmatch(r"([0-9.]+(?:e[0-9]+)?)([a-zA-Z]*)", str(text))
    if match is None or match[2] not in _UNITS:
        raise ConfigError(f"cannot read quantity {text!r}")
    return float(match[1]) * _UNITS[match[2]]


def resource_value(container: Json, reference: Json, allocatable: Mapping[str, float]) -> str:
    """A resourceFieldRef: rounded up to whole divisors; a limit that is not set is the node's allocatable."""
    kind, _, resource = reference["resource"].partition(".")
    resources = container.get("resources") or {}
    given = (resources.get(kind) or {}).get(resource)
    amount = quantity(given) if given is not None else (allocatable.get(resource, 0.0) if kind == "limits" else 0.0)
    divisor = quantity(str(reference.get("divisor") or "0")) or 1.0
    return str(int(-(-amount // divisor)))


class Sources:
    """The ConfigMaps and Secrets a pod's environment may need, by (kind, name); None is one that does not exist."""

    def __init__(self, found: Mapping[tuple[str, str], Mapping[str, str] | None]) -> None:
        self._found = found

    def all(self, kind: str, reference: Json) -> Mapping[str, str]:
        data = self._found.get((kind, reference["name"]))
        if data is None:
            if reference.get("optional"):
                return {}
            raise ConfigError(f'{kind.lower()} "{reference["name"]}" not found')
        return data

    def one(self, kind: str, reference: Json) -> str | None:
        data = self.all(kind, reference)
        value = data.get(reference["key"])
        if value is None and not reference.get("optional"):
            raise ConfigError(f"couldn't find key {reference['key']} in {kind} {reference['name']}")
        return value


def needed_sources(container: Json) -> set[tuple[str, str]]:
    """Which ConfigMaps and Secrets the container's environment names."""
    needed: set[tuple[str, str]] = set()
    for source in container.get("envFrom") or []:
        if reference := source.get("configMapRef"):
            needed.add(("ConfigMap", reference["name"]))
        if reference := source.get("secretRef"):
            needed.add(("Secret", reference["name"]))
    for variable in container.get("env") or []:
        origin = variable.get("valueFrom") or {}
        if reference := origin.get("configMapKeyRef"):
            needed.add(("ConfigMap", reference["name"]))
        if reference := origin.get("secretKeyRef"):
            needed.add(("Secret", reference["name"]))
    return needed


def environment(
    pod: Json,
    container: Json,
    *,
    pod_ip: str,
    host_ip: str,
    services: Mapping[str, str],
    sources: Sources,
    allocatable: Mapping[str, float],
) -> dict[str, str]:
    """The variables a container is started with. Raises ConfigError.

    envFrom first, then env in its order (later ones may refer to earlier ones), then service variables, which never
    replace what the user set.
    """
    result: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        prefix = source.get("prefix") or ""
        for kind, field in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            if reference := source.get(field):
                result |= {prefix + key: value for key, value in sources.all(kind, reference).items()}
    for variable in container.get("env") or []:
        origin = variable.get("valueFrom")
        value: str | None
        if not origin:
            value = expand(variable.get("value") or "", {**services, **result})
        elif reference := origin.get("fieldRef"):
            value = field_value(pod, reference["fieldPath"], pod_ip=pod_ip, host_ip=host_ip)
        elif reference := origin.get("resourceFieldRef"):
            value = resource_value(container, reference, allocatable)
        elif reference := origin.get("configMapKeyRef"):
            value = sources.one("ConfigMap", reference)
        elif reference := origin.get("secretKeyRef"):
            value = sources.one("Secret", reference)
        else:
            raise ConfigError(f"env {variable['name']}: this valueFrom is not supported")
        if value is not None:
            result[variable["name"]] = value
    return {**services, **result}


def command_line(container: Json, variables: Mapping[str, str]) -> list[str]:
    """command and args with `$(VAR)` replaced. An image's own entry point does not exist here, so one is needed."""
    words = [*(container.get("command") or []), *(container.get("args") or [])]
    if not container.get("command"):
        raise ConfigError("no command: a process node has no images, so a container must say what to run")
    return [expand(word, variables) for word in words]
