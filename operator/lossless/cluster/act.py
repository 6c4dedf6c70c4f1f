"""Does what was decided: one API call a step, in order, and the first that fails ends it.

The order has a meaning (holds are raised before pods move, and lowered after), so nothing is skipped: whatever is left
undone is decided anew, on what is then known. Only between pods is there none: a run of writes to pods is made several
at a time, or the last of fifty would wait for all the others. Each answer goes into the store at once, so that the next
decision knows of our own writes whether or not the watch has told of them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Final, Protocol

from lossless.api import names
from lossless.api.resource import Warmup
from lossless.api.traffic import Registry
from lossless.cluster import patches
from lossless.cluster.errors import Conflict, NotFound, Outdated, Unavailable
from lossless.cluster.gateway import Gateway, PatchType
from lossless.cluster.observed import SeenPod
from lossless.cluster.registered import told_of
from lossless.cluster.resources import PODS, REPLICA_SETS, Raw, Resource
from lossless.cluster.store import Change, Store
from lossless.core.steps import Event, LetGo, Move, SetKeep, SetReplicas, StartWarmup, Step, Tell
from lossless.pods.warmup import Target
from lossless.traffic.registries.errors import RegistryError
from lossless.traffic.registries.registry import Instance

AT_A_TIME: Final = 8

_log = logging.getLogger(__name__)


class StartsWarmups(Protocol):
    """What of `lossless.pods.warmup.Warmups` is needed to do a step."""

    def start(self, target: Target, requests: Any, skip: int = 0, on_failure: Any = ...) -> None:
        """Begin to warm up a pod, unless that is under way."""
        ...


class TellsRegistries(Protocol):
    """What of `lossless.traffic.registries.book.Book` is needed to do a step."""

    def tell(self, key: Hashable, source: str, uid: str, fraction: float) -> None:
        """Have a registry give a pod this fraction of a full share."""
        ...

    async def restore(self, namespace: str, spec: Registry, instance: Instance) -> None:
        """Put a pod back at a registry that nobody follows any more."""
        ...


@dataclass(frozen=True, slots=True)
class Actor:
    """Does steps for one LosslessRollout."""

    gateway: Gateway
    store: Store
    changed: Callable[[Change[Any]], None]
    """Told of what our own writes changed."""
    warmups: StartsWarmups
    registries: TellsRegistries
    clock: Callable[[], datetime]
    raised: Callable[[str, int], None] = lambda uid, replicas: None
    """Told of each ReplicaSet (uid) that was asked for more pods than its Deployment wants."""

    async def do(
        self,
        steps: Iterable[Step],
        namespace: str,
        rollout: str,
        warmup: Warmup,
        registries: Sequence[Registry] = (),
        due: list[Event] | None = None,
    ) -> None:
        """Do them all. Which Events are due for what was done is added to `due`, also when not all could be done.

        Raises:
            Outdated: the object of a step has changed, or is gone. It has been read again.
            ClusterError: the API server did not do it.
        """

        async def one(step: Step) -> None:
            await self._one(step, namespace, rollout, warmup, registries)
            if due is not None and isinstance(step, Move) and step.event:
                due.append(step.event)

        for run in _runs(steps):
            await _several_at_a_time(run, one)

    async def _one(
        self, step: Step, namespace: str, rollout: str, warmup: Warmup, registries: Sequence[Registry]
    ) -> None:
        match step:
            case Move():
                await self._move(step, namespace, rollout, registries)
            case Tell():
                self.registries.tell((namespace, rollout), step.source, step.pod.uid, step.fraction)
            case SetKeep():
                await self._keep(step, namespace)
            case SetReplicas():
                await self._replicas(step, namespace)
            case LetGo():
                await self._let_go(step, namespace)
            case StartWarmup():
                self._warm_up(step, warmup)

    async def _move(self, step: Move, namespace: str, rollout: str, registries: Sequence[Registry]) -> None:
        seen = self._pod(step.pod.uid)
        body = patches.move(step, seen, rollout, self.clock(), registries)
        await self._patch(PODS, namespace, step.pod.name, step.pod.uid, body, PatchType.STRATEGIC)
        _log.info(
            "%s: %s", step.verb.value, step.message, extra={"rollout": f"{namespace}/{rollout}", "pod": step.pod.name}
        )

    async def _let_go(self, step: LetGo, namespace: str) -> None:
        seen = self.store.pods.by_uid(step.pod.uid)
        if seen is None:
            return
        body = patches.let_go(step, seen, self.clock())
        await self._put_back(seen, body)
        await self._patch(PODS, namespace, step.pod.name, step.pod.uid, body, PatchType.STRATEGIC)
        self._gone(PODS, step.pod.uid)  # Without the label it is in our watch no more.
        _log.info("let go", extra={"pod": step.pod.name})

    async def _put_back(self, seen: SeenPod, body: Raw) -> None:
        """What registries were told of this pod is taken back, also where the LosslessRollout is long gone.

        Where one does not take it, its pod gets its gate open all the same, and keeps our marks: it is tried again.
        """
        for spec, instance in told_of(seen):
            try:
                await self.registries.restore(seen.namespace, spec, instance)
            except RegistryError as error:
                if status := body.get("status"):
                    opened = {"metadata": {"uid": seen.uid}, "status": status}
                    await self._patch(PODS, seen.namespace, seen.name, seen.uid, opened, PatchType.STRATEGIC)
                raise Unavailable(f"{spec.name}: {seen.name} can't be put back", str(error)) from error

    async def _keep(self, step: SetKeep, namespace: str) -> None:
        body = patches.keep(step, self.store.replica_sets.version(step.group.uid))
        # Through the status, so that we need no right to write to a ReplicaSet's spec.
        await self._patch(REPLICA_SETS, namespace, step.group.name, step.group.uid, body, PatchType.MERGE)

    async def _replicas(self, step: SetReplicas, namespace: str) -> None:
        name, uid = step.group.name, step.group.uid
        body = patches.replicas(step, self.store.replica_sets.version(uid))
        try:
            await self.gateway.patch(REPLICA_SETS, namespace, name, body, "scale")
        except NotFound as error:
            self._gone(REPLICA_SETS, uid)
            raise Outdated(f"{name} is gone") from error
        except Conflict as error:
            await self._read_again(REPLICA_SETS, namespace, name, uid)
            raise Outdated(f"{name} has changed") from error
        self.raised(uid, step.replicas)
        await self._read_again(REPLICA_SETS, namespace, name, uid)  # The answer was its scale, not itself.
        _log.info("%d replicas, for pods whose node is about to go", step.replicas, extra={"replicaSet": name})

    def _warm_up(self, step: StartWarmup, warmup: Warmup) -> None:
        seen = self._pod(step.pod.uid)
        target = Target(
            uid=step.pod.uid,
            epoch=step.pod.epoch,
            namespace=seen.namespace,
            name=step.pod.name,
            ip=step.pod.ip,
            ports=seen.ports,
            containers=seen.containers,
        )
        self.warmups.start(target, warmup.requests, step.skip, warmup.on_failure)

    def _pod(self, uid: str) -> SeenPod:
        seen = self.store.pods.by_uid(uid)
        if seen is None:
            raise Outdated("the pod is gone")
        return seen

    async def _patch(self, resource: Resource, namespace: str, name: str, uid: str, body: Raw, kind: PatchType) -> None:
        try:
            answer = await self.gateway.patch(resource, namespace, name, body, "status", kind)
        except NotFound as error:
            self._gone(resource, uid)
            raise Outdated(f"{name} is gone") from error
        except Conflict as error:
            await self._read_again(resource, namespace, name, uid)
            raise Outdated(f"{name} has changed") from error
        self._put(resource, answer)

    async def _read_again(self, resource: Resource, namespace: str, name: str, uid: str) -> None:
        """Our knowledge of it was old: without a look the next attempt would fail just the same."""
        try:
            raw = await self.gateway.get(resource, namespace, name)
        except NotFound:
            self._gone(resource, uid)
            return
        if raw["metadata"]["uid"] != uid:
            self._gone(resource, uid)
        if self._is_watched(resource, raw["metadata"].get("labels") or {}):
            self._put(resource, raw)

    def _is_watched(self, resource: Resource, labels: Mapping[str, str]) -> bool:
        return resource is not PODS or names.ROLLOUT_LABEL in labels

    def _put(self, resource: Resource, raw: Raw) -> None:
        if change := self.store.table(resource).put(raw):
            self.changed(change)

    def _gone(self, resource: Resource, uid: str) -> None:
        table = self.store.table(resource)
        known = table.version(uid)
        if known and (change := table.remove(uid, int(known))):
            self.changed(change)


def _runs(steps: Iterable[Step]) -> Iterator[Sequence[Step]]:
    """The steps in order: those that follow each other and each write to a pod together, any other by itself."""
    for to_pods, run in groupby(steps, key=lambda step: isinstance(step, Move | LetGo)):
        if to_pods:
            yield tuple(run)
        else:
            yield from ((step,) for step in run)


async def _several_at_a_time(steps: Sequence[Step], do: Callable[[Step], Awaitable[None]]) -> None:
    """All of them, so many at a time. After a failure nothing more is begun, and what is under way is waited for."""
    left = iter(steps)
    failures: list[Exception] = []

    async def worker() -> None:
        while not failures and (step := next(left, None)) is not None:
            try:
                await do(step)
            except Exception as error:  # noqa: BLE001 - raised below, when the others have ended
                failures.append(error)

    await asyncio.gather(*(worker() for _ in range(min(AT_A_TIME, len(steps)))))
    if failures:
        raise failures[0]
