"""What is known of the cluster: one small object for each watched one, by uid, never going back in time.

Three things write here: the watches, the answers to our own writes (so that the next decision knows of them at once),
and lists. Each may be late, so of two versions of an object the one with the higher resourceVersion counts, and an
object that is gone stays gone. (To compare them as numbers is what etcd always allowed, and Kubernetes since 1.35.)
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from lossless.cluster.budgets import SeenBudget
from lossless.cluster.gateway import Listing
from lossless.cluster.observed import SeenAutoscaler, SeenDeployment, SeenNode, SeenPod, SeenReplicaSet, SeenRollout
from lossless.cluster.observed_argo import SeenArgoRollout
from lossless.cluster.observed_sets import SeenControllerRevision, SeenDaemonSet, SeenStatefulSet
from lossless.cluster.resources import (
    ARGO_ROLLOUTS,
    AUTOSCALERS,
    BUDGETS,
    CONTROLLER_REVISIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    NODES,
    PODS,
    REPLICA_SETS,
    ROLLOUTS,
    SERVICES,
    STATEFUL_SETS,
    Raw,
    Resource,
)
from lossless.traffic.services import EndpointSlice, Service

T = TypeVar("T")
REMEMBERED_DELETIONS: Final = 10_000

Indexer = Callable[[T], Iterable[Hashable]]


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """What an event meant to us: an object came (`before` is None), went (`after` is None), or is different now."""

    resource: Resource
    before: T | None
    after: T | None

    @property
    def seen(self) -> tuple[T, ...]:
        """Both versions, as far as they exist."""
        return tuple(one for one in (self.before, self.after) if one is not None)


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    version: int
    name: tuple[str, str]
    seen: T


class Table(Generic[T]):
    """All known objects of one kind."""

    def __init__(self, resource: Resource, parse: Callable[[Raw], T], **indexes: Indexer[T]) -> None:
        self.resource = resource
        self._parse = parse
        self._entries: dict[str, _Entry[T]] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._indexes: Mapping[str, Indexer[T]] = indexes
        self._found: dict[tuple[str, Hashable], dict[str, None]] = {}
        self._gone: dict[str, int] = {}

    def put(self, raw: Raw) -> Change[T] | None:
        """Take in a version of an object. None: it is older than what is known, or not different to us."""
        metadata = raw["metadata"]
        uid, version = metadata["uid"], version_of(raw)
        known = self._entries.get(uid)
        # A watch with a label selector tells of an object that has lost the label as if it were deleted, at the very
        # version of the loss. So that version of an object that is gone is news; a deletion has a version of its own.
        if version < (known.version if known else self._gone.get(uid, 0)):
            return None
        name = (metadata.get("namespace", ""), metadata["name"])
        seen = self._parse(raw)
        if known is None or known.seen != seen:
            self._unindex(uid)
            self._entries[uid] = _Entry(version, name, seen)
            self._index(uid, name, seen)
            return Change(self.resource, known.seen if known else None, seen)
        # Equal, but perhaps not the same in fields that are not compared: the newest is kept.
        self._entries[uid] = _Entry(version, name, seen)
        return None

    def remove(self, uid: str, version: int) -> Change[T] | None:
        """It is gone, as of this version; anything older that still comes of it is late news."""
        known = self._entries.get(uid)
        if known is not None and known.version > version:
            return None
        self._gone[uid] = version
        if len(self._gone) > REMEMBERED_DELETIONS:
            del self._gone[next(iter(self._gone))]
        if known is None:
            return None
        self._unindex(uid)
        del self._entries[uid]
        return Change(self.resource, known.seen, None)

    def replace(
        self, listing: Listing, concerns: Callable[[T], bool], among: Iterable[str] | None = None
    ) -> list[Change[T]]:
        """Take in a list: what it has, and that nothing else of what it `concerns` is there. `among` as below."""
        changes = [self.put(raw) for raw in listing.items]
        listed = {raw["metadata"]["uid"] for raw in listing.items}
        others = self.forget_others(listed, listing.resource_version, concerns, among)
        return [*(change for change in changes if change), *others]

    def forget_others(
        self,
        listed: Collection[str],
        resource_version: str,
        concerns: Callable[[T], bool],
        among: Iterable[str] | None = None,
    ) -> list[Change[T]]:
        """These (uids) were all that was there of what it `concerns`, at that version. `among` (uids) is all that it
        may concern, where that is known: else everything is looked through."""
        at = _integer(resource_version)
        known = self._entries
        vanished = [
            uid
            for uid in (known if among is None else among)
            if uid not in listed and uid in known and known[uid].version <= at and concerns(known[uid].seen)
        ]
        changes = [self.remove(uid, at) for uid in vanished]
        return [change for change in changes if change is not None]

    def named(self, namespace: str, name: str) -> T | None:
        """The object of that name."""
        uid = self._names.get((namespace, name))
        return self._entries[uid].seen if uid else None

    def by_uid(self, uid: str) -> T | None:
        entry = self._entries.get(uid)
        return entry.seen if entry else None

    def version(self, uid: str) -> str:
        """The resourceVersion of what is known of it; empty when nothing is."""
        entry = self._entries.get(uid)
        return str(entry.version) if entry else ""

    def where(self, index: str, key: Hashable) -> Iterator[T]:
        """The objects that an index has under a key, oldest acquaintance first."""
        for uid in self._found.get((index, key), {}):
            yield self._entries[uid].seen

    def uids(self, index: str, *keys: Hashable) -> set[str]:
        """The uids that an index has under any of these keys."""
        return {uid for key in keys for uid in self._found.get((index, key), {})}

    def __iter__(self) -> Iterator[T]:
        return (entry.seen for entry in self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def _index(self, uid: str, name: tuple[str, str], seen: T) -> None:
        holder = self._entries.get(self._names.get(name, ""))
        if holder is None or holder.version <= self._entries[uid].version:
            self._names[name] = uid
        for index, keys in self._indexes.items():
            for key in keys(seen):
                self._found.setdefault((index, key), {})[uid] = None

    def _unindex(self, uid: str) -> None:
        entry = self._entries.get(uid)
        if entry is None:
            return
        if self._names.get(entry.name) == uid:
            del self._names[entry.name]
        for index, keys in self._indexes.items():
            for key in keys(entry.seen):
                found = self._found.get((index, key), {})
                found.pop(uid, None)
                if not found:
                    self._found.pop((index, key), None)


@dataclass
class Store:
    """A table for each kind that is watched."""

    pods: Table[SeenPod] = field(
        default_factory=lambda: Table(
            PODS,
            SeenPod.parse,
            owner=lambda pod: (pod.core.group,),
            rollout=lambda pod: ((pod.namespace, pod.rollout),) if pod.rollout else (),
            node=lambda pod: (pod.core.node,),
            address=lambda pod: pod.addresses,
        )
    )
    replica_sets: Table[SeenReplicaSet] = field(
        default_factory=lambda: Table(
            REPLICA_SETS,
            SeenReplicaSet.parse,
            owner=lambda one: (one.owner.uid,) if one.owner else (),
            held=lambda one: (one.namespace,) if one.held else (),
        )
    )
    deployments: Table[SeenDeployment] = field(default_factory=lambda: Table(DEPLOYMENTS, SeenDeployment.parse))
    stateful_sets: Table[SeenStatefulSet] = field(default_factory=lambda: Table(STATEFUL_SETS, SeenStatefulSet.parse))
    daemon_sets: Table[SeenDaemonSet] = field(default_factory=lambda: Table(DAEMON_SETS, SeenDaemonSet.parse))
    argo_rollouts: Table[SeenArgoRollout] = field(default_factory=lambda: Table(ARGO_ROLLOUTS, SeenArgoRollout.parse))
    controller_revisions: Table[SeenControllerRevision] = field(
        default_factory=lambda: Table(
            CONTROLLER_REVISIONS,
            SeenControllerRevision.parse,
            owner=lambda one: (one.owner.uid,) if one.owner else (),
        )
    )
    services: Table[Service] = field(
        default_factory=lambda: Table(
            SERVICES,
            Service.parse,
            namespace=lambda one: (one.namespace,),
            # By one label of those that it selects: whoever has them all has this one.
            label=lambda one: ((one.namespace, one.selector[0]),) if one.selector else (),
        )
    )
    slices: Table[EndpointSlice] = field(
        default_factory=lambda: Table(
            ENDPOINT_SLICES,
            EndpointSlice.parse,
            service=lambda one: ((one.namespace, one.service),),
            endpoint=lambda one: {
                (one.namespace, who) for end in one.endpoints for who in ((end.pod,) if end.pod else end.addresses)
            },
        )
    )
    autoscalers: Table[SeenAutoscaler] = field(
        default_factory=lambda: Table(
            AUTOSCALERS,
            SeenAutoscaler.parse,
            target=lambda one: (one.target,),
            rollout=lambda one: ((one.namespace, one.rollout),) if one.rollout else (),
        )
    )
    budgets: Table[SeenBudget] = field(
        default_factory=lambda: Table(BUDGETS, SeenBudget.parse, namespace=lambda one: (one.namespace,))
    )
    nodes: Table[SeenNode] = field(default_factory=lambda: Table(NODES, SeenNode.parse))
    rollouts: Table[SeenRollout] = field(
        default_factory=lambda: Table(
            ROLLOUTS,
            SeenRollout.parse,
            namespace=lambda one: (one.namespace,),
            target=lambda one: ((one.namespace, one.target.kind, one.target.name),),
        )
    )

    unserved: set[Resource] = field(default_factory=set)
    """Kinds that the API server has never heard of."""

    def table(self, resource: Resource) -> Table[Any]:
        """The table of a kind."""
        return self.tables[resource]

    @property
    def tables(self) -> Mapping[Resource, Table[Any]]:
        every: tuple[Table[Any], ...] = (
            self.rollouts,
            self.deployments,
            self.replica_sets,
            self.stateful_sets,
            self.daemon_sets,
            self.controller_revisions,
            self.argo_rollouts,
            self.pods,
            self.services,
            self.slices,
            self.autoscalers,
            self.nodes,
            self.budgets,
        )
        return {table.resource: table for table in every}


def version_of(raw: Raw) -> int:
    """The resourceVersion of an object, as a number."""
    return _integer(raw["metadata"].get("resourceVersion", ""))


def _integer(text: str) -> int:
    return int(text) if text.isdecimal() else 0
