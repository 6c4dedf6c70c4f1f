"""Looks at registries on behalf of LosslessRollouts, and tells them, in the background.

Each registry of each LosslessRollout has one follower here: a task that looks at the pods that are of interest, once a
moment while any is under way and not at all otherwise, and does what it was asked to do until it has succeeded. So a
registry that does not answer keeps nobody waiting but those who wait for it.

It decides nothing, and remembers nothing that matters: what has to outlive this process is on the pods.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from lossless.api.traffic import Registry as Spec
from lossless.core.world import Presence, Registered, Sighting
from lossless.traffic.outages import Outages
from lossless.traffic.registries.errors import Changed, Refused, RegistryError
from lossless.traffic.registries.make import apps_register, is_blind
from lossless.traffic.registries.registry import Instance, Registration, Registry

EVERY: Final = 0.5
"""Seconds between two looks, while a pod is under way."""
LONGEST_PAUSE: Final = 10.0
"""Between two attempts at a registry that does not answer or refuses: doubled each time."""
AT_A_TIME: Final = 8

_log = logging.getLogger(__name__)

Make = Callable[[str, Spec], Awaitable[Registry]]
"""Makes the registry that a LosslessRollout of a namespace names. Raises RegistryError."""
Key = Hashable


@dataclass(frozen=True, slots=True)
class View:
    """What is known of one pod at one registry."""

    sighting: Sighting
    registered: Registered


class Book:
    """All followers. Everything here runs on one event loop."""

    def __init__(self, make: Make, changed: Callable[[str], None], clock: Callable[[], datetime]) -> None:
        """`changed` is told the uid of a pod of which something else is known now."""
        self._make = make
        self._clock = clock
        self._changed = changed
        self._followers: dict[Key, dict[str, _Follower]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def follow(
        self, key: Key, namespace: str, specs: Sequence[Spec], instances: Mapping[str, Mapping[str, Instance]]
    ) -> None:
        """These registries, and at each (by its name) these pods (by uid), are of interest from now on.

        Those that are under way must be among them; one that is not looked at costs nothing.
        """
        followers = self._followers.setdefault(key, {})
        wanted = {spec.name: spec for spec in specs}
        for name in [name for name, one in followers.items() if wanted.get(name) != one.spec]:
            self._end(followers.pop(name))
        for name, spec in wanted.items():
            if name not in followers:
                followers[name] = _Follower(namespace, spec, self._make, self._changed, self._clock)
            followers[name].of_interest(instances.get(name, {}))
        if not followers:
            self._followers.pop(key)

    def views(self, key: Key, uid: str) -> tuple[View, ...]:
        """What every registry is known to hold of a pod that is of interest."""
        followers = self._followers.get(key, {})
        return tuple(view for one in followers.values() if (view := one.view(uid)))

    def tell(self, key: Key, source: str, uid: str, fraction: float) -> None:
        """Have a registry give a pod this fraction; until then it is tried again and again. The latest word counts."""
        if follower := self._followers.get(key, {}).get(source):
            follower.tell(uid, fraction)

    async def look_now(self, key: Key) -> None:
        """Look at everything of interest, live, and return when that is known."""
        followers = self._followers.get(key, {}).values()
        await asyncio.gather(*(one.look() for one in followers if one.has_interest))

    async def restore(self, namespace: str, spec: Spec, instance: Instance) -> None:
        """Put a pod back at a registry that nobody follows any more.

        Raises:
            RegistryError: it was not done.
        """
        registry = await self._make(namespace, spec)
        try:
            with suppress(Changed):
                await registry.look([instance])
            await registry.restore(instance)
        finally:
            await registry.close()

    def forget(self, key: Key) -> None:
        """This LosslessRollout is gone."""
        for one in self._followers.pop(key, {}).values():
            self._end(one)

    async def close(self) -> None:
        """End every follower."""
        for key in list(self._followers):
            self.forget(key)
        while self._ending:
            await asyncio.wait(set(self._ending))

    def _end(self, follower: "_Follower") -> None:
        task = asyncio.create_task(follower.close())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


@dataclass(frozen=True, slots=True)
class _PutOff:
    """What a registry did not take is tried again later."""

    until: float
    times: int
    error: RegistryError


class _Follower:
    """One registry of one LosslessRollout."""

    def __init__(
        self, namespace: str, spec: Spec, make: Make, changed: Callable[[str], None], clock: Callable[[], datetime]
    ) -> None:
        self.spec = spec
        self._outages = Outages(clock)
        self._clock = clock
        self._namespace = namespace
        self._make = make
        self._changed = changed
        self._registry: Registry | None = None
        self._instances: Mapping[str, Instance] = {}
        self._views: dict[str, View] = {}
        self._asked: dict[str, float] = {}
        """What is to be told, until it has been told and looked at."""
        self._put_off: dict[str, _PutOff] = {}
        self._told: dict[str, float] = {}
        self._told_out: dict[str, bool] = {}
        self._woken = asyncio.Event()
        self._turn = asyncio.Lock()
        self._failures = 0
        self._task = asyncio.create_task(self._run(), name=f"follow {namespace} {spec.name}")

    @property
    def has_interest(self) -> bool:
        return bool(self._instances)

    def of_interest(self, instances: Mapping[str, Instance]) -> None:
        if instances.keys() != self._instances.keys():
            self._woken.set()
        for uid, instance in instances.items():
            self._told_out.setdefault(uid, instance.told)
            if instance.unanswered_since:
                self._outages.missed_since(instance.unanswered_since)
        # What we know ourselves is newer than what is written on the pod.
        self._instances = {uid: replace(one, told=self._told_out[uid]) for uid, one in instances.items()}
        everything: tuple[dict[str, Any], ...] = (
            self._views,
            self._asked,
            self._put_off,
            self._told,
            self._told_out,
        )
        for known in everything:
            for uid in [uid for uid in known if uid not in instances]:
                del known[uid]

    def view(self, uid: str) -> View | None:
        if uid not in self._instances:
            return None
        known = self._views.get(uid) or self._view(uid, Registration(Presence.UNANSWERED, "not looked at yet"))
        return replace(known, registered=replace(known.registered, asked=self._asked.get(uid)))

    def tell(self, uid: str, fraction: float) -> None:
        if uid in self._instances and self._asked.get(uid) != fraction:
            self._asked[uid] = fraction
            self._put_off.pop(uid, None)
            if self._told.get(uid) != fraction:
                self._woken.set()  # What was told and is not seen yet is told again in its turn.

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})
        await self._let_go()

    async def _run(self) -> None:
        while True:
            if self._instances:
                await self.look(tell=True)
            pause = self._pause() if self._instances else None
            self._woken.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._woken.wait()

    def _pause(self) -> float:
        longest = min(LONGEST_PAUSE, EVERY * 2.0 ** min(self._failures, 8))
        return longest if not self._failures else longest * random.uniform(0.7, 1.0)

    async def look(self, tell: bool = False) -> None:
        """Tell what is to be told, then look at all that is of interest."""
        async with self._turn:
            instances = dict(self._instances)
            told: Mapping[str, float] = {}
            seen: Mapping[str, Registration] = {}
            failed: RegistryError | None = None
            try:
                if self._registry is None:
                    self._registry = await self._make(self._namespace, self.spec)
                told = await self._tell_all(instances) if tell else {}
                # As they are known now: what was just told matters to those that can't be looked at.
                seen = await self._registry.look([self._instances.get(uid, one) for uid, one in instances.items()])
            except RegistryError as error:
                failed = error
            except Exception as error:  # noqa: BLE001 - one registry's defect must not stop the others
                _log.exception("%s: failed", self.spec.name)
                failed = RegistryError(f"a defect ({type(error).__name__})")
            refused = isinstance(failed, Refused) or (bool(seen) and all(one.refused for one in seen.values()))
            if self._failures and not failed and not refused:  # It may take now what it has not.
                self._put_off = {uid: replace(one, until=0.0) for uid, one in self._put_off.items()}
            self._failures = self._failures + 1 if failed or refused else 0
            self._reckon(seen, failed)
            for uid in instances:
                self._put(uid, seen.get(uid) or Registration(Presence.UNANSWERED, str(failed or "not answered")))
            for uid, fraction in told.items():
                if self._asked.get(uid) == fraction:
                    del self._asked[uid]
                    self._changed(uid)
            if refused or any(isinstance(one.error, Refused) for one in self._put_off.values()):
                await self._let_go()  # A Secret may have been changed meanwhile: it is read anew.

    def _reckon(self, seen: Mapping[str, Registration], failed: RegistryError | None) -> None:
        """Whether it is out of reach for those who follow it as well. A refusal is an answer, to us alone."""
        unanswered = any(one.presence is Presence.UNANSWERED and not one.refused for one in seen.values())
        if unanswered or (failed and not isinstance(failed, Refused | Changed)):
            self._outages.missed()
        else:
            self._outages.answered()

    async def _tell_all(self, instances: Mapping[str, Instance]) -> Mapping[str, float]:
        """Says what has been told. What has not is put off, each pod by itself: one that is refused holds up nobody."""
        slots = asyncio.Semaphore(AT_A_TIME)
        now = asyncio.get_running_loop().time()
        due = {
            uid: fraction
            for uid, fraction in self._asked.items()
            if uid in instances and (uid not in self._put_off or now >= self._put_off[uid].until)
        }
        told: dict[str, float] = {}

        async def one(uid: str, fraction: float) -> None:
            async with slots:
                try:
                    await self._tell(instances[uid], fraction)
                except Changed:
                    return  # The look that follows says what there is now; then it is decided anew.
                except RegistryError as error:
                    times = self._put_off[uid].times + 1 if uid in self._put_off else 1
                    pause = min(LONGEST_PAUSE, EVERY * 2.0 ** min(times, 8))
                    self._put_off[uid] = _PutOff(now + pause, times, error)
                    _log.warning("%s: %s: %s", self.spec.name, instances[uid].name, error)
                    return
                self._put_off.pop(uid, None)
                told[uid] = fraction

        await asyncio.gather(*(one(uid, fraction) for uid, fraction in due.items()))
        return told

    async def _tell(self, instance: Instance, fraction: float) -> None:
        assert self._registry is not None
        if fraction <= 0:
            await self._registry.withdraw(instance)
        elif fraction >= 1:
            await self._registry.restore(instance)
        else:
            await self._registry.weigh(instance, fraction)
        if instance.uid in self._instances:
            self._told[instance.uid] = fraction
            self._told_out[instance.uid] = fraction <= 0
            known = replace(self._instances[instance.uid], told=fraction <= 0)
            self._instances = {**self._instances, instance.uid: known}
        _log.info("%s: told", self.spec.name, extra={"pod": instance.name, "fraction": fraction})

    def _put(self, uid: str, said: Registration) -> None:
        if uid not in self._instances:
            return
        before = self._views.get(uid)
        self._views[uid] = view = self._view(uid, said)
        if view != before:
            self._changed(uid)

    def _view(self, uid: str, said: Registration) -> View:
        registry, before = self._registry, self._views.get(uid)
        settle = registry.settle if registry else (before.sighting.settle if before else self.spec.settle)
        caught_up_at = self._outages.caught_up_at
        evidence = said.evidence
        if (put_off := self._put_off.get(uid)) and str(put_off.error) not in evidence:
            evidence = f"{evidence}; {put_off.error}"
        sighting = Sighting(self.spec.name, said.presence, evidence, followers_caught_up_at=caught_up_at)
        if settle is not None:
            sighting = replace(sighting, settle=settle)
        registered = Registered(
            source=self.spec.name,
            fraction=said.fraction,
            original=said.original,
            replaces=said.replaces,
            weighs=registry.weighs if registry else False,
            present=said.presence is Presence.PRESENT,
            since=self._since(said.presence, before),
            blind=is_blind(self.spec),
            told_out=self._told_out.get(uid, False),
            missing=said.presence is Presence.ABSENT and said.fraction is None and apps_register(self.spec),
        )
        return View(sighting, registered)

    def _since(self, presence: Presence, before: View | None) -> datetime | None:
        if presence not in (Presence.PRESENT, Presence.ABSENT):
            return None
        known = before.registered.since if before and before.sighting.presence is presence else None
        return known or self._clock()

    async def _let_go(self) -> None:
        registry, self._registry = self._registry, None
        if registry is not None:
            with suppress(Exception):
                await registry.close()
