"""A Kubernetes cluster in a box: the one class most users of this package need."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar
from urllib.parse import quote

from localcluster import binaries, components, gateway, health, pki, preflight, registry
from localcluster.api import Api, ApiError
from localcluster.credentials import ADMIN, CONTROLLER_MANAGER, KUBE_PROXY, SCHEDULER, Credentials
from localcluster.errors import BoxError, CommandFailed
from localcluster.init import HOST_IP
from localcluster.kinds import Kinds, objects
from localcluster.namespace import Namespace, child_of, search_path
from localcluster.process import Process

T = TypeVar("T")

TRAEFIK = "traefik"
LAVISH = {"GOGC": os.environ.get("GOGC", "400")}
"""Memory for CPU: at Go's own 100 an API server uses a quarter more CPU to start, and a third less memory."""
APPLY = "fieldManager=localcluster&force=true&fieldValidation=Strict"
_NUMBERS = itertools.count(1)


def _local_listener() -> socket.socket:
    """A listening socket on a free port of this machine's loopback."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


def inside_environment(directory: Path, kubeconfig_inside: Path) -> dict[str, str]:
    """This process's environment, with what a process inside the box needs: its kubeconfig, and its kubectl first."""
    path = f"{directory / 'bin'}:{search_path()}"
    return {**os.environ, "KUBECONFIG": str(kubeconfig_inside), "PATH": path}


class Box:
    """A real cluster: etcd, API server, controller manager, scheduler, kube-proxy and process nodes.

    A context manager; everything in it dies with the process that made it, however that ends. Several run side by side.
    The nodes are processes too (`python -m localcluster.node`): each makes its own Node object, keeps its heartbeat,
    and runs its pods as local processes with addresses of 10.244.<number of the node>.0/24.

    With `nodes=0` there is a Node object `bare` that takes no pods, for kube-proxy's sake: Services work for
    hand-made EndpointSlices.
    """

    def __init__(
        self,
        nodes: int = 2,
        gateway: bool = False,
        version: str | None = None,
        name: str | None = None,
        *,
        directory: Path | None = None,
        apiserver_flags: Sequence[str] = (),
        controller_manager_flags: Sequence[str] = (),
        keep_logs: bool | None = None,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """Nothing happens before `start`, or `with`.

        Args:
            nodes: how many process nodes, `node-1` and so on.
            gateway: whether to run Traefik, with the Gateway API and its own CRDs; see `gateway_address`.
            version: of Kubernetes, such as "1.36.3"; see `localcluster.binaries`.
            name: unique among the running boxes of this user; made up when not given.
            directory: for its files; `build/localcluster/<name>` under the working directory when not given.
            apiserver_flags: added to the API server's command line.
            controller_manager_flags: added to the controller manager's.
            keep_logs: whether `logs` stays after the end. When not given: if the box has a name, or ended in an error.
            say: is told about what takes long, such as building binaries. On stderr when not given.
        """
        self.name = name or f"box-{os.getpid()}-{next(_NUMBERS)}"
        self.version = binaries.choose_version(version)
        self.directory = (directory or Path("build/localcluster") / self.name).absolute()
        self.logs = self.directory / "logs"
        """All logs of the box: `<component>.log`, and below `pods`, what pods print."""
        self.pod_log_dir = self.logs / "pods"
        """As a kubelet lays it out: `<namespace>_<pod>_<uid>/<container>/<restart>.log`."""
        self.keep_logs = bool(name) if keep_logs is None else keep_logs
        self.node_names = [f"node-{number}" for number in range(1, nodes + 1)]
        self._credentials = Credentials(self.directory, self.node_names)
        self.kubeconfig = self._credentials.outside
        """For processes outside the box. User `admin`, group `system:masters`."""
        self.kubeconfig_inside = self._credentials.inside
        """The same user, for processes inside the box."""
        self.has_gateway = gateway
        self._apiserver_flags = tuple(apiserver_flags)
        self._controller_manager_flags = tuple(controller_manager_flags)
        self._say = say or (lambda line: print(line, file=sys.stderr, flush=True))
        self._namespace: Namespace | None = None
        self._processes: dict[str, Process] = {}
        self._ports: dict[str, int] = {}
        self._binaries: dict[str, Path] = {}
        self._api: Api | None = None
        self._kinds: Kinds | None = None

    # Life.

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            self.keep_logs = True
            error.add_note(f"The logs of the box are in {self.logs}")
        self.close()

    def start(self) -> None:
        """Start everything and return when the cluster works: nodes Ready, Services routed, gateway programmed.

        Raises:
            MissingRequirement: this machine lacks something.
            BinariesError: the Kubernetes binaries are not to be had.
            BoxError: something did not start; its log is quoted.
        """
        if self._namespace is not None:
            raise BoxError(f"the box {self.name} was started before")
        if registry.find(self.name) is not None:
            raise BoxError(
                f"a box named {self.name} is already running; `localcluster down --name {self.name}` ends it"
            )
        preflight.check()
        self._binaries = {**binaries.obtain(self.version, self._say), "etcd": binaries.etcd(self._say)}
        try:
            self._start()
        except BaseException as error:
            self.keep_logs = True
            if isinstance(error, Exception):
                error.add_note(f"The logs of the box are in {self.logs}")
            self.close()
            raise

    def _start(self) -> None:
        crds = gateway.crd_directories(self._say) if self.has_gateway else ()
        shutil.rmtree(self.directory, ignore_errors=True)
        self.pod_log_dir.mkdir(parents=True)
        (self.directory / "bin").mkdir()
        for name, path in self._binaries.items():
            (self.directory / "bin" / name).symlink_to(path)
        self._namespace = Namespace()
        keys = pki.make(self.directory / "pki", components.API_ADDRESSES, components.API_NAMES)
        self._forward_known_ports()
        port = self._ports["kube-apiserver"]
        self._credentials.write(f"https://127.0.0.1:{port}")
        self._api = Api(port, keys.ca.read_text(), self._credentials.token(ADMIN))
        self._kinds = Kinds(self._api)
        self._define_components(keys)
        # The API server waits for etcd by itself.
        self.process("etcd").start(wait=False)
        self.process("kube-apiserver").start()
        if not self.node_names:
            self._make_bare_node()
        steps: list[Callable[[], object]] = [
            process.start for process in self._processes.values() if not process.running and process.name != TRAEFIK
        ]
        steps.append(self._wait_for_default_service_account)
        if crds:
            steps.append(lambda: gateway.start(self, self.process(TRAEFIK), crds))
        with ThreadPoolExecutor(len(steps)) as pool:
            for step in [pool.submit(step) for step in steps]:
                step.result()
        registry.add(
            registry.Entry(
                name=self.name,
                version=self.version,
                owner_pid=os.getpid(),
                owner_started=registry.started(os.getpid()) or "",
                init_pid=self._namespace.init_pid,
                directory=str(self.directory),
                kubeconfig=str(self.kubeconfig),
                kubeconfig_inside=str(self.kubeconfig_inside),
            )
        )

    def close(self) -> None:
        """End everything at once and remove the files, but for the logs if they are to be kept. Idempotent."""
        if self._api is not None:
            self._api.close()
        if self._namespace is not None:
            self._namespace.close()
            registry.remove(self.name)
        if self.keep_logs and self.directory.exists():
            for path in self.directory.iterdir():
                if path != self.logs:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
        else:
            shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def alive(self) -> bool:
        """Whether it was started and its first process lives."""
        return self._namespace is not None and self._namespace.alive

    # Talking to the cluster.

    @property
    def api(self) -> Api:
        """Plain requests to the API server as `admin`."""
        if self._api is None:
            raise BoxError(f"the box {self.name} is not started")
        return self._api

    def kubectl(self, *arguments: str, input: str | None = None, check: bool = True) -> str:
        """What kubectl prints, run outside the box as `admin`.

        Raises:
            CommandFailed: it failed (unless `check` is False); the message has what it said.
        """
        argv = [str(self._binaries["kubectl"]), *arguments]
        env = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run(argv, input=input, env=env, capture_output=True, text=True, check=False)
        if check and done.returncode != 0:
            raise CommandFailed(["kubectl", *arguments], done.returncode, done.stdout, done.stderr)
        return done.stdout

    def apply(self, manifest: str | Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> None:
        """Server-side apply of YAML text, one object, or several, in this order.

        As `kubectl apply --server-side --force-conflicts` does, at a small part of the CPU: kubectl reads the whole
        OpenAPI document first. Raises ApiError: one was refused; those before it are there.
        """
        for each in objects(manifest):
            namespace = each["metadata"].get("namespace", "default")
            path = self._found_kinds.of_object(each).path(namespace, each["metadata"]["name"])
            self.api.request("PATCH", f"{path}?{APPLY}", each, "application/apply-patch+yaml")

    def get(self, kind: str, name: str, ns: str = "default") -> dict[str, Any]:
        """One object, by any name that kubectl knows its kind by. Raises ApiError when there is none."""
        found: dict[str, Any] = self.api.request("GET", self._path(kind, ns, name))
        return found

    def listed(self, kind: str, ns: str = "default", selector: str = "") -> list[dict[str, Any]]:
        """Those of a kind in a namespace, with labels that the selector takes."""
        query = f"?labelSelector={quote(selector)}" if selector else ""
        found: list[dict[str, Any]] = self.api.request("GET", self._path(kind, ns) + query)["items"]
        return found

    def wait_until(
        self, predicate: Callable[[], T], timeout: float = 30.0, describe: str = "it", every: float | None = None
    ) -> T:
        """Ask until the answer is true, and return it.

        A CommandFailed or ApiError counts as "not yet": what is waited for may not exist yet.

        Args:
            predicate: what is asked.
            timeout: in seconds.
            describe: what is waited for, in the error.
            every: seconds between two looks. When not given, a twentieth of the time waited so far, 0.05 to 0.25 s.

        Raises:
            BoxError: `timeout` seconds went by; the message has `describe` and the last answer.
        """
        began = time.monotonic()
        while True:
            try:
                answer = predicate()
                if answer:
                    return answer
                last: object = answer
            except (CommandFailed, ApiError) as error:
                last = error
            waited = time.monotonic() - began
            if waited > timeout:
                said = str(last) if isinstance(last, Exception) else repr(last)
                raise BoxError(f"waited {timeout:g} s until {describe}; last seen: {said[:2000]}")
            time.sleep(every if every is not None else min(0.25, max(0.05, waited / 20)))

    def kubeconfig_for(self, user: str, *, inside: bool = False) -> Path:
        """A kubeconfig for a service account, `system:serviceaccount:<namespace>:<name>`, its token good for a day.

        Args:
            inside: whether it is for processes inside the box.
        """
        return self._credentials.of_service_account(self.api, user, inside=inside)

    # Running things.

    def popen(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        log: str | None = None,
        cwd: str | os.PathLike[str] | None = None,
        stdin: int | IO[bytes] | None = subprocess.DEVNULL,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> subprocess.Popen[bytes]:
        """Start a command inside the box; it dies with the box at the latest, signals reach it.

        Args:
            env: added to this process's environment. `KUBECONFIG` is `kubeconfig_inside`, and kubectl is on `PATH`.
            log: appends what it prints to `logs/<log>.log`; `stdout` and `stderr` come first, if given.
        """
        if self._namespace is None:
            raise BoxError(f"the box {self.name} is not started")
        with contextlib.ExitStack() as stack:
            if log is not None:
                output = stack.enter_context((self.logs / f"{log}.log").open("ab"))
                stdout = output if stdout is None else stdout
                stderr = output if stderr is None else stderr
            return self._namespace.popen(
                argv,
                env={**inside_environment(self.directory, self.kubeconfig_inside), **(env or {})},
                cwd=cwd,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=pass_fds,
            )

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        input: str | None = None,
        check: bool = True,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside the box to its end and collect what it prints.

        Raises:
            CommandFailed: it failed, unless `check` is False.
            subprocess.TimeoutExpired: it took longer than `timeout` seconds, and was killed.
        """
        with self.popen(
            argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            try:
                out, err = process.communicate(None if input is None else input.encode(), timeout=timeout)
            except BaseException:
                process.kill()
                raise
        done = subprocess.CompletedProcess(
            list(argv), process.returncode, out.decode(errors="replace"), err.decode(errors="replace")
        )
        if check and done.returncode != 0:
            raise CommandFailed(argv, done.returncode, done.stdout, done.stderr)
        return done

    @staticmethod
    def pid_of(process: subprocess.Popen[bytes]) -> int:
        """The process inside that `popen` started, as numbered outside: to SIGSTOP it, or to read `/proc/<pid>`.

        `process.pid` is the one outside that stands for it. Raises NamespaceError when it has ended.
        """
        return child_of(process.pid)

    def process(self, name: str) -> Process:
        """A component: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kube-proxy, a node, traefik."""
        try:
            return self._processes[name]
        except KeyError:
            raise BoxError(f"the box has no process {name!r}; it has {', '.join(self._processes)}") from None

    def node(self, name: str) -> Process:
        """The agent of a node, as a kubelet: while it is stopped its pods run on, but nobody looks after them."""
        if name not in self.node_names:
            raise BoxError(f"the box has no node {name!r}; it has {', '.join(self.node_names) or 'none'}")
        return self.process(name)

    def forward(self, address: str) -> str:
        """Make `<ip>:<port>` of inside the box reachable from outside; returns `127.0.0.1:<port>`."""
        with _local_listener() as listener:
            self.popen(self._forwarder_argv({listener.fileno(): address}), log="forward", pass_fds=[listener.fileno()])
            return f"127.0.0.1:{listener.getsockname()[1]}"

    def pod_logs(self, ns: str, pod: str, container: str | None = None) -> str:
        """All that a pod's containers printed, or one of them, over all restarts and all pods of that name."""
        files = sorted(self.pod_log_dir.glob(f"{ns}_{pod}_*/{container or '*'}/*.log"))
        return "".join(path.read_text(errors="replace") for path in files)

    @property
    def gateway_address(self) -> str:
        """`<ip>:<port>` inside the box, where Traefik serves the Gateway `gateway` of the namespace `gateway`.

        HTTPRoutes of every namespace may name it as their parent.
        """
        if not self.has_gateway:
            raise BoxError("the box has no gateway: make it with Box(gateway=True)")
        return f"{HOST_IP}:{components.GATEWAY_PORT}"

    @property
    def gateway_api(self) -> str:
        """The URL, outside the box, of Traefik's own API: what it routes, see servers/traefik.py.

        Inside the box the same is at http://10.0.0.1:8080. There is no password: only the box has that address.
        """
        if not self.has_gateway:
            raise BoxError("the box has no gateway: make it with Box(gateway=True)")
        return f"http://127.0.0.1:{self._ports[TRAEFIK]}"

    # How it is put together.

    @staticmethod
    def _forwarder_argv(routes: Mapping[int, str]) -> list[str]:
        return [sys.executable, "-m", "localcluster.forward", *(f"{fd}={to}" for fd, to in routes.items())]

    def _forward_known_ports(self) -> None:
        """One process that lets us reach the API server and everybody's health from outside."""
        targets = {
            "etcd": components.ETCD_HEALTH_PORT,
            "kube-apiserver": components.API_PORT,
            "kube-controller-manager": components.CONTROLLER_MANAGER_PORT,
            "kube-scheduler": components.SCHEDULER_PORT,
            "kube-proxy": components.KUBE_PROXY_HEALTH_PORT,
            TRAEFIK: components.GATEWAY_ADMIN_PORT,
        }
        with contextlib.ExitStack() as stack:
            listeners = {name: stack.enter_context(_local_listener()) for name in targets}
            self._ports = {name: listener.getsockname()[1] for name, listener in listeners.items()}
            routes = {listeners[name].fileno(): f"{HOST_IP}:{port}" for name, port in targets.items()}
            self.popen(self._forwarder_argv(routes), log="forward", pass_fds=list(routes))

    @property
    def _found_kinds(self) -> Kinds:
        if self._kinds is None:
            raise BoxError(f"the box {self.name} is not started")
        return self._kinds

    def _path(self, kind: str, ns: str, name: str = "") -> str:
        return self._found_kinds.of(kind).path(ns, name)

    def _define(self, name: str, argv: Sequence[str], ready: Callable[[], bool], **env: str) -> None:
        env = {**LAVISH, **env}
        self._processes[name] = Process(
            name, self.logs / f"{name}.log", lambda: self.popen(argv, log=name, env=env), ready
        )

    def _define_components(self, keys: pki.Pki) -> None:
        """In the order they are started."""
        found = self._binaries
        self._define(
            "etcd",
            components.etcd(found["etcd"], self.directory / "etcd"),
            lambda: self._healthy("etcd", "http", "/health"),
        )
        self._define(
            "kube-apiserver",
            components.kube_apiserver(
                found["kube-apiserver"], keys, self._credentials.tokens_file, self.version, self._apiserver_flags
            ),
            lambda: self.api.answers("/readyz"),
        )
        self._define(
            "kube-controller-manager",
            components.kube_controller_manager(
                found["kube-controller-manager"],
                self._credentials.of(CONTROLLER_MANAGER),
                keys,
                self._controller_manager_flags,
            ),
            lambda: self._healthy("kube-controller-manager", "https", "/healthz"),
        )
        for number, name in enumerate(self.node_names, start=1):
            self._define(name, self._node_argv(name, number), self._node_is_ready(name))
        self._define(
            "kube-scheduler",
            components.kube_scheduler(found["kube-scheduler"], self._credentials.of(SCHEDULER)),
            lambda: self._healthy("kube-scheduler", "https", "/healthz"),
        )
        self._define(
            "kube-proxy",
            components.kube_proxy(
                found["kube-proxy"], self._credentials.of(KUBE_PROXY), (self.node_names or ["bare"])[0]
            ),
            lambda: self._healthy("kube-proxy", "http", "/healthz"),
        )

        if self.has_gateway:
            self._define(
                TRAEFIK,
                components.traefik(binaries.traefik()),
                lambda: self._healthy(TRAEFIK, "http", "/ping"),
                KUBECONFIG=str(self._credentials.of(gateway.USER)),
            )

    def _node_argv(self, name: str, number: int) -> list[str]:
        run = self.directory / "run" / name
        run.mkdir(parents=True)
        return [
            sys.executable,
            "-m",
            "localcluster.node",
            f"--name={name}",
            f"--kubeconfig={self._credentials.of(f'system:node:{name}')}",
            f"--pod-cidr=10.244.{number}.0/24",
            f"--logs={self.logs}",  # it adds `pods`
            f"--run={run}",
            f"--kubernetes-version=v{self.version}",
        ]

    def _healthy(self, name: str, scheme: str, path: str) -> bool:
        return health.answers(f"{scheme}://127.0.0.1:{self._ports[name]}{path}")

    def _node_is_ready(self, name: str) -> Callable[[], bool]:
        return lambda: health.node_is_ready(self.api, name, self.process(name).started_at)

    def _make_bare_node(self) -> None:
        node = self.api.request(
            "POST",
            "/api/v1/nodes",
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "bare"}, "spec": {"unschedulable": True}},
        )
        node["status"] = {"addresses": [{"type": "InternalIP", "address": HOST_IP}]}
        self.api.request("PUT", "/api/v1/nodes/bare/status", node)

    def _wait_for_default_service_account(self) -> None:
        """No pod can be made in a namespace before it is there."""
        path = "/api/v1/namespaces/default/serviceaccounts/default"
        self.wait_until(lambda: self.api.answers(path), describe="the namespace default has its service account")
