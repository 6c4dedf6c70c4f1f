"""The load as a process and as a test uses it, in a fake box: no namespace, the processes run right here."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from localcluster import load
from localcluster.load import Fresh, HarnessBroken, KeptAlive, Plan

from .misbehaving import Misbehaving, misbehaving


class FakeBox:
    """Has what a load needs of a box, and none of its walls."""

    def __init__(self, folder: Path) -> None:
        self.logs = folder
        self.pod_log_dir = folder / "pods"
        self.kubeconfig_inside = folder / "kubeconfig"

    def popen(self, argv: Sequence[str], *, log: str | None = None) -> subprocess.Popen[bytes]:
        with (self.logs / f"{log}.log").open("ab") as out:
            return subprocess.Popen(argv, stdout=out, stderr=out)

    def pods_logged(self, ids: Sequence[str]) -> None:
        log = self.pod_log_dir / "default_web-1_uid1" / "app" / "0.log"
        log.parent.mkdir(parents=True)
        log.write_text("".join(f"served {each}\n" for each in ids))


NOBODY_THERE = Plan(100, (Fresh("http://127.0.0.1:1/"),), ready_within=0)


def plan(server: Misbehaving, duration: float | None = None) -> Plan:
    return Plan(100, (Fresh(server.url()), KeptAlive(server.url())), duration=duration)


async def test_a_load_runs_until_it_is_finished_and_is_squared_with_the_pods_logs(tmp_path: Path) -> None:
    def use(server: Misbehaving) -> load.Outcome:
        box = FakeBox(tmp_path)
        with load.running(box, plan(server)) as run:
            run.mark("release")
            while run.so_far().window("release").sent < 5:
                time.sleep(0.05)
            stopping = asyncio.run_coroutine_threadsafe(when_quiet(server), loop)
            run._process.terminate()
            box.pods_logged(stopping.result())
            return run.finish()

    async def when_quiet(server: Misbehaving) -> list[str]:
        before = -1
        while before != len(server.asked):
            before = len(server.asked)
            await asyncio.sleep(0.3)
        return server.asked

    loop = asyncio.get_running_loop()
    async with misbehaving() as server:
        outcome = await asyncio.to_thread(use, server)
    assert outcome.sent == len(server.asked)
    assert not outcome.lost, outcome.explain()
    assert outcome.reconciliation is not None
    assert outcome.reconciliation.served_by.keys() == set(server.asked)


async def test_a_load_with_a_duration_ends_by_itself(tmp_path: Path) -> None:
    def use(server: Misbehaving) -> load.Outcome:
        with load.running(FakeBox(tmp_path), plan(server, duration=0.3), reconciled=False) as run:
            return run.wait()

    async with misbehaving() as server:
        outcome = await asyncio.to_thread(use, server)
    assert outcome.sent == 30
    assert outcome.callers == ("fresh", "kept-alive")


async def test_answers_that_no_pod_has_served_fail_the_run(tmp_path: Path) -> None:
    def use(server: Misbehaving) -> None:
        with load.running(FakeBox(tmp_path), plan(server)) as run:
            run.finish()

    async with misbehaving() as server:
        with pytest.raises(HarnessBroken, match="no pod logged them as served"):
            await asyncio.to_thread(use, server)


def test_a_generator_that_dies_is_not_a_good_run(tmp_path: Path) -> None:
    with load.running(FakeBox(tmp_path), NOBODY_THERE, reconciled=False) as run:
        run.kill()
        with pytest.raises(HarnessBroken, match="ended with status -9"):
            run.finish()


def test_a_generator_that_cannot_start_says_why(tmp_path: Path) -> None:
    callers = (load.CachedAddresses("web", 80),)
    with (
        pytest.raises(HarnessBroken, match=r"did not start:\n(.|\n)*kubeconfig"),
        load.running(FakeBox(tmp_path), Plan(100, callers)),
    ):
        pass


def test_the_command_line_refuses_what_is_no_plan(tmp_path: Path) -> None:
    config = tmp_path / "plan.json"
    config.write_text("{}")
    argv = [sys.executable, "-m", "localcluster.load", "--config", str(config), "--out", str(tmp_path / "out")]
    done = subprocess.run(argv, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("localcluster.load: not a load plan")
