"""What all registries have in common: an instance is registered, kept alive by beats, and taken back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class RegistryError(Exception):
    """The registry did not do it: it is away, or it refused."""


class UnknownOption(ValueError):
    """A registration was given an option that its kind does not have; the message names those it has."""


@dataclass(frozen=True)
class Instance:
    """What is registered."""

    service: str
    ip: str
    port: int
    name: str
    """Of the pod; unique."""
    version: str = "1"
    weight: float = 1.0
    disabled: bool = False
    """Registered, but not to be asked until somebody says so: the way each registry has for it."""

    @property
    def metadata(self) -> dict[str, str]:
        return {"version": self.version, "pod": self.name}


@dataclass(frozen=True)
class Options:
    """What was said after the `?` of a registry's URL."""

    given: Mapping[str, str] = field(default_factory=dict)

    def only(self, **defaults: str) -> dict[str, str]:
        """These options, as given or by default. Raises UnknownOption when there are others."""
        if others := sorted(set(self.given) - set(defaults)):
            raise UnknownOption(f"unknown: {', '.join(others)}; there are {', '.join(defaults) or 'none'}")
        return {**defaults, **self.given}


class Registration(Protocol):
    """An instance in one registry. All methods raise RegistryError, and may be called again after that."""

    @property
    def every(self) -> float:
        """Seconds between two beats."""

    def register(self) -> None: ...

    def beat(self) -> bool:
        """Say that it is alive. False when the registry does not know it (any more): it has to register again."""

    def deregister(self) -> None: ...
