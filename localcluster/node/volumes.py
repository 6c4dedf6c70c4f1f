"""A pod's volumes as directories below the node's run directory."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from localcluster.node.api import Api, ApiError, ApiUnreachable
from localcluster.node.environment import ConfigError, field_value
from localcluster.node.objects import Json, all_containers, name, namespace, uid

TOKEN_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"
_TOKEN_LIFETIME = timedelta(hours=1)


class VolumeError(Exception):
    """A volume cannot be had yet: the pod stays at ContainerCreating, and it is tried again."""


def wants_token(pod: Json) -> bool:
    """Whether the default token is worth a mount namespace.

    Every pod gets it injected, hardly one uses it. A pod with a service account of its own means it.
    """
    return bool(pod["spec"].get("serviceAccountName", "default") != "default")


def is_wanted(pod: Json, mount: Json) -> bool:
    return mount["mountPath"] != TOKEN_DIRECTORY or wants_token(pod)


class Volumes:
    """Makes them once, when the pod starts: a ConfigMap that changes later does not change the files."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def make(self, pod: Json, directory: Path, *, pod_ip: str, host_ip: str) -> dict[str, Path]:
        """Directory by volume name, for the volumes some container mounts. Raises VolumeError."""
        used = {m["name"] for c in all_containers(pod) for m in c.get("volumeMounts") or [] if is_wanted(pod, m)}
        made: dict[str, Path] = {}
        for volume in pod["spec"].get("volumes") or []:
            if volume["name"] not in used:
                continue
            path = directory / volume["name"]
            if host_path := volume.get("hostPath"):
                made[volume["name"]] = Path(host_path["path"])
                continue
            path.mkdir(parents=True, exist_ok=True)
            try:
                files = await self._files(pod, volume, pod_ip=pod_ip, host_ip=host_ip)
            except (ApiError, ApiUnreachable, ConfigError) as error:
                raise VolumeError(f'MountVolume.SetUp failed for volume "{volume["name"]}": {error}') from error
            for file, content in files.items():
                target = path / file
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
            made[volume["name"]] = path
        return made

    async def _files(self, pod: Json, volume: Json, *, pod_ip: str, host_ip: str) -> dict[str, bytes]:
        if "emptyDir" in volume:
            return {}
        if source := volume.get("configMap"):
            return await self._object("configmaps", pod, source, source["name"])
        if source := volume.get("secret"):
            return await self._object("secrets", pod, source, source["secretName"])
        if source := volume.get("downwardAPI"):
            return self._downward(pod, source, pod_ip, host_ip)
        if projected := volume.get("projected"):
            files: dict[str, bytes] = {}
            for source in projected.get("sources") or []:
                if part := source.get("serviceAccountToken"):
                    files[part["path"]] = await self._token(pod, part)
                elif part := source.get("configMap"):
                    files |= await self._object("configmaps", pod, part, part["name"])
                elif part := source.get("secret"):
                    files |= await self._object("secrets", pod, part, part["name"])
                elif part := source.get("downwardAPI"):
                    files |= self._downward(pod, part, pod_ip, host_ip)
                else:
                    raise ConfigError(f"a process node does not know projected source {sorted(source)}")
            return files
        raise ConfigError(f"a process node does not know volumes of kind {sorted(set(volume) - {'name'})}")

    async def _object(self, resource: str, pod: Json, source: Json, object_name: str) -> dict[str, bytes]:
        try:
            found = await self._api.get_of_pod(f"/api/v1/namespaces/{namespace(pod)}/{resource}/{object_name}")
        except ApiError as error:
            if error.status == 404 and source.get("optional"):
                return {}
            raise
        data = {key: text.encode() for key, text in (found.get("data") or {}).items()}
        if resource == "secrets":
            data = {key: base64.b64decode(text) for key, text in data.items()}
        data |= {key: base64.b64decode(text) for key, text in (found.get("binaryData") or {}).items()}
        if not (items := source.get("items")):
            return data
        missing = [item["key"] for item in items if item["key"] not in data]
        if missing and not source.get("optional"):
            raise ConfigError(f"{resource} {object_name} has no key {', '.join(missing)}")
        return {item["path"]: data[item["key"]] for item in items if item["key"] in data}

    def _downward(self, pod: Json, source: Json, pod_ip: str, host_ip: str) -> dict[str, bytes]:
        files: dict[str, bytes] = {}
        for item in source.get("items") or []:
            path = (item.get("fieldRef") or {}).get("fieldPath", "")
            if path in ("metadata.labels", "metadata.annotations"):
                values: Mapping[str, str] = pod["metadata"].get(path.rpartition(".")[2]) or {}
                text = "\n".join(f'{key}="{value}"' for key, value in sorted(values.items()))
            else:
                text = field_value(pod, path, pod_ip=pod_ip, host_ip=host_ip)
            files[item["path"]] = text.encode()
        return files

    async def _token(self, pod: Json, source: Json) -> bytes:
        account = pod["spec"].get("serviceAccountName") or "default"
        answer = await self._api.create(
            f"/api/v1/namespaces/{namespace(pod)}/serviceaccounts/{account}/token",
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {
                    "audiences": [source["audience"]] if source.get("audience") else [],
                    "expirationSeconds": max(
                        int(source.get("expirationSeconds") or 0), int(_TOKEN_LIFETIME.total_seconds())
                    ),
                    "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name(pod), "uid": uid(pod)},
                },
            },
        )
        return str(answer["status"]["token"]).encode()
