"""How many keys wait in the work queue, and for how long."""

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class QueueAge(Collector):
    """The age of the oldest key goes on growing after it was told: a queue that is stuck tells nothing any more."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """Args:
        monotonic: seconds, of any origin.
        """
        self._monotonic = monotonic
        self._depth = 0
        self._oldest_seconds = 0.0
        self._told_at = monotonic()

    def set(self, depth: int, oldest_seconds: float) -> None:
        self._depth, self._oldest_seconds, self._told_at = depth, oldest_seconds, self._monotonic()

    def collect(self) -> Iterator[Metric]:
        age = self._oldest_seconds + self._monotonic() - self._told_at if self._depth else 0.0
        yield GaugeMetricFamily("lossless_queue_depth", "Keys that wait to be reconciled.", value=self._depth)
        yield GaugeMetricFamily("lossless_queue_oldest_seconds", "How long the oldest of them has waited.", value=age)
