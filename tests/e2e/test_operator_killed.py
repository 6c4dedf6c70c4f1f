"""The operator is killed, its API server goes away, its calls fail: nothing is lost, skipped or begun again."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime

import pytest

from localcluster.box import Box
from localcluster.load import Outcome, Plan, running
from tests.e2e.operators import LEASE, NAMESPACE, Operator, kill_at, leader, wait_for_leader
from tests.e2e.workloads import Web

STAGES = {
    "2": ["Starting", "Warming", "Admitted", "Withdrawn", "Draining", "Drained"],
    "3": ["Settling", "Waiting"],
}
"""By release: an operator takes longer to start than a pod, so after `Starting` it comes too late for those two."""
Marks = dict[str, str]
"""A pod's annotations."""
MOMENTS = ["admitted-at", "withdrawn-at", "drained-at"]
SETTLE = 4.0
OUTAGE = 5.0
STORM_SECONDS = float(os.environ.get("STORM_SECONDS", "30"))
"""How long leaders are killed in a storm: `STORM_SECONDS=300 make test ARGS="-k every_five_seconds"` for longer."""


class Frozen:
    """A process that can be frozen, and hears nothing then."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def freeze(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._pid, signal.SIGCONT)


@pytest.fixture
def kube_proxy(box: Box) -> Iterator[Frozen]:
    """It runs in the end."""
    frozen = Frozen(box.process("kube-proxy").pid)
    yield frozen
    frozen.thaw()


def test_killed_at_each_stage_of_a_passage(web: Callable[..., Web], operator: Operator, box: Box) -> None:
    requests = [{"port": "http", "path": "/slow?s=0.1", "count": 20, "concurrency": 1}]
    app = web(replicas=2, strategy={"maxSurge": "100%", "maxUnavailable": 0})
    warm = {"delay": "5s", "maxParallel": 1, "requests": requests}
    app.gated(warmup=warm, drain={"settle": f"{SETTLE:g}s"})
    histories: defaultdict[str, list[Marks]] = defaultdict(list)
    with running(box, Plan(rate=100, callers=app.callers()), namespace=app.namespace) as run:
        for version, stages in STAGES.items():
            old = app.uids()
            app.release(version)
            for stage in stages:
                kill_at(stage, app, operator, old)
                run.mark(f"killed at {stage}")
                _released(app, histories)
                operator.start()
            box.wait_until(lambda: _released(app, histories), 120, "released, after a kill at each stage")
        outcome = run.finish()
    assert not outcome.lost, outcome.explain()
    for seen in histories.values():
        assert all(itertools.starmap(_goes_on, itertools.pairwise(seen))), f"a moment was rewritten: {seen}"
        admitted = [marks for marks in seen if "admitted-at" in marks]
        assert all(marks["warmed"] == "20" for marks in admitted), f"it was let in before it was warm: {seen}"
    drained_pods = [seen[-1] for seen in histories.values() if "drained-at" in seen[-1]]
    assert drained_pods
    for marks in drained_pods:
        gone, drained = (_time(marks[mark]) for mark in ("gone-at", "drained-at"))
        assert (drained - gone).total_seconds() >= SETTLE, f"it was drained before it had settled: {marks}"


def _released(app: Web, histories: defaultdict[str, list[Marks]]) -> bool:
    """Whether the release is over; remembers every pod's passage as it is now."""
    for pod in app.pods():
        every = pod["metadata"].get("annotations", {}).items()
        marks = {key.removeprefix("lossless.dev/"): value for key, value in every}
        histories[pod["metadata"]["uid"]].append(marks)
    return app.quiet()


def _goes_on(before: Marks, after: Marks) -> bool:
    """Whether every moment that was written down has stayed, also the one at which its stage began. When all can have
    heard that it is gone is put off by who comes back, but never forgotten."""
    kept = all(before[moment] == after.get(moment) for moment in MOMENTS if moment in before)
    heard = before.get("gone-at", "") <= after.get("gone-at", "")
    return kept and heard and (before.get("stage") != after.get("stage") or before.get("since") == after.get("since"))


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize("moment", [2.0, 6.0])
def test_the_api_server_restarts_in_mid_release(
    web: Callable[..., Web], operator: Operator, box: Box, moment: float
) -> None:
    app = web().gated()
    with running(box, Plan(rate=100, callers=app.callers()), namespace=app.namespace) as run:
        app.release("2")
        time.sleep(moment)
        box.process("kube-apiserver").restart()
        app.wait_until_rolled_out()
        outcome = run.finish()
    assert not outcome.lost, outcome.explain()


def test_an_operator_that_comes_back_with_its_api_server_knows_that_others_may_not_have_heard_yet(
    web: Callable[..., Web], operator: Operator, box: Box, kube_proxy: Frozen
) -> None:
    """None of us was there to see the outage; the Lease tells of it. A kube-proxy may wait for twice as long before it
    connects again. Without its Lease an operator knows of nothing: the negative control."""
    api_server = box.process("kube-apiserver")

    def released_after_an_outage(version: str, heard_after: float | None) -> Outcome:
        with running(box, Plan(rate=100, callers=app.callers()[:1]), namespace=app.namespace) as run:
            operator.kill_long_ago()
            if heard_after is None:
                box.kubectl("delete", "lease", LEASE, "-n", NAMESPACE)
            began = time.monotonic()
            api_server.kill()
            run.mark("away")
            time.sleep(OUTAGE)
            kube_proxy.freeze()
            api_server.start()
            run.mark("back")
            operator.start()
            app.release(version)
            if heard_after is not None:
                time.sleep(heard_after * (time.monotonic() - began))
                kube_proxy.thaw()
                run.mark("heard of")
            app.wait_until_rolled_out()
            time.sleep(1)
            kube_proxy.thaw()
            return run.finish()

    app = web(app=["--on-term", "die"], replicas=2).gated(drain={"settle": "2s"})
    outcome = released_after_an_outage("2", heard_after=2)
    assert not outcome.lost, outcome.explain()
    assert released_after_an_outage("3", heard_after=None).lost


def test_a_standby_takes_over_from_a_killed_leader_in_mid_release(
    web: Callable[..., Web],
    operator: Operator,
    box: Box,
    another_operator: Operator,
) -> None:
    app = web().deploy().protect().wait_until_cared_for()
    with running(box, Plan(rate=100, callers=app.callers()), namespace=app.namespace) as run:
        app.release("2")
        time.sleep(2)
        operator.kill()
        box.wait_until(lambda: leader(box) == another_operator.identity, 30, "the standby leads")
        app.wait_until_rolled_out()
        outcome = run.finish()
    assert not outcome.lost, outcome.explain()
    another_operator.stop()


def test_a_storm_in_which_the_leader_is_killed_every_five_seconds_loses_nothing(
    web: Callable[..., Web], operator: Operator, box: Box, another_operator: Operator
) -> None:
    app = web().gated()
    replicas = {one.identity: one for one in (operator, another_operator)}
    numbers = itertools.count(2)
    moves: Iterator[Callable[[], None]] = itertools.cycle(
        (lambda: app.release(str(next(numbers))), lambda: app.scale(6), lambda: app.undo(), lambda: app.scale(3))
    )
    with running(box, Plan(rate=100, callers=app.callers()), namespace=app.namespace) as run:
        end = time.monotonic() + STORM_SECONDS
        while time.monotonic() < end:
            next(moves)()
            victim = replicas[wait_for_leader(box)]
            victim.kill_long_ago()
            run.mark(f"killed {victim.identity}")
            time.sleep(1)
            victim.start()
            time.sleep(4)
        app.wait_until_rolled_out(240)
        outcome = run.finish()
    assert not outcome.lost, outcome.explain()
    another_operator.stop()
