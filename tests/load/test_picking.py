from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from localcluster.load.picking import Shares

WEIGHTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 9), max_size=6)


@settings(deadline=None)
@given(WEIGHTS.filter(lambda weights: sum(weights.values()) > 0))
def test_each_gets_exactly_its_share(weights: dict[str, int]) -> None:
    shares: Shares[str] = Shares()
    shares.learn(weights)
    picked = Counter(shares.next() for _ in range(3 * sum(weights.values())))
    assert picked == Counter({key: 3 * weight for key, weight in weights.items()})


@settings(deadline=None)
@given(st.lists(WEIGHTS, max_size=4), WEIGHTS.filter(lambda weights: sum(weights.values()) > 0))
def test_lists_that_came_before_shift_a_share_by_a_request_or_two(
    before: list[dict[str, int]], weights: dict[str, int]
) -> None:
    shares: Shares[str] = Shares()
    for each in before:
        shares.learn({key: 1000 * weight for key, weight in each.items()})
        for _ in range(7):
            shares.next()
    shares.learn(weights)
    total = sum(weights.values())
    picked = Counter(shares.next() for _ in range(5 * total))
    assert all(abs(picked[key] - 5 * weight) <= 6 for key, weight in weights.items())


def test_requests_to_one_address_are_spread_evenly() -> None:
    shares: Shares[str] = Shares()
    shares.learn({"a": 3, "b": 1})
    assert [shares.next() for _ in range(8)] == ["a", "a", "b", "a", "a", "a", "b", "a"]


def test_nobody_is_picked_from_an_empty_list_or_one_without_weight() -> None:
    shares: Shares[str] = Shares()
    assert shares.next() is None
    shares.learn({"a": 1})
    shares.learn({"a": 0})
    assert shares.next() is None
