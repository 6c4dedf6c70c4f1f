"""The sample apps, on the loopback device: their manners are what the demo and the benchmarks measure against."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import localcluster.apps

SAMPLE_APP = Path(localcluster.apps.__file__).parent / "bin" / "sample-app"
_NUMBERS = itertools.count(1)


def own_address() -> tuple[str, int]:
    """An address of the loopback device for one app alone, whoever else tests here, and a port that is free on it."""
    host = f"127.{1 + next(_NUMBERS) % 250}.{os.getpid() >> 8 & 255}.{os.getpid() & 255}"
    with socket.socket() as probe:
        probe.bind((host, 0))
        return host, int(probe.getsockname()[1])


class App:
    """A running app. `conn` is one kept-alive connection to it."""

    def __init__(self, *flags: str) -> None:
        self.address = host, port = own_address()
        self.process = subprocess.Popen(
            [SAMPLE_APP, f"--host={host}", f"--port={port}", *flags],
            env={**os.environ, "POD_NAME": "pod-1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.conn = self.connect()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self.address, timeout=60)

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(self.address) == 0

    def until_listening(self) -> None:
        while not self.listens():
            assert self.process.poll() is None, "it ended"
            time.sleep(0.01)

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def told_to_stop(self) -> None:
        """SIGTERM; returns once it has heard: it drains and takes no more connections."""
        self.process.terminate()
        while self.listens():
            time.sleep(0.01)

    def get(
        self, path: str = "/", conn: http.client.HTTPConnection | None = None, request_id: str = ""
    ) -> tuple[int, dict[str, str], str]:
        conn = conn or self.conn
        conn.request("GET", path, headers={"X-Request-Id": request_id} if request_id else {})
        response = conn.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read().decode()

    def catches(self, number: signal.Signals) -> bool:
        """Whether it has a handler for the signal by now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
        return bool(int(caught, 16) & 1 << (number - 1))

    def in_background(self, path: str) -> tuple[threading.Thread, list[Any]]:
        """A request on a connection of its own, under way when this returns."""
        answers: list[Any] = []

        def ask() -> None:
            try:
                with contextlib.closing(self.connect()) as conn:
                    answers.append(self.get(path, conn, "background"))
            except (OSError, http.client.HTTPException) as error:
                answers.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        while self.get("/inflight")[2] != "1\n":
            time.sleep(0.01)
        return thread, answers

    def end(self) -> tuple[int, list[dict[str, Any]]]:
        """Its exit code and what it logged."""
        out, _ = self.process.communicate(timeout=30)
        return self.process.returncode, [json.loads(line) for line in out.splitlines()]


@pytest.fixture
def start() -> Iterator[Callable[..., App]]:
    apps: list[App] = []

    def make(*flags: str, listening: bool = True) -> App:
        app = App(*flags)
        apps.append(app)
        if listening:
            app.until_listening()
        return app

    yield make
    for app in apps:
        app.conn.close()
        app.process.kill()
        app.process.wait()
        assert app.process.stdout is not None
        app.process.stdout.close()


Start = Callable[..., App]


def test_a_served_request_is_logged_with_its_id_and_probes_are_not(start: Start) -> None:
    app = start()
    status, headers, body = app.get("/", request_id="r-1")
    assert (status, headers["x-pod"], body) == (200, "pod-1", "pod-1 version 1\n")
    for quiet in ("/healthz", "/metrics", "/inflight"):
        app.get(quiet)
    app.process.terminate()
    code, lines = app.end()
    assert code == 0
    assert [(line["id"], line["pod"], line["path"]) for line in lines] == [("r-1", "pod-1", "/")]


def test_connections_are_kept_alive_and_pipelines_answered_in_order(start: Start) -> None:
    app = start()
    with socket.create_connection(app.address) as raw:
        raw.sendall(b"GET /inflight HTTP/1.1\r\nHost: a\r\n\r\n" * 2 + b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        answer = b""
        while chunk := raw.recv(4096):
            answer += chunk
    assert answer.count(b"HTTP/1.1 200") == 3
    assert answer.count(b"Connection: keep-alive") == 2
    assert answer.endswith(b"version 1\n")


def test_its_first_seconds_cost_more_of_the_cpu(start: Start) -> None:
    app = start("--burn-for=4", "--burn-ms=40", "--work-ms=5")

    def used() -> float:
        before = app.cpu_seconds()
        for _ in range(5):
            app.get("/")
        return app.cpu_seconds() - before

    cold = used()
    time.sleep(4)
    warm = used()
    assert cold >= 5 * 0.04 - 0.02, "to the tick"
    assert warm < cold / 2


def test_in_flight_is_counted(start: Start) -> None:
    app = start()
    thread, answers = app.in_background("/slow?s=0.5")
    assert "http_requests_in_flight 1" in app.get("/metrics")[2]
    thread.join()
    assert answers[0][0] == 200
    assert app.get("/inflight")[2] == "0\n"


def test_the_behaving_app_finishes_its_work_and_closes_what_is_idle(start: Start) -> None:
    app = start("--linger=0")
    thread, answers = app.in_background("/slow?s=1")
    app.process.terminate()
    thread.join()
    status, headers, _ = answers[0]
    assert (status, headers["connection"]) == (200, "close")
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        app.get()  # app.conn was idle
    with contextlib.closing(app.connect()) as conn, pytest.raises(ConnectionError):
        app.get("/", conn)
    code, lines = app.end()
    assert (code, [line["id"] for line in lines]) == (0, ["background"])


def test_lingering_it_tells_idle_connections_with_their_next_answer_and_ends_when_all_know(start: Start) -> None:
    app = start("--linger=3600")
    assert app.get()[1]["connection"] == "keep-alive"
    app.told_to_stop()
    status, headers, _ = app.get(request_id="last")  # app.conn was idle
    assert (status, headers["connection"]) == (200, "close")
    code, lines = app.end()  # long before the hour is over
    assert (code, [line["id"] for line in lines]) == (0, ["", "last"])


@pytest.mark.parametrize(("flags", "lingers"), [((), 1), (("--linger=0.3",), 0.3), (("--linger=0",), 0)])
def test_an_idle_connection_is_closed_when_the_lingering_is_over(
    start: Start, flags: tuple[str, ...], lingers: float
) -> None:
    app = start(*flags)
    with socket.create_connection(app.address, timeout=60) as idle:
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert idle.recv(4096).startswith(b"HTTP/1.1 200")
        began = time.monotonic()
        app.process.terminate()
        while idle.recv(4096):  # the rest of the answer; then the end, in order and not by a reset
            pass
        assert time.monotonic() - began >= lingers
    assert app.end() == (0, [])


def test_lingering_takes_no_new_connections(start: Start) -> None:
    app = start("--linger=3600")
    app.get("/healthz")
    app.told_to_stop()
    with contextlib.closing(app.connect()) as conn, pytest.raises(ConnectionRefusedError):
        app.get("/", conn)
    assert app.process.poll() is None, "there is one who has not been told"


def test_the_other_one_dies_at_once(start: Start) -> None:
    app = start("--on-term=die")
    thread, answers = app.in_background("/slow?s=10")
    app.process.terminate()
    thread.join()
    assert isinstance(answers[0], (ConnectionError, http.client.HTTPException))
    assert app.end() == (143, [])


def test_one_takes_no_notice(start: Start) -> None:
    app = start("--on-term=ignore")
    app.process.terminate()
    assert app.get()[0] == 200
    assert app.get()[1]["connection"] == "keep-alive"
    app.process.send_signal(signal.SIGKILL)
    assert app.end()[0] == -signal.SIGKILL


@pytest.mark.parametrize("how", ["--cold-ms=250", "--cold-burn"])
def test_a_cold_app_is_slow_for_its_first_requests_and_says_so(start: Start, how: str) -> None:
    app = start("--cold-requests=3", "--cold-ms=250", how, "--latency-ms=0")
    times = []
    for _ in range(5):
        began = time.monotonic()
        app.get()
        times.append(time.monotonic() - began)
    assert min(times[:3]) >= 0.25
    assert min(times[3:]) < 0.25
    app.told_to_stop()
    assert [line.get("cold") for line in app.end()[1]] == [True, True, True, None, None]


def test_a_slow_starter_does_not_listen_at_first(start: Start) -> None:
    began = time.monotonic()
    app = start("--start-delay=1")
    assert time.monotonic() - began >= 1
    assert app.get()[0] == 200


def test_a_slow_starter_can_be_stopped_before_it_listens(start: Start) -> None:
    app = start("--start-delay=3600", listening=False)
    while not app.catches(signal.SIGTERM):
        time.sleep(0.01)
    app.process.terminate()
    assert app.end() == (0, [])


def test_a_stream_arrives_in_chunks_and_survives_sigterm(start: Start) -> None:
    app = start()
    thread, answers = app.in_background("/stream?s=1&chunks=4")
    app.process.terminate()
    thread.join()
    status, headers, body = answers[0]
    assert (status, headers["transfer-encoding"]) == (200, "chunked")
    assert body.splitlines() == [f"chunk {n} of 4" for n in range(1, 5)]
    assert len(app.end()[1]) == 1


def test_it_crashes_on_demand(start: Start) -> None:
    app = start()
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        app.get("/crash?code=7")
    assert app.end() == (7, [])


def test_readiness_can_be_taken_away_for_a_while(start: Start) -> None:
    app = start()
    app.get("/unready?s=3600")
    assert app.get("/healthz")[0] == 503
    app.get("/unready?s=0.1")
    while app.get("/healthz")[0] != 200:
        time.sleep(0.01)
