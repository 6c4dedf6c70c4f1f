"""Runs as the demo would record them, made up: three ways, a few pods, some losses."""

from __future__ import annotations

from collections.abc import Callable

from demo.measure import Run
from demo.ways import WAYS, Way
from localcluster.load import Cause, Outcome, Result
from localcluster.timeline import DeploymentState, Endpoints, PodHistory, PodState, Timeline

RELEASE = 1_700_000_000.0
STAGE = "lossless.dev/stage"
Steps = tuple[tuple[float, str], ...]

NATIVE_NEW: Steps = ((0.1, "Created"), (0.4, "Started"), (1.2, "Ready"))
NATIVE_OLD: Steps = ((-20, "Ready"), (1.4, "Terminating"), (2.2, "Gone"))
PRE_STOP_OLD: Steps = ((-20, "Ready"), (1.4, "Terminating"), (6.8, "Gone"))
LOSSLESS_NEW: Steps = ((0.1, "Created"), (0.3, "Starting"), (1.2, "Warming"), (5.3, "Admitted"))
LOSSLESS_OLD: Steps = (
    (-20, "Admitted"),
    (5.4, "Withdrawn"),
    (5.9, "Draining"),
    (22.0, "Drained"),
    (22.1, "Terminating"),
    (22.7, "Gone"),
)


def a_state(at: float, stage: str, address: str) -> PodState:
    managed = stage in ("Starting", "Warming", "Admitted", "Withdrawn", "Draining", "Drained")
    return PodState(
        RELEASE + at,
        scheduled=stage != "Created",
        running=stage not in ("Created", "Gone"),
        ready=stage in ("Ready", "Admitted"),
        terminating=stage in ("Terminating", "Gone"),
        gone=stage == "Gone",
        address=address,
        annotations={STAGE: stage} if managed else {},
    )


def a_pod(name: str, steps: Steps, address: str = "10.244.1.9") -> PodHistory:
    return PodHistory(
        name, f"uid-{name}", "hash", RELEASE + steps[0][0], tuple(a_state(at, stage, address) for at, stage in steps)
    )


def a_result(
    number: int, at: float, *, cause: Cause = Cause.OK, took: float = 6.0, caller: str = "fresh", pod: str = "web-old-1"
) -> Result:
    return Result(f"t-{number}", caller, RELEASE + at, 0.4, took, cause, 200, pod, "10.96.0.10:80", False, "")


def a_run(
    way: Way, old: Steps, new: Steps, end: float, lost: tuple[float, ...] = (), slow: tuple[float, ...] = ()
) -> Run:
    released = max(old[-1][0], new[-1][0])
    pods = [a_pod(f"web-old-{number}", old) for number in (1, 2)] + [
        a_pod(f"web-new-{number}", new) for number in (1, 2)
    ]
    results = [a_result(number, at / 10) for number, at in enumerate(range(-50, int(end * 10)))]
    results += [a_result(9000 + n, at, took=801) for n, at in enumerate(slow)]
    results += [
        a_result(9500 + n, at, cause=Cause.REFUSED, caller="cached-addresses" if n % 2 else "kept-alive")
        for n, at in enumerate(lost)
    ]
    marks = {"begin": -5.0, "release": 0.0, "released": released, "end": end}
    serving = ((-20, 2), (new[-1][0], 4), (old[1][0], 3), (old[1][0] + 0.3, 2))
    return Run(
        way,
        Outcome(tuple(sorted(results, key=lambda each: each.at)), {name: RELEASE + at for name, at in marks.items()}),
        Timeline(
            tuple(pods),
            tuple(Endpoints(RELEASE + at, "web", tuple(map(str, range(count))), ()) for at, count in serving),
            (
                DeploymentState(RELEASE - 20, "web", 2, 2, 2, 2, 2, True),
                DeploymentState(RELEASE + new[-1][0] + 0.1, "web", 2, 2, 2, 2, 2, True),
            ),
        ),
    )


def three_runs(
    native_lost: tuple[float, ...] = (1.6, 1.7, 2.0),
    lossless_lost: tuple[float, ...] = (),
) -> list[Run]:
    native, pre_stop, lossless = WAYS
    return [
        a_run(native, NATIVE_OLD, NATIVE_NEW, 18.0, native_lost, slow=(1.4, 1.5)),
        a_run(pre_stop, PRE_STOP_OLD, NATIVE_NEW, 23.0, (6.9, 7.1), slow=(1.4, 1.5)),
        a_run(lossless, LOSSLESS_OLD, LOSSLESS_NEW, 39.0, lossless_lost),
    ]


Make = Callable[..., list[Run]]
