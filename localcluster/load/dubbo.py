"""Load by a real Dubbo consumer, which finds its providers in ZooKeeper and balances by itself.

>>> with running_dubbo(box, DubboPlan(rate=100, registry=zookeeper.connect_string)) as run:
...     box.kubectl("rollout", "restart", "deployment/web")
...     outcome = run.finish()

The schedule and the files are those of running.py. What a result says of `reused` is whether that provider had answered
before: Dubbo keeps one connection to each.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from localcluster import javabuild
from localcluster.cache import Say
from localcluster.init import HOST_IP
from localcluster.load.running import START_SECONDS, LoadBox, LoadRun, wait_until_flowing
from localcluster.servers.dubbo import common

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class DubboPlan:
    """An open-loop load by one consumer: `rate` requests a second, whatever becomes of them."""

    rate: float
    registry: str
    """`ZooKeeper.connect_string`."""
    duration: float | None = None
    """Seconds; none means until it is told to stop."""
    timeout: float = 10.0
    """Seconds that Dubbo waits for an answer. (Its own default is 1.)"""
    ready_within: float = 60.0
    """Seconds that providers have to begin to answer before the load begins; it begins after that in any case."""
    retries: int = 0
    """Dubbo's own default is 2, which would hide losses from a service that may be asked twice."""
    cluster: str = "failfast"
    """Or "dawdling": as that, and `localcluster.dawdle-ms`, 100 by default, go by between choosing and calling."""
    loadbalance: str = "random"
    """By weight, as all of Dubbo's but one are: its default."""
    follows: Literal["interface", "application", "both"] = "both"
    """Which registrations it goes by: interface-level, application-level, or those of the application while there are
    any (Dubbo's migration step APPLICATION_FIRST, its default)."""
    group: str = ""
    """Of the service, as `localcluster.servers.dubbo.Provider` has it."""
    path: str = "/"
    """What is asked for: "/slow?s=2" takes 2 seconds."""
    caller: str = "dubbo"
    """The name that results have."""
    more: Mapping[str, str | float] = field(default_factory=dict)
    """Further system properties."""

    def command(self, out: str, say: Say = print) -> list[str]:
        """Raises BinariesError."""
        steps = {"interface": "FORCE_INTERFACE", "application": "FORCE_APPLICATION", "both": "APPLICATION_FIRST"}
        properties: dict[str, str | float] = {
            **common(self.caller, self.registry),
            "dubbo.application.qos-enable": "false",
            "dubbo.application.service-discovery.migration": steps[self.follows],
            "dubbo.consumer.check": "false",
            "dubbo.consumer.timeout": math.ceil(self.timeout * 1000),
            "dubbo.consumer.retries": self.retries,
            "dubbo.consumer.cluster": self.cluster,
            "dubbo.consumer.loadbalance": self.loadbalance,
            "localcluster.rate": self.rate,
            "localcluster.duration": "Infinity" if self.duration is None else self.duration,
            "localcluster.ready-within": self.ready_within,
            "localcluster.caller": self.caller,
            "localcluster.path": self.path,
            "localcluster.out": out,
            **self.more,
        }
        if self.group:
            properties["dubbo.consumer.group"] = self.group
        return javabuild.command("dubbo", "localcluster.dubbo.Load", properties, heap_mb=128, say=say)


@contextmanager
def running_dubbo(
    box: LoadBox, plan: DubboPlan, *, namespace: str = "default", name: str | None = None, reconciled: bool = True
) -> Iterator[LoadRun]:
    """Put the plan's load on, from inside the box, while the block runs. As `running`, with its names of files.

    Raises:
        BinariesError: the Java clients are not to be had.
        HarnessBroken: it did not start.
    """
    out = box.logs / f"load-{name or f'dubbo-{next(_numbers)}'}.jsonl"
    out.unlink(missing_ok=True)
    argv = plan.command(str(out))
    # Which of its many addresses is its own, Dubbo could only guess.
    process = box.popen(["env", f"DUBBO_IP_TO_REGISTRY={HOST_IP}", f"DUBBO_IP_TO_BIND={HOST_IP}", *argv], log=out.stem)
    run = LoadRun(process, plan, out, box.pod_log_dir if reconciled else None, namespace)
    try:
        wait_until_flowing(process, out, START_SECONDS + plan.ready_within)
        yield run
    finally:
        run.kill()
