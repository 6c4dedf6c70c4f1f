"""What became of one request, and the file a load leaves: one JSON line for the beginning, each result and the end."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from localcluster.errors import LocalClusterError


class HarnessBroken(LocalClusterError):
    """The measurement itself can't be trusted: never to be mistaken for a lost request, nor for a good run."""


class Cause(StrEnum):
    """How a request ended, as its caller saw it."""

    OK = "ok"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    CONNECT_TIMEOUT = "connect timeout"
    RESET = "reset before answer"
    CLOSED = "closed before answer"
    KEPT_ALIVE_CLOSED = "kept-alive closed in flight"
    """On a connection that had already carried an answer, the server hung up before the first byte of this one. The
    request may or may not have been worked on, so a client may not blindly repeat it."""
    RESET_IN_ANSWER = "reset in mid-answer"
    CLOSED_IN_ANSWER = "closed in mid-answer"
    TIMEOUT = "timeout"
    STATUS = "error status"
    GATEWAY_STATUS = "gateway status"
    """An error status that no pod signed with X-Pod: made by something in between."""
    GARBLED = "not HTTP"
    NO_ADDRESS = "no address"
    """The caller's list of addresses was empty."""
    HARNESS = "harness"
    """We could not even ask (out of file descriptors or ports). Makes the whole run worthless, see HarnessBroken."""


@dataclass(frozen=True, slots=True)
class Result:
    """One request. Times are wall-clock seconds since the epoch, durations milliseconds."""

    id: str
    caller: str
    at: float
    """When it was due. The schedule never waits for answers."""
    late_ms: float
    """How much later than due we really began: the generator's own jitter, and the reason to trust it."""
    took_ms: float
    """From really beginning to the end of the answer, or to its failure."""
    cause: Cause
    status: int | None = None
    pod: str | None = None
    """Who answered (X-Pod); for a lost request, who had answered before on the same connection."""
    address: str | None = None
    """The address and port asked."""
    reused: bool = False
    """Whether the connection had already carried a request."""
    detail: str = ""
    key: str | None = None
    """Whose request it was, of a caller with keys."""

    @property
    def latency_ms(self) -> float:
        """From when it was due: what a caller in the real world waits, whoever is slow."""
        return self.late_ms + self.took_ms

    @property
    def ended(self) -> float:
        return self.at + self.latency_ms / 1000

    @property
    def lost(self) -> bool:
        return self.cause is not Cause.OK

    def to_json(self) -> str:
        data = {
            "id": self.id,
            "caller": self.caller,
            "at": round(self.at, 6),
            "late_ms": round(self.late_ms, 3),
            "took_ms": round(self.took_ms, 3),
            "cause": self.cause.value,
            "status": self.status,
            "pod": self.pod,
            "address": self.address,
            "reused": self.reused,
        }
        if self.detail:
            data["detail"] = self.detail
        if self.key is not None:
            data["key"] = self.key
        return json.dumps(data)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Result:
        return cls(**{**data, "cause": Cause(data["cause"])})


@dataclass(frozen=True, slots=True)
class Ending:
    """The last line of a file: what the generator says of itself."""

    sent: int
    wall_seconds: float
    cpu_seconds: float

    @property
    def cpu_share(self) -> float:
        """Cores used, on average."""
        return self.cpu_seconds / self.wall_seconds if self.wall_seconds else 0.0


def parse(lines: Iterable[str]) -> tuple[tuple[Result, ...], Ending | None]:
    """The results in a file's lines, by the time they were due, and its ending if it has come to one."""
    results: list[Result] = []
    ending: Ending | None = None
    for line in lines:
        if not line.endswith("\n"):
            break  # being written at this moment
        data = json.loads(line)
        if "end" in data:
            ending = Ending(**data["end"])
        elif "begin" not in data:
            results.append(Result.from_json(data))
    results.sort(key=lambda result: result.at)
    return tuple(results), ending


def read(path: Path) -> tuple[Result, ...]:
    """The results of a load that has ended. Raises HarnessBroken when it did not end in order."""
    with path.open() as file:
        results, ending = parse(file)
    if ending is None:
        raise HarnessBroken(f"{path.name}: the load generator did not end in order; see its log")
    if ending.sent != len(results):
        raise HarnessBroken(f"{path.name}: {ending.sent} requests were sent but {len(results)} results written")
    return results
