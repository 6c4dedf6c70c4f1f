"""Lays a split over a route, and takes it off again: the two things that the shell asks for.

A route with splits is a function of the owner's text and of the splits on it, and each edit goes back to the owner's
text and lays anew what is to lie there. So it does not matter how often it is done, who came first and who leaves
first. Split and annotation are one patch, bound to the version that was read: whoever is killed in between has either
written both or neither, and two who write at once do not overwrite each other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from lossless.api import names
from lossless.traffic.routes.original import Kept, KeptList, Original
from lossless.traffic.routes.recover import Owned, owners, weighted
from lossless.traffic.routes.route import BackendList, Path, Raw, Split, WeightedRoute, mapping
from lossless.traffic.routes.weights import divided


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of a route."""

    document: Raw
    """As it will be."""
    patch: dict[str, Any] | None
    """A JSON merge patch (RFC 7386) with the resourceVersion that it is for; None: nothing changes."""
    laid: bool
    """The split that was asked for lies on it."""
    refusal: str = ""
    """Why it does not: this route must not be split."""
    edited: bool = False
    """Somebody has edited it since we wrote it; what they wrote is its owner's text now."""


def lay(route: WeightedRoute, document: Raw, split: Split, policies: Sequence[Raw] = ()) -> Change:
    """Puts the warm-up backend beside every backend that names one of the split's Services, or changes its share.

    Where the route must not be split, or does not name the Services, what lay there of this LosslessRollout is taken
    out. A backend that its owner gives no traffic (weight 0) gets no warm-up backend.
    """
    before = Original.of(document)
    others = tuple(one for one in before.splits if one.rollout != split.rollout)
    # By its earlier name as well: nothing of ours may be taken for the owner's.
    text = owners(route, document, before, before.warmups | {split.warmup: split})
    bare = _with(document, text)
    refusal = route.refusal(bare, split, policies)
    if not refusal:
        laid = _laid(route, bare, (*others, split))
        refusal = _too_many(route, laid)
        if not refusal:
            return _change(route, document, text, (*others, split), split.rollout)
    return _change(route, document, text, others, split.rollout, refusal)


def take_out(route: WeightedRoute, document: Raw, rollout: str) -> Change:
    """Takes this LosslessRollout's split out. The last one to leave leaves the owner's text and no annotation."""
    before = Original.of(document)
    text = owners(route, document, before, before.warmups)
    return _change(route, document, text, tuple(one for one in before.splits if one.rollout != rollout), rollout)


def owners_text(route: WeightedRoute, document: Raw, split: Split | None = None) -> Raw:
    """The route without anything of ours in it; the annotation stays. `split`: one whose annotation may be lost."""
    before = Original.of(document)
    warmups = before.warmups | ({split.warmup: split} if split else {})
    return _with(document, owners(route, document, before, warmups))


def rollouts_on(document: Raw) -> tuple[str, ...]:
    """The LosslessRollouts whose splits lie on a route: what a fresh start compares with those that there are."""
    return tuple(split.rollout for split in Original.of(document).splits)


@dataclass(frozen=True, slots=True)
class _Laid:
    """One list with the splits in it."""

    path: Path
    entries: tuple[Raw, ...]
    kept: KeptList | None
    """None: no split touches it."""
    rollouts: frozenset[str]


def _change(
    route: WeightedRoute,
    document: Raw,
    text: Sequence[Owned],
    splits: tuple[Split, ...],
    rollout: str,
    refusal: str = "",
) -> Change:
    bare = _with(document, text)
    laid = _laid(route, bare, splits)
    touching = frozenset[str]().union(*(each.rollouts for each in laid))
    after = Original(
        splits=tuple(sorted((split for split in splits if split.rollout in touching), key=lambda one: one.rollout)),
        lists=tuple(sorted((each.kept for each in laid if each.kept), key=lambda kept: kept.at)),
    )
    edited = any(each.edited for each in text)
    patch = _patch(route, document, laid, after)
    return Change(
        document=_applied(document, patch) if patch else document,
        patch=patch,
        laid=rollout in touching and not refusal,
        refusal=refusal,
        edited=edited,
    )


def _laid(route: WeightedRoute, bare: Raw, splits: Sequence[Split]) -> list[_Laid]:
    ordered = sorted(splits, key=lambda split: split.rollout)
    return [_lay_list(route, each, ordered) for each in route.lists(bare)]


def _lay_list(route: WeightedRoute, each: BackendList, splits: Sequence[Split]) -> _Laid:
    counts = route.counts([backend.weight for backend in each.backends])
    beside = [
        [(split, odds) for split in splits if (odds := split.odds(backend.service, backend.subset)) is not None]
        if count
        else []
        for backend, count in zip(each.backends, counts, strict=True)
    ]
    if not any(beside):
        return _Laid(each.path, tuple(backend.entry for backend in each.backends), None, frozenset())
    entries: list[Raw] = []
    kept: list[Kept] = []
    parts = divided(counts, [[odds for _, odds in pairs] for pairs in beside])
    for backend, count, pairs, part in zip(each.backends, counts, beside, parts, strict=True):
        # What needs no other number keeps its text: a weight of 0, and everything while K is 1.
        wrote = backend.weight if part.stable == count and not pairs else part.stable
        entries.append(weighted(backend.entry, wrote))
        entries += [
            weighted(route.renamed(backend.entry, split.warmup), warm)
            for (split, _), warm in zip(pairs, part.warm, strict=True)
        ]
        kept.append(Kept(backend.key, backend.weight, wrote, part.full))
    rollouts = frozenset(split.rollout for pairs in beside for split, _ in pairs)
    return _Laid(each.path, tuple(entries), KeptList(each.at, tuple(kept)), rollouts)


def _too_many(route: WeightedRoute, laid: Sequence[_Laid]) -> str:
    most = route.most
    full = next((each for each in laid if most is not None and each.kept and len(each.entries) > most), None)
    if full is None:
        return ""
    where = "/".join(str(part) for part in full.path)
    return f"{where} would have {len(full.entries)} backends with the warm-up ones, and {route.kind} allows {most}"


def _patch(route: WeightedRoute, document: Raw, laid: Sequence[_Laid], after: Original) -> dict[str, Any] | None:
    there = {each.path: [backend.entry for backend in each.backends] for each in route.lists(document)}
    changed = [each for each in laid if list(each.entries) != there[each.path]]
    before = Original.of(document)
    metadata = mapping(document.get("metadata"))
    text = str(after)
    unread = names.ORIGINAL_WEIGHTS in mapping(metadata.get("annotations")) and not before.splits
    if not changed and not before.differs(after) and not unread:
        return None
    body: dict[str, Any] = {"metadata": {"annotations": {names.ORIGINAL_WEIGHTS: text or None}}}
    if version := metadata.get("resourceVersion"):
        body["metadata"]["resourceVersion"] = version
    spec = mapping(document.get("spec"))
    for each in changed:
        spec = _put(spec, each.path, list(each.entries))
    for each in changed:
        # A merge patch has no way into a list: the outermost one is replaced whole.
        outer = [str(part) for part in takewhile(lambda part: isinstance(part, str), each.path)]
        _merge_in(body, ["spec", *outer], _got(spec, outer))
    return body


def _with(document: Raw, text: Sequence[Owned]) -> Raw:
    """The document with these lists in it."""
    spec = mapping(document.get("spec"))
    for each in text:
        spec = _put(spec, each.path, list(each.entries))
    return {**document, "spec": spec}


def _applied(document: Raw, patch: Mapping[str, Any]) -> dict[str, Any]:
    """The document as the API server makes it of the patch: RFC 7386, and no empty map of annotations."""
    after = _merged(document, {**patch, "metadata": {"annotations": patch["metadata"]["annotations"]}})
    if not after["metadata"]["annotations"]:
        del after["metadata"]["annotations"]
    return after


def _merged(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(target)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            result[key] = _merged(mapping(result.get(key)), value)
        else:
            result[key] = value
    return result


def _put(node: Any, path: Path, value: object) -> Any:
    """A copy of the node with the value at the path."""
    if not path:
        return value
    first, rest = path[0], path[1:]
    if isinstance(first, int):
        return [_put(one, rest, value) if at == first else one for at, one in enumerate(node)]
    return {**node, first: _put(node[first], rest, value)}


def _got(node: Any, path: Sequence[str]) -> Any:
    for part in path:
        node = node[part]
    return node


def _merge_in(body: dict[str, Any], path: Sequence[str], value: object) -> None:
    for part in path[:-1]:
        body = body.setdefault(part, {})
    body[path[-1]] = value
