from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localcluster.load.addresses import ready_addresses
from localcluster.load.plan import (
    CachedAddresses,
    FollowedAddresses,
    Fresh,
    KeptAlive,
    Keyed,
    Plan,
    PlanError,
    endpoint_of,
    turns,
)

EVERY_KIND = (
    Fresh("http://10.96.0.10:8080/a?b=c", share=2, host="web.example"),
    KeptAlive("http://10.96.0.10/", connections=3),
    Keyed("http://10.0.0.1:8000/", keys=7, host="web.example"),
    CachedAddresses("web", "http", every=15, clients=3),
    FollowedAddresses(("follow", "web"), clients=2, keep_alive=True),
)


def test_a_plan_survives_its_file() -> None:
    plan = Plan(200, EVERY_KIND, duration=30, timeout=5)
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}", "not a load plan"),
        ("nonsense", "not a load plan"),
        ('{"rate": 1, "callers": [{"kind": "psychic"}]}', "unknown kind of caller 'psychic'"),
        ('{"rate": 1, "callers": []}', "at least one caller"),
        ('{"rate": 0, "callers": [{"kind": "fresh", "url": "http://a/"}]}', "rate must be above 0"),
        ('{"rate": 1, "callers": [{"kind": "fresh", "url": "https://a/"}]}', "need an http:// URL"),
        ('{"rate": 1, "callers": [{"kind": "fresh", "url": "http://a/", "share": 0}]}', "share of fresh"),
        ('{"rate": 1, "callers": [{"kind": "keyed", "url": "http://a/", "keys": 0}]}', "at least one key"),
        ('{"rate": 1, "callers": [{"kind": "followed-addresses", "command": []}]}', "needs the command of a consumer"),
        (
            '{"rate": 1, "callers": [{"kind": "fresh", "url": "http://a/"}, {"kind": "fresh", "url": "http://b/"}]}',
            "different names",
        ),
    ],
)
def test_what_is_not_a_plan_is_refused_with_the_reason(text: str, says: str) -> None:
    with pytest.raises(PlanError, match=says):
        Plan.from_json(text)


def test_a_url_keeps_its_query_and_defaults_its_port() -> None:
    assert endpoint_of("http://10.96.0.10/a?b=c") == endpoint_of("http://10.96.0.10:80/a?b=c")
    assert endpoint_of("http://10.96.0.10").path == "/"


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_turns_are_shared_out_exactly_and_evenly(shares: list[int]) -> None:
    callers = tuple(Fresh("http://a/", share=share, name=str(index)) for index, share in enumerate(shares))
    total = sum(shares)
    drawn = list(islice(turns(callers), 3 * total))
    assert Counter(drawn) == {index: 3 * share for index, share in enumerate(shares)}
    for index, share in enumerate(shares):
        for upto in range(1, len(drawn) + 1):  # never further than one turn from its due
            assert abs(drawn[:upto].count(index) - upto * share / total) <= 1 + 1e-9


def endpoint(*addresses: str, ready: bool | None = True, **conditions: bool) -> dict[str, Any]:
    given = {} if ready is None else {"ready": ready}
    return {"addresses": list(addresses), "conditions": {**given, **conditions}}


def test_the_addresses_published_are_the_ready_ones_of_all_slices() -> None:
    ports = [{"name": "http", "port": 8080}, {"name": "admin", "port": 9090}]
    slices: list[dict[str, Any]] = [
        {"ports": ports, "endpoints": [endpoint("10.244.1.2"), endpoint("10.244.1.3", ready=False)]},
        {"ports": ports, "endpoints": [endpoint("10.244.2.2", ready=None), endpoint("10.244.1.2")]},
        {"ports": ports, "endpoints": [endpoint("10.244.2.9", ready=False, serving=True, terminating=True)]},
        {"ports": ports, "endpoints": None},
    ]
    assert ready_addresses(slices, "http") == (("10.244.1.2", 8080), ("10.244.2.2", 8080))
    assert ready_addresses(slices, 9090) == (("10.244.1.2", 9090), ("10.244.2.2", 9090))
    assert ready_addresses(slices, "grpc") == ()
