"""When those who follow the API server can be believed to know again what it knows."""

from datetime import UTC, datetime, timedelta

from lossless.cluster.outages import Outages

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def after(*steps: tuple[float, int]) -> datetime | None:
    """What is believed after such answers, each at so many seconds from the start."""
    clock = Clock()
    outages = Outages(clock)
    for at, code in steps:
        clock.now = START + timedelta(seconds=at)
        outages.saw(code)
    return outages.caught_up_at


def test_an_api_server_that_answers_is_followed() -> None:
    assert after((0, 200), (2, 409), (4, 500)) is None


def test_after_an_outage_its_followers_may_wait_for_twice_as_long() -> None:
    assert after((0, 200), (1, 0), (3, 0), (5, 200)) == START + timedelta(seconds=5 + 2 * (5 + 0.8))


def test_nobody_waits_for_longer_than_a_minute() -> None:
    assert after((0, 200), (1, 0), (600, 200)) == START + timedelta(seconds=660)


def test_what_was_out_of_reach_from_the_start_counts_from_when_it_answers() -> None:
    assert after((0, 0), (5, 200)) == START + timedelta(seconds=5 + 1.6)
