"""A load in a box, as a test says it.

>>> with load.running(box, Plan(rate=100, callers=(Fresh("http://10.96.0.10/"),))) as run:
...     box.kubectl("rollout", "restart", "deployment/web")
...     box.kubectl("rollout", "status", "deployment/web")
...     outcome = run.finish()
>>> assert not outcome.lost, outcome.explain()
"""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from localcluster.load.outcome import Outcome
from localcluster.load.plan import Plan
from localcluster.load.reconcile import reconcile, served_by_pods
from localcluster.load.result import HarnessBroken, parse, read
from localcluster.process import tail

START_SECONDS = 20
_numbers = itertools.count(1)


class LoadBox(Protocol):
    """What a load needs of a box."""

    @property
    def logs(self) -> Path: ...
    @property
    def pod_log_dir(self) -> Path: ...
    @property
    def kubeconfig_inside(self) -> Path: ...
    def popen(self, argv: Sequence[str], *, log: str | None = None) -> subprocess.Popen[bytes]: ...


class LoadPlan(Protocol):
    """What a running load needs of its plan."""

    @property
    def duration(self) -> float | None: ...
    @property
    def timeout(self) -> float: ...


class LoadRun:
    """A load that runs in a box."""

    def __init__(
        self, process: subprocess.Popen[bytes], plan: LoadPlan, out: Path, pod_logs: Path | None, namespace: str
    ) -> None:
        self._process = process
        self._plan = plan
        self._out = out
        self._pod_logs = pod_logs
        self._namespace = namespace
        self._marks: dict[str, float] = {}

    @property
    def marks(self) -> Mapping[str, float]:
        return dict(self._marks)

    def mark(self, name: str) -> float:
        """Give this moment a name, for `outcome.window(name, …)`."""
        self._marks[name] = time.time()
        return self._marks[name]

    def so_far(self) -> Outcome:
        """What is known now; the last second or so is missing."""
        with self._out.open() as file:
            results, _ = parse(file)
        return Outcome(results, self.marks)

    def wait(self) -> Outcome:
        """Wait until the plan's duration is over."""
        if self._plan.duration is None:
            raise HarnessBroken("this load has no duration: finish() it")
        return self._ended(self._plan.duration + self._plan.timeout)

    def finish(self) -> Outcome:
        """Stop sending, let what is in flight end, and say what became of all.

        Raises HarnessBroken when the generator failed, or when the pods' logs can't be squared with its results.
        """
        self._process.send_signal(signal.SIGTERM)
        return self._ended(self._plan.timeout)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _ended(self, within: float) -> Outcome:
        try:
            status = self._process.wait(within + 10)
        except subprocess.TimeoutExpired:
            raise HarnessBroken("the load generator did not stop in time") from None
        if status != 0:
            raise HarnessBroken(
                f"the load generator ended with status {status}:\n{tail(self._out.with_suffix('.log'))}"
            )
        results = read(self._out)
        if self._pod_logs is None:
            return Outcome(results, self.marks)
        return Outcome(results, self.marks, reconcile(results, served_by_pods(self._pod_logs, self._namespace)))


@contextmanager
def running(
    box: LoadBox, plan: Plan, *, namespace: str = "default", name: str | None = None, reconciled: bool = True
) -> Iterator[LoadRun]:
    """Put the plan's load on, from inside the box, while the block runs.

    The load begins when the targets answer (`plan.ready_within`), and the block when its first requests have a result.

    Args:
        namespace: whose pods' logs the results are compared with.
        name: of the files in the box's logs: `load-<name>.jsonl`, `.json` (the plan) and `.log`.
        reconciled: False for apps that do not log what they serve.
    """
    out = box.logs / f"load-{name or next(_numbers)}.jsonl"
    config = out.with_suffix(".json")
    config.write_text(plan.to_json())
    out.unlink(missing_ok=True)
    argv = [sys.executable, "-m", "localcluster.load", "--config", str(config), "--out", str(out)]
    argv += ["--kubeconfig", str(box.kubeconfig_inside)]
    process = box.popen(argv, log=out.stem)
    run = LoadRun(process, plan, out, box.pod_log_dir if reconciled else None, namespace)
    try:
        wait_until_flowing(process, out, START_SECONDS + plan.ready_within)
        yield run
    finally:
        run.kill()


def wait_until_flowing(process: subprocess.Popen[bytes], out: Path, within: float) -> None:
    """Return when the first requests have a result. Raises HarnessBroken after `within` seconds, or if it ended."""
    deadline = time.monotonic() + within
    while True:
        if out.exists():
            with out.open() as file:
                if parse(file)[0]:
                    return
        if process.poll() is not None:
            raise HarnessBroken(f"the load generator did not start:\n{tail(out.with_suffix('.log'))}")
        if time.monotonic() > deadline:
            raise HarnessBroken(f"no request had a result within {within:.0f} s")
        time.sleep(0.05)
