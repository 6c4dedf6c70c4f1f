"""Kopf, as watch engine and nothing more: connections, bookmarks, expiry, credentials.

It runs in a thread and an event loop of its own. In ours it would take the signals, and whenever it ends, for example
because the API server was restarted, it cancels every task that began after it did: warm-ups, health checks, all.

What there is to watch, Kopf asks once, at its start. It can follow CRDs too, but takes the event of a new one for the
moment when it is served, and discovery is later than that, now and then: such a kind would never be watched. So whoever
is missing is asked for here, and Kopf is started anew when it has come.
"""

import asyncio
import logging
import math
import threading
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Any, Final

import kopf
from kopf._cogs.structs.references import Insights  # What kopf.operator takes as `insights`; exported nowhere.

from lossless.cluster import credentials
from lossless.cluster.resources import Raw, Resource
from lossless.cluster.scope import Scope

FIRST_BACK_OFF: Final = 0.5
LONGEST_BACK_OFF: Final = 15.0
"""Seconds from the end of an engine to the start of the next one: doubled each time, forgotten after a good minute."""
FORGIVEN_AFTER: Final = 60.0
MISSED_EVERY: Final = 5.0
"""Seconds from one look for a kind that is not served to the next."""
BEAT: Final = 5.0
"""Seconds from one sign of life of an engine to the next."""
ENDING: Final = 10.0
"""Seconds for Kopf to end in its own way. It takes 5 of them when one of its watches has failed."""

Serves = Callable[[Resource], Awaitable[bool]]
"""Says whether the API server has this kind, as far as can be told."""
Needed = Callable[[Resource], bool]
"""Says whether anybody waits for this kind, should it be missing."""
Seen = Callable[[Resource, str | None, Raw], None]
"""Told of each event on our own loop: kind, type (None: it comes from a list that Kopf made) and object."""

_log = logging.getLogger(__name__)


class Watches:
    """Watches everything in scope, and starts again whenever the engine gives up."""

    def __init__(
        self,
        scope: Scope,
        kubeconfig: Path | None,
        seen: Seen,
        started: Callable[[], None],
        serves: Serves,
        needed: Needed = lambda resource: True,
    ) -> None:
        """`started` is told each time an engine starts: whatever vanished before is in no event. A kind that is missing
        is asked for only while it is `needed`."""
        self._scope = scope
        self._kubeconfig = kubeconfig
        self._seen = seen
        self._started = started
        self._serves = serves
        self._needed = needed
        self._alive_at = math.inf
        """When an engine last gave a sign of life, on our loop's clock."""
        self.failures = 0
        """How many engines have ended by themselves, since one ran for long."""

    @property
    def silent_for(self) -> float:
        """Seconds since the watches last gave a sign of life: they hang if this grows. 0 before they run."""
        return max(0.0, asyncio.get_running_loop().time() - self._alive_at)

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            self._alive_at = began = loop.time()
            self._started()
            error = await self._engine(loop)
            self.failures = 1 if loop.time() - began > FORGIVEN_AFTER else self.failures + 1
            pause = min(LONGEST_BACK_OFF, FIRST_BACK_OFF * 2.0 ** (self.failures - 1))
            _log.warning("the watches ended (%r); starting again in %.1f s", error, pause)
            await asyncio.sleep(pause)

    def _beat(self) -> None:
        self._alive_at = asyncio.get_running_loop().time()

    async def _engine(self, loop: asyncio.AbstractEventLoop) -> BaseException | str | None:
        """One life of Kopf. Says what ended it."""
        engine = _Engine(self._scope, self._kubeconfig, self._seen, self._beat, loop)
        engine.start()
        came = asyncio.create_task(self._came(engine))
        try:
            either: set[asyncio.Future[Any]] = {engine.ended, came}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return engine.ended.result() if engine.ended.done() else came.result()
        finally:
            came.cancel()
            engine.stop()

    async def _came(self, engine: "_Engine") -> str:
        """Returns when a kind that Kopf did not find is served."""
        said: set[Resource] = set()
        while True:
            await asyncio.sleep(MISSED_EVERY)
            for resource in engine.missed():
                if not self._needed(resource):
                    continue
                if await self._serves(resource):
                    return f"{resource} is served now"
                if resource not in said:
                    _log.warning("%s is not served by this cluster", resource)
                    said.add(resource)


def hush() -> None:
    """Keep out of the logs what Kopf says of each attempt to reconnect, of the signals that it must not have, and of
    kinds that are not there: who is missed is said here."""
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
    logging.getLogger("kopf._core.reactor.observation").setLevel(logging.ERROR)
    logging.getLogger("kopf._cogs.clients.watching").addFilter(lambda record: "will retry" not in record.getMessage())


class _NoDiffs(kopf.DiffBaseStorage):
    """Kopf copies each object that it is told of, to say what has changed since it was last handled. Nobody asks here,
    and it was a fifth of the operator's work in a release."""

    def build(self, *, body: kopf.Body, extra_fields: object = None) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        pass


class _Engine(threading.Thread):
    """One Kopf operator with its thread and loop. It dies with the process at the latest."""

    def __init__(
        self,
        scope: Scope,
        kubeconfig: Path | None,
        seen: Seen,
        beat: Callable[[], None],
        ours: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(name="watches", daemon=True)
        self._scope = scope
        self._kubeconfig = kubeconfig
        self._seen = seen
        self._beat = beat
        self._ours = ours
        self._stopping = threading.Event()
        self._insights: Insights | None = None
        self.ended: asyncio.Future[BaseException | None] = ours.create_future()
        """Done as soon as it has nothing more to tell; the thread may live on for some seconds."""

    def stop(self) -> None:
        """Ask it to end, and hear nothing of it any more."""
        self._stopping.set()

    def missed(self) -> list[Resource]:
        """The kinds that Kopf did not find, once it has looked."""
        insights = self._insights
        if insights is None or not insights.ready_resources.is_set():
            return []
        found = {(one.group, one.version, one.plural) for one in tuple(insights.watched_resources)}
        return [one for one in self._scope.watched if (one.group, one.version, one.plural) not in found]

    def run(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._operate())
        except BaseException as raised:  # noqa: BLE001 - whatever it is, our loop must hear of it
            error = raised
        self._tell(self._end, error)

    async def _operate(self) -> None:
        """What `kopf.operator` does, but for its end: that is told at once, and does come."""
        namespaces = list(self._scope.namespaces)
        self._insights = Insights()
        try:
            tasks = await kopf.spawn_tasks(
                registry=self._registry(),
                settings=self._settings(),
                standalone=True,
                clusterwide=not namespaces,
                namespaces=namespaces,
                stop_flag=self._stopping,
                insights=self._insights,
            )
            self._tell(self._end, await self._why_it_ends(tasks))
            ending = asyncio.create_task(kopf.run_tasks(tasks))
            await asyncio.wait({ending}, timeout=ENDING)
            await _cancel_the_others()
            await asyncio.gather(ending, return_exceptions=True)  # Why is told already.
        finally:
            # Kopf waits for the flag in a thread of the loop's pool, which asyncio.run would join for ever.
            self._stopping.set()

    async def _why_it_ends(self, tasks: Collection[asyncio.Task[None]]) -> BaseException | None:
        """Waits for the first of Kopf's tasks to end, which ends them all; or for a watch to be gone.

        A watch of Kopf's can go without a word: cancelled by its own timeout while it hands an event on.
        """
        watching: set[str] = set()
        while True:
            done, _ = await asyncio.wait(tasks, timeout=BEAT, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                return None if task.cancelled() else task.exception()
            names = {task.get_name() for task in asyncio.all_tasks()}
            running = {name for name in names if name.startswith("watcher for ")}
            if gone := watching - running:
                return RuntimeError(f"gone without a word: {', '.join(sorted(gone))}")
            watching = running
            self._tell(self._beat)

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        for resource in self._scope.watched:
            kopf.on.event(
                resource.group, resource.version, resource.plural, registry=registry, id=f"see-{resource.plural}"
            )(self._handler(resource))

        async def login(**_: Any) -> kopf.ConnectionInfo:
            return await credentials.for_kopf(await credentials.load(self._kubeconfig))

        kopf.on.login(registry=registry, id="login", errors=kopf.ErrorsMode.TEMPORARY, backoff=1)(login)
        return registry

    def _settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        settings.posting.enabled = False
        settings.peering.standalone = True
        settings.persistence.diffbase_storage = _NoDiffs()
        settings.scanning.disabled = True  # It looks once; see above. And no right to watch CRDs is needed.
        settings.process.ultimate_exiting_timeout = None  # It would kill the process, which is not Kopf's own here.
        settings.networking.error_backoffs = (0.1, 0.5, 1.0, 2.0)
        settings.networking.request_timeout = 30
        settings.watching.connect_timeout = 5
        settings.watching.chunk_size = 500
        # So long Kopf keeps each object that it has told of: at a start that is all of them at once.
        settings.queueing.idle_timeout = 0.5
        for resource in self._scope.watched:
            if selector := self._scope.label_selector(resource):
                settings.watching.label_selectors[resource.group, resource.version, resource.plural] = selector
        return settings

    def _handler(self, resource: Resource) -> Callable[..., Any]:
        async def see(event: kopf.RawEvent, **_: Any) -> None:
            self._tell(self._hand_over, resource, event["type"], dict(event["object"]))

        return see

    def _hand_over(self, resource: Resource, kind: str | None, raw: Raw) -> None:
        if not self._stopping.is_set():
            self._seen(resource, kind, raw)

    def _end(self, error: BaseException | None) -> None:
        if not self.ended.done():
            self.ended.set_result(error)

    def _tell(self, what: Callable[..., None], *arguments: Any) -> None:
        try:
            self._ours.call_soon_threadsafe(what, *arguments)
        except RuntimeError:  # Our loop is closed: the process is about to end.
            self._stopping.set()


async def _cancel_the_others() -> None:
    """Cancel what is left on this loop until nothing is.

    Once is not enough: a watch whose request has had no answer yet takes it for a pause, if what tells it of pauses was
    cancelled before it, and goes on (kopf._cogs.clients.api.stream).
    """
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in others:
            task.cancel()
        await asyncio.wait(others, timeout=1)
