"""Pods for the tests of the node, and a record of what became of them."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from localcluster.api import ApiError
from localcluster.box import Box

Json = dict[str, Any]

DOWNWARD = [
    {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
]

SAYS_STOP = (
    "import os, signal, sys, time\n"
    "def stop(*_):\n"
    "    print('TERM', time.time(), flush=True)\n"
    "    sys.exit(0)\n"
    "signal.signal(signal.SIGTERM, stop)\n"
    "print('START', time.time(), flush=True)\n"
    "for note in sys.argv[1:]: open(note, 'w').close()\n"
    "while True: signal.pause()\n"
)
"""A program that notes when it starts and when it is told to stop, and obeys.

It touches the files it is given once it would hear a SIGTERM.
"""

PLURALS = {
    "Pod": "api/v1/{}/pods",
    "Secret": "api/v1/{}/secrets",
    "ConfigMap": "api/v1/{}/configmaps",
    "ServiceAccount": "api/v1/{}/serviceaccounts",
    "Deployment": "apis/apps/v1/{}/deployments",
}


def container(name: str, command: list[str], **more: Any) -> Json:
    return {"name": name, "image": "none", "command": command, "env": DOWNWARD, **more}


def obedient(name: str, *notes: Path, **more: Any) -> Json:
    return container(name, ["python3", "-I", "-S", "-c", SAYS_STOP, *map(str, notes)], **more)


def if_there(file: Path, **more: Any) -> Json:
    """A probe that succeeds while a file is there: the test decides when."""
    return {"exec": {"command": ["test", "-e", str(file)]}, "periodSeconds": 1, "failureThreshold": 1, **more}


def shell(name: str, script: str, **more: Any) -> Json:
    return container(name, ["sh", "-c", script], **more)


def app(*flags: str, **more: Any) -> Json:
    """The sample app, Ready as soon as it listens."""
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}
    return container("app", ["sample-app", *flags], **{"readinessProbe": probe, **more})


def pod(name: str, *containers: Json, **spec: Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": list(containers), **spec},
    }


def deployment(name: str, template: Json, replicas: int = 2) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [template]}},
        },
    }


def condition(pod: Json, kind: str) -> Json:
    """A condition of a pod; empty when it has none of that type."""
    for found in pod.get("status", {}).get("conditions") or []:
        if found["type"] == kind:
            return dict(found)
    return {}


def is_ready(pod: Json) -> bool:
    return bool(condition(pod, "Ready").get("status") == "True")


class Cluster:
    """One namespace of the shared box."""

    def __init__(self, box: Box, namespace: str) -> None:
        self.box = box
        self.namespace = namespace

    def create(self, *objects: Json) -> None:
        for each in objects:
            path = PLURALS[each["kind"]].format(f"namespaces/{self.namespace}")
            self.box.api.request("POST", f"/{path}", each)

    def pod(self, name: str) -> Json:
        found: Json = self.box.api.request("GET", f"/api/v1/namespaces/{self.namespace}/pods/{name}")
        return found

    def pods(self) -> list[Json]:
        found: list[Json] = self.box.api.request("GET", f"/api/v1/namespaces/{self.namespace}/pods")["items"]
        return found

    def exists(self, name: str) -> bool:
        return self.box.api.answers(f"/api/v1/namespaces/{self.namespace}/pods/{name}")

    def until(self, name: str, check: Callable[[Json], object], describe: str, timeout: float = 60) -> Json:
        """The pod as soon as it is so."""

        def look() -> Json | None:
            found = self.pod(name)
            return found if check(found) else None

        found = self.box.wait_until(look, timeout=timeout, describe=f"pod {name} {describe}")
        assert found is not None
        return found

    def until_ready(self, name: str, timeout: float = 60) -> Json:
        return self.until(name, is_ready, "is Ready", timeout)

    def delete(self, name: str, grace: int | None = None, *, wait: bool = True) -> None:
        """As kubectl does it; waits until this pod is gone, not another one of its name."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{name}"
        uid = self.pod(name)["metadata"]["uid"]
        self.box.api.request("DELETE", path, {} if grace is None else {"gracePeriodSeconds": grace})
        if wait:
            self.box.wait_until(lambda: self._is_gone(path, uid), 60, f"pod {name} is gone")

    def _is_gone(self, path: str, uid: str) -> bool:
        try:
            return bool(self.box.api.request("GET", path)["metadata"]["uid"] != uid)
        except ApiError as error:
            if error.status == 404:
                return True
            raise

    def says(self, name: str, word: str, container_name: str | None = None) -> None:
        """Waits until a container has printed that."""
        self.box.wait_until(lambda: word in self.logs(name, container_name), describe=f"{name} says {word}")

    def patch_status(self, name: str, conditions: list[Json]) -> None:
        self.box.api.request(
            "PATCH",
            f"/api/v1/namespaces/{self.namespace}/pods/{name}/status",
            {"status": {"conditions": conditions}},
            content_type="application/strategic-merge-patch+json",
        )

    def logs(self, name: str, container_name: str | None = None) -> str:
        return self.box.pod_logs(self.namespace, name, container_name)

    def said_at(self, name: str, container_name: str, word: str) -> float:
        """When a container printed `<word> <time>`, the last time it did."""
        lines = [line.split() for line in self.logs(name, container_name).splitlines()]
        return max(float(line[1]) for line in lines if line and line[0] == word)

    def record(self, name: str) -> Recorder:
        return Recorder(self, name)


class Recorder:
    """Every version of a pod that the API server tells, from the first on: `with cluster.record("p") as seen: …`."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.events: list[tuple[str, Json]] = []
        self.heard: list[float] = []
        """When each came, on the monotonic clock."""
        self._cluster = cluster
        self._name = name

    def __enter__(self) -> Self:
        config = json.loads(self._cluster.box.kubeconfig.read_text())
        server = urlsplit(config["clusters"][0]["cluster"]["server"])
        ca = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
        assert server.hostname is not None
        self._connection = http.client.HTTPSConnection(
            server.hostname, server.port, context=ssl.create_default_context(cadata=ca), timeout=600
        )
        path = f"/api/v1/namespaces/{self._cluster.namespace}/pods"
        field = f"fieldSelector=metadata.name%3D{self._name}"
        # Where to begin must be said: with no version the API server may wait for one its watch cache has not seen.
        version = self._cluster.box.api.request("GET", path)["metadata"]["resourceVersion"]
        self._connection.request(
            "GET",
            f"{path}?watch=true&resourceVersion={version}&{field}",
            headers={"Authorization": f"Bearer {config['users'][0]['user']['token']}"},
        )
        self._response = self._connection.getresponse()  # from here on nothing is missed
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError, http.client.HTTPException):  # closed under it
            for line in self._response:
                event = json.loads(line)
                assert event["type"] in ("ADDED", "MODIFIED", "DELETED"), event
                self.heard.append(time.monotonic())
                self.events.append((event["type"], event["object"]))

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection.sock is not None:
            self._connection.sock.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._response.close()
        self._connection.close()

    def until_deleted(self) -> None:
        self._until(lambda number: self.events[number][0] == "DELETED", "is gone", 0)

    def until(self, check: Callable[[Json], object], describe: str, after: int = 0) -> int:
        """The number of the first version, from `after` on, that is so, as soon as there is one."""
        return self._until(lambda number: check(self.events[number][1]), describe, after)

    def _until(self, check: Callable[[int], object], describe: str, after: int) -> int:
        found = self._cluster.box.wait_until(
            lambda: [number for number in range(after, len(self.events)) if check(number)],
            60,
            f"{self._name} {describe}",
            every=0.02,
        )
        return found[0]

    def steps(self, what: Callable[[Json], Any]) -> list[Any]:
        """What `what` said of each version, repetitions left out."""
        steps: list[Any] = []
        for _, version in self.events:
            step = what(version)
            if not steps or steps[-1] != step:
                steps.append(step)
        return steps
