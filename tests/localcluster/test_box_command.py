"""The command `localcluster`: up, list, exec, down; and nothing left however it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.localcluster.inside import processes_marked

Run = Callable[..., subprocess.CompletedProcess[str]]


class Up:
    """A running `localcluster up`, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.name = f"test-{uuid.uuid4().hex[:8]}"
        self.directory = directory / "build" / "localcluster" / self.name
        self.process = subprocess.Popen(
            [sys.executable, "-m", "localcluster", "up", "--nodes", "0", "--name", self.name],
            cwd=directory,
            env={**os.environ, "MARK": self.name},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.said = ""
        while "Ctrl-C" not in self.said:
            line = self.process.stdout.readline()
            assert line, "it ended before it was up"
            self.said += line

    def nothing_is_left(self) -> None:
        """Returns once none of its processes is there any more."""
        self.process.wait()
        while processes_marked(self.name):  # pytest's own time limit ends this
            time.sleep(0.05)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    running = Up(tmp_path)
    yield running
    running.process.kill()
    running.process.communicate()


def test_a_box_stays_up_can_be_entered_and_is_ended_by_down(up: Up, command_line: Run) -> None:
    assert f"export KUBECONFIG={up.directory}/kubeconfig" in up.said
    assert f"localcluster exec --name {up.name} -- bash" in up.said
    assert up.name in command_line("list").stdout

    inside = command_line("exec", "--name", up.name, "--", "sh", "-c", "kubectl get nodes -o name; exit 3")
    assert (inside.stdout, inside.returncode) == ("node/bare\n", 3)

    down = command_line("down", "--name", up.name)
    assert (down.returncode, down.stderr) == (0, "")
    assert up.process.wait() == 0
    up.nothing_is_left()
    assert [path.name for path in up.directory.iterdir()] == ["logs"]
    assert up.name not in command_line("list").stdout


def test_nothing_is_left_of_a_box_whose_owner_is_killed(up: Up, command_line: Run) -> None:
    assert len(processes_marked(up.name)) > 5
    up.process.kill()
    up.nothing_is_left()
    assert up.name not in command_line("list").stdout


def test_a_box_that_does_not_run_cannot_be_entered_or_ended(command_line: Run) -> None:
    for command in (["exec", "--name", "nobody", "--", "true"], ["down", "--name", "nobody"]):
        done = command_line(*command)
        assert done.returncode == 1
        assert done.stderr.startswith("localcluster: no box named nobody runs")
        assert done.stderr.count("\n") == 1


def test_a_name_cannot_leave_the_directory_of_boxes(command_line: Run) -> None:
    done = command_line("down", "--name", "../somebody")
    assert done.returncode == 1
    assert "cannot be the name of a box" in done.stderr
