"""``lossless-operator``: puts everything together and runs it until it is told to stop."""

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
from kubernetes.aio.client import ApiClient
from kubernetes.aio.config import ConfigException
from kubernetes.aio.stream import WsApiClient

from lossless.api.resource import InFlight
from lossless.cluster import credentials, watches
from lossless.cluster.act import Actor
from lossless.cluster.adoption import Adoption
from lossless.cluster.autoscaling import Autoscaling
from lossless.cluster.disruptions import Disruptions
from lossless.cluster.errors import Conflict
from lossless.cluster.gateway import Gateway
from lossless.cluster.interest import Key, of_pod
from lossless.cluster.leader import Leader, LeaseLost
from lossless.cluster.leading import Leading
from lossless.cluster.live import LiveReader
from lossless.cluster.observed import SeenPod
from lossless.cluster.parameters import Parameters
from lossless.cluster.preflight import Preflight
from lossless.cluster.ramping import Ramping
from lossless.cluster.reconcile import Reconciler
from lossless.cluster.report import Reporter
from lossless.cluster.scope import Scope
from lossless.cluster.secrets import read_secret
from lossless.cluster.store import Store
from lossless.cluster.workqueue import WorkQueue
from lossless.core.world import InFlightCount
from lossless.pods import in_flight
from lossless.pods.exec import exec_in_pod
from lossless.pods.warmup import Warmups
from lossless.telemetry import health, logs
from lossless.telemetry.events import Events
from lossless.telemetry.metrics import Metrics
from lossless.traffic.outages import Outages
from lossless.traffic.registries.book import Book
from lossless.traffic.registries.make import ReadSecret, make

OWN_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
DEFAULT_NAMESPACE: Final = "lossless-system"
ELECTOR_HANGS_AFTER: Final = 30.0
PROGRESS_EVERY: Final = 0.2
"""Seconds: a pod's warm-up requests wake its LosslessRollout no more often."""
STOPPED, NO_CREDENTIALS = 0, 2
"""What the process exits with."""

_log = logging.getLogger("lossless")


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    kubeconfig: Path | None
    namespaces: tuple[str, ...]
    lease_namespace: str
    identity: str
    http_port: int
    """0: no health and metrics server."""
    http_address: str | None = None
    """None: every address of this host."""

    @property
    def scope(self) -> Scope:
        return Scope(self.namespaces)


class Operator:
    """One process: stands by, leads, ends."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._metrics = Metrics()
        self._outages = Outages(_now)
        """Of the API server; the Lease alone asks it every two seconds."""
        self._leader: Leader | None = None
        self._leading: Leading | None = None

    async def run(self) -> int:
        """Until SIGTERM or SIGINT. Says what to exit with."""
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        configuration = await credentials.load(self._options.kubeconfig)
        async with AsyncExitStack() as stack:
            client = credentials.client(configuration)
            stack.push_async_callback(client.close)
            await self._serve(stack)
            self._leader = leader = self._elector(client)
            stopping = asyncio.create_task(stopped.wait())
            while not stopping.done():
                await self._stand_by_and_lead(client, leader, stopping)
            _log.info("stopped")
        return STOPPED

    async def _stand_by_and_lead(self, client: ApiClient, leader: Leader, stopping: asyncio.Task[Any]) -> None:
        """One term: everything that acts begins with it, and has ended before it does.

        Who has lost the Lease stands by again. To exit instead would make a Pod crash, and wait, after each outage of
        the API server, in which nobody else could take the Lease either.
        """
        if not await _unless(stopping, leader.acquire()):
            return
        self._metrics.set_leader(True)
        _log.info("leading as %s", self._options.identity)
        try:
            await _unless(stopping, self._lead(client, leader))
        except LeaseLost as error:
            _log.error("the Lease is lost: %s", error)
        finally:
            self._metrics.set_leader(False)
            await leader.release()

    async def _serve(self, stack: AsyncExitStack) -> None:
        if self._options.http_port:
            options = self._options
            serving = await health.serve(
                options.http_port, self._metrics.render, self._livez, self._readyz, options.http_address
            )
            await stack.enter_async_context(serving)

    def _elector(self, client: ApiClient) -> Leader:
        return Leader(
            Gateway(client, self._counted),
            self._options.lease_namespace,
            self._options.identity,
            clock=time.monotonic,
            wall_clock=_now,
            found=self._outages.unwatched_since,
        )

    def _counted(self, verb: str, resource: str, code: int) -> None:
        self._metrics.api_request(verb, resource, code)
        if code:
            self._outages.answered()
        else:
            self._outages.missed()

    def _livez(self) -> str | None:
        """Whether a restart would help."""
        if self._leader is not None and self._leader.silent_for > ELECTOR_HANGS_AFTER:
            return f"the elector has not done anything for {self._leader.silent_for:.0f} s"
        return self._leading.stuck() if self._leading else None

    def _readyz(self) -> str | None:
        """Whether it can do its work. A standby can: it has to be Ready for the leader of an older version to end. Who
        leads without ever getting to know everything, for want of a right perhaps, stops its own rollout there."""
        return "not everything has been seen yet" if self._leading and not self._leading.synced else None

    async def _lead(self, client: ApiClient, leader: Leader) -> None:
        """Everything that only the leader does. Ends with LeaseLost, or when cancelled."""
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(_pod_session())
            commands = WsApiClient(client.configuration)  # type: ignore[no-untyped-call]
            stack.push_async_callback(commands.close)
            gateway = Gateway(client, self._counted, lambda: leader.leads)
            store = Store()
            queue: WorkQueue[Key] = WorkQueue(time.monotonic, group=lambda key: key[0])  # the namespace
            leading = Leading(
                self._options.scope, self._options.kubeconfig, gateway, store, queue, self._metrics, time.monotonic
            )
            self._leading = leading

            def on_progress(uid: str) -> None:
                if pod := store.pods.by_uid(uid):
                    for key in of_pod(store, pod):
                        queue.add_after(key, PROGRESS_EVERY)

            def on_change(uid: str) -> None:
                if pod := store.pods.by_uid(uid):
                    for key in of_pod(store, pod):
                        queue.add(key)

            def secrets(namespace: str) -> ReadSecret:
                return lambda name: read_secret(gateway, namespace, name)

            run = exec_in_pod(commands)
            warmups = Warmups(http, run, on_progress)
            stack.push_async_callback(warmups.close)

            registries = Book(lambda namespace, spec: make(spec, secrets(namespace), run), on_change, clock=_now)
            stack.push_async_callback(registries.close)

            async def ask(pod: SeenPod, spec: InFlight) -> InFlightCount:
                return await in_flight.ask(http, pod.core.ip, pod.ports, spec)

            sees_nodes = not self._options.scope.namespaces
            disruptions = Disruptions(gateway, store, leading.changed, _now, sees_nodes)

            reconciler = Reconciler(
                store=store,
                actor=Actor(gateway, store, leading.changed, warmups, registries, _now, disruptions.raised),
                parameters=Parameters(gateway, store, time.monotonic),
                adoption=Adoption(gateway, store, leading.changed, time.monotonic),
                live=LiveReader(gateway, store, leading.changed),
                reporter=Reporter(gateway, store, leading.changed, time.monotonic),
                warmups=warmups,
                registries=registries,
                ramping=Ramping(gateway, store, _now),
                disruptions=disruptions,
                autoscaling=Autoscaling(gateway, store, leading.changed, _now),
                preflight=Preflight(gateway, store, _now),
                ask_in_flight=ask,
                events=Events(_event_poster(gateway), self._options.identity),
                metrics=self._metrics,
                clock=_now,
                caught_up_at=lambda: self._outages.caught_up_at,
            )
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(leading.run(reconciler))
                    group.create_task(leader.keep())
            except* LeaseLost as lost:
                raise lost.exceptions[0] from None
            finally:
                self._leading = None


def _event_poster(gateway: Gateway) -> Any:
    async def create(namespace: str, body: dict[str, Any]) -> bool:
        try:
            await gateway.post(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events", body)
        except Conflict:
            return False
        return True

    return create


def _pod_session() -> aiohttp.ClientSession:
    """For requests to pods: no proxy of the environment, no cookies; whoever asks follows no redirect."""
    return aiohttp.ClientSession(
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        connector=aiohttp.TCPConnector(limit=0, force_close=False),
    )


async def _unless(stopping: "asyncio.Task[Any]", work: Any) -> bool:
    """Do the work, unless told to stop: then it is cancelled. Whether it was done to its end."""
    task = asyncio.ensure_future(work)
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        await task
        return True
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled() and (error := task.exception()):
        _log.warning("while stopping: %r", error)
    return False


def _now() -> datetime:
    return datetime.now(UTC)


def _own_namespace() -> str | None:
    return OWN_NAMESPACE.read_text().strip() if OWN_NAMESPACE.exists() else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lossless-operator", description="Lets no release, rollback, scale-in or node drain lose a request."
    )
    parser.add_argument("--kubeconfig", type=Path, help="credentials; the pod's service account when not given")
    parser.add_argument(
        "--namespace", action="append", default=[], metavar="NS", help="look at this namespace only; may be repeated"
    )
    parser.add_argument("--lease-namespace", metavar="NS", help="where the Lease is; the operator's own when not given")
    parser.add_argument("--identity", help="who leads, in the Lease; the host's name when not given")
    parser.add_argument("--http-port", type=int, default=8080, help="for /livez, /readyz and /metrics; 0: none")
    parser.add_argument("--http-address", metavar="IP", help="where it listens; everywhere when not given")
    parser.add_argument("--log-format", choices=["text", "json"], default="text")
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"], default="info")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line's entry point."""
    given = _parser().parse_args(arguments)
    logs.configure(given.log_format, given.log_level)
    watches.hush()
    namespaces = tuple(dict.fromkeys(given.namespace))
    first = namespaces[0] if namespaces else DEFAULT_NAMESPACE
    identity = given.identity or os.environ.get("POD_NAME") or socket.gethostname()
    options = Options(
        kubeconfig=given.kubeconfig,
        namespaces=namespaces,
        lease_namespace=given.lease_namespace or _own_namespace() or first,
        identity=identity,
        http_port=given.http_port,
        http_address=given.http_address,
    )
    try:
        return asyncio.run(Operator(options).run())
    except ConfigException as error:
        _log.error("no credentials for the Kubernetes API: %s", error)
        return NO_CREDENTIALS


if __name__ == "__main__":
    sys.exit(main())
