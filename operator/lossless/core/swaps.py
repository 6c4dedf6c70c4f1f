"""Pods swapped one at a time, for traffic that is hashed onto them (`traffic.affinity: Hash`).

What a hash ring can give, and what not. Each key is with the first member after it on the ring, so that to each key its
members stand in a random order, and it is with the first of those that are in. Let N pods be replaced by N others:

- Every key has to move once, for its pod goes. Nothing is better than 1 move a key.
- On a ring over addresses a new pod X lies elsewhere than the old one A that it replaces. X takes the keys of its own
  arcs from everybody, A leaves its keys to everybody. A key moves if X or A is the first of N + 1 members: 2/(N + 1),
  and over all N swaps 2N/(N + 1), which is 1.67 for 5 pods. It is the same whether X comes before A goes or both change
  at once; if A goes before X comes it is 2.
- b pods at a time make 2N/(N + b), and all of them together 1: but then half of all clients move in one moment, twice.
- That is so for points that stay where they are. Envoy deals about as many points as before to however many members
  there are (`minimum_ring_size`), so a member more or less takes some from all the others, and gives them back
  afterwards: while there are N + 1, about 1/(N + 1) of all keys are elsewhere (envoyproxy/envoy#22558).
- That each key moves once, and only when its own pod is swapped, takes a ring over something that X inherits from A.
  That is the slot: a number that the operator hands on from pod to pod (annotation `lossless.dev/slot`), for whoever
  feeds the ring to hash by (Envoy: `hash_key` in the endpoint's metadata `envoy.lb`), with one pod a slot, the youngest
  that is ready. Then neither the number of members nor anybody's points change.

So a swap is: X is let in and takes over the slot of A; when callers are seen to have X, A is withdrawn; when A is gone
from every source and has settled, the next pod has its turn. Not both in one turn: each is then up to its own kubelet,
and which is first is chance. Of 5 swaps a gateway saw none as one change, and A go first in 4: fewer than the wanted
pods, and slots that nobody has, for 0.2 s.

Where pods are missing (scale-out, a lost node, maxSurge 0 after A has gone) nobody waits for a turn: to fill up is no
swap, capacity comes first, and together they move fewer keys than one after the other. The same is true of a scale-in.

A workload that brings a whole set of pods before the others go (Argo Rollouts, blue-green) is not swapped pod by pod.

Nothing here waits without an end: for a pod that is let in and that nobody lists, `SEEN_WITHIN`; for one that goes,
drain.timeout; while the workload is paused, until it is resumed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import Final

from lossless.core import way_in, way_out
from lossless.core.moment import Moment, Turns
from lossless.core.passage import Stage
from lossless.core.waits import first_wait
from lossless.core.world import ByGroup, Pod

SEEN_WITHIN: Final = timedelta(seconds=30)
"""For so long a pod that was just let in is taken to be about to serve. Kubelets and controllers need seconds."""


def with_turns(here: Moment) -> Moment:
    """The same moment, where pods are swapped one at a time with whose turn it is."""
    workload = here.world.workload
    if workload is None or not here.world.affine:
        return here
    by_group = workload.rule if isinstance(workload.rule, ByGroup) else None
    if by_group and not by_group.swaps:
        return here
    fit = _fit(here)
    coming = {pod.uid: until for pod in here.world.pods if (until := _coming_until(pod, here))}
    leaving = {pod.name: until for pod in here.world.pods if (until := _leaving_until(pod, here))}
    room = workload.wanted - here.serving - len(coming)
    soonest = min([*coming.values(), *leaving.values()], default=None)
    if room > 0:
        turns = Turns(frozenset(pod.uid for pod in fit[:room]), "others come in first", soonest)
    elif room < 0 or coming:
        turns = Turns(frozenset(), "one that was let in has to serve, and another one to go, before the next", soonest)
    elif leaving:
        turns = Turns(frozenset(), f"{min(leaving)} has to be out of everybody's sight before the next", soonest)
    elif by_group:
        # Who goes is said only after one has come: its controller counts those that are there.
        turns = Turns(frozenset(pod.uid for pod in fit[:1]), "others come in first")
    elif not _to_be_swapped(here):
        turns = Turns(frozenset(), "there is none to be swapped with while the workload is paused")
    else:
        turns = Turns(frozenset(pod.uid for pod in fit[:1]), "others come in first")
    return replace(here, turns=turns)


def first_out(here: Moment) -> Sequence[Pod]:
    """The surplus pods, first to go first: before all others those whose slot another one has taken over."""
    if not here.world.affine:
        return here.surplus
    held = {pod.passage.slot for pod in here.world.pods if _is_in(pod) and not here.is_surplus(pod)} - {None}
    return sorted(here.surplus, key=lambda pod: pod.passage.slot not in held)


def slots(here: Moment) -> Mapping[str, int]:
    """The slot of each pod that is in, or has its turn to come in now (by uid).

    Who comes in for another one takes that one's slot; else the lowest that is free. Who has one keeps it.
    """
    if not here.world.affine or here.turns is None:
        return {}
    inside = sorted((pod for pod in here.world.pods if _is_in(pod)), key=_first_in)
    staying = [pod for pod in inside if not here.is_surplus(pod)]
    found: dict[str, int] = {}
    taken: set[int] = set()
    for pod in staying:
        if pod.passage.slot is not None and pod.passage.slot not in taken:
            found[pod.uid] = pod.passage.slot
            taken.add(pod.passage.slot)
    # Beside one that has taken it over, one that is about to go may have the same.
    found |= {pod.uid: pod.passage.slot for pod in inside if here.is_surplus(pod) and pod.passage.slot is not None}
    used = set(found.values())
    free = (slot for slot in count() if slot not in used)

    def have(pod: Pod, slot: int) -> None:
        found[pod.uid] = slot
        used.add(slot)

    for pod in inside:
        if pod.uid not in found:
            have(pod, next(free))
    inherited = (found[pod.uid] for pod in _to_be_swapped(here) if pod.uid in found and found[pod.uid] not in taken)
    is_swap = here.world.workload is not None and here.serving >= here.world.workload.wanted
    for pod in _fit(here):
        if pod.uid in here.turns.pods or pod.uid in here.needed_cold:
            slot = next(inherited, None) if is_swap else None
            if slot is None:
                slot = pod.passage.slot if pod.passage.slot is not None and pod.passage.slot not in used else next(free)
            have(pod, slot)
    return found


def _fit(here: Moment) -> list[Pod]:
    """Those who need nothing any more but their turn; the first to come in first."""
    behind = replace(here, turns=None)
    fit = [
        pod
        for pod in here.world.pods
        if pod.live and pod.managed and pod.gated and pod.stage.is_in and not pod.gate_open
        if not here.is_surplus(pod) and way_in.wait_to_be_fit(pod, behind) is None
    ]
    return sorted(
        fit, key=lambda pod: (pod.uid not in here.needed_cold, pod.containers_ready_since or here.now, pod.uid)
    )


def _is_in(pod: Pod) -> bool:
    return pod.live and pod.managed and pod.stage is Stage.ADMITTED


def _first_in(pod: Pod) -> tuple[datetime, str]:
    return pod.passage.admitted_at or pod.created_at, pod.uid


def _to_be_swapped(here: Moment) -> list[Pod]:
    """Those who serve until another one does in their place, the next one first."""
    return [pod for pod in first_out(here) if pod.able]


def _coming_until(pod: Pod, here: Moment) -> datetime | None:
    """It was let in, and callers are about to have it: until when it is taken for so. None: it is not on its way in."""
    since = pod.passage.since
    if not pod.able or pod.serving or pod.stage is not Stage.ADMITTED or since is None:
        return None
    return since + SEEN_WITHIN if here.now < since + SEEN_WITHIN else None


def _leaving_until(pod: Pod, here: Moment) -> datetime | None:
    """It was withdrawn, and callers may still have it: until when it is taken for so. None: it is none of those."""
    withdrawn_at = pod.passage.withdrawn_at or pod.passage.since
    if not pod.live or pod.stage not in (Stage.WITHDRAWN, Stage.DRAINING) or withdrawn_at is None:
        return None
    deadline = withdrawn_at + here.world.spec.drain.timeout
    wait = first_wait(way_out.OUT_OF_SIGHT, pod, here)
    if wait is None or here.now >= deadline:
        return None
    return min(wait.until or deadline, deadline)
