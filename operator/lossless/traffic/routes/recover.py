"""The owner's text of a route: what is there now, less what is ours, whoever wrote it last.

Three things can be there, and each is told from the other by what is kept (`original.py`):
- what we wrote: the owner's weights are put back as they were, absent ones absent;
- the original, because a GitOps tool has applied it again: it is the owner's text as it stands;
- neither: somebody has edited it meanwhile, and what they wrote wins.

A list without any of our warm-up backends is theirs as it stands, but for one that is otherwise exactly what we wrote:
from that, only ours was taken away. Lists are recognised by what is in them, so a rule put in front does not shift the
weights of the others. In an edited list our warm-up backends go. A weight that nobody touched since we wrote it goes
back to what it was if the whole list is so, and to K·w if it stands beside a weight of theirs: they set theirs in
proportion to what they saw.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lossless.traffic.routes.original import Kept, KeptList, Original
from lossless.traffic.routes.route import WEIGHT, Backend, BackendList, Path, Raw, Split, WeightedRoute


@dataclass(frozen=True, slots=True)
class Owned:
    """One list as its owner would have it."""

    path: Path
    entries: tuple[Raw, ...]
    edited: bool
    """Somebody has changed it since we wrote it."""


def owners(route: WeightedRoute, document: Raw, original: Original, warmups: Mapping[str, Split]) -> tuple[Owned, ...]:
    """Every list of the route as its owner would have it.

    Args:
        route: the kind.
        document: what is there now.
        original: what is kept on it.
        warmups: all splits that may lie on it, by the names of their warm-up Services.
    """
    lists = route.lists(document)
    unused = list(original.lists)
    exact: dict[str, KeptList] = {}
    # Where it was first: the same rule twice must not change places.
    for anywhere in (False, True):
        for each in lists:
            found = next(
                (kept for kept in unused if (anywhere or kept.at == each.at) and _ours(each, kept, warmups)), None
            )
            if each.at not in exact and found:
                exact[each.at] = found
                unused.remove(found)
    return tuple(
        Owned(each.path, _restored(_own(each, warmups), exact[each.at].backends), edited=False)
        if each.at in exact
        else _edited(route, each, unused, warmups)
        for each in lists
    )


def _own(each: BackendList, warmups: Mapping[str, Split]) -> list[Backend]:
    return [backend for backend in each.backends if backend.service not in warmups]


def _ours(each: BackendList, kept: KeptList, warmups: Mapping[str, Split]) -> bool:
    """It is what we wrote, as far as it is the owner's."""
    own = _own(each, warmups)
    return bool(own) and [(one.key, one.weight) for one in own] == [(one.key, one.wrote) for one in kept.backends]


def _edited(route: WeightedRoute, each: BackendList, unused: list[KeptList], warmups: Mapping[str, Split]) -> Owned:
    own = _own(each, warmups)
    if len(own) == len(each.backends):
        # Nothing of ours in it: theirs as it stands. If ours was here, somebody has put another text in its place.
        there = next((one for one in unused if one.at == each.at), None)
        again = there is None or [(one.key, one.weight) for one in own] == [
            (one.key, one.was) for one in there.backends
        ]
        return Owned(each.path, tuple(one.entry for one in own), edited=not again)
    if not own:
        return Owned(each.path, _stable_again(route, each, warmups), edited=True)
    kept = max(unused, key=lambda one: (_touch(own, one), one.at == each.at), default=None)
    if kept and any(_touch(own, kept)):
        unused.remove(kept)
        return Owned(each.path, _merged(own, kept), edited=True)
    return Owned(each.path, _folded(each, warmups), edited=True)


def _touch(own: Sequence[Backend], kept: KeptList) -> tuple[int, int]:
    """How much of what we wrote there is still in it: weights, then names."""
    found = [(backend, one) for backend, one in _pairs(own, kept) if one is not None]
    return sum(one.wrote == backend.weight for backend, one in found), len(found)


def _merged(own: Sequence[Backend], kept: KeptList) -> tuple[Raw, ...]:
    pairs = _pairs(own, kept)
    if all(one is not None and one.wrote == backend.weight for backend, one in pairs):
        return _restored(own, [one for _, one in pairs if one is not None])
    return tuple(
        weighted(backend.entry, one.full)
        if one is not None and one.wrote is not None and one.wrote == backend.weight
        else backend.entry
        for backend, one in pairs
    )


def _pairs(own: Sequence[Backend], kept: KeptList) -> list[tuple[Backend, Kept | None]]:
    """Each backend with what is kept of it, if anything."""
    rest, pairs = list(kept.backends), []
    for backend in own:
        alike = [one for one in rest if one.key == backend.key]
        found = next((one for one in alike if one.wrote == backend.weight), alike[0] if alike else None)
        if found is not None:
            rest.remove(found)
        pairs.append((backend, found))
    return pairs


def _restored(own: Iterable[Backend], kept: Iterable[Kept]) -> tuple[Raw, ...]:
    return tuple(weighted(backend.entry, one.was) for backend, one in zip(own, kept, strict=True))


def _folded(each: BackendList, warmups: Mapping[str, Split]) -> tuple[Raw, ...]:
    """What we kept is lost: a warm-up's weight goes to the backend that it stands beside, which is the one before."""
    entries: list[Raw] = []
    for backend in each.backends:
        if backend.service not in warmups:
            entries.append(backend.entry)
        elif entries and isinstance(entries[-1].get(WEIGHT), int):
            entries[-1] = weighted(entries[-1], entries[-1][WEIGHT] + (backend.weight or 0))
    return tuple(entries)


def _stable_again(route: WeightedRoute, each: BackendList, warmups: Mapping[str, Split]) -> tuple[Raw, ...]:
    """They left nothing but a warm-up: without it the list would be empty, which no kind takes or serves."""
    first = each.backends[0]
    service = min(warmups[first.service].services, default="")
    return (route.renamed(first.entry, service),) if service else (first.entry,)


def weighted(entry: Raw, weight: int | None) -> dict[str, Any]:
    """The same entry with this weight, or with none."""
    rest = {key: value for key, value in entry.items() if key != WEIGHT}
    return rest if weight is None else rest | {WEIGHT: weight}
