"""A real API server takes our Events as they are, and a second time not at all."""

from __future__ import annotations

import json
from typing import Any

from kubernetes.aio import config
from kubernetes.aio.client import Configuration

from localcluster.box import Box
from lossless.cluster import credentials
from lossless.cluster.errors import Conflict
from lossless.cluster.gateway import Gateway
from lossless.core.steps import Event
from lossless.telemetry.events import Events
from tests.telemetry.worlds import NOW


async def test_an_event_is_there_once_for_kubectl_describe(box: Box, kube_namespace: str) -> None:
    box.kubectl("create", "configmap", "web", "-n", kube_namespace)
    uid = box.get("configmap", "web", kube_namespace)["metadata"]["uid"]
    regarding = {"apiVersion": "v1", "kind": "ConfigMap", "namespace": kube_namespace, "name": "web", "uid": uid}
    event = Event("DrainTimedOut", "let go at drain.timeout: 3 requests in flight " + "é" * 1024, warning=True)
    answers: list[bool] = []

    configuration = Configuration()
    await config.load_kube_config(str(box.kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
    async with credentials.client(configuration) as client:
        gateway = Gateway(client)

        async def create(namespace: str, body: dict[str, Any]) -> bool:
            try:
                await gateway.post(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events", body)
            except Conflict:
                answers.append(False)
                return False
            answers.append(True)
            return True

        for _ in range(2):  # Two processes, one after the other.
            await Events(create, "replica").publish(kube_namespace, regarding, event, NOW)

    assert answers == [True, False]
    [seen] = json.loads(box.kubectl("get", "events.events.k8s.io", "-o", "json", "-n", kube_namespace))["items"]
    assert (seen["reason"], seen["action"], seen["type"]) == ("DrainTimedOut", "MarkDrained", "Warning")
    assert len(seen["note"].encode()) <= 1024
    assert "let go at drain.timeout" in box.kubectl("describe", "configmap", "web", "-n", kube_namespace)
