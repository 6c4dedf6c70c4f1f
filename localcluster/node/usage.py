"""CPU and memory of containers, from /proc, in the form metrics-server reads (`/metrics/resource`)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_LEAST = 0.001
"""CPU seconds of a process that has run for less than a tick: metrics-server takes 0 for a figure that is missing."""


@dataclass(frozen=True, slots=True)
class Usage:
    cpu_seconds: float = 0.0
    memory_bytes: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.cpu_seconds + other.cpu_seconds, self.memory_bytes + other.memory_bytes)


@dataclass(frozen=True, slots=True)
class ContainerUsage:
    namespace: str
    pod: str
    container: str
    started_at: float
    usage: Usage


def usage_by_session() -> dict[int, Usage]:
    """What the processes of each session use: a container's first process leads one.

    CPU time of children that have ended is in their parent's, so the sum does not fall as they come and go.
    """
    found: dict[int, Usage] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        session = int(fields[3])
        cpu = max(sum(int(f) for f in fields[11:15]) / _TICKS, _LEAST)
        usage = Usage(cpu, int(fields[21]) * _PAGE)
        found[session] = found.get(session, Usage()) + usage
    return found


def own_usage() -> Usage:
    """What this process uses: a node's own share."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Usage(time.process_time(), pages * _PAGE)


def resource_metrics(containers: Iterable[ContainerUsage], node: Usage, now: float | None = None) -> str:
    """The text of `/metrics/resource`: pkg/kubelet/metrics/collectors/resource_metrics.go.

    Args:
        containers: those that run.
        node: what the node uses beside them.
        now: the time in seconds of the epoch; this moment when not given.
    """
    stamp = int((time.time() if now is None else now) * 1000)
    cpu: list[str] = []
    memory: list[str] = []
    started: list[str] = []
    pods: dict[tuple[str, str], Usage] = {}
    for c in containers:
        labels = f'{{container="{c.container}",namespace="{c.namespace}",pod="{c.pod}"}}'
        cpu.append(f"container_cpu_usage_seconds_total{labels} {c.usage.cpu_seconds:.6f} {stamp}")
        memory.append(f"container_memory_working_set_bytes{labels} {c.usage.memory_bytes} {stamp}")
        started.append(f"container_start_time_seconds{labels} {c.started_at:.3f}")
        pods[c.namespace, c.pod] = pods.get((c.namespace, c.pod), Usage()) + c.usage
    node = sum(pods.values(), node)
    families: Mapping[str, tuple[str, list[str]]] = {
        "container_cpu_usage_seconds_total": ("counter", cpu),
        "container_memory_working_set_bytes": ("gauge", memory),
        "container_start_time_seconds": ("gauge", started),
        "pod_cpu_usage_seconds_total": (
            "counter",
            [
                f'pod_cpu_usage_seconds_total{{namespace="{ns}",pod="{p}"}} {u.cpu_seconds:.6f} {stamp}'
                for (ns, p), u in pods.items()
            ],
        ),
        "pod_memory_working_set_bytes": (
            "gauge",
            [
                f'pod_memory_working_set_bytes{{namespace="{ns}",pod="{p}"}} {u.memory_bytes} {stamp}'
                for (ns, p), u in pods.items()
            ],
        ),
        "node_cpu_usage_seconds_total": ("counter", [f"node_cpu_usage_seconds_total {node.cpu_seconds:.6f} {stamp}"]),
        "node_memory_working_set_bytes": ("gauge", [f"node_memory_working_set_bytes {node.memory_bytes} {stamp}"]),
    }
    lines = [line for name, (kind, samples) in families.items() for line in (f"# TYPE {name} {kind}", *samples)]
    return "\n".join(lines) + "\n"
