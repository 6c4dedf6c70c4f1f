"""The way out: what a pod waits for before its controller may delete it."""

from datetime import datetime, timedelta
from typing import Final

from lossless.api.resource import OnDrainTimeout
from lossless.core.moment import Moment
from lossless.core.passage import Passage, Stage
from lossless.core.waits import Check, Wait, bounded, first_wait
from lossless.core.world import Pod, Presence, Sighting

ASK_AGAIN: Final = timedelta(seconds=1)
"""How often a pod is asked for its requests in flight while it drains."""
REGISTERED_AGAIN: Final = timedelta(seconds=60)
"""By then an application that lives is back in a registry that had forgotten it: with Eureka by its next heartbeat and
the next renewal of the cache (30 s each), with Consul by the agent's anti-entropy (a minute), with others sooner."""

STARTED_WITHIN: Final = timedelta(seconds=60)
"""By then an application that starts has registered, as far as one waits for it that is not wanted any more."""
TELLING: Final = "Telling"
NOT_SEEN: Final = "NotSeen"


def told_everyone(pod: Pod, moment: Moment) -> Wait | None:
    """Its gate is closed, and whoever can't be looked at has been told."""
    if not pod.passage.withdrawn_at or (pod.open and not moment.stays_listed(pod)):
        return Wait(Stage.WITHDRAWN, "Withdrawing", "it is being withdrawn", _start(pod, moment))
    untold = [one.source for one in pod.registrations if one.blind and one.source not in pod.passage.told]
    if untold:
        evidence = {sighting.source: sighting.evidence for sighting in pod.sightings if sighting.evidence}
        message = ", ".join(
            f"{source} must be told ({evidence[source]})" if source in evidence else f"{source} must be told"
            for source in untold
        )
        return Wait(Stage.WITHDRAWN, TELLING, message, _start(pod, moment), _deadline(pod, moment))
    return None


def gone_from_every_source(pod: Pod, moment: Moment) -> Wait | None:
    """No traffic source that can be seen still lists it; registries alone, where it stays in its Services."""
    sources = _to_be_gone_from(pod, moment)
    silent = [sighting for sighting in sources if sighting.presence is Presence.UNANSWERED]
    present = [sighting for sighting in sources if sighting.presence is Presence.PRESENT]
    if not present and silent:
        said = ", ".join(sighting.text for sighting in silent)
        return Wait(Stage.WITHDRAWN, NOT_SEEN, f"no answer from {said}", _start(pod, moment), _deadline(pod, moment))
    if not present:
        return None
    listed = ", ".join(sighting.text for sighting in present)
    return Wait(Stage.WITHDRAWN, "StillListed", f"still in {listed}", _start(pod, moment), _deadline(pod, moment))


def not_forgotten(pod: Pod, moment: Moment) -> Wait | None:
    """No registry has lost it without our word.

    Whoever has served was in all of them. One that does not know it when it is to be taken out has forgotten it, or
    does not tell the truth, and may hand it out all the same: so it is not believed at once, as long as an application
    that lives may need to be back. Then that one can be taken out like any other.
    """
    if pod.passage.gone_at or not pod.passage.admitted_at or not pod.containers_ready:
        return None
    missing = {one.source: (one.since or moment.now) + REGISTERED_AGAIN for one in pod.registrations if one.missing}
    until = max(missing.values(), default=moment.now)
    if moment.now >= until:
        return None
    where = ", ".join(missing)
    message = f"not registered in {where} any more, though nobody took it out; believed from {until:%H:%M:%S} UTC on"
    return Wait(Stage.WITHDRAWN, "Forgotten", message, _start(pod, moment), until)


def not_about_to_register(pod: Pod, moment: Moment) -> Wait | None:
    """Its application is not just starting.

    One that registers itself would do so by and by: after it was drained nobody could take it out any more, and before
    it has done so nobody can. It is not waited for for ever: it may never come so far.
    """
    starts = pod.phase == "Running" and not pod.containers_ready and not pod.restarts
    if pod.passage.gone_at or pod.passage.admitted_at or not starts:
        return None
    missing = ", ".join(one.source for one in pod.registrations if one.missing)
    until = _start(pod, moment) + STARTED_WITHIN
    if not missing or moment.now >= until:
        return None
    message = f"its application is starting, and would register in {missing}; believed from {until:%H:%M:%S} UTC on"
    return Wait(Stage.WITHDRAWN, "Starting", message, _start(pod, moment), until)


def settled(pod: Pod, moment: Moment) -> Wait | None:
    """Those who may still hold its address have had the time to forget it."""
    if moment.stays_listed(pod) and not _to_be_gone_from(pod, moment):
        return None  # Its preStop sleep is as long.
    since = pod.passage.gone_at or moment.now
    until = heard_by_all(since, pod, moment) + _settle(pod, moment)
    if moment.now >= until:
        return None
    return Wait(
        Stage.DRAINING, "Settling", f"gone from every traffic source; settle until {until:%H:%M:%S} UTC", since, until
    )


def not_held(pod: Pod, moment: Moment) -> Wait | None:
    """Nobody else keeps the door out shut."""
    held = next((hold for hold in pod.holds if hold.closes_out), None)
    if held is None:
        return None
    since = pod.passage.gone_at or moment.now
    return Wait(
        Stage.DRAINING,
        "HeldByOther",
        f"{held.who} keeps the door out shut: {held.reason}",
        since,
        _deadline(pod, moment),
    )


def nothing_in_flight(pod: Pod, moment: Moment) -> Wait | None:
    """It says that it works on no request any more; only if it was named where to ask, and gets no new ones."""
    if moment.world.spec.drain.in_flight is None or pod.phase != "Running" or moment.stays_listed(pod):
        return None
    count = pod.in_flight
    if count is not None and count.requests is not None and count.requests <= 0:
        return None
    message = count.evidence if count and count.evidence else "its requests in flight are not known yet"
    return Wait(Stage.DRAINING, "InFlight", message, pod.passage.gone_at or moment.now, moment.now + ASK_AGAIN)


OUT_OF_SIGHT: Final[tuple[Check, ...]] = (
    told_everyone,
    gone_from_every_source,
    not_forgotten,
    not_about_to_register,
    settled,
)
"""As far as nobody calls it any more."""
WAY_OUT: Final[tuple[Check, ...]] = (*OUT_OF_SIGHT, not_held, nothing_in_flight)


def heard_by_all(since: datetime, pod: Pod, moment: Moment) -> datetime:
    """From when on those who follow its sources do as these say since then: after an outage, later."""
    caught_up = [moment.world.followers_caught_up_at, *(each.followers_caught_up_at for each in pod.sightings)]
    return max([since, *(at for at in caught_up if at)])


def unanswered_since(passage: Passage) -> datetime | None:
    """Since when a traffic source may have been out of reach, as far as it was written down; None: it was not."""
    out_of_reach = passage.waiting_for.startswith((f"{NOT_SEEN}: ", f"{TELLING}: "))
    return passage.withdrawn_at if passage.stage is Stage.WITHDRAWN and out_of_reach else None


def wait_on_the_way_out(pod: Pod, moment: Moment) -> Wait | None:
    """What a withdrawn pod waits for before it is drained; None: it is.

    ``drain.timeout`` bounds every wait from its withdrawal. Past it, onTimeout: Release lets it go, Hold keeps it and
    the wait is overdue.
    """
    wait = first_wait(WAY_OUT, pod, moment)
    if wait is None or wait.reason == "Withdrawing":
        return wait
    if not timed_out(pod, moment):
        return bounded(wait, _deadline(pod, moment))
    if moment.world.spec.drain.on_timeout is OnDrainTimeout.RELEASE:
        return None
    until = wait.until if wait.until and wait.until > moment.now else None
    return Wait(wait.stage, wait.reason, f"{wait.message}; longer than drain.timeout", wait.since, until, overdue=True)


def timed_out(pod: Pod, moment: Moment) -> bool:
    """Its way out has taken as long as it may."""
    return moment.now >= _deadline(pod, moment)


def _to_be_gone_from(pod: Pod, moment: Moment) -> list[Sighting]:
    registries = {one.source for one in pod.registrations}
    return [one for one in pod.sightings if one.source in registries or not moment.stays_listed(pod)]


def _settle(pod: Pod, moment: Moment) -> timedelta:
    """As long as the slowest of those who call it needs."""
    return max([moment.world.spec.drain.settle, *(sighting.settle for sighting in pod.sightings)])


def _start(pod: Pod, moment: Moment) -> datetime:
    return pod.passage.withdrawn_at or moment.now


def _deadline(pod: Pod, moment: Moment) -> datetime:
    return _start(pod, moment) + moment.world.spec.drain.timeout
