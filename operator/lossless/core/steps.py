"""What a decision asks to be done: small, idempotent steps."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from lossless.api.resource import LosslessRolloutStatus
from lossless.core.passage import Passage
from lossless.core.waits import Wait
from lossless.core.world import Group, Pod, RampStep


class Verb(StrEnum):
    """What a move does to a pod, for logs, metrics and people."""

    ADOPT = "adopt"
    NOTE = "note"
    WARM_UP = "warm up"
    RAMP = "ramp"
    ADMIT = "admit"
    CLOSE = "close the door in again"
    WITHDRAW = "withdraw"
    SETTLE = "settle"
    MARK_DRAINED = "mark drained"
    READMIT = "re-admit"
    LET_GO = "let go"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that people should see in ``kubectl describe``: of the pod if it names one, else of the rollout."""

    reason: str
    message: str
    warning: bool = False
    pod: Pod | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """One write to one pod: its passage, and its gate where that changes. Everything in a single patch."""

    verb: Verb
    pod: Pod
    passage: Passage
    reason: str
    message: str = ""
    gate: bool | None = None
    """Open or close the door in; None: leave it. Of a pod without our gate it means the Ready condition."""
    shown_ready_since: datetime | None = None
    """Call it ready, since then, though its gate stays as it is: its controller looks at no other pod."""
    cost: int | None = None
    """The deletion cost to write; None: leave it."""
    inside: bool = False
    """Evictions of it wait until it is drained."""
    event: Event | None = None

    @property
    def irreversible(self) -> bool:
        """What it rests on is read live before it is done, and it is refused when the pod has changed meanwhile."""
        return self.verb is Verb.MARK_DRAINED


@dataclass(frozen=True, slots=True)
class StartWarmup:
    """Send this pod its warm-up requests, less those already made. Nothing happens if they are under way."""

    pod: Pod
    skip: int = 0


@dataclass(frozen=True, slots=True)
class SetKeep:
    """Write a ReplicaSet's hold label; None takes it off."""

    group: Group
    keep: int | None


@dataclass(frozen=True, slots=True)
class SetReplicas:
    """Have a ReplicaSet make more pods than its Deployment wants, for as long as the hold keeps them."""

    group: Group
    replicas: int


@dataclass(frozen=True, slots=True)
class LetGo:
    """Take everything of ours off a pod and open its gate: it is its controller's own again."""

    pod: Pod


@dataclass(frozen=True, slots=True)
class Tell:
    """Have a registry give this pod such a fraction of its full share: 0 takes it out, 1 puts back what was there."""

    pod: Pod
    source: str
    fraction: float


Step = Move | StartWarmup | SetKeep | SetReplicas | LetGo | Tell


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do next, in this order; what to say; and when to look again if nothing happens before."""

    status: LosslessRolloutStatus
    steps: tuple[Step, ...] = ()
    waits: tuple[tuple[Pod, Wait], ...] = ()
    """What each pod under way waits for."""
    events: tuple[Event, ...] = ()
    wake_at: datetime | None = None
    ramp: RampStep | None = None
    """What the pods that ramp are to be given; None: none does."""
