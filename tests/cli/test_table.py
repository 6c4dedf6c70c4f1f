"""Columns and ages as kubectl prints them."""

from datetime import UTC, datetime, timedelta

import pytest

from lossless.cli.table import age, shortened, table

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (1800, "30m"),
        (3600, "1h"),
        (7500, "2h5m"),
        (86_400, "24h"),
        (400_000, "4d"),
    ],
)
def test_an_age_has_two_units_at_most(seconds: int, text: str) -> None:
    assert age(NOW - timedelta(seconds=seconds), NOW) == text


def test_no_time_has_no_age() -> None:
    assert age(None, NOW) == "-"


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table(("A", "LONG"), [("abc", "x"), ("", "y")]) == "A     LONG\nabc   x\n      y"


def test_a_long_text_becomes_one_short_line() -> None:
    assert shortened("a\n b  c", 10) == "a b c"
    assert shortened("abcdef", 4) == "abc…"
