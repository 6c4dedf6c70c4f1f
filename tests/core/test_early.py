"""How long registries were seen to hand out pods before these were let in."""

from dataclasses import replace
from datetime import timedelta

import pytest

from lossless.core.early import seen_early
from lossless.core.passage import Stage
from lossless.core.world import Early, Pod, Registered
from tests.core.given import NOW, ago, having, let_in, new, passing, serving, warming, within

UID = "uid-a"
SEEN = Registered("etcd", fraction=1.0, present=True, since=ago(3))
OUT = Registered("etcd", fraction=0.0, since=ago(1))
SILENT = Registered("etcd")
OPEN = Early(UID, "etcd", since=ago(3))


def at(*registries: Registered, pod: Pod | None = None) -> Pod:
    """A pod that warms up, as these hold it."""
    return replace(pod or new("a", warming()), registrations=registries)


def early(pod: Pod | None, *before: Early) -> tuple[Early, ...]:
    return seen_early(before, [pod] if pod else [], NOW)


def over(seconds: float, times: int = 1) -> Early:
    return Early(UID, "etcd", times, timedelta(seconds=seconds))


def test_it_begins_with_the_first_look_that_shows_the_pod() -> None:
    assert early(at(SEEN)) == (OPEN,)
    assert early(at(SEEN), OPEN) == (OPEN,), "and goes on"


@pytest.mark.parametrize("registered", [OUT, SILENT])
def test_a_pod_that_was_never_seen_there_is_not_early(registered: Registered) -> None:
    assert early(at(registered)) == ()


@pytest.mark.parametrize(
    "pod",
    [
        new("a", serving()),
        new("a", warming(), passing(admitted_at=ago(30))),
        new("a", passing(stage=Stage.RAMPING, admitted_at=ago(2))),
        new("a", having(gated=False)),
        new("a", having(managed=False)),
    ],
    ids=["let in", "cold again", "ramping", "without a gate", "not in our hands"],
)
def test_only_a_pod_that_never_had_traffic_and_stood_before_a_shut_door_is_early(pod: Pod) -> None:
    assert early(at(SEEN, pod=pod)) == ()


def test_it_ends_with_the_look_that_shows_it_out() -> None:
    assert early(at(OUT), OPEN) == (over(2),)
    assert early(at(OUT), over(2)) == (over(2),), "and stays known"


def test_a_registry_that_does_not_answer_may_hand_it_out_still() -> None:
    assert early(at(SILENT), OPEN) == (OPEN,)


def test_it_ends_when_the_pod_is_let_in() -> None:
    assert early(at(SEEN, pod=new("a", let_in(0.5))), OPEN) == (over(2.5),)


def test_a_pod_that_goes_before_it_was_let_in_is_early_until_it_is_out() -> None:
    going = new("a", passing(stage=Stage.WITHDRAWN, withdrawn_at=ago(2)))
    assert early(at(SEEN, pod=going), OPEN) == (OPEN,)
    assert early(at(OUT, pod=going), OPEN) == (over(2),)


def test_it_ends_when_nobody_looks_any_more() -> None:
    assert early(at(), OPEN) == (over(3),)


def test_of_a_pod_that_is_gone_it_is_said_once_more() -> None:
    last = early(None, OPEN)
    assert last == (over(3),)
    assert early(None, *last) == ()


def test_what_registers_itself_again_is_early_again() -> None:
    again = early(at(replace(SEEN, since=ago(1))), over(2))
    assert again == (replace(over(2), since=ago(1)),)
    assert early(at(replace(OUT, since=NOW)), *again) == (over(3, times=2),)


def test_each_registry_counts_by_itself() -> None:
    other = replace(SEEN, source="nacos", since=ago(1))
    assert early(at(OUT, other), OPEN) == (over(2), Early(UID, "nacos", since=ago(1)))


def test_clocks_that_go_back_give_no_time() -> None:
    assert early(at(OUT), replace(OPEN, since=within(5))) == (over(0),)
