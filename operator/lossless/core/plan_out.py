"""The next step of a pod that is surplus: on its way out."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from lossless.api import names
from lossless.core import leaving, way_out
from lossless.core.moment import Moment
from lossless.core.passage import Stage
from lossless.core.plan import Plan, note
from lossless.core.spared import least
from lossless.core.steps import Event, Move, Verb
from lossless.core.waits import Wait
from lossless.core.world import ByGroup, ByNode, Pod

SHOWN_AGAIN: Final = timedelta(seconds=5)
"""How long a drained pod that was called ready is left to its controller, before it is called so once more."""


def plan_out(pod: Pod, here: Moment, spared: frozenset[str]) -> Plan:
    """What it waits for and what is done about it. `spared`: who may be taken out of the traffic now (uids)."""
    passage = pod.passage
    if pod.drained:
        return _drained(pod, here)
    if not passage.stage.is_out:
        if _nothing_to_drain(pod):
            return _never_came_in(pod, here)
        if pod.uid not in spared:
            needed = least(pod, here)
            message = f"{here.serving} pods are serving and {needed} must: others have to come in first"
            if needed > here.floor or leaving.is_leaving(pod, here.world):
                message = f"its node ({pod.node}) is about to go; {message}"
            until = None
            if here.world.workload and here.floor > here.world.workload.wanted:
                message = f"{here.serving} pods are serving and the load needs {needed}, by its autoscaler's metrics"
                until = here.held_until
            return Plan(pod, Wait(passage.stage, "FloorHolds", message, passage.since or here.now, until))
        withdrawn = replace(
            passage, stage=Stage.WITHDRAWN, since=here.now, waiting_for="", withdrawn_at=here.now, gone_at=None
        )
        gate = None if here.stays_listed(pod) else False
        return Plan(pod, steps=(Move(Verb.WITHDRAW, pod, withdrawn, "Withdrawn", _why_surplus(pod, here), gate=gate),))
    if (pod.open and not here.stays_listed(pod)) or passage.withdrawn_at is None:
        return Plan(pod, steps=(_withdraw_again(pod, here),))
    wait = way_out.wait_on_the_way_out(pod, here)
    if wait is None:
        return Plan(pod, steps=(_mark_drained(pod, here, _evidence(pod, here)),))
    if wait.stage is Stage.DRAINING:
        # Written down as it is believed now: whoever goes on with it may not have seen the outage.
        gone_at = way_out.heard_by_all(passage.gone_at or here.now, pod, here)
        if passage.gone_at is None:
            gone = replace(passage, stage=Stage.DRAINING, since=here.now, waiting_for=wait.text, gone_at=gone_at)
            return Plan(pod, wait, (Move(Verb.SETTLE, pod, gone, wait.reason, wait.message),))
        if gone_at > passage.gone_at:
            later = replace(passage, waiting_for=wait.text, gone_at=gone_at)
            return Plan(pod, wait, (Move(Verb.NOTE, pod, later, wait.reason, wait.message),))
    if wait.stage is Stage.WITHDRAWN and passage.gone_at is not None:
        listed = replace(passage, stage=Stage.WITHDRAWN, since=here.now, waiting_for=wait.text, gone_at=None)
        return Plan(pod, wait, (Move(Verb.NOTE, pod, listed, wait.reason, wait.message),))
    return Plan(pod, wait, note(pod, wait, here))


def _drained(pod: Pod, here: Moment) -> Plan:
    """It only waits for its controller, unless somebody has let it in again meanwhile.

    A mark that a person has written on a pod that we have not drained is left alone: it is the break-glass.
    """
    if pod.stage is not Stage.DRAINED:
        return Plan(pod)
    if pod.uid == here.shown_ready and pod.containers_ready:
        since = pod.passage.since or here.now
        if here.now < since + SHOWN_AGAIN:
            message = "its controller is about to delete it"
            return Plan(pod, Wait(Stage.DRAINED, "Deleting", message, since, since + SHOWN_AGAIN))
        if not pod.open:
            return Plan(pod, steps=(_mark_drained(pod, here, "its controller has not deleted it yet"),))
    if not pod.open or here.stays_listed(pod):
        return Plan(pod)
    return Plan(pod, steps=(_withdraw_again(pod, here),))


def _withdraw_again(pod: Pod, here: Moment) -> Move:
    """Somebody else has let it in again: what was seen of it before that is worth nothing."""
    passage = replace(
        pod.passage,
        stage=Stage.WITHDRAWN,
        since=here.now,
        withdrawn_at=pod.passage.withdrawn_at or here.now,
        gone_at=None,
        drained_at=None,
    )
    return Move(Verb.WITHDRAW, pod, passage, "Withdrawn", "it was let in again by somebody else", gate=False)


def _nothing_to_drain(pod: Pod) -> bool:
    """It never had traffic, as far as anybody can tell.

    Nobody can of a pod without our gate, once it runs; nor of one that registers itself, once it is on a node: it may
    run for a moment before the kubelet says so.
    """
    begun = bool(pod.node) if pod.registrations else pod.phase != "Pending" and not pod.gated
    outside = not pod.open and not begun
    return pod.passage.admitted_at is None and outside and not pod.seen_somewhere


def _never_came_in(pod: Pod, here: Moment) -> Plan:
    """It never had traffic: there is nothing to drain."""
    held = next((hold for hold in pod.holds if hold.closes_out), None)
    if held and here.now < pod.created_at + here.world.spec.drain.timeout:
        message = f"{held.who} keeps the door out shut: {held.reason}"
        until = pod.created_at + here.world.spec.drain.timeout
        return Plan(pod, Wait(pod.stage, "HeldByOther", message, pod.created_at, until))
    return Plan(pod, steps=(_mark_drained(pod, here, "it never had traffic"),))


def _mark_drained(pod: Pod, here: Moment, evidence: str) -> Move:
    passage = replace(
        pod.passage,
        stage=Stage.DRAINED,
        since=here.now,
        waiting_for="",
        drained_at=here.now,
        cost_before=_users_cost(pod),
    )
    overdue = (
        pod.passage.withdrawn_at is not None and way_out.wait_on_the_way_out(pod, here) is None and _forced(pod, here)
    )
    event = Event("DrainTimedOut", f"let go at drain.timeout: {evidence}", warning=True, pod=pod) if overdue else None
    # The lowest cost makes the ReplicaSet controller choose it first; and as this is the last write to the pod, its
    # event wakes that controller whatever its back-off has grown to (kubernetes#132805).
    # Its Ready condition, where that is all it has, once more: the controller chooses a pod that is ready last.
    gate = None if pod.gated else False
    shown_ready_since = None
    if pod.uid == here.shown_ready and pod.containers_ready:
        # A StatefulSet that goes by readiness deletes no pod that is not ready. So it is called ready in this very
        # write, and for the instant until it is deleted some may call it again: its preStop sleep is there for them.
        # Where there is a gate, a kubelet takes that back at once.
        gate, shown_ready_since = None, pod.passage.admitted_at or pod.containers_ready_since
    return Move(
        Verb.MARK_DRAINED,
        pod,
        passage,
        "Drained",
        evidence,
        gate=gate,
        shown_ready_since=shown_ready_since,
        cost=names.LOWEST_COST,
        event=event,
    )


def _forced(pod: Pod, here: Moment) -> bool:
    """It goes because of its timeout: something is still waited for."""
    return way_out.timed_out(pod, here) and any(check(pod, here) for check in way_out.WAY_OUT)


def _evidence(pod: Pod, here: Moment) -> str:
    if _forced(pod, here):
        still = next(wait for check in way_out.WAY_OUT if (wait := check(pod, here)))
        return f"drain.timeout has passed; {still.message}"
    if here.stays_listed(pod):
        return f"the last of {pod.node}: its Services list it until it is deleted, and its preStop sleep is for them"
    sources = ", ".join(sighting.source for sighting in pod.sightings) or "every traffic source"
    return f"gone from {sources}; settled"


def _why_surplus(pod: Pod, here: Moment) -> str:
    workload = here.world.workload
    if workload and isinstance(workload.rule, ByNode) and pod.node in workload.rule.unwanted:
        return f"none is wanted on its node ({pod.node})"
    if workload and isinstance(workload.rule, ByGroup):
        group = next((one for one in workload.groups if one.uid == pod.group), None)
        return f"{group.name} is to have {group.asked} pods" if group else "it is not wanted any more"
    if workload and pod.revision != workload.current_revision:
        return f"it is of an old revision ({pod.revision})"
    if leaving.is_leaving(pod, here.world):
        return f"its node ({pod.node}) is about to go, and others serve in its place"
    return f"{workload.wanted if workload else 0} replicas are wanted"


def _users_cost(pod: Pod) -> str:
    """The user's own deletion cost, to be kept while ours stands in its place."""
    if pod.passage.cost_before is not None:
        return pod.passage.cost_before
    return str(pod.deletion_cost) if pod.deletion_cost else ""
