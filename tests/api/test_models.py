"""The models: what the API server stores is what the operator reads."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from lossless.api.resource import LosslessRollout, Mode

MINIMAL = {"spec": {"targetRef": {"name": "web"}}}


def test_a_target_alone_is_a_useful_resource() -> None:
    spec = LosslessRollout.model_validate(MINIMAL).spec
    assert spec.mode is Mode.ENFORCE
    assert (spec.target_ref.api_version, spec.target_ref.kind) == ("apps/v1", "Deployment")
    assert spec.drain.settle == timedelta(seconds=5)
    assert spec.warmup.requests == []


def test_fields_of_a_newer_version_are_not_a_problem() -> None:
    newer = {**MINIMAL, "spec": {**MINIMAL["spec"], "pace": {"steps": []}}, "kind": "LosslessRollout"}
    assert LosslessRollout.model_validate(newer) == LosslessRollout.model_validate(MINIMAL)


def test_a_resource_is_written_as_it_is_read() -> None:
    written = LosslessRollout.model_validate(MINIMAL).model_dump(by_alias=True, exclude_none=True, mode="json")
    assert written["spec"]["drain"]["settle"] == "5s"
    assert LosslessRollout.model_validate(written) == LosslessRollout.model_validate(MINIMAL)


@given(st.integers(0, 3_599_999), st.sampled_from(list(Mode)))
def test_durations_survive_the_way_through_the_resource(milliseconds: int, mode: Mode) -> None:
    spec = {**MINIMAL["spec"], "mode": mode.value, "drain": {"settle": f"{milliseconds / 1000:.3f}s"}}
    read = LosslessRollout.model_validate({"spec": spec})
    assert read.spec.drain.settle == timedelta(milliseconds=milliseconds)
    assert LosslessRollout.model_validate_json(read.model_dump_json(by_alias=True)) == read
