"""Durations and int-or-percent: what is written is what is read."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossless.api.quantities import (
    DURATION_PATTERN,
    format_duration,
    parse_duration,
    parse_int_or_percent,
    resolve,
)

durations = st.integers(min_value=0, max_value=24 * 3600 * 1000).map(lambda ms: timedelta(milliseconds=ms))


@given(durations)
def test_a_duration_is_read_back_as_it_was_written(value: timedelta) -> None:
    assert parse_duration(format_duration(value)) == value


@given(durations)
def test_what_is_written_is_what_the_api_server_accepts(value: timedelta) -> None:
    assert re.fullmatch(DURATION_PATTERN, format_duration(value))


@given(st.from_regex(DURATION_PATTERN, fullmatch=True).filter(bool))
def test_what_the_api_server_accepts_can_be_read(text: str) -> None:
    assert parse_duration(text) >= timedelta(0)


@given(st.from_regex(DURATION_PATTERN, fullmatch=True).filter(bool))
def test_no_accepted_duration_is_more_than_cel_can_count(text: str) -> None:
    assert parse_duration(text) < timedelta(days=292 * 365)


@given(st.text())
def test_any_text_is_either_read_or_refused_with_an_example(text: str) -> None:
    if text and re.fullmatch(DURATION_PATTERN, text):
        assert parse_duration(text) >= timedelta(0)
    else:
        with pytest.raises(ValueError, match="write it like 5s, 1m30s"):
            parse_duration(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0s", 0), ("5s", 5), ("250ms", 0.25), ("1m30s", 90), ("1.5s", 1.5), ("1h", 3600), ("90m", 5400), ("0.5h", 1800)],
)
def test_durations_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "-5s", "5 s", "5S", "s", "1s1h", "5s\n", "\u0665s", "1e3s", "1d", ".5s", "5s5s", "9999999h"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize("value", [None, 5, 5.0, True, ["5s"]])
def test_what_is_no_text_is_no_duration(value: object) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(value)


@pytest.mark.parametrize("value", [0, 3, 10_000, "0%", "25%", "100%"])
def test_a_number_or_a_percentage_is_read_as_it_is(value: int | str) -> None:
    assert parse_int_or_percent(value) == value


@pytest.mark.parametrize(
    "value", [-1, "-1", "3", "101%", "25 %", "25%\n", "025%", "2.5%", True, None, 2.5, "\u0662\u0665%"]
)
def test_what_is_neither_a_number_nor_a_percentage_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="neither a whole number nor a percentage"):
        parse_int_or_percent(value)


@given(st.integers(0, 100), st.integers(0, 10_000))
def test_a_share_lies_between_its_two_roundings(percent: int, total: int) -> None:
    down, up = (resolve(f"{percent}%", total, round_up=way) for way in (False, True))
    assert 0 <= down <= up <= total
    assert up - down <= 1
    assert down * 100 <= percent * total <= up * 100


@given(st.integers(0, 10_000), st.integers(0, 10_000), st.booleans())
def test_a_number_is_that_number_whatever_the_total(count: int, total: int, round_up: bool) -> None:
    assert resolve(count, total, round_up=round_up) == count
