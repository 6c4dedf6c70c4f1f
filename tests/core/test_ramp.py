"""A ramp follows its line in steps that stand beside it evenly, and not in more of them than it needs."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from lossless.api.routes import Curve, Ramp
from lossless.core.ramp import MOST_STEPS, SHORTEST_STEP, age_at, fraction, share, step


def ramp(seconds: float = 60, curve: str = "Linear", least: str = "1%") -> Ramp:
    return Ramp.model_validate({"duration": timedelta(seconds=seconds), "curve": curve, "from": least})


def steps(asked: Ramp) -> list[tuple[float, float, float]]:
    """All steps of one pod's ramp: from, to, fraction. Seconds."""
    at, found = timedelta(0), []
    while (now := step(asked, [at])).lasts is not None:
        found.append((at.total_seconds(), (at + now.lasts).total_seconds(), now.fractions[0]))
        at += now.lasts
    return found


def averaged(found: list[tuple[float, float, float]], start: float, end: float) -> float:
    return sum(value * max(0.0, min(b, end) - max(a, start)) for a, b, value in found) / (end - start)


ramps = st.builds(
    ramp, st.floats(1, 3600), st.sampled_from([str(one) for one in Curve]), st.integers(0, 99).map(lambda n: f"{n}%")
)


@pytest.mark.parametrize(
    ("curve", "expected"),
    [("Linear", [0.01, 0.25, 0.5, 0.75, 1.0]), ("Quadratic", [0.01, 0.0625, 0.25, 0.5625, 1.0])],
)
def test_the_line(curve: str, expected: list[float]) -> None:
    line = [fraction(ramp(60, curve), timedelta(seconds=at)) for at in (0, 15, 30, 45, 60)]
    assert line == pytest.approx(expected)


def test_it_is_whole_afterwards_and_the_least_before() -> None:
    assert fraction(ramp(), timedelta(hours=1)) == 1
    assert fraction(ramp(least="5%"), timedelta(seconds=-1)) == 0.05


@pytest.mark.parametrize("curve", ["Linear", "Quadratic"])
@pytest.mark.parametrize("mark", [10, 20, 30, 40, 50])
def test_around_each_mark_the_mean_of_the_steps_is_the_line(curve: str, mark: int) -> None:
    line = fraction(ramp(60, curve), timedelta(seconds=mark))
    assert averaged(steps(ramp(60, curve)), mark - 4, mark + 4) == pytest.approx(line, rel=0.05, abs=0.005)


@settings(deadline=None)
@given(ramps)
def test_no_more_steps_than_it_needs(asked: Ramp) -> None:
    found = steps(asked)
    assert len(found) <= MOST_STEPS + 1
    assert all(b - a >= min(SHORTEST_STEP, asked.duration.total_seconds()) - 0.001 for a, b, _ in found)
    assert found[-1][1] == pytest.approx(asked.duration.total_seconds(), abs=0.01)


@settings(deadline=None)
@given(ramps)
def test_steps_only_rise_and_stay_below_a_full_share(asked: Ramp) -> None:
    values = [value for _, _, value in steps(asked)]
    assert values == sorted(values)
    assert values[0] >= asked.least
    assert values[-1] < 1


@settings(deadline=None)
@given(ramps.filter(lambda asked: asked.duration.total_seconds() >= 30))
def test_the_mean_of_all_steps_is_that_of_the_line(asked: Ramp) -> None:
    """A shorter ramp has few steps, and the one in which it leaves its least share counts for much."""
    whole = asked.duration.total_seconds()
    line = sum(fraction(asked, asked.duration * ((n + 0.5) / 2000)) for n in range(2000)) / 2000
    assert averaged(steps(asked), 0, whole) == pytest.approx(line, abs=0.01)


@settings(deadline=None)
@given(ramps, st.floats(0, 1))
def test_the_inverse(asked: Ramp, reached: float) -> None:
    at = age_at(asked, reached)
    assert fraction(asked, at) == pytest.approx(max(reached, asked.least), abs=1e-5)
    assert (at == timedelta(0)) or reached > asked.least


@pytest.mark.parametrize("reached", [-0.1, 1.1])
def test_there_is_no_age_for_what_is_no_fraction(reached: float) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        age_at(ramp(), reached)


def test_pods_that_ramp_together_step_together() -> None:
    ages = [timedelta(seconds=at) for at in (0, 20, 40, 75)]
    now = step(ramp(), ages)
    assert now.lasts is not None
    half = now.lasts / 2
    assert now.fractions == pytest.approx([fraction(ramp(), age + half) for age in ages], abs=1e-6)
    assert now.fractions[-1] == 1


def test_a_step_ends_with_the_first_ramp_that_ends() -> None:
    now = step(ramp(), [timedelta(0), timedelta(seconds=58.5)])
    assert now.lasts == timedelta(seconds=1.5)


def test_when_all_are_over_there_is_nothing_to_write() -> None:
    assert step(ramp(), [timedelta(seconds=60)]).lasts is None
    assert step(ramp(), []).lasts is None


def test_the_share_of_the_traffic() -> None:
    assert share(0.5, 3) == pytest.approx(1 / 7)
    assert share(0, 3) == 0
    with pytest.raises(ValueError, match="nobody serves"):
        share(0.5, 0)


@pytest.mark.parametrize("least", ["100%", "-1%", "1", "1.5%", ""])
def test_what_is_no_least_share(least: str) -> None:
    with pytest.raises(ValidationError):
        ramp(least=least)
