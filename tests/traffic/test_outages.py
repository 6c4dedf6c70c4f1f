"""When those who follow a source can be believed to know again what it knows."""

from datetime import UTC, datetime, timedelta

import pytest

from lossless.traffic.outages import Outages

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def after(*steps: tuple[float, bool]) -> datetime | None:
    """What is believed after it has answered, or not, each at so many seconds from the start."""
    clock = Clock()
    outages = Outages(clock)
    for at, answered in steps:
        clock.now = START + timedelta(seconds=at)
        if answered:
            outages.answered()
        else:
            outages.missed()
    return outages.caught_up_at


def test_a_source_that_answers_is_followed() -> None:
    assert after((0, True), (2, True), (4, True)) is None


def test_after_an_outage_its_followers_may_wait_for_twice_as_long() -> None:
    assert after((0, True), (1, False), (3, False), (5, True)) == START + timedelta(seconds=5 + 2 * (5 + 0.8))


def test_nobody_waits_for_longer_than_a_minute() -> None:
    assert after((0, True), (1, False), (600, True)) == START + timedelta(seconds=660)


def test_what_was_out_of_reach_from_the_start_was_so_for_as_long_as_it_was_seen() -> None:
    assert after((0, False), (5, True)) == START + timedelta(seconds=5 + 2 * (5 + 0.8))


@pytest.mark.parametrize(
    ("seconds", "caught_up"),
    [(5.0, 2 * (5 + 0.8)), (3600.0, 60.0), (-3600.0, 2 * 0.8)],
    ids=["", "long", "another clock"],
)
def test_what_nobody_watched_may_have_been_out_until_just_now(seconds: float, caught_up: float) -> None:
    outages = Outages(Clock())
    outages.unwatched_since(START - timedelta(seconds=seconds))
    assert outages.caught_up_at == START + timedelta(seconds=caught_up)
    outages.answered()
    assert outages.caught_up_at == START + timedelta(seconds=caught_up), "an answer now says nothing of then"
