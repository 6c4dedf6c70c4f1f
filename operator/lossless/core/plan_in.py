"""The next step of a pod that is wanted: on its way in, in, or wanted again."""

import re
from dataclasses import replace
from datetime import datetime

from lossless.core import way_in
from lossless.core.moment import Moment, progress_of
from lossless.core.passage import Stage
from lossless.core.plan import Plan, note
from lossless.core.steps import Event, Move, StartWarmup, Step, Verb
from lossless.core.waits import Wait, first_wait
from lossless.core.world import Pod, Presence


def plan_in(pod: Pod, here: Moment, spared: frozenset[str]) -> Plan:
    """What it waits for and what is done about it. `spared`: who may be taken out of the traffic now (uids)."""
    passage = pod.passage
    if passage.stage.is_out:
        return _wanted_again(pod, here)
    if passage.stage is Stage.ADMITTED:
        if way_in.cold_again(pod, here) and pod.uid in spared:
            back = replace(passage, stage=Stage.STARTING, since=here.now, withdrawn_at=here.now, gone_at=None, warmed=0)
            message = "a container was restarted: it is cold again"
            return Plan(pod, steps=(Move(Verb.CLOSE, pod, back, "Restarted", message, gate=False),))
        if pod.gated and not pod.gate_open:
            return Plan(
                pod,
                steps=(Move(Verb.ADMIT, pod, passage, "Admitted", "its gate was closed by somebody else", gate=True),),
            )
        return Plan(pod, _not_handed_out(pod, here))
    if not pod.gated:
        return Plan(pod)  # Nothing holds it back; it is adopted once it is ready.
    if pod.gate_open:
        shut = replace(passage, stage=Stage.STARTING, since=here.now, warmed=0)
        message = "its gate was opened before it was ready"
        return Plan(pod, steps=(Move(Verb.CLOSE, pod, shut, "NotLetIn", message, gate=False),))
    if passage.stage is Stage.RAMPING and _older(passage.since, pod.containers_ready_since):
        back = replace(passage, stage=Stage.STARTING, since=here.now, warmed=0)
        message = "a container was restarted: it is cold again"
        return Plan(pod, steps=(Move(Verb.CLOSE, pod, back, "Restarted", message, gate=False),))
    wait = way_in.wait_on_the_way_in(pod, here)
    if wait is None:
        return Plan(pod, steps=(_admit(pod, here),))
    if wait.stage is Stage.RAMPING and passage.stage is not Stage.RAMPING:
        return Plan(pod, wait, (_ramp(pod, wait, here),))
    return Plan(pod, wait, _warm_up(pod, wait, here) if wait.stage is Stage.WARMING else note(pod, wait, here))


def _not_handed_out(pod: Pod, here: Moment) -> Wait | None:
    """A registry does not hand it out: so nobody calls it, and it does not serve. Nothing of ours is left to be done
    but to say so; whoever is to go stays until it does."""
    registries = {one.source for one in pod.registrations}
    absent = [one for one in pod.sightings if one.source in registries and one.presence is Presence.ABSENT]
    if not absent or not pod.able:
        return None
    said = ", ".join(one.text for one in absent)
    return Wait(Stage.ADMITTED, "NotHandedOut", f"let in, but not in {said}", pod.passage.admitted_at or here.now)


def _ramp(pod: Pod, wait: Wait, here: Moment) -> Move:
    """From here on it has some traffic: so it also has something to drain, should it have to go."""
    begun = replace(
        pod.passage,
        stage=Stage.RAMPING,
        since=here.now,
        waiting_for=wait.text,
        admitted_at=here.now,
        admitted_restarts=-1,
        withdrawn_at=None,
        gone_at=None,
        drained_at=None,
    )
    return Move(Verb.RAMP, pod, begun, wait.reason, wait.message)


def _admit(pod: Pod, here: Moment) -> Move:
    progress = progress_of(pod)
    left = first_wait(way_in.WAY_IN, pod, replace(here, needed_cold=frozenset()))
    reason, message, warning = "Admitted", str(progress or "its containers are ready"), False
    if left and pod.uid in here.needed_cold:
        reason, warning = "AdmittedCold", True
        why = here.overload or "too few pods are serving"
        message = f"let in before it was warm ({left.message}): {why}"
    elif left:
        reason, warning = "WarmupTimedOut", True
        message = f"let in at warmup.timeout ({left.message})"
    elif progress and progress.failed:
        reason, warning = "WarmupFailed", True
    passage = replace(
        pod.passage,
        stage=Stage.ADMITTED,
        since=here.now,
        waiting_for="",
        warmed=progress.sent if progress else 0,
        admitted_at=here.now,
        admitted_restarts=pod.restarts,
        withdrawn_at=None,
        gone_at=None,
        drained_at=None,
    )
    event = Event(reason, message, warning=True, pod=pod) if warning else None
    return Move(Verb.ADMIT, pod, passage, reason, message, gate=True, event=event)


def _warm_up(pod: Pod, wait: Wait, here: Moment) -> tuple[Step, ...]:
    progress = progress_of(pod)
    passage = pod.passage
    if passage.stage is not Stage.WARMING or _older(passage.since, pod.containers_ready_since):
        begun = replace(passage, stage=Stage.WARMING, since=here.now, waiting_for=wait.text, warmed=0)
        return (Move(Verb.WARM_UP, pod, begun, wait.reason, wait.message), StartWarmup(pod))
    if progress is None:
        return (StartWarmup(pod, skip=passage.warmed),)
    return note(pod, wait, here)


def _wanted_again(pod: Pod, here: Moment) -> Plan:
    """It was on its way out and is not surplus any more."""
    passage = replace(pod.passage, since=here.now, waiting_for="", gone_at=None, drained_at=None, cost_before=None)
    cost = _cost_before(pod)
    warm = passage.admitted_at is not None and not way_in.restarted(pod)
    if warm and (pod.containers_ready or not pod.gated):
        back = replace(passage, stage=Stage.ADMITTED, withdrawn_at=None)
        gate = True if pod.containers_ready else None
        return Plan(
            pod, steps=(Move(Verb.READMIT, pod, back, "Readmitted", "it is wanted again", gate=gate, cost=cost),)
        )
    back = replace(passage, stage=Stage.STARTING, warmed=0)
    message = "it is wanted again, and not warm: it goes through the way in"
    return Plan(pod, steps=(Move(Verb.READMIT, pod, back, "WantedAgain", message, cost=cost),))


def _cost_before(pod: Pod) -> int | None:
    """The user's own deletion cost, to be put back; None: ours does not stand in its place."""
    before = pod.passage.cost_before
    if before is None:
        return None
    is_cost = re.fullmatch(r"-?[0-9]{1,10}", before) and -(2**31) <= int(before) < 2**31
    return int(before) if is_cost else 0


def _older(at: datetime | None, than: datetime | None) -> bool:
    return at is not None and than is not None and at < than
