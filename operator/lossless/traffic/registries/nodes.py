"""Asking every node of a registry, each by itself: one that is down must not keep the others from being heard."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from lossless.traffic.registries.errors import Nonsense, Refused, RegistryError

T = TypeVar("T")
_GRAVITY: Final = (Refused, Nonsense, RegistryError)
"""What somebody must do something about comes first; what may be over in a moment, last."""


@dataclass(frozen=True, slots=True)
class Heard(Generic[T]):
    """What the nodes said."""

    answers: Mapping[str, T]
    """By the node's address."""
    failures: tuple[RegistryError, ...] = ()

    @property
    def asked(self) -> int:
        return len(self.answers) + len(self.failures)

    @property
    def gravest(self) -> RegistryError | None:
        """Of the failures, the one to tell people of."""
        return next((one for kind in _GRAVITY for one in self.failures if isinstance(one, kind)), None)

    def needed(self) -> "Heard[T]":
        """Itself, if anybody answered at all. Raises the gravest failure."""
        if not self.answers and self.gravest:
            raise self.gravest
        return self


async def ask_each(servers: Sequence[str], ask: Callable[[str], Awaitable[T]]) -> Heard[T]:
    """Ask all of them at once."""

    async def one(server: str) -> T | RegistryError:
        try:
            return await ask(server)
        except RegistryError as error:
            return error

    said = dict(zip(servers, await asyncio.gather(*(one(server) for server in servers)), strict=True))
    return Heard(
        {server: each for server, each in said.items() if not isinstance(each, RegistryError)},
        tuple(each for each in said.values() if isinstance(each, RegistryError)),
    )
