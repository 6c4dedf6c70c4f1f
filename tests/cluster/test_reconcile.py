"""One turn: what is asked of the API server, in which order, and what becomes of failures. The API is a fake."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lossless.api import names
from lossless.api.resource import InFlight
from lossless.cluster.act import Actor
from lossless.cluster.adoption import OBSERVED_WITHIN, SETTLES_WITHIN, Adoption
from lossless.cluster.autoscaling import Autoscaling
from lossless.cluster.disruptions import Disruptions
from lossless.cluster.errors import Forbidden, Outdated
from lossless.cluster.gather import Asked, gather
from lossless.cluster.live import LiveReader
from lossless.cluster.observed import SeenPod
from lossless.cluster.parameters import Parameters
from lossless.cluster.preflight import Preflight
from lossless.cluster.ramping import Ramping
from lossless.cluster.reconcile import Reconciler
from lossless.cluster.report import EVERY, LONGEST, Reporter
from lossless.cluster.resources import DEPLOYMENTS, ENDPOINT_SLICES, PODS, REPLICA_SETS, ROLLOUTS, SERVICES, Resource
from lossless.cluster.store import Store
from lossless.core.passage import format_time
from lossless.core.steps import Decision, Event
from lossless.core.world import InFlightCount, Presence, Registered, Sighting, WarmupProgress, World
from lossless.pods.warmup import Target
from lossless.traffic.registries.book import View
from tests.cluster import objects
from tests.cluster.fake_api import FakeApi
from tests.cluster.objects import condition

NS, KEY = objects.NAMESPACE, (objects.NAMESPACE, "web")
NOON = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)


class Quiet:
    """Whoever is told things, and does nothing."""

    def __init__(self) -> None:
        self.started: list[Target] = []
        self.kept: frozenset[str] = frozenset()
        self.published: list[str] = []
        self.forgotten: list[Any] = []
        self.known: dict[str, View] = {}
        """What the one registry was last seen to hold, by uid."""
        self.live: dict[str, View] = {}
        """What it holds by now, which only a live look tells."""

    def start(self, target: Target, requests: Any, skip: int = 0, on_failure: Any = None) -> None:
        self.started.append(target)

    def progress(self, uid: str) -> WarmupProgress | None:
        return None

    def keep_only(self, uids: Iterable[str]) -> None:
        self.kept = frozenset(uids)

    def follow(self, key: Any, namespace: str, specs: Any, instances: Any) -> None:
        pass

    def views(self, key: Any, uid: str) -> tuple[View, ...]:
        return tuple(view for one, view in self.known.items() if one == uid)

    async def look_now(self, key: Any) -> None:
        self.known = self.live

    def tell(self, key: Any, source: str, uid: str, fraction: float) -> None:
        raise AssertionError("there is no registry to tell")

    async def restore(self, namespace: str, spec: Any, instance: Any) -> None:
        raise AssertionError("there is no registry to tell")

    async def publish(self, namespace: str, regarding: Mapping[str, str], event: Event, now: datetime) -> None:
        self.published.append(f"{regarding['kind']}/{regarding['name']} {event.reason}")

    def observe_decision(self, key: Any, decision: Decision, world: World, now: datetime) -> None:
        pass

    def forget(self, key: Any) -> None:
        self.forgotten.append(key)


class Shop:
    """A namespace, and the operator that looks after it."""

    def __init__(self) -> None:
        self.api, self.store, self.told = FakeApi(), Store(), Quiet()
        self.now = NOON
        self.in_flight = InFlightCount(0, "none")
        self.asked: list[str] = []

        def clock() -> datetime:
            return self.now

        def monotonic() -> float:
            return self.now.timestamp()

        def changed(_: object) -> None:
            pass

        async def ask(pod: SeenPod, spec: InFlight) -> InFlightCount:
            self.asked.append(pod.name)
            return self.in_flight

        self.disruptions = Disruptions(self.api, self.store, changed, clock)
        self.reconciler = Reconciler(
            store=self.store,
            actor=Actor(self.api, self.store, changed, self.told, self.told, clock, self.disruptions.raised),
            disruptions=self.disruptions,
            adoption=Adoption(self.api, self.store, changed, monotonic),
            parameters=Parameters(self.api, self.store, monotonic),
            live=LiveReader(self.api, self.store, changed),
            reporter=Reporter(self.api, self.store, changed, monotonic),
            warmups=self.told,
            registries=self.told,
            ramping=Ramping(self.api, self.store, clock),
            autoscaling=Autoscaling(self.api, self.store, changed, clock),
            preflight=Preflight(self.api, self.store, clock),
            ask_in_flight=ask,
            events=self.told,
            metrics=self.told,
            clock=clock,
        )

    def has(self, resource: Resource, *raws: objects.Raw, watched: bool = True) -> None:
        for raw in raws:
            told = self.api.has(resource, raw)
            if watched:
                self.store.table(resource).put(told)

    async def looked_through(self) -> None:
        """All pods of the workload are known to be known: nothing is listed in the next turn."""
        rollout = self.store.rollouts.named(*KEY)
        assert rollout is not None
        workload = gather(self.store, rollout, rollout.status, Asked()).world.workload
        assert workload is not None
        await self.reconciler.adoption.look(rollout, workload)

    async def turn(self) -> float | None:
        """One turn; forgets what was asked before it. What the policies are told is the business of other tests."""
        await self.reconciler.parameters.ensure(NS)
        self.api.calls.clear()
        self.api.bodies.clear()
        return await self.reconciler.reconcile(KEY)

    async def first_turns(self) -> None:
        """Adopt, hold, report: until there is nothing left to do at this moment."""
        for _ in range(4):
            await self.turn()


def shop(*pods: objects.Raw, replicas: int = 1, live: int = 1, ready: int = 1, **spec: Any) -> Shop:
    made = Shop()
    made.has(ROLLOUTS, objects.rollout("web", **spec))
    made.has(DEPLOYMENTS, objects.deployment("web", replicas=replicas))
    made.has(REPLICA_SETS, objects.replica_set("web-1", replicas=live, readyReplicas=ready))
    made.has(SERVICES, objects.service("web"))
    made.has(PODS, *pods)
    ends = [objects.endpoint(one["metadata"]["name"], one["status"]["podIP"], ready=True) for one in pods]
    made.has(ENDPOINT_SLICES, objects.endpoint_slice("web-x", "web", *ends))
    return made


def starting(name: str = "new") -> objects.Raw:
    """A new pod whose containers have just become ready, behind a gate that is still closed."""
    raw = objects.pod(name)
    raw["status"]["conditions"] = [condition("ContainersReady", "True"), condition("Ready", "False")]
    return raw


def draining(name: str, gone_for: float) -> objects.Raw:
    """A pod that was admitted, withdrawn, and has been out of every Service for so many seconds."""
    raw = objects.pod(name)
    raw["metadata"]["annotations"] = {
        names.STAGE: "Draining",
        names.SINCE: format_time(NOON - timedelta(seconds=gone_for)),
        names.ADMITTED_AT: format_time(NOON - timedelta(hours=1)),
        names.WITHDRAWN_AT: format_time(NOON - timedelta(seconds=gone_for + 1)),
        names.GONE_AT: format_time(NOON - timedelta(seconds=gone_for)),
    }
    raw["status"]["conditions"] = [
        condition("ContainersReady", "True"),
        condition("Ready", "False"),
        condition(names.GATE, "False"),
    ]
    return raw


def admitted(name: str) -> objects.Raw:
    raw = objects.pod(name)
    raw["metadata"]["annotations"] = {
        names.STAGE: "Admitted",
        names.ADMITTED_AT: format_time(NOON - timedelta(hours=1)),
    }
    return raw


def going(gone_for: float = 60, **spec: Any) -> Shop:
    """A scale-in from two to one: one serves, the other has drained."""
    made = shop(admitted("stays"), draining("goes", gone_for), live=2, ready=1, **spec)
    listed = objects.endpoint_slice("web-x", "web", objects.endpoint("stays", "10.0.0.7", ready=True))
    made.has(ENDPOINT_SLICES, listed)
    return made


# -- ordinary turns ----------------------------------------------------------------------------------------------------


async def test_a_new_pod_is_let_in_with_one_patch() -> None:
    made = shop(starting(), ready=0)
    await made.looked_through()
    await made.turn()
    assert [call for call in made.api.asked() if call.endswith("pods")] == ["patch pods"]
    gate = made.api.objects[PODS, "new"]["status"]["conditions"][-1]
    assert (gate["type"], gate["status"]) == (names.GATE, "True")


async def test_our_own_write_is_known_at_once() -> None:
    made = shop(starting(), ready=0)
    await made.first_turns()
    await made.turn()
    assert made.api.calls == []


async def test_a_workload_at_rest_costs_nothing() -> None:
    made = shop(admitted("a"))
    await made.first_turns()
    made.now += timedelta(hours=1)
    assert await made.turn() is None
    assert made.api.calls == []


async def test_a_hold_is_raised_before_a_pod_moves() -> None:
    made = shop(starting(), ready=0)
    await made.looked_through()
    await made.turn()
    order = [call for call in made.api.asked() if call.startswith("patch")]
    assert order[:2] == ["patch replicasets", "patch pods"]


# -- what cannot be undone ---------------------------------------------------------------------------------------------


async def test_before_a_pod_is_marked_drained_two_live_looks_are_taken() -> None:
    made = going()
    await made.turn()
    looks = [call for call in made.api.calls if call[1] in ("deployments", "endpointslices")]
    assert looks == [
        ("get", "deployments", "web"),
        ("list", "endpointslices", "kubernetes.io/service-name in (web)"),
    ]
    drained = made.api.objects[PODS, "goes"]["metadata"]["annotations"]
    assert names.DRAINED_AT in drained
    assert drained[names.DELETION_COST] == str(names.LOWEST_COST)


async def test_a_pod_that_is_wanted_again_by_now_is_not_marked_drained() -> None:
    made = going()
    made.api.has(DEPLOYMENTS, objects.deployment("web", replicas=2))  # The watch has not told of it yet.
    await made.turn()
    annotations = made.api.objects[PODS, "goes"]["metadata"]["annotations"]
    assert names.DRAINED_AT not in annotations
    assert annotations[names.STAGE] == "Admitted"


async def test_a_pod_that_is_listed_again_by_now_is_not_marked_drained() -> None:
    made = going()
    both = [objects.endpoint(name, "10.0.0.7", ready=True) for name in ("stays", "goes")]
    made.api.has(ENDPOINT_SLICES, objects.endpoint_slice("web-x", "web", *both))
    await made.turn()
    assert names.DRAINED_AT not in made.api.objects[PODS, "goes"]["metadata"]["annotations"]


def held(presence: Presence) -> dict[str, View]:
    """A registry that was told to take out the pod that goes, and is seen so."""
    return {"uid-goes": View(Sighting("consul", presence), Registered("consul", fraction=0.0))}


@pytest.mark.parametrize(
    ("at_last", "stage"),
    [(Presence.ABSENT, "Drained"), (Presence.PRESENT, "Withdrawn"), (Presence.UNANSWERED, "Withdrawn")],
)
async def test_a_pod_is_marked_drained_only_if_its_registry_says_at_the_last_look_that_it_is_out(
    at_last: Presence, stage: str
) -> None:
    made = going(traffic={"registries": [{"name": "consul", "consul": {"server": "http://consul", "service": "web"}}]})
    made.told.known, made.told.live = held(Presence.ABSENT), held(at_last)
    await made.turn()
    annotations = made.api.objects[PODS, "goes"]["metadata"]["annotations"]
    assert annotations[names.STAGE] == stage
    assert (names.DRAINED_AT in annotations) is (at_last is Presence.ABSENT)


async def test_a_revision_that_came_meanwhile_is_looked_up() -> None:
    made = going()
    made.api.has(DEPLOYMENTS, objects.deployment("web", revision=2))
    made.api.has(REPLICA_SETS, objects.replica_set("web-2", revision=2))
    await made.turn()
    assert ("list", "replicasets", "app=web") in made.api.calls


async def test_a_pod_that_changed_meanwhile_is_read_and_decided_on_again() -> None:
    made = going()
    await made.looked_through()
    made.api.changes(PODS, "goes")
    with pytest.raises(Outdated):
        await made.turn()
    assert names.DRAINED_AT not in made.api.objects[PODS, "goes"]["metadata"]["annotations"]
    await made.turn()
    assert names.DRAINED_AT in made.api.objects[PODS, "goes"]["metadata"]["annotations"]


async def test_a_pod_is_asked_for_its_requests_only_when_that_is_all_that_is_left() -> None:
    spec = {"drain": {"settle": "5s", "inFlight": {"port": 8080}}}
    made = going(gone_for=2, **spec)
    await made.turn()
    assert made.asked == []
    made = going(gone_for=60, **spec)
    made.in_flight = InFlightCount(3, "3 requests in flight")
    assert await made.turn() is not None
    assert made.asked == ["goes"]
    assert names.DRAINED_AT not in made.api.objects[PODS, "goes"]["metadata"]["annotations"]
    made.in_flight = InFlightCount(0, "none")
    await made.turn()
    assert names.DRAINED_AT in made.api.objects[PODS, "goes"]["metadata"]["annotations"]


# -- failures ----------------------------------------------------------------------------------------------------------


async def test_the_first_failure_ends_the_turn_and_what_is_waited_for_is_said_nevertheless() -> None:
    made = shop(starting(), ready=0)
    made.api.failures[("patch", "web-1")] = Forbidden("PATCH web-1", "no", 403)
    with pytest.raises(Forbidden):
        await made.turn()
    assert "patch pods" not in made.api.asked()
    assert made.api.objects[ROLLOUTS, "web"]["status"]["phase"] == "WarmingUp"


async def test_a_hold_worked_out_for_an_older_replica_set_is_not_written() -> None:
    made = shop(starting(), ready=0)
    made.api.changes(REPLICA_SETS, "web-1")
    with pytest.raises(Outdated):
        await made.turn()
    assert names.KEEP_LABEL not in made.api.objects[REPLICA_SETS, "web-1"]["metadata"]["labels"]
    await made.turn()
    assert made.api.objects[REPLICA_SETS, "web-1"]["metadata"]["labels"][names.KEEP_LABEL] == "1"


async def test_a_pod_that_is_gone_is_forgotten() -> None:
    made = shop(starting(), ready=0)
    await made.looked_through()
    del made.api.objects[PODS, "new"]
    with pytest.raises(Outdated):
        await made.turn()
    assert made.store.pods.by_uid("uid-new") is None


# -- adoption ----------------------------------------------------------------------------------------------------------


async def test_pods_without_our_label_are_found_when_it_is_first_seen() -> None:
    made = shop()
    made.has(PODS, objects.pod("old", rollout=None), watched=False)
    await made.turn()
    assert made.api.objects[PODS, "old"]["metadata"]["labels"][names.ROLLOUT_LABEL] == "web"


async def test_nothing_is_listed_where_its_controllers_count_the_pods_that_are_known() -> None:
    made = shop(admitted("a"))
    await made.turn()
    assert "list pods" not in made.api.asked()


async def test_pods_that_only_their_replica_set_counts_are_found_after_a_moment() -> None:
    made = shop(admitted("a"))
    await made.first_turns()
    made.has(REPLICA_SETS, objects.replica_set("web-1", replicas=2, readyReplicas=2))
    made.has(PODS, objects.pod("unlabelled", rollout=None), watched=False)
    wait = await made.turn()
    assert wait == pytest.approx(SETTLES_WITHIN, abs=0.01)
    assert "list pods" not in made.api.asked()
    made.now += timedelta(seconds=SETTLES_WITHIN)
    await made.turn()
    assert "list pods" in made.api.asked()
    assert names.ROLLOUT_LABEL in made.api.objects[PODS, "unlabelled"]["metadata"]["labels"]


async def test_nothing_is_listed_while_its_controllers_count_fewer_pods_than_are_known() -> None:
    made = shop(admitted("a"), admitted("b"), live=1, ready=0)
    await made.first_turns()
    made.now += timedelta(seconds=SETTLES_WITHIN)
    await made.turn()
    assert "list pods" not in made.api.asked(), "they are only behind"


async def test_a_pod_without_our_label_that_is_gone_is_missed() -> None:
    made = shop(objects.pod("unlabelled", rollout=None), mode="Observe")
    await made.first_turns()
    made.has(REPLICA_SETS, objects.replica_set("web-1", replicas=0, readyReplicas=0))
    del made.api.objects[PODS, "unlabelled"]
    await made.turn()
    made.now += timedelta(seconds=OBSERVED_WITHIN)
    await made.turn()
    assert made.store.pods.by_uid("uid-unlabelled") is None


async def test_in_observe_mode_where_every_new_pod_is_without_our_label_the_moment_is_shorter() -> None:
    made = shop(admitted("a"), mode="Observe")
    await made.first_turns()
    made.has(REPLICA_SETS, objects.replica_set("web-1", replicas=2, readyReplicas=2))
    made.has(PODS, objects.pod("unlabelled", rollout=None), watched=False)
    await made.turn()
    made.now += timedelta(seconds=OBSERVED_WITHIN)
    await made.turn()
    assert made.store.pods.by_uid("uid-unlabelled") is not None


async def test_pods_that_a_watch_tells_of_are_not_asked_for_and_stay_known() -> None:
    made = shop(admitted("a"))
    await made.first_turns()
    made.has(REPLICA_SETS, objects.replica_set("web-1", replicas=2, readyReplicas=2))
    await made.turn()
    made.now += timedelta(seconds=SETTLES_WITHIN)
    await made.turn()
    assert ("list", "pods", f"app=web,!{names.ROLLOUT_LABEL}") in made.api.calls
    assert made.store.pods.by_uid("uid-a") is not None


async def test_somebody_elses_pods_with_the_same_labels_are_left_alone() -> None:
    made = shop(admitted("a"))
    made.has(PODS, objects.pod("strange", replica_set="other-1", rollout=None), watched=False)
    await made.first_turns()
    assert made.store.pods.by_uid("uid-strange") is None


# -- giving back -------------------------------------------------------------------------------------------------------


async def test_when_it_is_deleted_nothing_of_ours_stays() -> None:
    made = shop(admitted("a"))
    await made.first_turns()
    made.store.rollouts.remove("uid-web", 10**9)
    await made.turn()
    metadata = made.api.objects[PODS, "a"]["metadata"]
    assert names.ROLLOUT_LABEL not in metadata["labels"]
    assert not any(key.startswith(names.GROUP) for key in metadata["annotations"])
    assert names.KEEP_LABEL not in made.api.objects[REPLICA_SETS, "web-1"]["metadata"]["labels"]
    assert set(made.told.forgotten) == {KEY}
    await made.turn()
    assert made.api.calls == []


async def test_a_target_that_is_gone_lets_its_pods_go() -> None:
    made = shop(admitted("a"))
    await made.first_turns()
    made.store.deployments.remove("uid-web", 10**9)
    await made.turn()
    assert names.ROLLOUT_LABEL not in made.api.objects[PODS, "a"]["metadata"]["labels"]
    assert made.api.objects[ROLLOUTS, "web"]["status"]["conditions"][0]["reason"] == "TargetNotFound"


# -- the status --------------------------------------------------------------------------------------------------------


def one_more_serves(made: Shop, pods: str = "ab") -> None:
    made.has(PODS, *(admitted(name) for name in pods))
    made.has(
        ENDPOINT_SLICES, objects.endpoint_slice("web-x", "web", *(objects.endpoint(one, ready=True) for one in pods))
    )
    made.has(REPLICA_SETS, objects.replica_set("web-1", replicas=len(pods), readyReplicas=len(pods)))


async def test_mere_counts_are_written_every_few_seconds_only() -> None:
    made = shop(admitted("a"), replicas=3)
    await made.first_turns()
    one_more_serves(made)
    wait = await made.turn()
    assert "patch losslessrollouts" not in made.api.asked()
    assert wait is not None
    assert 0 < wait <= EVERY
    made.now += timedelta(seconds=EVERY)
    await made.turn()
    assert made.api.asked().count("patch losslessrollouts") == 1


def slow_by(made: Shop, *seconds: float) -> None:
    """One write of a status after the other takes so long; from the last on, all."""
    patch, left = made.api.patch, list(seconds)

    async def slowly(resource: Resource, *arguments: Any, **named: Any) -> objects.Raw:
        if resource is ROLLOUTS:
            made.now += timedelta(seconds=left.pop(0) if len(left) > 1 else left[0])
        return await patch(resource, *arguments, **named)

    made.api.patch = slowly  # type: ignore[method-assign]


async def written_after(made: Shop, pods: str) -> float:
    """Seconds after which mere counts, which change now, are written."""
    one_more_serves(made, pods)
    made.api.calls.clear()
    waited = 0.0
    for _ in range(10):
        wait = await made.turn()
        if "patch losslessrollouts" in made.api.asked():
            return waited
        assert wait is not None
        made.now += timedelta(seconds=wait, milliseconds=1)  # a clock like this one takes what is less for nothing
        waited += wait
    raise AssertionError("never")


@pytest.mark.parametrize(
    ("writes", "seconds"),
    [((0.1,), 10.0), ((20.0,), LONGEST), ((20.0, 0.0), EVERY), ((0.0, 20.0), EVERY)],
    ids=["slow", "very slow", "slow once, and not since", "slow just now, and not before"],
)
async def test_a_slow_api_server_is_told_mere_counts_less_often(writes: tuple[float, ...], seconds: float) -> None:
    made = shop(admitted("a"), replicas=4)
    slow_by(made, *writes)
    await made.first_turns()
    assert await written_after(made, "ab") == pytest.approx(EVERY), "there was none before to tell it from chance"
    assert await written_after(made, "abc") == pytest.approx(seconds, abs=0.1)


async def test_a_status_for_a_spec_that_is_no_more_is_not_written() -> None:
    made = shop(admitted("a"))
    made.api.changes(ROLLOUTS, "web")
    with pytest.raises(Outdated):
        await made.turn()
    assert "status" not in made.api.objects[ROLLOUTS, "web"]


async def test_a_status_of_something_that_is_gone_makes_it_known_as_gone() -> None:
    made = shop(admitted("a"))
    del made.api.objects[ROLLOUTS, "web"]
    with pytest.raises(Outdated):
        await made.turn()
    assert made.store.rollouts.named(*KEY) is None
