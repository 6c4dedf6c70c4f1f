"""What is kept on a route to undo a split: the annotation `lossless.dev/original-weights`.

It holds the splits that lie on the route, by LosslessRollout, and for each list that they touch, for each backend of
the owner's: what it names, the weight that was written there (null: none), the weight we wrote, and K·w (see
`weights.py`). What we wrote is a function of the two others, and is kept all the same: a later version of this program
may divide differently, and must still know what an earlier one wrote.

Nothing else of the owner's is kept, because nothing else is changed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lossless.api import names
from lossless.traffic.routes.route import Raw, Split, mapping


@dataclass(frozen=True, slots=True)
class Kept:
    """One backend of the owner's."""

    key: str
    was: int | None
    """The owner's weight; None: there was none."""
    wrote: int | None
    """The weight it had after our last write; None: we left it without one."""
    full: int
    """K·w: what it and its warm-up backends were given together."""


@dataclass(frozen=True, slots=True)
class KeptList:
    at: str
    """Where the list was."""
    backends: tuple[Kept, ...]


@dataclass(frozen=True, slots=True)
class Original:
    """All that is kept on one route."""

    splits: tuple[Split, ...] = ()
    """By the names of their LosslessRollouts."""
    lists: tuple[KeptList, ...] = ()

    @classmethod
    def of(cls, document: Raw) -> "Original":
        """From the route's annotation. One that can't be read counts as none: what it was about is then recognised by
        the names of the warm-up Services."""
        annotations = mapping(mapping(document.get("metadata")).get("annotations"))
        text = annotations.get(names.ORIGINAL_WEIGHTS)
        if not isinstance(text, str):
            return cls()
        try:
            return _parsed(json.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()

    def __str__(self) -> str:
        """As it is written; empty when there is nothing to keep."""
        if not self.splits:
            return ""
        splits = {split.rollout: _written(split) for split in self.splits}
        lists = {each.at: [[one.key, one.was, one.wrote, one.full] for one in each.backends] for each in self.lists}
        return json.dumps({"rollouts": splits, "lists": lists}, separators=(",", ":"), sort_keys=True)

    @property
    def warmups(self) -> dict[str, Split]:
        """The splits by the names of their warm-up Services."""
        return {split.warmup: split for split in self.splits}

    def differs(self, other: "Original") -> bool:
        """In more than the shares: those alone are not worth a write where no weight changes."""
        return replace(self, splits=_shareless(self.splits)) != replace(other, splits=_shareless(other.splits))


def _shareless(splits: tuple[Split, ...]) -> tuple[Split, ...]:
    return tuple(replace(split, share=0.0, subsets=dict.fromkeys(split.subsets, 0.0)) for split in splits)


def _written(split: Split) -> dict[str, Any]:
    said: dict[str, Any] = {"services": sorted(split.services), "warmup": split.warmup, "share": split.share}
    return said | ({"subsets": dict(split.subsets)} if split.subsets else {})


def _parsed(raw: Mapping[str, Any]) -> Original:
    splits = [
        Split(
            rollout=str(rollout),
            services=frozenset(str(service) for service in said["services"]),
            warmup=str(said["warmup"]),
            share=float(said["share"]),
            subsets={str(name): float(share) for name, share in said.get("subsets", {}).items()},
        )
        for rollout, said in raw["rollouts"].items()
    ]
    lists = [
        KeptList(
            str(at), tuple(Kept(str(key), _weight(was), _weight(wrote), int(full)) for key, was, wrote, full in rows)
        )
        for at, rows in raw["lists"].items()
    ]
    return Original(
        splits=tuple(sorted(splits, key=lambda split: split.rollout)),
        lists=tuple(sorted(lists, key=lambda each: each.at)),
    )


def _weight(value: object) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise ValueError(f"not a weight: {value!r}")
