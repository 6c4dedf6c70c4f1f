from __future__ import annotations

from localcluster.load.rates import by_address, rates, shares
from localcluster.load.result import Cause, Result


def result(at: float, pod: str | None = "web-1", cause: Cause = Cause.OK) -> Result:
    address = "10.244.1.2:8080" if pod in ("web-1", None) else "10.244.1.3:8080"
    return Result(f"r-{at}-{pod}", "fresh", at, 0, 1, cause, pod=pod, address=address)


def test_each_pod_has_its_requests_per_second_at_the_same_moments() -> None:
    results = [result(100.2), result(100.7), result(101.1, "web-2"), result(103.0)]
    assert rates(results) == {
        "web-1": ((100, 2.0), (101, 0.0), (102, 0.0), (103, 1.0)),
        "web-2": ((100, 0.0), (101, 1.0), (102, 0.0), (103, 0.0)),
    }


def test_a_longer_step_is_still_per_second() -> None:
    assert rates([result(100.0), result(101.5), result(102.5)], step=2) == {"web-1": ((100, 1.0), (102, 0.5))}


def test_a_lost_request_belongs_to_the_address_asked_and_to_no_pod() -> None:
    results = [result(100.0), result(100.5, None, Cause.REFUSED)]
    assert rates(results) == {"web-1": ((100, 1.0),)}
    assert rates(results, by_address) == {"10.244.1.2:8080": ((100, 2.0),)}


def test_shares_are_parts_of_what_was_answered_in_that_step() -> None:
    results = [result(100.1), result(100.2), result(100.3), result(100.4, "web-2"), result(102.0, "web-2")]
    found = shares(results)
    assert found["web-1"] == ((100, 0.75), (101, 0.0), (102, 0.0))
    assert found["web-2"] == ((100, 0.25), (101, 0.0), (102, 1.0))


def test_nothing_has_no_rates() -> None:
    assert rates([]) == {}
