"""What is asked of an autoscaler while pods are under way, and that its owner has everything back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossless.core import autoscaler as core
from lossless.core.autoscaler import SCALE_IN, SCALE_OUT, STEADY_AT_MOST, STEADY_FOR, Calm, Record, State, Verdict
from lossless.core.world import Autoscaler, AutoscalerMetric, Behavior, Pod, World
from tests.core.given import (
    NOW,
    WorldModifier,
    about_to_release,
    ago,
    asking,
    decided,
    let_in,
    move,
    moves,
    new,
    observing,
    old,
    serving,
    wanted,
    warm_up,
    warming,
    withdrawn,
    world,
)

RELEASE = wanted(2), old("a", serving()), old("b", serving()), new("c", warming())
DONE = wanted(2), new("c", serving()), new("d", serving())
THEIRS = {"scaleDown": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": []}}


def cpu(ratio: float | None) -> AutoscalerMetric:
    return AutoscalerMetric("cpu", ratio, of_pods=True)


def memory(ratio: float) -> AutoscalerMetric:
    return AutoscalerMetric("memory", ratio, of_pods=True)


def of_pods(ratio: float) -> AutoscalerMetric:
    return AutoscalerMetric("queue_length", ratio, of_pods=True)


def external(ratio: float, per_pod: bool = False) -> AutoscalerMetric:
    return AutoscalerMetric("requests", ratio, of_pods=False, per_pod=per_pod)


def hpa(*metrics: AutoscalerMetric, behavior: Behavior | None = None, **fields: Any) -> Autoscaler:
    return Autoscaler("uid-web", "web", behavior, metrics=metrics or (cpu(0.5),), **fields)


def after(verdict: Verdict) -> Autoscaler:
    """The same autoscaler when that was done."""
    change, seen = verdict.change, verdict.autoscaler
    if change is None:
        return seen
    return replace(seen, behavior=change.behavior, note=change.record.to_annotation() if change.record else None)


def asked(
    autoscaler: Autoscaler,
    *parts: Pod | WorldModifier,
    calm: Calm | None = None,
    spent: bool = False,
    now: datetime = NOW,
) -> Verdict:
    return core.decide(world(*parts), autoscaler, "web", calm, spent, now)


def fields(autoscaler: Autoscaler) -> dict[str, Any]:
    """What of ours is in it."""
    behavior: Any = autoscaler.behavior or {}
    found = {".".join(field): behavior.get(field[0], {}).get(field[1]) for field in (SCALE_IN, SCALE_OUT)}
    return {name: value for name, value in found.items() if value not in (None, "Max", 0)}


def test_at_rest_nothing_is_written() -> None:
    verdict = asked(hpa(), *DONE)
    assert (verdict.state, verdict.change, verdict.wake_at) == (State.UNTOUCHED, None, None)


def test_in_a_release_scale_in_is_held() -> None:
    verdict = asked(hpa(), *RELEASE)
    assert verdict.state is State.HELD
    assert fields(after(verdict)) == {"scaleDown.selectPolicy": "Disabled"}
    assert asked(after(verdict), *RELEASE).change is None, "what is done is not done again"


def test_it_is_held_before_the_first_new_pod_is_made() -> None:
    """It may look in the moment between."""
    assert asked(hpa(of_pods(0.85)), *DONE, about_to_release()).state is State.DAMPED


def test_scale_in_is_held_while_a_scale_out_warms_up() -> None:
    verdict = asked(hpa(), wanted(3), new("a", serving()), new("b", serving()), new("c", warming()))
    assert fields(after(verdict)) == {"scaleDown.selectPolicy": "Disabled"}


def test_scale_in_by_itself_is_nothing_to_hold_an_autoscaler_for_that_goes_by_cpu() -> None:
    verdict = asked(hpa(), wanted(1), new("a", serving()), new("b", withdrawn()))
    assert verdict.change is None


@pytest.mark.parametrize("metric", [memory(0.8), of_pods(0.6), cpu(0.7)])
def test_scale_out_is_damped_where_pods_that_serve_nobody_call_for_it(metric: AutoscalerMetric) -> None:
    """Of the CPU that is so at the edge: 105 % over two is within the tolerance, 70 % over three calls for a third."""
    verdict = asked(hpa(metric), wanted(2), new("a", serving()), new("b", serving()), old("c", withdrawn()))
    assert verdict.state is State.DAMPED
    assert fields(after(verdict))["scaleUp.stabilizationWindowSeconds"] >= 30


def test_an_average_of_cpu_leaves_pods_that_come_in_out_by_itself() -> None:
    assert "scaleUp.stabilizationWindowSeconds" not in fields(after(asked(hpa(cpu(1.05)), *RELEASE)))


@pytest.mark.parametrize("ratio", [1.05, 0.7])
def test_a_total_over_all_pods_is_within_the_tolerance_no_more_when_there_are_too_many(ratio: float) -> None:
    """105 % over the two that are wanted are left alone; as 70 % over three they call for a third. Whether it has
    counted the third already can't be told."""
    warmup = asking(warmup={"delay": "60s"}, drain={"settle": "10s"})
    verdict = asked(hpa(external(ratio, per_pod=True)), *RELEASE, warmup)
    assert verdict.state is State.DAMPED
    assert fields(after(verdict))["scaleUp.stabilizationWindowSeconds"] == 100, "one warm-up: perhaps it is the load"


def test_a_total_is_not_damped_where_it_misleads_nobody() -> None:
    assert asked(hpa(external(0.9, per_pod=True)), *RELEASE).state is State.HELD
    scaled_out = wanted(3), new("a", serving()), new("b", serving()), new("c", warming())
    assert asked(hpa(external(1.05, per_pod=True)), *scaled_out).state is State.HELD
    assert asked(hpa(external(0.9)), *RELEASE[:3], new("c", serving())).state is State.DAMPED


@pytest.mark.parametrize("metric", [cpu(1.5), external(1.2), external(1.2, per_pod=True), memory(1.3)])
def test_scale_out_is_free_while_the_pods_that_serve_are_above_the_target(metric: AutoscalerMetric) -> None:
    verdict = asked(hpa(metric, memory(0.9)), *RELEASE)
    assert verdict.state is State.OVERLOADED
    assert fields(after(verdict)) == {"scaleDown.selectPolicy": "Disabled"}
    assert metric.name in verdict.message


def test_idle_pods_do_not_hide_that_those_that_serve_are_above_it() -> None:
    assert asked(hpa(cpu(0.8)), wanted(1), new("a", serving()), old("c", withdrawn())).state is State.OVERLOADED


def test_damping_ends_when_the_load_comes() -> None:
    damped = after(asked(hpa(memory(0.8), cpu(0.5)), *RELEASE))
    risen = replace(damped, metrics=(memory(0.8), cpu(1.5)))
    verdict = asked(risen, *RELEASE)
    assert fields(after(verdict)) == {"scaleDown.selectPolicy": "Disabled"}
    record = Record.from_annotation(after(verdict).note)
    assert record is not None
    assert record.original is None


def test_where_nobody_can_tell_it_is_damped_for_the_length_of_one_warm_up() -> None:
    """An average that cold pods raise, such as a latency: perhaps it is the others that need help."""
    warmup = asking(warmup={"delay": "60s"}, drain={"settle": "10s"})
    window = fields(after(asked(hpa(of_pods(3.0)), *RELEASE, warmup)))["scaleUp.stabilizationWindowSeconds"]
    assert window == 100
    known = fields(after(asked(hpa(memory(0.8)), *RELEASE, warmup)))["scaleUp.stabilizationWindowSeconds"]
    assert known == 200, "two pods, one at a time"
    total = hpa(memory(0.8), external(0.5, per_pod=True))
    window = fields(after(asked(total, *RELEASE, warmup)))["scaleUp.stabilizationWindowSeconds"]
    assert window == 100, "the total may be of the two that serve, whatever it is over all"


def test_pods_that_drain_and_go_on_with_what_they_had_are_no_load_of_the_others() -> None:
    """Such as a cache's size, or a rate over the last minutes."""
    draining = wanted(2), new("a", serving()), new("b", serving()), old("c", withdrawn()), old("d", withdrawn())
    assert asked(hpa(of_pods(0.85)), *draining).state is State.DAMPED
    assert asked(hpa(of_pods(1.2)), *draining).state is State.OVERLOADED, "with them or without"


def test_a_longer_window_of_its_owner_stays() -> None:
    behavior = {"scaleUp": {"stabilizationWindowSeconds": 3600, "policies": []}}
    assert fields(after(asked(hpa(memory(0.8), behavior=behavior), *RELEASE))) == {
        "scaleDown.selectPolicy": "Disabled",
        "scaleUp.stabilizationWindowSeconds": 3600,
    }


@pytest.mark.parametrize("behavior", [None, THEIRS, {"scaleDown": {"selectPolicy": "Disabled"}}])
def test_when_metrics_are_steady_its_own_behavior_is_back_exactly(behavior: Behavior | None) -> None:
    held = after(asked(hpa(memory(0.8), behavior=behavior), *RELEASE))
    calm = core.calm(None, world(*DONE), held, NOW)
    waits = asked(held, *DONE, calm=calm)
    assert waits.state is State.STEADYING
    assert waits.change is None
    over = asked(held, *DONE, calm=calm, now=NOW + STEADY_FOR)
    assert (after(over).behavior, after(over).note) == (behavior, None)


def test_metrics_that_move_begin_the_wait_anew() -> None:
    first = core.calm(None, world(*DONE), hpa(cpu(0.5)), NOW)
    assert core.calm(first, world(*DONE), hpa(cpu(0.55)), NOW + STEADY_FOR) == first
    later = NOW + timedelta(seconds=10)
    assert core.calm(first, world(*DONE), hpa(cpu(0.9)), later) == Calm(later, (cpu(0.9),), NOW)
    assert core.calm(first, world(*RELEASE), hpa(cpu(0.5)), later) is None


def test_metrics_that_never_rest_do_not_keep_it_for_ever() -> None:
    held = after(asked(hpa(cpu(0.5), behavior=THEIRS), *RELEASE))
    seen: Calm | None = None
    at = NOW
    while at < NOW + STEADY_AT_MOST:
        held = replace(held, metrics=(cpu(0.5 if seen and seen.metrics[0].ratio != 0.5 else 0.9),))
        seen = core.calm(seen, world(*DONE), held, at)
        assert asked(held, *DONE, calm=seen, now=at).state is State.STEADYING
        at += timedelta(seconds=30)
    assert after(asked(held, *DONE, calm=seen, now=at)).behavior == THEIRS


def test_a_release_on_top_of_one_goes_on_with_the_same_hold() -> None:
    held = after(asked(hpa(), *RELEASE))
    verdict = asked(held, *RELEASE, now=NOW + timedelta(seconds=90))
    assert verdict.change is None
    assert verdict.wake_at == NOW + timedelta(minutes=30)


def test_it_has_its_own_behavior_back_at_max_hold_and_is_not_held_again() -> None:
    held = after(asked(hpa(behavior=THEIRS), *RELEASE))
    verdict = asked(held, *RELEASE, now=NOW + timedelta(minutes=30))
    assert verdict.state is State.TIMED_OUT
    assert after(verdict).behavior == THEIRS
    again = asked(after(verdict), *RELEASE, spent=True, now=NOW + timedelta(minutes=31))
    assert (again.state, again.change) == (State.TIMED_OUT, None)


@pytest.mark.parametrize("ends", [observing(), asking(autoscaler={"mode": "Ignore"})])
def test_who_is_not_asked_to_gives_it_back(ends: WorldModifier) -> None:
    assert asked(hpa(), *RELEASE, ends).change is None
    verdict = asked(after(asked(hpa(behavior=THEIRS), *RELEASE)), *RELEASE, ends)
    assert (after(verdict).behavior, after(verdict).note) == (THEIRS, None)


def test_what_somebody_else_manages_is_never_written_to() -> None:
    verdict = asked(hpa(memory(2.0), managed_by="ScaledObject web"), *RELEASE)
    assert verdict.change is None
    assert "ScaledObject web" in verdict.message


def test_who_writes_to_our_field_keeps_it() -> None:
    held = after(asked(hpa(), *RELEASE))
    behavior: Any = held.behavior
    edited = replace(held, behavior={**behavior, "scaleDown": {**behavior["scaleDown"], "selectPolicy": "Min"}})
    verdict = asked(edited, *RELEASE)
    respected = after(verdict)
    assert fields(respected) == {"scaleDown.selectPolicy": "Min"}
    assert asked(respected, *RELEASE).change is None
    over = asked(respected, *DONE, calm=Calm(NOW, (), NOW), now=NOW + STEADY_FOR)
    assert fields(after(over)) == {"scaleDown.selectPolicy": "Min"}
    assert after(over).note is None


def test_who_writes_beside_our_field_finds_that_there_afterwards_and_ours_gone() -> None:
    held = after(asked(hpa(behavior=THEIRS), *RELEASE))
    behavior: Any = held.behavior
    edited = replace(held, behavior={**behavior, "scaleUp": {"policies": ["theirs"]}})
    over = after(asked(after(asked(edited, *RELEASE)), *DONE, calm=Calm(NOW, (), NOW), now=NOW + STEADY_FOR))
    assert over.behavior == {**THEIRS, "scaleUp": {"policies": ["theirs"]}}


def test_who_takes_the_whole_behavior_out_has_none_afterwards() -> None:
    held = after(asked(hpa(behavior=THEIRS), *RELEASE))
    gone = replace(held, behavior=None)
    respected = after(asked(gone, *RELEASE))
    assert respected.behavior is None
    assert core.give_back(respected) == core.Change(None, None)


def test_in_a_release_extra_pods_are_let_in_early_when_those_that_serve_are_above_the_target() -> None:
    def above(seen: World) -> World:
        return replace(seen, autoscalers=(hpa(cpu(1.6)),))

    parts = wanted(4), warm_up(), old("a", serving()), old("b", serving()), new("c", warming()), new("d", warming())
    assert not moves(decided(*parts))
    decision = decided(*parts, above)
    event = move(decision, "c").event
    assert event is not None
    assert event.reason == "AdmittedCold"
    assert "cpu is at 160% of its target" in event.message
    assert {"c", "d"} == set(moves(decision))


def test_without_a_release_new_pods_get_warm_first() -> None:
    def above(seen: World) -> World:
        return replace(seen, autoscalers=(hpa(cpu(1.6)),))

    assert not moves(
        decided(wanted(3), warm_up(), new("a", serving()), new("b", serving()), new("c", warming()), above)
    )


# -- whatever is there -------------------------------------------------------------------------------------------------

RATIOS = st.one_of(st.none(), st.floats(0, 10))
METRICS = st.builds(
    AutoscalerMetric,
    name=st.sampled_from(["cpu", "memory", "x"]),
    ratio=RATIOS,
    of_pods=st.booleans(),
    per_pod=st.booleans(),
)
PARTS = st.fixed_dictionaries(
    {},
    optional={
        "selectPolicy": st.sampled_from(["Max", "Min", "Disabled"]),
        "stabilizationWindowSeconds": st.integers(0, 3600),
        "policies": st.lists(st.integers(), max_size=2),
        "tolerance": st.just("50m"),
    },
)
BEHAVIORS: st.SearchStrategy[Mapping[str, Any] | None] = st.one_of(
    st.none(), st.fixed_dictionaries({}, optional={"scaleUp": PARTS, "scaleDown": PARTS})
)
STATES = st.sampled_from([serving, warming, withdrawn, let_in])
PODS = st.lists(st.tuples(st.sampled_from([old, new]), STATES), max_size=6)


def somewhere(pods: list[tuple[Any, Any]]) -> World:
    return world(wanted(3), *(made(f"p{number}", state()) for number, (made, state) in enumerate(pods)))


@given(BEHAVIORS, st.lists(st.tuples(PODS, st.tuples(METRICS, METRICS)), min_size=1, max_size=6))
def test_whatever_happens_its_owners_behavior_comes_back(
    behavior: Behavior | None, turns: list[tuple[list[tuple[Any, Any]], tuple[AutoscalerMetric, ...]]]
) -> None:
    seen = hpa(behavior=behavior)
    for number, (pods, metrics) in enumerate(turns):
        now = NOW + timedelta(seconds=number)
        seen = replace(seen, metrics=metrics)
        here = somewhere(pods)
        calm = core.calm(None, here, seen, now)
        seen = after(core.decide(here, seen, "web", calm, False, now))
        assert core.decide(here, seen, "web", calm, False, now).change is None, "one write is enough"
        above = core._above(metrics, core.scene(here))
        window = core._value(seen.behavior, SCALE_OUT)
        if above:
            assert window in (0, None, core._value(behavior, SCALE_OUT)), "scale-out is never in the way of a load"
    change = core.give_back(seen)
    if change is not None:
        seen = replace(seen, behavior=change.behavior, note=None)
    assert (seen.behavior, seen.note) == (behavior, None)


@given(BEHAVIORS, BEHAVIORS, PODS)
def test_what_somebody_else_writes_is_never_lost(mine: Behavior | None, theirs: Behavior | None, pods: Any) -> None:
    """But for our own two fields, where they left ours standing."""
    held = after(asked(hpa(memory(0.8), behavior=mine), *RELEASE))
    record = Record.from_annotation(held.note)
    ours = dict(record.ours) if record else {}
    edited = replace(held, behavior=theirs)
    seen = after(core.decide(somewhere(pods), edited, "web", None, False, NOW))
    change = core.give_back(seen)
    final = change.behavior if change else seen.behavior
    for part in ("scaleUp", "scaleDown"):
        for name, value in ((theirs or {}).get(part) or {}).items():
            if ours.get((part, name)) != value:
                assert core._value(final, (part, name)) == value


@given(st.one_of(st.text(max_size=40), st.sampled_from(['{"since": 1}', "[]", "null", '{"ours": {"a": 1}}'])))
def test_a_note_that_is_none_reads_as_none(text: str) -> None:
    assert Record.from_annotation(text) is None


def test_a_note_reads_as_it_was_written() -> None:
    record = Record("web", ago(3), {"scaleUp": {"a": [1]}}, ((SCALE_IN, "Disabled"),), (SCALE_OUT,))
    assert Record.from_annotation(record.to_annotation()) == record
