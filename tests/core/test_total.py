"""Any world at all, nonsense included, has an answer: always the same, to be acted on, looked at again in time."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from lossless.api.resource import LosslessRolloutSpec, LosslessRolloutStatus, PodCounts
from lossless.core.decide import decide, let_go
from lossless.core.passage import Hold, Passage, Stage
from lossless.core.steps import Move, SetKeep
from lossless.core.world import (
    Group,
    InFlightCount,
    Pod,
    Presence,
    Problem,
    Registered,
    Sighting,
    WarmupProgress,
    Workload,
    World,
)
from tests.core.given import NOW, ago, spec
from tests.core.shell import applied, check

TIMES = st.sampled_from([ago(seconds) for seconds in (-3, -1, 0, 1, 2, 3, 5, 9, 12, 60, 601, 10**6)])
MAYBE = st.none() | TIMES
REVISIONS = st.sampled_from(["a", "b", ""])
PASSAGES = st.builds(
    Passage,
    stage=st.sampled_from(Stage),
    since=MAYBE,
    waiting_for=st.sampled_from(["", "Settling: x", "WarmingUp: y", "nonsense"]),
    warmed=st.integers(0, 60),
    admitted_at=MAYBE,
    admitted_restarts=st.integers(0, 2),
    withdrawn_at=MAYBE,
    gone_at=MAYBE,
    drained_at=MAYBE,
    cost_before=st.sampled_from([None, "", "7", "--7", "9" * 20]),
    slot=st.sampled_from([None, 0, 1, 2]),
)
SERVICES = st.builds(
    Sighting, st.just("Service web"), st.sampled_from([Presence.PRESENT, Presence.ABSENT, Presence.UNKNOWN])
)
REGISTRIES = st.builds(Sighting, st.just("Registry"), st.sampled_from(Presence))
SIGHTINGS = st.lists(SERVICES | REGISTRIES, max_size=2).map(tuple)
HOLDS = st.sampled_from(["in: x", "out: x", "both: x", ""]).map(lambda text: Hold.all_in({"hold.lossless.dev/x": text}))


@st.composite
def pods(draw: st.DrawFn) -> Pod:
    revision = draw(REVISIONS)
    pod = Pod(
        uid="",
        name="",
        group=f"rs-{revision}",
        revision=revision,
        created_at=draw(TIMES),
        node=draw(st.sampled_from(["", "n"])),
        cordoned=draw(st.booleans()),
        node_going=draw(st.booleans()),
        inside=draw(st.booleans()),
        phase=draw(st.sampled_from(["Running", "Running", "Pending", "Unknown", "Failed", "Succeeded", "Nonsense"])),
        deleting_since=draw(st.sampled_from([None, None, None, NOW])),
        unschedulable_since=draw(MAYBE),
        managed=draw(st.booleans()),
        gated=draw(st.booleans()),
        gate_open=draw(st.booleans()),
        containers_ready=draw(st.booleans()),
        containers_ready_since=draw(MAYBE),
        ready=draw(st.booleans()),
        ready_since=draw(MAYBE),
        restarts=draw(st.integers(0, 2)),
        deletion_cost=draw(st.sampled_from([0, 7, -(2**31)])),
        passage=draw(PASSAGES | st.just(Passage())),
        holds=draw(st.just(()) | HOLDS),
        sightings=draw(SIGHTINGS),
        in_flight=draw(st.none() | st.builds(InFlightCount, st.sampled_from([None, 0.0, 3.0, float("nan")]))),
    )
    registries = (sighting.source for sighting in pod.sightings if sighting.source == "Registry")
    pod = replace(pod, registrations=tuple(Registered(source) for source in registries))
    if draw(st.booleans()):
        epoch = draw(st.sampled_from([pod.epoch, "another"]))
        sent, failed = draw(st.integers(0, 50)), draw(st.integers(0, 2))
        pod = replace(pod, warmup=WarmupProgress(epoch, sent, 50, failed, draw(st.booleans())))
    return pod


def specs() -> st.SearchStrategy[LosslessRolloutSpec]:
    return st.builds(
        lambda mode, requests, delay, failure, parallel, settle, in_flight, on_timeout, disruption, affinity: spec(
            mode=mode,
            warmup={"requests": requests, "delay": delay, "onFailure": failure, "maxParallel": parallel},
            drain={"settle": settle, "onTimeout": on_timeout, "disruption": disruption} | in_flight,
            traffic={"affinity": affinity},
        ),
        st.sampled_from(["Enforce", "Enforce", "Enforce", "Observe"]),
        st.sampled_from([[], [{"port": 80}]]),
        st.sampled_from(["0s", "3s"]),
        st.sampled_from(["Continue", "Hold"]),
        st.sampled_from(["25%", 0, 2]),
        st.sampled_from(["0s", "5s"]),
        st.sampled_from([{}, {"inFlight": {"port": 80}}]),
        st.sampled_from(["Hold", "Release"]),
        st.sampled_from(["Graceful", "Gate"]),
        st.sampled_from(["None", "Hash"]),
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    found = [
        replace(pod, uid=f"u{number}", name=f"p{number}")
        for number, pod in enumerate(draw(st.lists(pods(), max_size=5)))
    ]
    keeps = st.sampled_from([None, 0, 1, 5])
    workload = Workload(
        kind="Deployment",
        name="web",
        uid="w",
        wanted=draw(st.integers(0, 5)),
        current_revision=draw(REVISIONS),
        max_surge=draw(st.integers(0, 2)),
        max_unavailable=draw(st.integers(0, 6)),
        recreate=draw(st.sampled_from([False, False, True])),
        paused=draw(st.sampled_from([False, False, True])),
        settled_generation=draw(st.sampled_from([True, True, False])),
        groups=tuple(
            Group(f"rs-{revision}", revision, revision, draw(keeps), draw(st.integers(0, 7))) for revision in ("a", "b")
        ),
        create_failed_since=draw(MAYBE),
    )
    return World(
        spec=draw(specs()),
        status=LosslessRolloutStatus(pods=PodCounts(established=draw(st.integers(0, 6)))),
        workload=draw(st.sampled_from([workload, workload, workload, workload, None])),
        problem=draw(st.sampled_from([None, None, None, Problem("NotFound", "x" * 5000)])),
        pods=tuple(found),
        evictions_wait=draw(st.booleans()),
        hold_works=draw(st.booleans()),
    )


@settings(max_examples=5 * settings().max_examples)
@given(worlds())
def test_every_world_has_an_answer_that_breaks_no_promise_and_comes_to_rest(world: World) -> None:
    check(world, decide(world, NOW), NOW)


@given(worlds())
def test_the_answer_is_always_the_same(world: World) -> None:
    assert decide(world, NOW) == decide(world, NOW)


@given(worlds())
def test_what_is_said_can_be_stored(world: World) -> None:
    status = decide(world, NOW).status
    assert LosslessRolloutStatus.model_validate_json(status.model_dump_json(by_alias=True)) == status


@given(worlds())
def test_a_hold_never_falls_below_the_pods_that_are_not_drained_afterwards(world: World) -> None:
    decision = decide(world, NOW)
    after = applied(world, decision.steps)
    for step in decision.steps:
        if isinstance(step, SetKeep) and step.keep is not None:
            undrained = [pod for pod in after.pods if pod.live and pod.group == step.group.uid and not pod.drained]
            assert step.keep >= len(undrained)


@given(worlds())
def test_every_pod_is_written_to_once_at_most(world: World) -> None:
    written = [step.pod.uid for step in decide(world, NOW).steps if isinstance(step, Move)]
    assert len(written) == len(set(written))


@given(worlds())
def test_letting_go_twice_does_nothing_the_second_time(world: World) -> None:
    groups = world.workload.groups if world.workload else ()
    left = applied(world, let_go(world.pods, groups))
    assert let_go(left.pods, left.workload.groups if left.workload else ()) == ()


@given(worlds(), st.integers(-3, 3))
def test_a_clock_that_jumps_a_little_raises_nothing(world: World, seconds: int) -> None:
    now = NOW + timedelta(seconds=seconds)
    check(world, decide(world, now), now)
