"""A fake of a metrics adapter, such as Prometheus Adapter's: custom and external metrics, as the test sets them.

Run in the box: `python -m tests.e2e_autoscaler.fake_metrics --values FILE --cert FILE --key FILE`. Only the numbers are
made up: of a pod by the stage that it is in, of an object and of what is outside the one there is.

Source: k8s.io/metrics at v0.36 (pkg/client/custom_metrics, pkg/client/external_metrics): what is asked, and the types
of the answers.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import ssl
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import yaml
from aiohttp import ClientSession, TCPConnector, web

from localcluster.box import Box
from localcluster.process import Process
from localcluster.servers.metrics_server import aggregated
from localcluster.servers.server import Running, fresh_directory
from lossless.api.names import STAGE

ADDRESS, PORT = "10.0.1.91", 4443
CUSTOM, EXTERNAL = ("custom.metrics.k8s.io", "v1beta2"), ("external.metrics.k8s.io", "v1beta1")
Value = float | dict[str, float]
"""One number; or of pods by their stages, and of those in no other one as in `Admitted`."""
KINDS: Final = {CUSTOM: "MetricValueList", EXTERNAL: "ExternalMetricValueList"}


class FakeMetrics(Running):
    """`with FakeMetrics(box) as metrics: …`. There is none until `tell` has told of it."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._values = fresh_directory(box, "fake-metrics") / "values.json"
        self._told: dict[str, dict[str, Value]] = {}
        pki = box.directory / "pki"
        argv = [sys.executable, "-m", "tests.e2e_autoscaler.fake_metrics", f"--values={self._values}"]
        argv += [f"--cert={pki / 'apiserver.crt'}", f"--key={pki / 'apiserver.key'}"]
        self.process = Process(
            "fake-metrics",
            box.logs / "fake-metrics.log",
            lambda: box.popen(argv, log="fake-metrics"),
            self._answers,
            ready_within=60,
        )

    def start(self) -> None:
        self._write()
        self._box.apply(aggregated("fake-metrics", ADDRESS, PORT, *KINDS))
        self.process.start()

    def kill(self) -> None:
        """And the API server forgets about it: no namespace could be deleted any more."""
        for group, version in KINDS:
            self._box.kubectl("delete", "apiservice", f"{version}.{group}")
        self.process.kill()

    def tell(self, namespace: str, **values: Value) -> None:
        """What its metrics are from now on, by their names."""
        self._told[namespace] = {**self._told.get(namespace, {}), **values}
        self._write()

    def _write(self) -> None:
        fresh = self._values.with_suffix(".new")
        fresh.write_text(json.dumps(self._told))
        fresh.replace(self._values)

    def _answers(self) -> bool:
        return all(self._box.api.answers(f"/apis/{group}/{version}") for group, version in KINDS)


class Adapter:
    """What answers the API server."""

    def __init__(self, values: Path, server: str, token: str, session: ClientSession) -> None:
        self._values = values
        self._server = server
        self._headers = {"Authorization": f"Bearer {token}"}
        self._session = session

    def app(self) -> web.Application:
        app = web.Application()
        for api in KINDS:
            app.router.add_get(f"/apis/{'/'.join(api)}", self.resources)
        app.router.add_get(f"/apis/{'/'.join(CUSTOM)}/namespaces/{{ns}}/{{kind}}/{{name}}/{{metric}}", self.custom)
        app.router.add_get(f"/apis/{'/'.join(EXTERNAL)}/namespaces/{{ns}}/{{metric}}", self.external)
        return app

    async def resources(self, request: web.Request) -> web.Response:
        version = request.path.removeprefix("/apis/")
        one = {"name": "any", "singularName": "", "namespaced": True, "kind": "MetricValueList", "verbs": ["get"]}
        return web.json_response(
            {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": [one]}
        )

    async def custom(self, request: web.Request) -> web.Response:
        ns, kind, name = (request.match_info[part] for part in ("ns", "kind", "name"))
        stages = {name: ""} if name != "*" else await self._stages(ns, request.query["labelSelector"])
        metric = {"name": request.match_info["metric"]}
        abouts = {each: {"kind": kind, "namespace": ns, "name": each} for each in stages}
        items = [
            {"describedObject": abouts[each], "metric": metric, **self._now(request, stage)}
            for each, stage in stages.items()
        ]
        return self._list(CUSTOM, items)

    async def external(self, request: web.Request) -> web.Response:
        named = {"metricName": request.match_info["metric"], "metricLabels": {}}
        return self._list(EXTERNAL, [{**named, **self._now(request, "")}])

    def _now(self, request: web.Request, stage: str) -> dict[str, str]:
        told = json.loads(self._values.read_text()).get(request.match_info["ns"], {})
        value = told.get(request.match_info["metric"])
        if value is None:
            raise web.HTTPNotFound
        if isinstance(value, dict):
            value = value.get(stage, value["Admitted"])
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"timestamp": at, "value": f"{round(value * 1000)}m"}

    def _list(self, api: tuple[str, str], items: list[dict[str, Any]]) -> web.Response:
        found = {"kind": KINDS[api], "apiVersion": "/".join(api), "metadata": {}, "items": items}
        print(json.dumps(found), flush=True)
        return web.json_response(found)

    async def _stages(self, namespace: str, selector: str) -> dict[str, str]:
        """Of the pods that the selector takes."""
        url = f"{self._server}/api/v1/namespaces/{namespace}/pods"
        async with self._session.get(url, params={"labelSelector": selector}, headers=self._headers) as answer:
            pods = (await answer.json())["items"]
        return {pod["metadata"]["name"]: pod["metadata"].get("annotations", {}).get(STAGE, "") for pod in pods}


async def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("values", "cert", "key"):
        parser.add_argument(f"--{name}", required=True, type=Path)
    args = parser.parse_args()
    config = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())  # noqa: ASYNC240
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    trust = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    shown = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    shown.load_cert_chain(args.cert, args.key)
    async with ClientSession(connector=TCPConnector(ssl=trust)) as session:
        runner = web.AppRunner(Adapter(args.values, cluster["server"], user["token"], session).app())
        await runner.setup()
        await web.TCPSite(runner, ADDRESS, PORT, ssl_context=shown).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
