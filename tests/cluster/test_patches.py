"""What a step looks like on the wire."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from lossless.api import names
from lossless.cluster import patches
from lossless.cluster.observed import SeenPod
from lossless.core.passage import Passage, Stage
from lossless.core.steps import LetGo, Move, SetKeep, Verb
from lossless.core.world import Group
from tests.cluster import objects
from tests.cluster.objects import condition

NOW = datetime(2026, 1, 1, 12, 1, tzinfo=UTC)


def seen(gate: str | None = "True", gated: bool = True, ready: tuple[str, str] = ("True", "")) -> SeenPod:
    raw = objects.pod("a")
    if not gated:
        raw["spec"]["readinessGates"] = []
    conditions = [condition("ContainersReady", "True"), condition("Ready", ready[0], reason=ready[1])]
    raw["status"]["conditions"] = conditions + ([condition(names.GATE, gate)] if gate else [])
    return SeenPod.parse(raw)


def moved(pod: SeenPod, verb: Verb = Verb.NOTE, gate: bool | None = None, **fields: Any) -> objects.Raw:
    core = replace(pod.core, resource_version="77")
    passage = fields.pop("passage", Passage(stage=Stage.WITHDRAWN))
    return patches.move(Move(verb, core, passage, "Why", "because", gate=gate, **fields), pod, "web", NOW)


def conditions(body: objects.Raw) -> list[objects.Raw]:
    found: list[objects.Raw] = body.get("status", {}).get("conditions", [])
    return found


def test_a_move_is_for_this_very_pod_and_labels_it() -> None:
    body = moved(seen())
    assert body["metadata"]["uid"] == "uid-a"
    assert body["metadata"]["labels"] == {names.ROLLOUT_LABEL: "web"}
    assert body["metadata"]["annotations"][names.STAGE] == "Withdrawn"
    assert body["metadata"]["annotations"][names.DRAINED_AT] is None


def test_only_what_can_not_be_undone_is_refused_when_the_pod_has_changed() -> None:
    assert "resourceVersion" not in moved(seen())["metadata"]
    assert moved(seen(), Verb.MARK_DRAINED)["metadata"]["resourceVersion"] == "77"


def test_closing_the_gate_changes_its_time() -> None:
    (gate,) = conditions(moved(seen("True"), gate=False))
    assert gate == {
        "type": names.GATE,
        "status": "False",
        "reason": "Why",
        "message": "because",
        "lastTransitionTime": "2026-01-01T12:01:00Z",
    }


def test_a_gate_that_stays_as_it_is_keeps_its_time_and_says_why_anew() -> None:
    (gate,) = conditions(moved(seen("False"), gate=None))
    assert (gate["status"], gate["reason"]) == ("False", "Why")
    assert "lastTransitionTime" not in gate


def test_a_gate_that_was_never_written_is_closed_with_the_first_note() -> None:
    (gate,) = conditions(moved(seen(None), gate=None))
    assert (gate["status"], gate["lastTransitionTime"]) == ("False", "2026-01-01T12:01:00Z")


def test_a_pod_without_our_gate_is_withdrawn_through_its_ready_condition() -> None:
    (ready,) = conditions(moved(seen(None, gated=False), gate=False))
    assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "False", patches.WITHDRAWN_REASON)
    assert conditions(moved(seen(None, gated=False), gate=None)) == []


def test_the_lowest_cost_is_written_and_nothing_comes_off() -> None:
    assert moved(seen(), cost=names.LOWEST_COST)["metadata"]["annotations"][names.DELETION_COST] == "-2147483648"
    assert moved(seen(), cost=0)["metadata"]["annotations"][names.DELETION_COST] is None
    assert names.DELETION_COST not in moved(seen())["metadata"]["annotations"]


def test_letting_go_takes_everything_off_and_opens_the_gate() -> None:
    pod = seen("False")
    body = patches.let_go(LetGo(pod.core), pod, NOW)
    assert set(body["metadata"]["annotations"]) == {*names.PASSAGE_ANNOTATIONS, names.REGISTRIES}
    assert set(body["metadata"]["annotations"].values()) == {None}
    assert body["metadata"]["labels"] == {names.ROLLOUT_LABEL: None}
    assert [(one["type"], one["status"]) for one in conditions(body)] == [(names.GATE, "True")]


def test_letting_go_gives_the_users_own_cost_back() -> None:
    pod = seen()
    for before, after in (("5", "5"), ("", None)):
        drained = replace(pod.core, passage=Passage(cost_before=before))
        body = patches.let_go(LetGo(drained), pod, NOW)
        assert body["metadata"]["annotations"][names.DELETION_COST] == after
    assert names.DELETION_COST not in patches.let_go(LetGo(pod.core), pod, NOW)["metadata"]["annotations"]


def test_letting_go_makes_ready_again_what_only_we_had_made_unready() -> None:
    ours = seen(None, gated=False, ready=("False", patches.WITHDRAWN_REASON))
    assert [(one["type"], one["status"]) for one in conditions(patches.let_go(LetGo(ours.core), ours, NOW))] == [
        ("Ready", "True")
    ]
    theirs = seen(None, gated=False, ready=("False", "ContainersNotReady"))
    assert conditions(patches.let_go(LetGo(theirs.core), theirs, NOW)) == []


def test_a_hold_is_written_for_the_version_that_it_was_worked_out_for() -> None:
    group = Group("uid-web-1", "web-1", "1", 3)
    body = patches.keep(SetKeep(group, 2), "41")
    assert body["metadata"] == {"uid": "uid-web-1", "resourceVersion": "41", "labels": {names.KEEP_LABEL: "2"}}
    assert patches.keep(SetKeep(group, None), "41")["metadata"]["labels"] == {names.KEEP_LABEL: None}


def test_a_pod_that_must_be_ready_to_be_deleted_is_called_so_since_it_really_was() -> None:
    since = datetime(2026, 3, 4, 11, 0, 0, 500, tzinfo=UTC)
    gate, ready = conditions(moved(seen("False"), Verb.MARK_DRAINED, shown_ready_since=since))
    assert (gate["type"], gate["status"]) == (names.GATE, "False"), "the gate stays as it is"
    assert (ready["type"], ready["status"], ready["lastTransitionTime"]) == ("Ready", "True", "2026-03-04T11:00:00Z")
