"""A namespace: signals reach what runs inside, statuses come back, and nothing outlives its owner."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localcluster.errors import NamespaceError
from localcluster.namespace import Namespace, child_of
from tests.localcluster.inside import processes_marked


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    with contextlib.closing(Namespace()) as made:
        yield made


Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a shell script inside a namespace, and returns once it has printed its first line."""
    with contextlib.ExitStack() as at_the_end:

        def run(namespace: Namespace, script: str, **environment: str) -> subprocess.Popen[bytes]:
            process = namespace.popen(["sh", "-c", script], stdout=subprocess.PIPE, env={**os.environ, **environment})
            at_the_end.enter_context(process)
            at_the_end.callback(process.kill)
            assert process.stdout is not None
            process.stdout.readline()
            return process

        yield run


def wait_for_none_marked(mark: str) -> None:
    while processes_marked(mark):  # pytest's own time limit ends this
        time.sleep(0.05)


def test_the_status_of_a_command_is_its_own(namespace: Namespace) -> None:
    assert namespace.popen(["sh", "-c", "exit 7"]).wait() == 7


def test_a_command_that_is_not_there_is_127_as_in_a_shell(namespace: Namespace) -> None:
    process = namespace.popen(["no-such-command"], stderr=subprocess.PIPE)
    assert process.communicate()[1] == b"no-such-command: No such file or directory\n"
    assert process.returncode == 127


def test_it_has_its_own_processes_and_addresses(namespace: Namespace) -> None:
    process = namespace.popen(["sh", "-c", "ls -d /proc/[0-9]* | wc -l; ip -o -4 addr"], stdout=subprocess.PIPE)
    out = process.communicate()[0].decode()
    assert int(out.split()[0]) < 10
    assert "10.0.0.1/8" in out


def test_the_working_directory_stays(namespace: Namespace, tmp_path: Path) -> None:
    process = namespace.popen(["pwd"], stdout=subprocess.PIPE, cwd=tmp_path)
    assert process.communicate()[0].decode().strip() == str(tmp_path)


def test_sigterm_reaches_the_command_which_may_take_its_time(namespace: Namespace, start: Start) -> None:
    process = start(namespace, "trap 'sleep 0.2; exit 42' TERM; echo ready; while :; do sleep 0.05; done")
    process.terminate()
    assert process.wait() == 42


def test_a_command_ended_by_a_signal_says_so(namespace: Namespace, start: Start) -> None:
    process = start(namespace, "echo ready; exec sleep 600")
    process.terminate()
    assert process.wait() == -signal.SIGTERM


def test_sigkill_takes_the_command_along(namespace: Namespace, start: Start) -> None:
    process = start(namespace, "echo ready; exec sleep 600", MARK=f"localcluster-killed-{os.getpid()}")
    process.kill()
    assert process.wait() == -signal.SIGKILL
    wait_for_none_marked(f"localcluster-killed-{os.getpid()}")


def test_the_process_inside_can_be_told_from_the_one_outside(namespace: Namespace, start: Start) -> None:
    process = start(namespace, "echo ready; sleep 600; :")
    assert Path(f"/proc/{child_of(process.pid)}/comm").read_text() == "sh\n"
    process.kill()
    process.wait()
    with pytest.raises(NamespaceError):
        child_of(process.pid)


def test_a_closed_one_has_ended_everything_and_starts_nothing_more(start: Start) -> None:
    namespace = Namespace()
    process = start(namespace, "echo ready; (sleep 600 &); exec sleep 600", MARK=f"localcluster-closed-{os.getpid()}")
    namespace.close()
    assert process.poll() == -signal.SIGKILL
    assert processes_marked(f"localcluster-closed-{os.getpid()}") == []
    with pytest.raises(NamespaceError, match="is gone"):
        namespace.popen(["true"])


OWNER = """
import os, subprocess, sys, time
from localcluster.namespace import Namespace
namespace = Namespace()
process = namespace.popen(["sh", "-c", "(setsid sleep 600 &); echo ready; exec sleep 600"], stdout=subprocess.PIPE)
process.stdout.readline()
print("ready", flush=True)
time.sleep(600)
"""


def test_nothing_outlives_an_owner_that_is_killed() -> None:
    mark = f"localcluster-orphan-{os.getpid()}"
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], env={**os.environ, "MARK": mark}, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"ready\n"
        assert len(processes_marked(mark)) >= 5  # the owner, unshare, process 1, and the two sleepers
        owner.kill()
    wait_for_none_marked(mark)
