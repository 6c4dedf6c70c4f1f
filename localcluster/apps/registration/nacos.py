"""Nacos by its v1 HTTP API, as clients before 2.0 do: an ephemeral instance, kept by a beat.

https://nacos.io/en-us/docs/open-api.html. A beat carries the whole instance, and its answer tells a client whose
instance is not known (code 20404) to register again: com.alibaba.nacos.client.naming.beat.BeatReactor, 1.4.
"""

from __future__ import annotations

import json

from .asking import ask, query, require
from .registration import Instance, Options

NOT_FOUND = 20404


class Nacos:
    """`nacos=http://SERVER:8848?beat=5&namespace=public&group=DEFAULT_GROUP&cluster=DEFAULT`; `beat` in seconds."""

    def __init__(self, url: str, instance: Instance, options: Options) -> None:
        chosen = options.only(beat="5", namespace="public", group="DEFAULT_GROUP", cluster="DEFAULT")
        self._url = f"{url}/nacos/v1/ns/instance"
        self._instance = instance
        self._service = f"{chosen['group']}@@{instance.service}"
        self._cluster = chosen["cluster"]
        self._which: dict[str, object] = {
            "namespaceId": chosen["namespace"],
            "groupName": chosen["group"],
            "serviceName": self._service,
            "clusterName": self._cluster,
            "ip": instance.ip,
            "port": instance.port,
            "ephemeral": "true",
        }
        self.every = float(chosen["beat"])

    def register(self) -> None:
        enabled = "false" if self._instance.disabled else "true"
        self._demand(
            "POST",
            self._url,
            weight=self._instance.weight,
            enabled=enabled,
            enable=enabled,  # the name that 1.x clients give it; servers know both
            healthy="true",
            metadata=json.dumps(self._instance.metadata),
        )

    def beat(self) -> bool:
        instance = self._instance
        beat = {
            "serviceName": self._service,
            "cluster": self._cluster,
            "ip": instance.ip,
            "port": instance.port,
            "weight": instance.weight,
            "metadata": instance.metadata,
            "scheduled": True,
            "period": int(self.every * 1000),
            "stopped": False,
        }
        content = self._demand("PUT", f"{self._url}/beat", cluster=self._cluster, beat=json.dumps(beat))
        try:
            return bool(json.loads(content).get("code") != NOT_FOUND)
        except (ValueError, AttributeError):
            return True

    def deregister(self) -> None:
        self._demand("DELETE", self._url)

    def _demand(self, method: str, url: str, **more: object) -> bytes:
        """Nacos' clients send everything in the query, whatever the method."""
        status, content = ask(method, f"{url}?{query(**self._which, **more)}")
        require(status, content, f"{method} {url}")
        return content
