"""Who must go, and in which order."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from lossless.core.surplus import surplus
from lossless.core.world import Pod
from tests.core import upstream
from tests.core.given import (
    NOW,
    PodModifier,
    WorldModifier,
    ago,
    containers_ready,
    crashed,
    drained,
    draining,
    having,
    let_in,
    new,
    old,
    passing,
    paused,
    running,
    serving,
    unlisted,
    wanted,
    warming,
    withdrawn,
    without_a_current_revision,
    world,
)


def going(*parts: Pod | WorldModifier) -> list[str]:
    return [pod.name for pod in surplus(world(*parts))]


class TestWho:
    def test_every_pod_of_an_old_revision(self) -> None:
        assert set(going(new("a"), old("b"), old("c"))) == {"b", "c"}

    def test_of_the_current_one_what_exceeds_the_wanted_replicas(self) -> None:
        assert len(going(wanted(1), new("a", serving()), new("b", serving()), new("c", serving()))) == 2

    def test_the_old_ones_before_those(self) -> None:
        assert going(wanted(1), new("a", serving(9)), new("b", serving(8)), old("c", serving())) == ["c", "b"]

    def test_nothing_of_an_old_revision_while_paused(self) -> None:
        assert going(paused(), wanted(2), new("a", serving()), old("b", serving()), old("c", serving())) == []

    def test_a_paused_workload_with_one_replica_set_is_still_scaled_in(self) -> None:
        """Its template may have been changed already, so that its only ReplicaSet is of no current revision."""
        pods = [old("a", serving(9)), old("b", serving(8))]
        assert going(paused(), wanted(1), without_a_current_revision(), *pods) == ["b"]

    def test_everything_where_nothing_is_wanted(self) -> None:
        assert going(wanted(0), new("a", serving())) == ["a"]

    def test_everything_where_no_replica_set_is_current_as_in_the_middle_of_recreate(self) -> None:
        assert len(going(without_a_current_revision(), old("a"), old("b"))) == 2


class TestOrder:
    def first(self, one: PodModifier, other: PodModifier) -> None:
        """The first one goes, wherever in the list it is."""
        a, b = new("a", one), new("b", other)
        assert going(wanted(1), a, b) == ["a"]
        assert going(wanted(1), b, a) == ["a"]

    def test_a_choice_once_made_stands(self) -> None:
        self.first(withdrawn(), having(phase="Pending"))
        self.first(draining(), withdrawn())
        self.first(drained(), draining())

    def test_pods_that_never_had_traffic_before_those_that_had(self) -> None:
        self.first(warming(), lambda pod: crashed()(serving()(pod)))

    def test_pods_that_do_not_serve_before_those_that_do(self) -> None:
        """Else one that serves is chosen, the floor never spares it, and the scale-in never ends."""
        self.first(lambda pod: crashed()(serving()(pod)), serving())
        self.first(lambda pod: unlisted()(serving(9000)(pod)), serving(1))

    def test_then_the_unassigned_the_pending_and_the_unready(self) -> None:
        self.first(having(), running())
        self.first(having(node="n", phase="Pending"), running())
        self.first(lambda pod: crashed()(serving()(pod)), let_in())

    def test_then_those_on_cordoned_nodes(self) -> None:
        self.first(
            lambda pod: having(cordoned=True, deletion_cost=9)(serving(9000)(pod)),
            lambda pod: having(deletion_cost=1)(serving(1)(pod)),
        )

    def test_then_the_cheap_ones(self) -> None:
        self.first(lambda pod: having(deletion_cost=-1)(serving(9000)(pod)), serving(1))

    def test_then_those_on_crowded_nodes(self) -> None:
        crowd = old("c", serving(), having(node="crowded"))
        a = new("a", serving(9000), having(node="crowded"))
        assert going(wanted(1), a, new("b", serving(1)), crowd) == ["c", "a"]

    def test_then_those_that_became_ready_last_restarted_most_and_are_newest(self) -> None:
        self.first(serving(10), serving(1000))
        self.first(lambda pod: having(restarts=3)(serving()(pod)), serving())
        self.first(having(created_at=ago(10)), having(created_at=ago(1000)))

    def test_when_an_unready_pod_became_so_does_not_matter(self) -> None:
        self.first(
            lambda pod: having(ready_since=ago(1000), created_at=ago(10))(containers_ready()(pod)),
            lambda pod: having(ready_since=ago(10), created_at=ago(1000))(containers_ready()(pod)),
        )


def _pods() -> st.SearchStrategy[list[Pod]]:
    """Pods that are alike in our own keys: all admitted and able to serve, or all not."""
    seconds = st.sampled_from([1, 2, 5, 40, 600])
    one = st.builds(
        lambda node, phase, cost, ready, restarts, created: having(
            node=node,
            phase=phase,
            deletion_cost=cost,
            ready_since=ago(ready),
            restarts=restarts,
            created_at=ago(created),
        ),
        st.sampled_from(["", "n1", "n2"]),
        st.sampled_from(["Pending", "Unknown", "Running"]),
        st.integers(-1, 1),
        seconds,
        st.integers(0, 1),
        seconds,
    )
    return st.tuples(st.booleans(), st.lists(one, min_size=2, max_size=6)).map(
        lambda pair: [
            new(str(number), passing(admitted_at=ago(700)), having(gate_open=pair[0], ready=pair[0]), modify)
            for number, modify in enumerate(pair[1])
        ]
    )


@settings(max_examples=300)
@given(_pods())
def test_we_choose_as_the_replica_set_controller_does(pods: list[Pod]) -> None:
    """Of two pods that it tells apart by anything but their uid, it never chooses the other one first."""
    crowd = Counter(pod.node for pod in pods if pod.node)
    ours = surplus(world(wanted(0), *pods))
    for place, first in enumerate(ours):
        for second in ours[place + 1 :]:
            assert upstream.difference(first, second, crowd, NOW, ties=False) <= 0


@settings(max_examples=100)
@given(_pods(), st.integers(0, 6))
def test_whoever_must_go_when_fewer_are_wanted_is_among_them_when_fewer_still_are(pods: list[Pod], count: int) -> None:
    more = surplus(world(wanted(count), *pods))
    fewer = surplus(world(wanted(count + 1), *pods))
    assert more[: len(fewer)] == fewer


@given(_pods())
def test_time_alone_does_not_change_the_order(pods: list[Pod]) -> None:
    later = [replace(pod, created_at=pod.created_at - timedelta(seconds=77)) for pod in pods]
    assert [pod.uid for pod in surplus(world(wanted(0), *later))] == [
        pod.uid for pod in surplus(world(wanted(0), *pods))
    ]
