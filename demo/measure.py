"""One release under load, recorded."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from demo.ways import HEADLESS, LIST_AGE_SECONDS, NAME, PORT, REPLICAS, Way, new_version
from localcluster import Box, load
from localcluster.load import CachedAddresses, Fresh, KeptAlive, Outcome, Plan
from localcluster.recorder import recording
from localcluster.timeline import PodHistory, Timeline

Say = Callable[[str], None]

RATE = 120.0
"""Requests a second, of all callers together."""
WARM_IN_SECONDS = 3.0
"""At first the pods are cold for everybody; this much is not measured."""
STEADY_SECONDS = 4.0
TAIL_SECONDS = 3.0
"""At least so long is measured after the last old pod has gone; longer while a list may name it: `harmless_at`."""
LONGEST_RELEASE_SECONDS = 150.0


@dataclass(frozen=True, slots=True)
class Run:
    """A way, and what was seen of it. The outcome has the marks begin, release, released and end."""

    way: Way
    outcome: Outcome
    timeline: Timeline


def plan(url: str, way: Way) -> Plan:
    """Through the ClusterIP on fresh and on kept-alive connections, and by clients that balance over an own list.

    There are as many of those as their lists' age has seconds, so one reads its list each second: what is lost does not
    hang on when a release happens to begin.
    """
    return Plan(
        RATE,
        (
            Fresh(url),
            KeptAlive(url),
            CachedAddresses(
                HEADLESS, PORT, namespace=way.key, every=LIST_AGE_SECONDS, clients=LIST_AGE_SECONDS, share=1
            ),
        ),
    )


def measure(box: Box, way: Way, say: Say) -> Run:
    """Put the load on, release, and wait until it can have no more effect. The way's Deployment must be available."""
    address = box.get("service", NAME, way.key)["spec"]["clusterIP"]
    with (
        recording(box, namespace=way.key, annotations_prefixes=["lossless.dev/"], name=f"timeline-{way.key}") as seen,
        load.running(box, plan(f"http://{address}/", way), namespace=way.key, name=way.key) as run,
    ):
        say(f"{RATE:.0f} requests/s from {len(plan('http://x/', way).callers)} kinds of callers; the pods get warm")
        time.sleep(WARM_IN_SECONDS)
        begin = run.mark("begin")
        time.sleep(STEADY_SECONDS)
        release = run.mark("release")
        say("releases version 2")
        box.kubectl("patch", "deployment", NAME, "-n", way.key, "-p", json.dumps(new_version()))
        told = ""
        while (state := progress(seen.timeline(), release)) != "":
            if time.time() > release + LONGEST_RELEASE_SECONDS:
                raise load.HarnessBroken(f"{way.key}: not released after {LONGEST_RELEASE_SECONDS:.0f} s: {state}")
            if state != told:
                told = state
                say(f"{time.time() - release:5.1f} s  {state}; {_so_far(run.so_far(), begin)}")
            time.sleep(0.25)
        released = run.mark("released")
        say(f"released in {released - release:.1f} s; {_so_far(run.so_far(), begin)}")
        rest = harmless_at(seen.timeline(), release) - time.time()
        say(f"{rest:.0f} s more, until no caller's list of addresses can name an old pod")
        time.sleep(rest)
        run.mark("end")
        outcome = run.finish()
        return Run(way, outcome.window("begin"), seen.timeline())


def progress(timeline: Timeline, release: float) -> str:
    """What is left of a release, in words; empty when it is done: all new pods available, all old ones gone."""
    alive = [pod for pod in timeline.pods if pod.ended is None]
    old = [pod for pod in alive if is_old(pod, release)]
    new = [pod for pod in alive if not is_old(pod, release) and pod.states[-1].ready]
    if not old and len(new) == len(alive) == REPLICAS and timeline.deployments[-1].settled:
        return ""
    return f"{len(new)} new pods ready, {len(old)} old ones left"


def is_old(pod: PodHistory, release: float) -> bool:
    """Whether it was there before the release. Times of creation are whole seconds, so one may seem earlier by one."""
    return pod.created < release - 1


def harmless_at(timeline: Timeline, release: float) -> float:
    """From when on the release can cost no request any more.

    A list names an old pod until it is read again after the pod was last published as ready; so all lists are new
    `LIST_AGE_SECONDS` after that. The old pods must be gone too, for a few seconds.
    """
    old = {pod.address for pod in timeline.pods if is_old(pod, release)}
    unpublished, published = release, False
    for state in timeline.endpoints:
        if state.service == HEADLESS:
            still = bool(old.intersection(state.ready))
            if published and not still:
                unpublished = state.at
            published = still
    gone = max((pod.ended for pod in timeline.pods if pod.ended), default=release)
    return max(unpublished + LIST_AGE_SECONDS + 1, gone + TAIL_SECONDS)


def _so_far(outcome: Outcome, begin: float) -> str:
    measured = outcome.window(begin)
    return f"{len(measured.lost)} of {measured.sent} requests lost so far"
