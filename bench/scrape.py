"""The operator's own metrics at one moment, and what changed between two. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Scrape:
    """One reading of /metrics."""

    samples: Mapping[tuple[str, Labels], float]

    @classmethod
    def parse(cls, text: str) -> Scrape:
        """From Prometheus text."""
        return cls(
            {
                (sample.name, tuple(sorted(sample.labels.items()))): sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            }
        )

    def total(self, name: str) -> float:
        """Over all labels."""
        return sum(value for (each, _), value in self.samples.items() if each == name)

    @property
    def cpu_seconds(self) -> float:
        return self.total("process_cpu_seconds_total")

    @property
    def memory_mib(self) -> float:
        return self.total("process_resident_memory_bytes") / 2**20

    def requests_since(self, before: Scrape) -> dict[str, int]:
        """By verb and resource: the API requests that the operator itself has counted since."""
        counted: dict[str, int] = {}
        for (name, labels), value in self.samples.items():
            made = round(value - before.samples.get((name, labels), 0.0))
            if name == "lossless_api_requests_total" and made:
                kind = "{verb} {resource}".format(**dict(labels))
                counted[kind] = counted.get(kind, 0) + made
        return counted
