"""Whatever happens, in whatever order: no promise is broken on the way, and a quiet cluster converges.

The promises are checked where they would be broken: `shell.check` on every decision, `native` and `shell` on what was
done, `scenario` on the end.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import given, note, settings
from hypothesis import strategies as st

from lossless.api import names
from lossless.api.resource import Mode
from tests.core.given import spec
from tests.core.native import Native, Pod, Rollout
from tests.core.scenario import Scenario
from tests.core.shell import Shell

Happening = Callable[[Scenario, int], object]


def _pod(does: Callable[[Scenario, Pod], object]) -> Happening:
    def happen(scenario: Scenario, number: int) -> None:
        if pod := scenario.pod(number):
            does(scenario, pod)

    return happen


def _hold(door: str) -> Happening:
    def hold(_: Scenario, pod: Pod) -> None:
        pod.annotations[f"{names.HOLD_PREFIX}somebody"] = f"{door}: because"
        pod.version += 1

    return _pod(hold)


def _gate(is_open: bool) -> Happening:
    def turn(scenario: Scenario, pod: Pod) -> None:
        if not is_open and (scenario.cluster.rollout is None or scenario.cluster.rollout.deleting):
            return  # Nobody is there any more to open it again.
        pod.gate_open = is_open and pod.gated
        pod.excused |= is_open
        pod.version += 1

    return _pod(turn)


def _end(scenario: Scenario, pod: Pod) -> None:
    """Gone at once, with no grace: preempted, or its node was lost."""
    del scenario.cluster.pods[pod.uid]


def _bad_release(scenario: Scenario, _: int) -> None:
    scenario.release()
    scenario.shell.bad |= {scenario.cluster.deployment.template}


def _cordon(scenario: Scenario, number: int) -> None:
    scenario.cluster.cordoned ^= {("n1", "n2")[number % 2]}


def _remove(scenario: Scenario, _: int) -> None:
    if scenario.cluster.rollout:
        scenario.cluster.rollout = replace(scenario.cluster.rollout, deleting=True)


def _create(scenario: Scenario, _: int) -> None:
    if scenario.cluster.rollout is None:
        scenario.cluster.rollout = Rollout(spec(drain={"settle": "5s"}))


def _shell(scenario: Scenario, count: int) -> None:
    for _ in range(count + 1):
        scenario.shell.step()


NATIVE: dict[str, Happening] = {
    "deployment controller": lambda s, _: s.cluster.deployment_controller(),
    "replica set controller": lambda s, _: s.cluster.replica_set_controller(),
    "scheduler": lambda s, _: s.cluster.scheduler(),
    "kubelet": lambda s, _: s.cluster.kubelet(),
    "endpoints": lambda s, _: s.cluster.endpoints(),
    "every controller": lambda s, _: s.cluster.step(),
}
OURS: dict[str, Happening] = {
    "shell": _shell,
    "watch pods": lambda s, _: s.shell.watch_pods(),
    "watch sets": lambda s, _: s.shell.watch_sets(),
    "watch deployment": lambda s, _: s.shell.watch_deployment(),
    "watch slices": lambda s, _: s.shell.watch_slices(),
    "watch rollout": lambda s, _: s.shell.watch_rollout(),
    "crash": lambda s, _: s.shell.crash(),
    "a write fails": lambda s, _: setattr(s.shell, "failing", True),
}
TIME: dict[str, Happening] = {
    "wait": lambda s, n: s.wait(n / 2),
    "run": lambda s, n: s.run(2 * n),
    "run on": lambda s, n: s.run(10 * n),
}
USERS: dict[str, Happening] = {
    "release": lambda s, _: s.release(),
    "undo": lambda s, _: s.cluster.undo(),
    "scale": lambda s, n: s.cluster.change(replicas=n),
    "pause": lambda s, _: s.cluster.change(paused=True),
    "resume": lambda s, _: s.cluster.change(paused=False),
}
SPEC: dict[str, Happening] = {
    "settle": lambda s, n: s.change_spec(drain={"settle": f"{2 + n}s"}),
    "max parallel": lambda s, n: s.change_spec(warmup={"requests": [{"port": 80}], "maxParallel": n + 1}),
    "affinity": lambda s, n: s.change_spec(traffic={"affinity": ("None", "Hash")[n % 2]}),
    "no warm-up": lambda s, _: s.change_spec(warmup={}),
    "gate": lambda s, n: s.change_spec(drain={"settle": "5s", "disruption": ("Gate", "Graceful")[n % 2]}),
    "observe": lambda s, _: s.change_spec(mode="Observe"),
    "enforce": lambda s, _: s.change_spec(mode="Enforce"),
    "remove": _remove,
    "create": _create,
}
MISHAPS: dict[str, Happening] = {
    "delete a pod": _pod(lambda s, pod: s.cluster.delete(pod)),
    "a container restarts": _pod(lambda s, pod: s.cluster.restart(pod)),
    "a pod flaps": _pod(lambda s, pod: s.cluster.flap(pod)),
    "a pod is lost": _pod(_end),
    "cordon": _cordon,
    "evict a pod": _pod(lambda s, pod: s.cluster.evict(pod)),
    "bad release": _bad_release,
    "a registry gives no answer": lambda s, _: setattr(s.shell, "unanswered", True),
    "it answers again": lambda s, _: setattr(s.shell, "unanswered", False),
    "somebody holds the door in": _hold("in"),
    "somebody holds the door out": _hold("out"),
    "somebody opens a gate": _gate(True),
    "somebody closes a gate": _gate(False),
}


@dataclass(frozen=True)
class Setting:
    """How a story begins."""

    deployment: dict[str, Any]
    sections: dict[str, Any]
    cluster: dict[str, Any]
    by_template: bool
    adopted: bool

    def begin(self) -> Scenario:
        rollout = Rollout(spec(**self.sections))
        cluster = Native(None if self.adopted else rollout, **self.cluster)
        cluster.deployment = replace(cluster.deployment, **self.deployment)
        scenario = Scenario(cluster, Shell(cluster, by_template=self.by_template))
        scenario.run(3)
        cluster.rollout = rollout
        scenario.run(3)
        return scenario


def settings_of(adopted: st.SearchStrategy[bool]) -> st.SearchStrategy[Setting]:
    strategy = st.sampled_from([(1, 0), (0, 1), (1, 1), (2, 0), (0, 2), (2, 2)])
    deployment = st.builds(
        lambda replicas, limits, recreate, min_ready: {
            "replicas": replicas,
            "surge": 0 if recreate else limits[0],
            "unavailable": 0 if recreate else min(limits[1], max(1, replicas)),
            "recreate": recreate,
            "min_ready": min_ready,
        },
        st.integers(0, 5),
        strategy,
        st.sampled_from([False, False, False, True]),
        st.sampled_from([0, 0, 3]),
    )
    warmup = st.fixed_dictionaries(
        {
            "requests": st.sampled_from([[], [{"port": 80}]]),
            "delay": st.sampled_from(["0s", "0s", "3s"]),
            "onFailure": st.sampled_from(["Continue", "Hold"]),
            "timeout": st.sampled_from(["10m", "12s"]),
            "maxParallel": st.sampled_from(["25%", 1]),
        }
    )
    drain = st.fixed_dictionaries(
        {
            "settle": st.sampled_from(["5s", "2s", "16s"]),
            "timeout": st.sampled_from(["10m", "25s"]),
            "onTimeout": st.sampled_from(["Hold", "Release"]),
            "disruption": st.sampled_from(["Graceful", "Gate"]),
        }
    )
    cluster = st.fixed_dictionaries(
        {
            "room": st.sampled_from([100, 100, 2, 3]),
            "quota": st.sampled_from([100, 100, 5]),
            "start": st.sampled_from([1.5, 0.0, 4.0]),
        }
    )
    traffic = st.fixed_dictionaries({"affinity": st.sampled_from(["None", "Hash"])})
    sections = st.fixed_dictionaries({"warmup": warmup, "drain": drain, "traffic": traffic})
    # With Recreate only the template tells which ReplicaSet is current: see test_stories.
    return st.tuples(deployment, sections, cluster, st.booleans(), adopted).map(
        lambda told: Setting(told[0], told[1], told[2], told[3] or told[0]["recreate"], told[4])
    )


def happenings(size: int, *kinds: dict[str, Happening]) -> st.SearchStrategy[list[tuple[str, int]]]:
    """A story: each kind of thing is as likely as any other."""
    what = st.one_of([st.sampled_from(sorted(kind)) for kind in kinds])
    return st.lists(st.tuples(what, st.integers(0, 5)), max_size=size)


EVERYTHING: dict[str, Happening] = NATIVE | OURS | TIME | USERS | SPEC | MISHAPS


def tell(scenario: Scenario, story: list[tuple[str, int]]) -> None:
    for what, number in story:
        EVERYTHING[what](scenario, number)


def end(scenario: Scenario) -> None:
    """Quiet falls. One more release must go through: what only looks like rest does not pass for it."""
    scenario.make_peace()
    written = len(scenario.shell.writes)
    scenario.run_out()
    note(f"{len(scenario.shell.writes) - written} writes until it was quiet")
    if scenario.cluster.is_stuck:
        scenario.cluster.change(replicas=scenario.cluster.deployment.replicas + 1)
        scenario.make_peace()
        scenario.run_out()
    scenario.must_have_converged()
    scenario.release()
    scenario.run_out()
    scenario.must_have_converged()


@settings(max_examples=2 * settings().max_examples)
@given(settings_of(st.just(False)), happenings(40, NATIVE, OURS, TIME, USERS))
def test_releases_undone_scaled_and_paused_in_any_order(setting: Setting, story: list[tuple[str, int]]) -> None:
    scenario = setting.begin()
    tell(scenario, story)
    end(scenario)


@settings(max_examples=2 * settings().max_examples)
@given(settings_of(st.booleans()), happenings(40, NATIVE, OURS, TIME, USERS, SPEC, MISHAPS))
def test_with_everything_going_wrong_in_between(setting: Setting, story: list[tuple[str, int]]) -> None:
    scenario = setting.begin()
    tell(scenario, story)
    end(scenario)


@given(settings_of(st.booleans()), happenings(25, NATIVE, OURS, TIME, USERS, SPEC, MISHAPS))
def test_taken_away_at_any_moment_it_leaves_a_workload_that_rolls_natively(
    setting: Setting, story: list[tuple[str, int]]
) -> None:
    scenario = setting.begin()
    tell(scenario, story)
    _remove(scenario, 0)
    end(scenario)
    assert scenario.cluster.rollout is None


@given(settings_of(st.booleans()), happenings(25, NATIVE, OURS, TIME, USERS, SPEC, MISHAPS))
def test_observing_at_any_moment_it_touches_nothing_any_more(setting: Setting, story: list[tuple[str, int]]) -> None:
    scenario = setting.begin()
    tell(scenario, story)
    _create(scenario, 0)
    scenario.change_spec(mode=Mode.OBSERVE.value)
    end(scenario)
    if scenario.observing:
        scenario.shell.writes.clear()
        scenario.release()
        scenario.run_out()
        assert scenario.shell.writes == []
