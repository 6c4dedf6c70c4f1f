"""The operator's metrics: what it works on, what it waits for and how it is doing.

Labels are bounded: a rollout has a fixed number of series whatever the number of its pods, and leaves none behind.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from lossless.core.steps import Decision
from lossless.core.world import World
from lossless.telemetry.queue_age import QueueAge
from lossless.telemetry.rollouts import Rollouts

RECONCILE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


def _now() -> datetime:
    return datetime.now(UTC)


class Metrics:
    """Everything there is to measure, behind methods named after what happened.

    Ages are worked out when they are read: they grow while nothing is reconciled, which is when they matter most.
    """

    def __init__(
        self,
        registry: CollectorRegistry | None = None,
        *,
        clock: Callable[[], datetime] = _now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Args:
        registry: where to register; one of its own, with the process's CPU and memory, when not given.
        clock: the time that the ages of passages are measured against.
        monotonic: seconds, for the age of the queue's oldest key.
        """
        if registry is None:
            registry = CollectorRegistry()
            ProcessCollector(registry=registry)
        self._registry = registry
        self._rollouts = Rollouts(clock)
        self._queue = QueueAge(monotonic)
        registry.register(self._rollouts)
        registry.register(self._queue)
        self._leader = Gauge("lossless_leader", "1 where this process holds the Lease.", registry=registry)
        self._reconcile_seconds = Histogram(
            "lossless_reconcile_seconds",
            "How long one reconcile took.",
            buckets=RECONCILE_BUCKETS,
            registry=registry,
        )
        self._errors = Counter(
            "lossless_reconcile_errors", "Reconciles that failed and are tried again.", ["reason"], registry=registry
        )
        self._requests = Counter(
            "lossless_api_requests",
            "Requests to the Kubernetes API.",
            ["verb", "resource", "code"],
            registry=registry,
        )

    def observe_decision(self, key: tuple[str, str], decision: Decision, world: World, now: datetime) -> None:
        """What was seen of a rollout (namespace, name), and what was decided about it."""
        self._rollouts.observe(key, decision, world, now)

    def forget(self, key: tuple[str, str]) -> None:
        """The rollout is gone: so are all of its series."""
        self._rollouts.forget(key)

    def reconcile_took(self, seconds: float) -> None:
        """One reconcile has ended, well or not."""
        self._reconcile_seconds.observe(seconds)

    def reconcile_failed(self, reason: str) -> None:
        """One reconcile has failed. `reason` is a word out of a fixed set, such as an exception's class name."""
        self._errors.labels(reason).inc()

    def api_request(self, verb: str, resource: str, code: int) -> None:
        """One request to the API was answered; code 0: it was not."""
        self._requests.labels(verb, resource, str(code)).inc()

    def set_leader(self, leading: bool) -> None:
        """This process took or lost the Lease."""
        self._leader.set(int(leading))

    def queue(self, depth: int, oldest_seconds: float) -> None:
        """How many keys wait to be reconciled, and how long the oldest of them has waited until now."""
        self._queue.set(depth, oldest_seconds)

    def render(self) -> bytes:
        """Everything as Prometheus text (version 0.0.4)."""
        return generate_latest(self._registry)
