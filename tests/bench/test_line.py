"""The line of a ramp, on made-up rates."""

from __future__ import annotations

import pytest

from bench.line import by_chance_percent, on_the_line, rate_at


def test_a_ramping_pod_counts_as_its_fraction_of_a_pod() -> None:
    assert on_the_line(1, serving=3) == 1 / 4
    assert on_the_line(0.5, serving=3) == 0.5 / 3.5
    assert on_the_line(0, serving=1) == 0


def test_a_rate_is_taken_over_4_s_on_both_sides_of_its_mark() -> None:
    growing = [(at / 2, float(at // 2)) for at in range(60)]  # whose mean around a moment is that of the moment
    assert rate_at(10, growing, step=0.5) == pytest.approx(9.5)
    outside = [(at, rate if 6 <= at < 14 else 1000.0) for at, rate in growing]
    assert rate_at(10, outside, step=0.5) == pytest.approx(9.5)
    with pytest.raises(ValueError, match="nothing was measured"):
        rate_at(40, growing, step=0.5)


def test_lots_are_further_off_where_the_part_is_small() -> None:
    """Of 2400 requests around a mark, a part of a quarter is 600, and their standard deviation 21."""
    assert by_chance_percent(0.25, rate=300) == pytest.approx(100 * 21.2 / 600, rel=0.01)
    assert by_chance_percent(0.05, rate=300) > by_chance_percent(0.5, rate=300)
