"""What every service registry has in common: find a pod's registration, withdraw it, see it gone, put it back.

A registry file knows one system's API and nothing else. It keeps no state between calls and makes no decisions: when to
tell it, and how often, is `book.py`'s business; whether a pod may go, the core's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import fmean
from typing import Protocol

from lossless.core.world import Presence


@dataclass(frozen=True, slots=True)
class Instance:
    """A pod, as far as a registry needs to know it."""

    uid: str
    namespace: str
    name: str
    node: str
    addresses: tuple[str, ...]
    port: int | None = None
    """The port it is registered with; None: whichever."""
    ports: Mapping[str, int] = field(default_factory=dict, hash=False)
    """The named ports of its containers."""
    containers: tuple[str, ...] = ()
    original: str = ""
    """What this registry's `look` said of it before we first changed anything; kept on the pod itself."""
    told: bool = False
    """`withdraw` has succeeded and nothing has been put back since; kept on the pod itself. False again when one of its
    containers has started anew: what an application was told, it has forgotten. Only what cannot be looked at needs
    it."""
    unanswered_since: datetime | None = None
    """When this registry may have gone out of reach, as it is kept on the pod itself: who is new has not seen that."""


def mean(fractions: Sequence[float]) -> float | None:
    """The fraction of a pod that is registered more than once, or that several nodes know.

    Where one of them has forgotten what it was told this is neither 0 nor 1, so all of them are told again, whichever
    way the pod is going.
    """
    return fmean(fractions) if fractions else None


@dataclass(frozen=True, slots=True)
class Registration:
    """What a registry was seen to hold of one pod."""

    presence: Presence
    """PRESENT: at least one consumer may still be handed this pod by it. ABSENT: no node of it hands the pod out.
    UNANSWERED: it could not be asked, or contradicts itself, so nobody knows."""
    evidence: str
    """In a few words for people, without secrets and without text of the registry's own: "enabled=false on 3 of 3
    nodes"."""
    fraction: float | None = None
    """What it is set to get of its full share, by us or anybody: 0 withdrawn, 1 as it registered itself. None: not
    registered, or not known. See `mean`."""
    original: str = ""
    """What has to be put back if we change it, in this registry's own words (JSON, without secrets). The first
    non-empty one seen is kept on the pod and given back as `Instance.original`."""
    replaces: bool = False
    """`original` is to be kept in place of the one that is: it is a newer one of the owner's own."""
    refused: bool = False
    """It was asked and will not say: to us alone, so nobody who follows it has to catch up afterwards."""


class Registry(Protocol):
    """A service registry.

    Every method is idempotent, is bounded in time by the timeout given, may be called in any order and at any time (a
    crash may have come between any two calls), and raises RegistryError for whatever the registry does.
    """

    @property
    def settle(self) -> timedelta:
        """How long the usual consumers go on with what they hold after every node has let go."""
        ...

    @property
    def weighs(self) -> bool:
        """It can give one instance a fraction of its full share."""
        ...

    async def look(self, instances: Sequence[Instance]) -> Mapping[str, Registration]:
        """What it holds of each of these pods, by uid, at the consumers' view of every node. One that is not registered
        at all is ABSENT with no fraction; all of them are in the answer."""
        ...

    async def withdraw(self, instance: Instance) -> None:
        """Take a pod out, reversibly, so that it stays out while the pod lives, whatever its own client does."""
        ...

    async def restore(self, instance: Instance) -> None:
        """Put back what was there before us (`instance.original`), and leave nothing of ours behind."""
        ...

    async def weigh(self, instance: Instance, fraction: float) -> None:
        """Give a pod this fraction (0 to 1) of its full share. Only called where `weighs`."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
