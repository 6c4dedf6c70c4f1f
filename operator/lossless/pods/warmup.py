"""Warm-up: requests sent to a new pod, to its own address, before anybody else's request reaches it.

`Warmups` runs them, one task a pod, and can be asked at any time how far each is. It decides nothing: whether a pod is
warm, how many may warm up at once and what a failure means is the core's to say.
"""

import asyncio
import itertools
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from lossless.api.quantities import format_duration
from lossless.api.resource import OnWarmupFailure, WarmupRequest
from lossless.core.world import WarmupProgress
from lossless.pods import address, body
from lossless.pods.exec import ExecError, ExecInPod

WINDOW: Final = 20
"""`until` looks at this many requests, the last ones."""
MAX_BODY: Final = 8 * 1024 * 1024
"""Past this an answer is not read on: the request has done what it was for."""
MAX_REASON: Final = 200
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 1.0
"""After a failure comes a pause, twice as long each time in a row: who fails at once must not be asked in a loop."""
BETWEEN_ROUNDS: Final = 2.0
"""onFailure: Hold. Seconds from the end of a round in which something failed to the beginning of the next."""

_UNLIMITED: Final = aiohttp.ClientTimeout(total=None)
"""The session's own limits are not those of the request's owner."""

_log = logging.getLogger(__name__)

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Target:
    """The pod to warm up."""

    uid: str
    epoch: str
    """`core.world.Pod.epoch`: a new one means that its containers started over, and so does warm-up."""
    namespace: str
    name: str
    ip: str
    ports: Mapping[str, int]
    """The named ports of its containers."""
    containers: tuple[str, ...]
    """The names of its containers, in the template's order."""


class Warmups:
    """The warm-up of every pod that is under way. Everything here runs on one event loop."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        exec_in_pod: ExecInPod,
        on_progress: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """Args:
        http: sends the requests; stays its owner's to close.
        exec_in_pod: runs the commands.
        on_progress: is told the uid of a pod whose progress is worth another look: now and then, and at the end.
        clock: seconds, to measure how long requests take.
        sleep: waits for so many seconds.
        """
        self._caller = _Caller(http, exec_in_pod, clock)
        self._on_progress = on_progress
        self._sleep = sleep
        self._runs: dict[str, _Run] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def start(
        self,
        target: Target,
        requests: Sequence[WarmupRequest],
        skip: int = 0,
        on_failure: OnWarmupFailure = OnWarmupFailure.CONTINUE,
    ) -> None:
        """Begin to warm up a pod.

        Nothing happens if just this is under way or done. Of an earlier epoch, or with other requests (their owner has
        changed them meanwhile), it is given up and begun anew.

        Args:
            target: the pod.
            requests: what to send, one kind after the other.
            skip: how many of them an earlier process has made. Not counted with Hold, where a whole round must succeed
                and nobody knows any more whether those did.
            on_failure: Continue makes one round. Hold makes rounds until one of them succeeds; what is then shown is
                the last round that ended.
        """
        run = self._runs.get(target.uid)
        hold = on_failure is OnWarmupFailure.HOLD
        if run is not None and run.is_of(target.epoch, tuple(requests), hold):
            return
        if run is not None:
            self._end(run)
        run = _Run(target, tuple(requests), 0 if hold else skip, hold, self._caller, self._on_progress, self._sleep)
        self._runs[target.uid] = run
        run.begin()

    def renew(
        self,
        uids: Iterable[str],
        requests: Sequence[WarmupRequest],
        on_failure: OnWarmupFailure = OnWarmupFailure.CONTINUE,
    ) -> None:
        """Begin anew with those of these pods whose requests are not what their owner asks for any more.

        A pod that is held by requests which can't succeed would otherwise never see them mended. Costs nothing where
        nothing has changed.
        """
        for run in [self._runs[uid] for uid in uids if uid in self._runs]:
            self.start(run.target, requests, on_failure=on_failure)

    def progress(self, uid: str) -> WarmupProgress | None:
        """How far this pod is; None where nothing was started for it."""
        run = self._runs.get(uid)
        return run.progress if run else None

    def keep_only(self, uids: Iterable[str]) -> None:
        """Give up, and forget, the warm-up of every other pod."""
        kept = frozenset(uids)
        for uid in [uid for uid in self._runs if uid not in kept]:
            self._end(self._runs.pop(uid))

    async def close(self) -> None:
        """Give up everything, and wait until nothing is under way."""
        self.keep_only(())
        await asyncio.gather(*self._ending, return_exceptions=True)

    def _end(self, run: "_Run") -> None:
        task = run.cancel()
        if task is not None:
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)


class _Run:
    """The warm-up of one epoch of one pod."""

    def __init__(
        self,
        target: Target,
        requests: tuple[WarmupRequest, ...],
        skip: int,
        hold: bool,
        caller: "_Caller",
        on_progress: Callable[[str], None],
        sleep: Sleep,
    ) -> None:
        self.target = target
        self._requests = requests
        self._hold = hold
        self._caller = caller
        self._on_progress = on_progress
        self._sleep = sleep
        self._total = sum(request.count for request in requests)
        self._skip = min(skip, self._total)
        self.progress = WarmupProgress(target.epoch, sent=self._skip, total=self._total)
        self._worth_a_look = max(25, self._total // 20)
        self._task: asyncio.Task[None] | None = None

    def is_of(self, epoch: str, requests: tuple[WarmupRequest, ...], hold: bool) -> bool:
        return (self.target.epoch, self._requests, self._hold) == (epoch, requests, hold)

    def begin(self) -> None:
        self._task = asyncio.create_task(self._go(), name=f"warm up {self.target.namespace}/{self.target.name}")

    def cancel(self) -> asyncio.Task[None] | None:
        if self._task is None or self._task.done():
            return None
        self._task.cancel()
        return self._task

    async def _go(self) -> None:
        for number in itertools.count(1):
            ended = await self._round(number)
            if number > 1 and ended.failed:
                ended = replace(ended, last_failure=f"{ended.last_failure}; round {number}")
            self.progress = ended
            self._on_progress(self.target.uid)
            if not (self._hold and ended.failed):
                return
            await self._sleep(BETWEEN_ROUNDS)

    async def _round(self, number: int) -> WarmupProgress:
        """All kinds of requests, one after the other.

        Only the first round is shown while it is under way: of a pod that is held, its failure stays what there is to
        be seen until a round has ended well.
        """
        tally = _Tally(WarmupProgress(self.target.epoch, sent=self._skip, total=self._total))

        def shown() -> None:
            if number == 1:
                self.progress = tally.progress
                if tally.progress.sent % self._worth_a_look == 0:
                    self._on_progress(self.target.uid)

        left = self._skip
        try:
            for request in self._requests:
                skipped = min(left, request.count)
                left -= skipped
                await self._kind(request, request.count - skipped, tally, shown)
        except Exception as error:  # noqa: BLE001 - nothing may leave a pod waiting for a task that has died
            _log.exception("warm-up broke off", extra={"pod": f"{self.target.namespace}/{self.target.name}"})
            tally.failed(f"warm-up broke off: {error!r}")
        return replace(tally.progress, done=True)

    async def _kind(self, request: WarmupRequest, count: int, tally: "_Tally", shown: Callable[[], None]) -> None:
        """`count` requests of one kind, some at a time."""
        if count == 0:
            return
        try:
            call = self._caller.prepared(self.target, request)
        except (address.NoSuchPort, ValueError) as error:
            tally.failed(str(error))  # Once is enough: it would be the same every time.
            shown()
            return
        window = _Window(request)
        turns = iter(range(count))
        in_a_row = 0

        async def one_after_the_other() -> None:
            nonlocal in_a_row
            for _ in turns:
                if window.was_fast_enough:
                    return
                seconds, failure = await call()
                tally.made(failure)
                window.add(math.inf if failure else seconds)
                tally.p95(window.p95)
                shown()
                in_a_row = in_a_row + 1 if failure else 0
                if failure and not window.was_fast_enough:
                    await self._sleep(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(in_a_row - 1, 10)))

        async with asyncio.TaskGroup() as group:
            for _ in range(min(request.concurrency, count)):
                group.create_task(one_after_the_other())


class _Tally:
    """What has come of the requests of one round."""

    def __init__(self, progress: WarmupProgress) -> None:
        self.progress = progress

    def made(self, failure: str) -> None:
        self.progress = replace(self.progress, sent=self.progress.sent + 1)
        if failure:
            self.failed(failure)

    def failed(self, reason: str) -> None:
        text = " ".join(reason.split())[:MAX_REASON]
        self.progress = replace(self.progress, failed=self.progress.failed + 1, last_failure=text)

    def p95(self, seconds: float) -> None:
        self.progress = replace(self.progress, p95_seconds=seconds if math.isfinite(seconds) else None)


class _Window:
    """How long the last requests of one kind took; one that failed took for ever."""

    def __init__(self, request: WarmupRequest) -> None:
        self._limit = request.until.p95.total_seconds() if request.until else None
        self._seconds: deque[float] = deque(maxlen=WINDOW)
        self.was_fast_enough = False
        """`until` has held, if only for a moment: what was still under way then does not count any more."""

    def add(self, seconds: float) -> None:
        self._seconds.append(seconds)
        # It takes a full window to say so.
        if self._limit is not None and len(self._seconds) == WINDOW and self.p95 <= self._limit:
            self.was_fast_enough = True

    @property
    def p95(self) -> float:
        """By nearest rank: of 20, the second longest."""
        return sorted(self._seconds)[math.ceil(0.95 * len(self._seconds)) - 1]


Call = Callable[[], Awaitable[tuple[float, str]]]
"""Makes one request; how many seconds it took, and why it failed (empty: it did not)."""


class _Caller:
    """Makes single requests."""

    def __init__(self, http: aiohttp.ClientSession, exec_in_pod: ExecInPod, clock: Callable[[], float]) -> None:
        self._http = http
        self._exec_in_pod = exec_in_pod
        self._clock = clock

    def prepared(self, target: Target, request: WarmupRequest) -> Call:
        """What makes one request of this kind.

        Raises:
            NoSuchPort, ValueError: no request of this kind can ever be made to this pod.
        """
        attempt = self._command(target, request) if request.exec else self._request(target, request)
        timeout = request.timeout.total_seconds()

        async def call() -> tuple[float, str]:
            begun = self._clock()
            try:
                async with asyncio.timeout(timeout):
                    failure = await attempt()
            except TimeoutError:
                failure = f"no answer within {format_duration(request.timeout)}"
            except (aiohttp.ClientError, ExecError, OSError, ValueError) as error:
                failure = str(error) or type(error).__name__
            return self._clock() - begun, failure

        return call

    def _request(self, target: Target, request: WarmupRequest) -> Callable[[], Awaitable[str]]:
        if request.port is None:
            raise ValueError("neither a port to ask nor a command to run is given")
        url: URL = address.url(target.ip, request.port, request.path, target.ports)
        headers = CIMultiDict({"User-Agent": "lossless-rollout/warm-up"})
        spelled: dict[str, str] = {}
        for header in request.headers:
            if header.name.lower() not in spelled:
                headers.popall(header.name, None)
            # aiohttp keeps both of two headers of one name only if they are spelled alike.
            headers.add(spelled.setdefault(header.name.lower(), header.name), header.value)

        async def attempt() -> str:
            async with self._http.request(
                request.method, url, headers=headers, allow_redirects=False, timeout=_UNLIMITED
            ) as response:
                await body.discard(response, MAX_BODY)
                return f"status {response.status}" if response.status >= 500 else ""

        return attempt

    def _command(self, target: Target, request: WarmupRequest) -> Callable[[], Awaitable[str]]:
        command = request.exec
        if command is None:
            raise ValueError("no command is given")
        container = command.container or next(iter(target.containers), "")
        if container not in target.containers:
            raise ValueError(f"the pod has no container named {container} (it has {', '.join(target.containers)})")

        async def attempt() -> str:
            result = await self._exec_in_pod(target.namespace, target.name, container, command.command)
            if result.exit_code == 0:
                return ""
            return f"exit code {result.exit_code} of {command.command[0]}: {result.output.strip()}".rstrip(": ")

        return attempt
