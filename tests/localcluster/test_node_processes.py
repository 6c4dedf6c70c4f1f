"""Processes, probes and hooks of a node, with real processes and sockets but no cluster."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from localcluster.node.api import Api, ApiError
from localcluster.node.container import Container, Launch, NotRunning
from localcluster.node.handlers import CommandRunner, HandlerError, http_get, resolve_port, tcp_connect
from localcluster.node.hooks import HookFailed, run_hook
from localcluster.node.objects import Json
from localcluster.node.probes import Kind, ProbeWorker, Target
from localcluster.node.process import Process, StartError
from localcluster.node.termination import TerminationOrder
from tests.localcluster.listening import listening

ENV = {"PATH": os.environ["PATH"], "GREETING": "hello"}


async def until(check: Callable[[], object]) -> None:
    while not check():  # noqa: ASYNC110  the files and processes looked at have no events to wait for
        await asyncio.sleep(0.01)


@asynccontextmanager
async def server(answer: bytes) -> AsyncIterator[int]:
    """Answers every connection with the same bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with listening(serve) as port:
        yield port


async def settle() -> None:
    """All that can go on without time going by has gone on: nothing between two probes waits for anything else."""
    for _ in range(50):
        await asyncio.sleep(0)


class TestProcess:
    async def test_the_exit_code_is_what_a_shell_would_say(self) -> None:
        assert await Process(["sh", "-c", "exit 3"], env=ENV).wait() == 3
        assert await Process(["sh", "-c", "kill -KILL $$"], env=ENV).wait() == 137

    async def test_a_command_that_is_not_there_is_said_to_be_so(self) -> None:
        with pytest.raises(StartError, match="executable file not found"):
            Process(["no-such-command"], env=ENV)

    async def test_as_number_one_it_hears_sigterm_only_if_it_listens(self, tmp_path: Path) -> None:
        deaf = Process(["sleep", "600"], env=ENV)
        deaf.terminate(as_init=True)
        await asyncio.sleep(0.2)
        assert deaf.running
        deaf.terminate(as_init=False)
        assert await deaf.wait() == 128 + signal.SIGTERM

        said = tmp_path / "ready"
        hears = Process(["sh", "-c", f"trap 'exit 5' TERM; touch {said}; while :; do sleep 0.05; done"], env=ENV)
        await until(said.exists)
        await hears.stop(10, as_init=True)
        assert await hears.wait() == 5

    async def test_at_the_end_of_grace_the_whole_group_is_killed(self, tmp_path: Path) -> None:
        note = tmp_path / "pid"
        process = Process(["sh", "-c", f"trap '' TERM; sleep 600 & echo $! >{note}; wait; wait"], env=ENV)
        await until(lambda: note.exists() and note.read_text())
        await process.stop(0.1, as_init=True)
        assert await process.wait() == 137
        stat = Path(f"/proc/{note.read_text().strip()}/stat")
        await until(lambda: not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z")


class TestContainer:
    def make(self, logs: Path) -> Container:
        return Container({"name": "c"}, logs, init=False, on_exit=lambda: None)

    async def test_runs_are_counted_and_each_has_a_log(self, tmp_path: Path) -> None:
        container = self.make(tmp_path)
        for _ in range(2):
            container.start(Launch(["sh", "-c", "echo $GREETING; exit 4"], ENV, "/"))
            await container.stop(10)
        container.look()
        view = container.view()
        assert view.current is not None
        assert view.previous is not None
        assert (view.previous.restart_count, view.current.restart_count, view.current.exit_code) == (0, 1, 4)
        assert [(tmp_path / "c" / f"{n}.log").read_text() for n in (0, 1)] == ["hello\n", "hello\n"]

    async def test_a_command_runs_in_its_environment_and_ends_with_it(self, tmp_path: Path) -> None:
        container = self.make(tmp_path)
        with pytest.raises(NotRunning):
            await container.run_command(["true"], None)
        container.start(Launch(["sleep", "600"], ENV, str(tmp_path), as_init=False))
        assert await container.run_command(["sh", "-c", "echo $GREETING; pwd; exit 2"], 60) == (
            2,
            f"hello\n{tmp_path}\n",
        )
        with pytest.raises(TimeoutError):
            await container.run_command(["sleep", "600"], 0.1)
        said = tmp_path / "hangs"
        hanging = asyncio.create_task(container.run_command(["sh", "-c", f"touch {said}; exec sleep 600"], None))
        await until(said.exists)
        await container.stop(10)
        assert (await hanging)[0] == 137


class TestHandlers:
    @pytest.mark.parametrize(("status", "success"), [(200, True), (204, True), (399, True), (400, False), (503, False)])
    async def test_http_success_is_200_to_399(self, status: int, success: bool) -> None:
        async with server(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode()) as port:
            answer, message = await http_get({"port": port}, {"name": "c"}, "127.0.0.1", 60, agent="test")
        assert answer is success
        if not success:
            assert message == f"HTTP probe failed with statuscode: {status}"

    async def test_a_redirect_elsewhere_counts_as_success_and_is_not_followed(self) -> None:
        async with server(b"HTTP/1.1 302 X\r\nLocation: http://elsewhere.test/\r\nContent-Length: 0\r\n\r\n") as port:
            assert (await http_get({"port": port}, {"name": "c"}, "127.0.0.1", 60, agent="test"))[0]

    async def test_no_answer_in_time_is_a_failure(self) -> None:
        async def hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.read()

        async with listening(hang) as port:
            answer, message = await http_get({"port": port}, {"name": "c"}, "127.0.0.1", 0.1, agent="test")
            assert await tcp_connect("127.0.0.1", port, 60) == (True, "")
        assert (answer, "deadline exceeded" in message) == (False, True)
        assert (await tcp_connect("127.0.0.1", port, 60))[0] is False

    def test_a_port_may_go_by_its_name(self) -> None:
        container = {"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}
        assert resolve_port("http", container) == 8080
        with pytest.raises(HandlerError):
            resolve_port("grpc", container)

    async def test_hooks_fail_loudly_but_a_bad_status_is_no_failure(self) -> None:
        async def run(command: list[str], timeout: float | None) -> tuple[int, str]:
            return len(command) - 1, "output"

        await run_hook({"exec": {"command": ["ok"]}}, {"name": "c"}, "127.0.0.1", run)
        with pytest.raises(HookFailed, match="exited with 1"):
            await run_hook({"exec": {"command": ["not", "ok"]}}, {"name": "c"}, "127.0.0.1", run)
        async with server(b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n") as port:
            await run_hook({"httpGet": {"port": port}}, {"name": "c"}, "127.0.0.1", run)
        with pytest.raises(HookFailed):
            await run_hook({"httpGet": {"port": port}}, {"name": "c"}, "127.0.0.1", run)


class Host:
    """A pod with one container, as probes see it. A fake: the real one is PodWorker."""

    def __init__(self) -> None:
        self.target = Target("id-1", running=True, started=True, age=100.0, pod_ip="127.0.0.1")
        self.answers: list[bool] = []
        self.verdicts: list[tuple[Kind, bool | None]] = []
        self.probed = 0

    def probe_target(self, container: str) -> Target | None:
        return self.target

    def command_runner(self, container: str) -> CommandRunner:
        async def run(command: list[str], timeout: float | None) -> tuple[int, str]:
            self.probed += 1
            return (0 if self.answers.pop(0) else 1), ""

        return run

    def probe_verdict(self, container: str, kind: Kind, container_id: str, verdict: bool | None) -> None:
        self.verdicts.append((kind, verdict))

    def probe_failed(self, container: str, kind: Kind, message: str) -> None:
        pass

    async def probe(self, kind: Kind, answers: list[bool], **spec: int) -> ProbeWorker:
        """Gives the answers one by one, without waiting for a period."""
        self.answers = list(answers)
        probe = {"exec": {"command": ["x"]}, "periodSeconds": 3600, **spec}
        container: Json = {"name": "c", f"{kind}Probe": probe}
        worker = ProbeWorker(self, container, kind, first_delay=lambda _: 0.0)
        await settle()
        for _ in answers[1:]:
            worker.trigger()
            await settle()
        return worker


class TestProbeWorker:
    async def test_readiness_begins_false_and_follows_the_thresholds(self) -> None:
        host = Host()
        worker = await host.probe("readiness", [True, False, False, True], failureThreshold=2, successThreshold=1)
        assert [v for _, v in host.verdicts] == [False, True, False, True]
        worker.stop()

    async def test_liveness_begins_true_and_rests_after_its_sentence(self) -> None:
        host = Host()
        worker = await host.probe("liveness", [True, False, False, True, True], failureThreshold=2)
        assert [v for _, v in host.verdicts] == [True, False]
        assert host.probed == 3
        host.target = replace(host.target, container_id="id-2")  # restarted
        worker.trigger()
        await settle()
        assert host.verdicts[-1] == ("liveness", True)
        worker.stop()

    async def test_nothing_but_startup_is_asked_before_it_has_started(self) -> None:
        host = Host()
        host.target = replace(host.target, started=False)
        readiness = await host.probe("readiness", [True])
        assert host.probed == 0
        startup = await host.probe("startup", [False, True], failureThreshold=3)
        assert host.verdicts[-2:] == [("startup", None), ("startup", True)]
        for worker in (readiness, startup):
            worker.stop()

    async def test_the_initial_delay_counts_from_the_start_of_the_container(self) -> None:
        host = Host()
        host.target = replace(host.target, age=4.9)
        worker = await host.probe("readiness", [True], initialDelaySeconds=5)
        assert host.probed == 0
        host.target = replace(host.target, age=5.0)
        worker.trigger()
        await settle()
        assert host.probed == 1
        worker.stop()

    async def test_a_container_that_is_down_is_unready(self) -> None:
        host = Host()
        worker = await host.probe("readiness", [True])
        host.target = replace(host.target, running=False)
        worker.trigger()
        await settle()
        assert host.verdicts[-1] == ("readiness", False)
        worker.stop()


class TestTerminationOrder:
    async def test_sidecars_wait_for_the_rest_and_for_later_sidecars(self) -> None:
        def sidecar(name: str) -> Json:
            return {"name": name, "restartPolicy": "Always"}

        pod = {"spec": {"containers": [{"name": "main"}], "initContainers": [sidecar("outer"), sidecar("inner")]}}
        order = TerminationOrder(pod, ["main", "outer", "inner"])
        stopped: list[str] = []

        async def stop(name: str) -> None:
            await order.wait_for_turn(name, 5)
            stopped.append(name)
            order.stopped(name)

        await asyncio.gather(*(stop(n) for n in ("outer", "inner", "main")))
        assert stopped == ["main", "inner", "outer"]

    async def test_nobody_waits_longer_than_the_grace_period(self) -> None:
        pod = {
            "spec": {
                "containers": [{"name": "main"}],
                "initContainers": [{"name": "side", "restartPolicy": "Always"}],
            }
        }
        order = TerminationOrder(pod, ["main", "side"])
        assert await order.wait_for_turn("side", 0.1) >= 0.1


def kubeconfig(directory: Path, port: int) -> Path:
    path = directory / "kubeconfig"
    path.write_text(
        f"""
current-context: c
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
clusters: [{{name: c, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: u, user: {{token: t}}}}]
"""
    )
    return path


class TestWatch:
    async def test_it_lists_again_when_the_server_has_forgotten_and_goes_on_when_it_was_only_cut(
        self, tmp_path: Path
    ) -> None:
        """A fake API server: list at 1, a watch cut after 2, one from 2 that says 410, list at 5, a watch."""
        asked: list[str] = []
        item = '{"metadata": {"resourceVersion": "%s", "uid": "u"}}'
        expired = '{"type": "ERROR", "object": {"kind": "Status", "code": 410}}'

        def answer(path: str) -> str:
            if "watch=true" not in path:
                return '{"metadata": {"resourceVersion": "%s"}, "items": []}' % (1 if len(asked) == 1 else 5)
            if "resourceVersion=1&" in path:
                return '{"type": "ADDED", "object": ' + item % 2 + "}\n"
            return expired + "\n" if "resourceVersion=2&" in path else ""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
            asked.append(path)
            if body := answer(path):
                writer.write(f"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{body}".encode())
                await writer.drain()
            else:
                await reader.read()  # a watch with no news

        lists: list[int] = []
        events: list[str] = []
        async with listening(serve) as port, Api(kubeconfig(tmp_path, port)) as api:
            watching = api.watch(
                "/pods",
                {},
                on_list=lambda items: lists.append(len(items)),
                on_event=lambda kind, _: events.append(kind),
            )
            watch = asyncio.create_task(watching)
            await until(lambda: len(asked) == 5)
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
        assert (lists, events) == ([0, 0], ["ADDED"])
        assert ["watch" if "watch=true" in path else "list" for path in asked] == [
            "list",
            "watch",
            "watch",
            "list",
            "watch",
        ]

    async def test_an_error_of_the_api_server_has_its_status(self, tmp_path: Path) -> None:
        async with server(b'HTTP/1.1 403 X\r\nContent-Length: 17\r\n\r\n{"message": "no"}') as port:
            api = Api(kubeconfig(tmp_path, port))
            async with api:
                with pytest.raises(ApiError, match="403: no") as error:
                    await api.get("/x")
        assert error.value.status == 403


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, which a node has in its box")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_machine_that_ends_takes_everything_along(tmp_path: Path, how: signal.Signals) -> None:
    note = tmp_path / "started"
    program = (
        "import subprocess, time\n"
        "from localcluster.node.machine import become_machine\n"
        "become_machine()\n"
        f"subprocess.Popen(['setsid', 'sh', '-c', 'touch {note}; exec sleep 600 {tmp_path.name}'])\n"
        "time.sleep(600)\n"
    )
    machine = subprocess.Popen([sys.executable, "-c", program])
    while not note.exists():
        time.sleep(0.01)
    machine.send_signal(how)
    machine.wait()

    def left() -> bool:
        return tmp_path.name in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout

    while left():  # pytest's own time limit ends this
        time.sleep(0.05)
