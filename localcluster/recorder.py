"""Records what happens to pods, EndpointSlices and Deployments of a namespace: `python -m localcluster.recorder`.

It watches through the API server, from inside the box, and writes a JSON line for each change it sees (see
timeline.py). Times are those at which the change was seen, by the clock the load generator uses too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from localcluster.errors import LocalClusterError
from localcluster.reader import ApiReader
from localcluster.timeline import DeploymentState, Endpoints, PodHistory, PodState, Timeline, line_of

Write = Callable[[PodHistory | Endpoints | DeploymentState], None]
SERVICE = "kubernetes.io/service-name"
REVISIONS = ("pod-template-hash", "controller-revision-hash")


class Recorder:
    """Turns watch events into lines, and leaves out what changes nothing we record."""

    def __init__(self, write: Write, prefixes: Sequence[str] = ()) -> None:
        self._write = write
        self._prefixes = tuple(prefixes)
        self._pods: dict[str, PodState] = {}
        self._slices: dict[str, dict[str, Mapping[str, Any]]] = {}
        self._endpoints: dict[str, Endpoints] = {}
        self._deployments: dict[str, DeploymentState] = {}

    def saw_pod(self, pod: Mapping[str, Any], at: float, *, gone: bool) -> None:
        meta = pod["metadata"]
        state = PodState.of(pod, at, self._prefixes, gone=gone)
        if same(self._pods.get(meta["uid"]), state):
            return
        self._pods[meta["uid"]] = state
        labels = meta.get("labels") or {}
        revision = next((labels[key] for key in REVISIONS if key in labels), "")
        created = datetime.fromisoformat(meta["creationTimestamp"]).timestamp()
        self._write(PodHistory(meta["name"], meta["uid"], revision, created, (state,)))

    def saw_slice(self, endpoint_slice: Mapping[str, Any], at: float, *, gone: bool) -> None:
        meta = endpoint_slice["metadata"]
        service = (meta.get("labels") or {}).get(SERVICE)
        if service is None:
            return
        slices = self._slices.setdefault(service, {})
        slices[meta["uid"]] = endpoint_slice
        if gone:
            del slices[meta["uid"]]
        state = Endpoints.of(service, slices.values(), at)
        if not same(self._endpoints.get(service), state):
            self._endpoints[service] = state
            self._write(state)

    def saw_deployment(self, deployment: Mapping[str, Any], at: float, *, gone: bool) -> None:
        state = DeploymentState.of(deployment, at)
        if not gone and not same(self._deployments.get(state.name), state):
            self._deployments[state.name] = state
            self._write(state)


def same(old: PodState | Endpoints | DeploymentState | None, new: PodState | Endpoints | DeploymentState) -> bool:
    """Whether they differ in nothing but when they were seen."""
    return old is not None and dataclasses.replace(old, at=new.at) == new


async def record(kubeconfig: Path, out: Path, namespace: str, prefixes: Sequence[str]) -> None:
    """Record until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with ApiReader.connect(kubeconfig) as api:
        with out.open("w", buffering=1) as file:
            recorder = Recorder(lambda entry: void(file.write(line_of(entry))), prefixes)

            async def follow(path: str, saw: Callable[..., None]) -> None:
                async for change in api.follow(path):
                    saw(change.object, time.time(), gone=change.type == "DELETED")

            tasks = [
                asyncio.create_task(follow(f"/api/v1/namespaces/{namespace}/pods", recorder.saw_pod)),
                asyncio.create_task(
                    follow(f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices", recorder.saw_slice)
                ),
                asyncio.create_task(
                    follow(f"/apis/apps/v1/namespaces/{namespace}/deployments", recorder.saw_deployment)
                ),
            ]
            stopped = asyncio.create_task(stop.wait())
            done, _ = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopped}:
                task.result()  # following never ends by itself: this raises what broke it
            for task in tasks:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task


def void(_: object) -> None:
    """For a callback that must return nothing."""


class RecorderBox(Protocol):
    """What a recorder needs of a box."""

    @property
    def logs(self) -> Path: ...
    @property
    def kubeconfig_inside(self) -> Path: ...
    def popen(self, argv: Sequence[str], *, log: str | None = None) -> subprocess.Popen[bytes]: ...


class Recording:
    """A recorder at work in a box."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path) -> None:
        self._process = process
        self._out = out

    def timeline(self) -> Timeline:
        """What it has seen until now. Raises when it has failed."""
        if self._process.poll() not in (None, 0, -signal.SIGTERM):
            raise LocalClusterError(f"the recorder ended with status {self._process.returncode}: see {self._out}.log")
        return Timeline.read(self._out)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


@contextmanager
def recording(
    box: RecorderBox, *, namespace: str = "default", annotations_prefixes: Sequence[str] = (), name: str = "timeline"
) -> Iterator[Recording]:
    """Record a namespace of the box while the block runs; the file is `<logs>/<name>.jsonl`."""
    out = box.logs / f"{name}.jsonl"
    out.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "localcluster.recorder", "--kubeconfig", str(box.kubeconfig_inside)]
    argv += ["--namespace", namespace, "--out", str(out)]
    for prefix in annotations_prefixes:
        argv += ["--annotations-prefix", prefix]
    process = box.popen(argv, log=out.stem)
    recording = Recording(process, out)
    try:
        while not out.exists() and process.poll() is None:
            time.sleep(0.02)
        yield recording
    finally:
        recording.stop()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m localcluster.recorder", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, default=os.environ.get("KUBECONFIG"))
    parser.add_argument("--namespace", default="default")
    parser.add_argument("--annotations-prefix", action="append", default=[], help="record pod annotations like this")
    parser.add_argument("--out", type=Path, required=True, help="a JSON-lines file")
    options = parser.parse_args()
    if not options.kubeconfig:
        parser.error("--kubeconfig or KUBECONFIG is needed")
    asyncio.run(record(Path(options.kubeconfig), options.out, options.namespace, options.annotations_prefix))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
