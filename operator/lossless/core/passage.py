"""A pod's passage: its way through the two doors, as it is kept on the pod itself."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from lossless.api import names


class Stage(StrEnum):
    """Where a pod stands. ``In`` stages are before the door in, ``out`` stages behind the withdrawal."""

    STARTING = "Starting"
    SETTLING = "Settling"
    WAITING = "Waiting"
    WARMING = "Warming"
    RAMPING = "Ramping"
    ADMITTED = "Admitted"
    WITHDRAWN = "Withdrawn"
    DRAINING = "Draining"
    DRAINED = "Drained"

    @property
    def is_in(self) -> bool:
        return self in (Stage.STARTING, Stage.SETTLING, Stage.WAITING, Stage.WARMING, Stage.RAMPING)

    @property
    def is_out(self) -> bool:
        return self in (Stage.WITHDRAWN, Stage.DRAINING, Stage.DRAINED)


_STAGES: Final = {stage.value: stage for stage in Stage}


@dataclass(frozen=True, slots=True)
class Passage:
    """What is written on a pod. All times are absolute, so a restarted operator goes on where the last one stopped."""

    stage: Stage = Stage.STARTING
    since: datetime | None = None
    waiting_for: str = ""
    warmed: int = 0
    """Warm-up requests already made, so that a restart does not begin them again."""
    admitted_at: datetime | None = None
    """When it was first let in. None: it never had traffic."""
    admitted_restarts: int = 0
    """Container restarts counted when it was let in: more of them now means that it is cold again. -1: it has only had
    a part of the traffic yet."""
    withdrawn_at: datetime | None = None
    gone_at: datetime | None = None
    """When it was last seen to be gone from every traffic source; after an outage, when all who follow them can have
    heard of that. Settle counts from here."""
    drained_at: datetime | None = None
    cost_before: str | None = None
    """The user's own deletion cost while ours stands in its place; empty: there was none."""
    originals: tuple[tuple[str, str], ...] = ()
    """By registry: what it said of the pod before we told it anything. Those that are not here were not told."""
    told: tuple[str, ...] = ()
    """Registries that can't be looked at and have been told to take it out."""
    slot: int | None = None
    """Its place among the replicas (`lossless.core.swaps`); None: pods have none."""

    def original(self, source: str) -> str | None:
        """What to put back there; None: it was not told anything."""
        return dict(self.originals).get(source)

    def to_annotations(self) -> dict[str, str | None]:
        """Every annotation of a passage; None where it is to be taken off."""
        return {
            names.STAGE: self.stage.value,
            names.SINCE: format_time(self.since),
            names.WAITING_FOR: self.waiting_for or None,
            names.WARMED: str(self.warmed) if self.warmed else None,
            names.ADMITTED_AT: format_time(self.admitted_at),
            names.ADMITTED_RESTARTS: str(self.admitted_restarts) if self.admitted_restarts else None,
            names.WITHDRAWN_AT: format_time(self.withdrawn_at),
            names.GONE_AT: format_time(self.gone_at),
            names.DRAINED_AT: format_time(self.drained_at),
            names.COST_BEFORE: self.cost_before,
            names.ORIGINALS: json.dumps(dict(self.originals), sort_keys=True) if self.originals else None,
            names.TOLD: ",".join(self.told) or None,
            names.SLOT: None if self.slot is None else str(self.slot),
        }

    @classmethod
    def from_annotations(cls, annotations: Mapping[str, str]) -> "Passage":
        """Reads what ``to_annotations`` wrote. Total: whatever somebody else wrote there reads as absent."""
        stage = annotations.get(names.STAGE, "")
        return cls(
            stage=_STAGES.get(stage, Stage.STARTING),
            since=parse_time(annotations.get(names.SINCE)),
            waiting_for=annotations.get(names.WAITING_FOR, ""),
            warmed=_count(annotations.get(names.WARMED)),
            admitted_at=parse_time(annotations.get(names.ADMITTED_AT)),
            admitted_restarts=-1
            if annotations.get(names.ADMITTED_RESTARTS) == "-1"
            else _count(annotations.get(names.ADMITTED_RESTARTS)),
            withdrawn_at=parse_time(annotations.get(names.WITHDRAWN_AT)),
            gone_at=parse_time(annotations.get(names.GONE_AT)),
            drained_at=parse_time(annotations.get(names.DRAINED_AT)),
            cost_before=annotations.get(names.COST_BEFORE),
            originals=_originals(annotations.get(names.ORIGINALS)),
            told=tuple(sorted({one for one in annotations.get(names.TOLD, "").split(",") if one})),
            slot=_count(annotations[names.SLOT]) if annotations.get(names.SLOT, "").isdecimal() else None,
        )


@dataclass(frozen=True, slots=True)
class Hold:
    """Somebody else keeps a door of this pod shut: ``hold.lossless.dev/<who>: "<in|out|both>: <reason>"``."""

    who: str
    closes_in: bool
    closes_out: bool
    reason: str

    @classmethod
    def all_in(cls, annotations: Mapping[str, str]) -> "tuple[Hold, ...]":
        """Every hold among a pod's annotations. A door that is none of the three keeps both shut: better safe."""
        holds = []
        for key, value in sorted(annotations.items()):
            if not key.startswith(names.HOLD_PREFIX):
                continue
            door, _, reason = value.partition(":")
            door = door.strip().lower()
            holds.append(
                cls(
                    who=key.removeprefix(names.HOLD_PREFIX),
                    closes_in=door != "out",
                    closes_out=door != "in",
                    reason=reason.strip() if door in ("in", "out", "both") else value.strip(),
                )
            )
        return tuple(holds)


def format_time(at: datetime | None) -> str | None:
    """RFC 3339 in UTC, to the microsecond."""
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def format_seconds(at: datetime) -> str:
    """RFC 3339 in UTC, in whole seconds, as a metav1.Time."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str | None) -> datetime | None:
    """Reads RFC 3339; None for what is none, and for years that no object of a cluster can be of."""
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
        at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return at if 1970 <= at.year < 9000 else None


def _originals(text: str | None) -> tuple[tuple[str, str], ...]:
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return ()
    if not isinstance(found, dict):
        return ()
    return tuple(sorted((source, said) for source, said in found.items() if isinstance(said, str)))


def _count(text: str | None) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 10 else 0
