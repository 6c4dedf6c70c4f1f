"""What holds for every route, whatever its owner wrote and whoever came by."""

from copy import deepcopy
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lossless.traffic.routes.edit import lay, rollouts_on, take_out
from lossless.traffic.routes.gateway_api import GRPC_ROUTE, HTTP_ROUTE
from lossless.traffic.routes.original import Original
from lossless.traffic.routes.route import Backend, Raw, Split, WeightedRoute
from lossless.traffic.routes.traefik_service import TRAEFIK_SERVICE
from lossless.traffic.routes.virtual_service import VIRTUAL_SERVICE
from lossless.traffic.routes.weights import divided
from tests.traffic.routes.given import (
    grpc_route,
    http_route,
    patched,
    ref,
    split,
    to,
    traefik_service,
    virtual_service,
)

BOUND = 1_000_000
SERVICES = ("web", "web-too", "api", "other")
WARMUPS = ("web-warmup", "api-warmup")
ROLLOUTS = {"web": ("web", "web-too"), "api": ("api", "web-too")}
"""Two workloads; one Service selects the pods of both."""

weights = st.none() | st.integers(0, 9) | st.integers(0, BOUND)
shares = st.floats(0, 0.999, exclude_max=True)
names = st.sampled_from(SERVICES)
lists = st.lists(st.lists(st.tuples(names, weights), min_size=1, max_size=5), min_size=1, max_size=4)


def written(kind: WeightedRoute, rules: list[list[tuple[str, int | None]]]) -> Any:
    if kind is VIRTUAL_SERVICE:
        return virtual_service(*([to(name, weight) for name, weight in rule] for rule in rules))
    if kind is TRAEFIK_SERVICE:
        return traefik_service(*(ref(name, weight) for name, weight in rules[0]))
    make = http_route if kind is HTTP_ROUTE else grpc_route
    return make(*([ref(name, weight) for name, weight in rule] for rule in rules))


kinds = st.sampled_from([HTTP_ROUTE, GRPC_ROUTE, VIRTUAL_SERVICE, TRAEFIK_SERVICE])
routes = st.builds(lambda kind, rules: (kind, written(kind, rules)), kinds, lists)
splits = st.builds(
    lambda rollout, share: split(share, rollout, ROLLOUTS[rollout]), st.sampled_from(sorted(ROLLOUTS)), shares
)


def parts(kind: WeightedRoute, document: Raw) -> list[dict[str, float]]:
    """For each list, the part of its traffic that each Service gets."""
    found = []
    for each in kind.lists(document):
        counts = kind.counts([backend.weight for backend in each.backends])
        part: dict[str, float] = {}
        for backend, count in zip(each.backends, counts, strict=True):
            part[backend.service] = part.get(backend.service, 0) + count / (sum(counts) or 1)
        found.append(part)
    return found


@settings(deadline=None)
@given(routes, st.lists(splits, max_size=6), st.permutations(sorted(ROLLOUTS)))
def test_undo_is_exact(drawn: tuple[WeightedRoute, Any], laid: list[Split], leaving: list[str]) -> None:
    kind, document = drawn
    original = deepcopy(document)
    now: Raw = document
    for one in laid:
        now = lay(kind, now, one).document
    for rollout in leaving:
        now = take_out(kind, now, rollout).document
    assert now == original
    assert document == original, "nothing is changed in place"


@settings(deadline=None)
@given(routes, splits)
def test_proportions_hold(drawn: tuple[WeightedRoute, Any], wanted: Split) -> None:
    kind, document = drawn
    change = lay(kind, document, wanted)
    for before, after in zip(parts(kind, document), parts(kind, change.document), strict=True):
        for service, part in before.items():
            if service not in wanted.services:
                assert abs(after[service] - part) < 1e-9
        ours = sum(part for service, part in before.items() if service in wanted.services)
        assert abs(after.get(wanted.warmup, 0) - ours * wanted.share) < 0.001


@settings(deadline=None)
@given(routes, st.lists(splits, min_size=1, max_size=4))
def test_weights_are_whole_and_within_bounds(drawn: tuple[WeightedRoute, Any], laid: list[Split]) -> None:
    kind, now = drawn
    for one in laid:
        now = lay(kind, now, one).document
    for each in kind.lists(now):
        assert all(backend.weight is None or 0 <= backend.weight <= BOUND for backend in each.backends)
        assert kind.most is None or len(each.backends) <= kind.most


@settings(deadline=None)
@given(routes, splits, splits)
def test_only_the_last_word_counts(drawn: tuple[WeightedRoute, Any], first: Split, last: Split) -> None:
    kind, document = drawn
    last = split(last.share, first.rollout, ROLLOUTS[first.rollout])
    once, twice = lay(kind, document, last), lay(kind, lay(kind, document, first).document, last)
    assert parts(kind, once.document) == parts(kind, twice.document)
    assert lay(kind, twice.document, last).patch is None


@settings(deadline=None)
@given(routes, shares, shares)
def test_two_rollouts_do_not_mind_who_came_first(drawn: tuple[WeightedRoute, Any], one: float, two: float) -> None:
    kind, document = drawn
    web, api = split(one, "web", ROLLOUTS["web"]), split(two, "api", ROLLOUTS["api"])
    this = lay(kind, lay(kind, document, web).document, api).document
    that = lay(kind, lay(kind, document, api).document, web).document
    assert this == that
    assert take_out(kind, this, "web").document == lay(kind, document, api).document


@settings(deadline=None)
@given(routes, st.lists(splits, min_size=1, max_size=3), st.data())
def test_another_text_wins(drawn: tuple[WeightedRoute, Any], laid: list[Split], data: st.DataObject) -> None:
    """Somebody applies a text of theirs over ours; the annotation stays, as it does with every GitOps tool."""
    kind, document = drawn
    theirs = written(kind, data.draw(lists))
    now: Any = document
    for one in laid:
        now = lay(kind, now, one).document
    applied = {**now, "spec": deepcopy(theirs["spec"])}
    # Whose weights are by chance the very ones that we wrote, nobody can tell.
    assume(not any(backend.weight is not None and backend.weight in wrote(now) for backend in all_of(kind, theirs)))
    assert lay(kind, applied, laid[-1]).document == after_all(kind, theirs, laid, applied)
    for rollout in sorted(ROLLOUTS):
        applied = dict(take_out(kind, applied, rollout).document)
    assert applied == theirs


def wrote(document: Raw) -> set[int | None]:
    """Weights that we wrote in place of others."""
    return {one.wrote for each in Original.of(document).lists for one in each.backends if one.wrote != one.was}


def all_of(kind: WeightedRoute, document: Raw) -> list[Backend]:
    return [backend for each in kind.lists(document) for backend in each.backends]


def after_all(kind: WeightedRoute, theirs: Raw, laid: list[Split], applied: Raw) -> Raw:
    """Their text with the splits that lie on the route, and the last one asked for."""
    there = set(rollouts_on(applied))
    latest = {one.rollout: one for one in laid if one.rollout in there} | {laid[-1].rollout: laid[-1]}
    for one in latest.values():
        theirs = lay(kind, theirs, one).document
    return theirs


@settings(deadline=None)
@given(routes, splits, st.data())
def test_an_edit_of_ours_wins(drawn: tuple[WeightedRoute, Any], wanted: Split, data: st.DataObject) -> None:
    """Somebody edits the route as it stands, with our numbers in it: what they wrote is there when we have left."""
    kind, document = drawn
    live: Any = deepcopy(lay(kind, document, wanted).document)
    each = data.draw(st.sampled_from(kind.lists(live)))
    at = data.draw(st.sampled_from([n for n, one in enumerate(each.backends) if one.service != wanted.warmup]))
    node = live["spec"]
    for part in each.path:
        node = node[part]
    weight = data.draw(st.integers(0, BOUND).filter(lambda drawn: drawn != each.backends[at].weight))
    node[at]["weight"] = weight
    left = take_out(kind, live, wanted.rollout).document
    own = [one.service for one in each.backends[:at]].count(wanted.warmup)
    found = next(one for one in kind.lists(left) if one.path == each.path)
    assert found.backends[at - own].weight == weight
    assert not any(one.service in WARMUPS for every in kind.lists(left) for one in every.backends)


@settings(deadline=None)
@given(routes, st.lists(splits, min_size=1, max_size=4))
def test_each_write_is_one_patch_that_does_what_it_says(drawn: tuple[WeightedRoute, Any], laid: list[Split]) -> None:
    kind, now = drawn
    for one in laid:
        change = lay(kind, now, one)
        assert patched(now, change) == change.document
        now = change.document
        assert (one.rollout in rollouts_on(now)) == change.laid
    for rollout in sorted(ROLLOUTS):
        change = take_out(kind, now, rollout)
        assert patched(now, change) == change.document
        now = change.document


@settings(deadline=None)
@given(st.lists(st.integers(0, BOUND), min_size=1, max_size=64), shares)
def test_the_error_is_below_a_thousandth_of_the_whole(counts: list[int], share: float) -> None:
    found = divided(counts, [[share / (1 - share)]] * len(counts))
    whole = sum(part.full for part in found)
    if whole:
        assert abs(sum(part.warm[0] for part in found) / whole - share) < 0.001
        assert all(
            part.full * sum(counts) == count * whole and part.full <= BOUND
            for part, count in zip(found, counts, strict=True)
        )
