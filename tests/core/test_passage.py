"""What is written on a pod can be read back, and nothing that stands there makes us stumble."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossless.api import names
from lossless.core.passage import Hold, Passage, Stage, format_time, parse_time

TIMES = st.timedeltas(timedelta(0), timedelta(days=300_000)).map(lambda since: datetime(1970, 1, 2, tzinfo=UTC) + since)
PASSAGES = st.builds(
    Passage,
    stage=st.sampled_from(Stage),
    since=st.none() | TIMES,
    waiting_for=st.text(max_size=20),
    warmed=st.integers(0, 10**8),
    admitted_at=st.none() | TIMES,
    admitted_restarts=st.integers(0, 10**8),
    withdrawn_at=st.none() | TIMES,
    gone_at=st.none() | TIMES,
    drained_at=st.none() | TIMES,
    cost_before=st.none() | st.text(max_size=5),
    slot=st.none() | st.integers(0, 10**8),
)


@given(PASSAGES)
def test_what_was_written_reads_back_the_same(passage: Passage) -> None:
    written = {key: value for key, value in passage.to_annotations().items() if value is not None}
    assert Passage.from_annotations(written) == passage


@given(PASSAGES)
def test_every_annotation_is_written_or_taken_off(passage: Passage) -> None:
    assert set(passage.to_annotations()) == set(names.PASSAGE_ANNOTATIONS)


@given(st.dictionaries(st.sampled_from(names.PASSAGE_ANNOTATIONS), st.text(max_size=30)))
def test_whatever_somebody_else_wrote_there_reads_as_something_that_can_be_written(garbage: dict[str, str]) -> None:
    passage = Passage.from_annotations(garbage)
    written = {key: value for key, value in passage.to_annotations().items() if value is not None}
    assert Passage.from_annotations(written) == passage


@pytest.mark.parametrize(
    "text",
    ["", "now", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59Z", "0999-01-01", "1e9"],
)
def test_a_time_that_is_none_reads_as_absent(text: str) -> None:
    assert parse_time(text) is None


def test_a_time_may_be_written_in_any_zone() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert parse_time("2026-01-01T14:00:00+02:00") == noon
    assert parse_time("2026-01-01T12:00:00") == noon
    assert format_time(noon.astimezone(timezone(timedelta(hours=2)))) == "2026-01-01T12:00:00.000000Z"


@pytest.mark.parametrize(
    ("text", "closes"),
    [
        ("in: x", (True, False)),
        ("out: x", (False, True)),
        ("both: x", (True, True)),
        (" OUT :x", (False, True)),
        ("x", (True, True)),
        ("", (True, True)),
    ],
)
def test_a_hold_says_which_door_it_keeps_shut(text: str, closes: tuple[bool, bool]) -> None:
    (hold,) = Hold.all_in({"hold.lossless.dev/me": text, "other.dev/hold": "in: no"})
    assert (hold.who, (hold.closes_in, hold.closes_out)) == ("me", closes)
