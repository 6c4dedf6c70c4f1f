"""How many pods a workload has, by its controllers' count and by what is known here."""

from dataclasses import dataclass

Pods = tuple[int, int]
"""All of them, and the ready ones."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Both. A pod and its count never change at the same instant, and on a busy control plane minutes apart."""

    controllers: Pods
    known: Pods

    @property
    def differ(self) -> bool:
        return self.controllers != self.known

    @property
    def some_are_unknown(self) -> bool:
        """Controllers count more than are known. The other way round they are only behind: with a pod that was made
        its count comes later."""
        return any(counted > known for counted, known in zip(self.controllers, self.known, strict=True))
