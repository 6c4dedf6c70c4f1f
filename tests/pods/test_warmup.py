"""A new pod is sent its warm-up requests: so many, so many at a time, until it is fast; failures are counted."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from lossless.api.resource import Exec, Header, OnWarmupFailure, Until, WarmupRequest
from lossless.core.world import WarmupProgress
from lossless.pods import warmup
from lossless.pods.exec import ExecError, ExecInPod, ExecResult
from lossless.pods.warmup import Target, Warmups
from tests.pods.servers import refusing, resetting, serving, text

POD = Target("uid-1", "0/", "shop", "web-1", "127.0.0.1", {}, ("app", "proxy"))


async def no_exec(namespace: str, pod: str, container: str, command: Sequence[str]) -> ExecResult:
    raise AssertionError("no command was asked for")


class Pauses:
    """Sleeps that take no time, and are remembered."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)


class Clock:
    """Seconds that only pass when somebody says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """Warm-ups with time at hand."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http
        self.told: list[str] = []
        self.pauses = Pauses()
        self.clock = Clock()
        self.exec_in_pod: ExecInPod = no_exec
        self.warmups = Warmups(http, self._exec, self._progress, clock=self.clock, sleep=self.pauses)
        self._changed = asyncio.Event()

    async def _exec(self, namespace: str, pod: str, container: str, command: Sequence[str]) -> ExecResult:
        return await self.exec_in_pod(namespace, pod, container, command)

    def _progress(self, uid: str) -> None:
        self.told.append(uid)
        self._changed.set()

    async def until(self, wanted: Callable[[WarmupProgress], bool], uid: str = POD.uid) -> WarmupProgress:
        async with asyncio.timeout(30):
            while True:
                progress = self.warmups.progress(uid)
                if progress and wanted(progress):
                    return progress
                self._changed.clear()
                await self._changed.wait()

    async def done(self, uid: str = POD.uid) -> WarmupProgress:
        return await self.until(lambda progress: progress.done, uid)

    async def warm(
        self, *requests: WarmupRequest, target: Target = POD, skip: int = 0, hold: bool = False
    ) -> WarmupProgress:
        self.warmups.start(target, requests, skip, OnWarmupFailure.HOLD if hold else OnWarmupFailure.CONTINUE)
        return await self.done(target.uid)


@pytest.fixture
async def bench(http: aiohttp.ClientSession) -> AsyncIterator[Bench]:
    bench = Bench(http)
    yield bench
    await bench.warmups.close()


@asynccontextmanager
async def counting(answer: Callable[[int], web.Response] | None = None) -> AsyncIterator[tuple[int, list[web.Request]]]:
    """A server that remembers what it was asked; `answer` is given the number of the request."""
    asked: list[web.Request] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request)
        return answer(len(asked)) if answer else web.Response(text="hello")

    async with serving(handler) as port:
        yield port, asked


async def test_every_request_is_made_once(bench: Bench) -> None:
    async with counting() as (port, asked):
        progress = await bench.warm(
            WarmupRequest(port=port, path="/a?x=1", count=30, concurrency=4),
            WarmupRequest(port=port, path="/b", count=10, method="POST"),
        )
    assert (progress.sent, progress.total, progress.failed, progress.done) == (40, 40, 0, True)
    assert progress.epoch == POD.epoch
    assert [(request.method, request.path_qs) for request in asked] == [("GET", "/a?x=1")] * 30 + [("POST", "/b")] * 10


async def test_no_more_than_concurrency_at_a_time(bench: Bench) -> None:
    under_way, most = 0, 0

    async def handler(_: web.Request) -> web.Response:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.005)
        under_way -= 1
        return web.Response()

    async with serving(handler) as port:
        await bench.warm(WarmupRequest(port=port, count=20, concurrency=3))
    assert most == 3


async def test_headers_are_sent_as_they_are(bench: Bench) -> None:
    headers = [
        Header(name="Host", value="shop.example"),
        Header(name="X-Warm", value="1"),
        Header(name="x-warm", value="2"),
    ]
    async with counting() as (port, asked):
        await bench.warm(WarmupRequest(port=port, count=1, headers=headers))
    assert asked[0].host == "shop.example"
    assert asked[0].headers.getall("X-Warm") == ["1", "2"]
    assert asked[0].headers["User-Agent"] == "lossless-rollout/warm-up"


async def test_a_port_is_found_by_its_name(bench: Bench) -> None:
    async with counting() as (port, asked):
        await bench.warm(WarmupRequest(port="http", count=3), target=replace(POD, ports={"http": port}))
    assert len(asked) == 3


async def test_a_name_that_no_port_has_is_said_once_and_the_rest_goes_on(bench: Bench) -> None:
    async with counting() as (port, asked):
        progress = await bench.warm(
            WarmupRequest(port="grpc", count=100_000),
            WarmupRequest(port=port, count=2),
            target=replace(POD, ports={"http": port}),
        )
    assert (progress.sent, progress.failed) == (2, 1)
    assert progress.last_failure == "the pod has no port named grpc (named ports: http)"
    assert len(asked) == 2


async def test_an_ipv6_address_is_bracketed(bench: Bench) -> None:
    async with serving(text("hello"), host="::1") as port:
        progress = await bench.warm(WarmupRequest(port=port, count=2), target=replace(POD, ip="::1"))
    assert progress.succeeded


async def test_a_status_of_500_is_a_failure_and_404_is_none(bench: Bench) -> None:
    async with counting(lambda number: web.Response(status=500 if number == 2 else 404)) as (port, asked):
        progress = await bench.warm(WarmupRequest(port=port, count=5))
    assert (progress.sent, progress.failed, progress.last_failure) == (5, 1, "status 500")
    assert len(asked) == 5


async def test_a_redirect_is_not_followed(bench: Bench) -> None:
    async with counting(lambda _: web.Response(status=302, headers={"Location": "/login"})) as (port, asked):
        progress = await bench.warm(WarmupRequest(port=port, path="/", count=3))
    assert progress.succeeded
    assert {request.path for request in asked} == {"/"}


async def test_no_answer_in_time_is_a_failure(bench: Bench) -> None:
    async def handler(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        raise AssertionError

    async with serving(handler) as port:
        progress = await bench.warm(WarmupRequest(port=port, count=2, timeout=timedelta(milliseconds=20)))
    assert (progress.sent, progress.failed, progress.last_failure) == (2, 2, "no answer within 20ms")


async def test_an_answer_that_stops_in_the_middle_is_a_failure(bench: Bench) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"some of it")
        assert request.transport
        request.transport.abort()
        return response

    async with serving(handler) as port:
        progress = await bench.warm(WarmupRequest(port=port, count=2))
    assert (progress.sent, progress.failed) == (2, 2)


async def test_an_answer_without_end_is_not_read_for_ever(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warmup, "MAX_BODY", 2**18)

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 2**16)

    async with serving(handler) as port:
        progress = await bench.warm(WarmupRequest(port=port, count=3))
    assert (progress.sent, progress.failed) == (3, 0)


async def test_who_refuses_at_once_is_not_asked_in_a_loop(bench: Bench) -> None:
    progress = await bench.warm(WarmupRequest(port=await refusing(), count=12, concurrency=1))
    assert (progress.sent, progress.failed) == (12, 12)
    assert "refused" in progress.last_failure.lower() or "connect" in progress.last_failure.lower()
    assert bench.pauses.seconds == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1, 1, 1, 1, 1, 1, 1])


async def test_a_success_ends_the_pauses(bench: Bench) -> None:
    async with counting(lambda number: web.Response(status=500 if number in (1, 2, 4) else 200)) as (port, _):
        await bench.warm(WarmupRequest(port=port, count=6, concurrency=1))
    assert bench.pauses.seconds == pytest.approx([0.05, 0.1, 0.05])


async def test_a_reset_connection_is_a_failure(bench: Bench) -> None:
    async with resetting() as port:
        progress = await bench.warm(WarmupRequest(port=port, count=2))
    assert (progress.sent, progress.failed) == (2, 2)
    assert progress.last_failure


async def test_it_stops_once_19_of_20_are_fast_enough(bench: Bench) -> None:
    """The first ten take 800 ms each, as cold ones do; after 29 requests 19 of the last 20 are fast."""

    def answer(number: int) -> web.Response:
        bench.clock.now += 0.8 if number <= 10 else 0.01
        return web.Response()

    async with counting(answer) as (port, asked):
        until = Until(p95=timedelta(milliseconds=100))
        progress = await bench.warm(WarmupRequest(port=port, count=100, concurrency=1, until=until))
    assert (progress.sent, progress.total, progress.done) == (29, 100, True)
    assert progress.p95_seconds == pytest.approx(0.01)
    assert len(asked) == 29


async def test_a_slow_one_that_was_under_way_does_not_start_it_again(bench: Bench) -> None:
    """Of two at a time one hangs in its first request until the other has shown that the pod is warm."""
    enough = asyncio.Event()
    asked = 0

    async def handler(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        if asked == 1:
            await enough.wait()
            bench.clock.now += 60
        elif asked == 21:
            enough.set()
        return web.Response()

    async with serving(handler) as port:
        until = Until(p95=timedelta(milliseconds=100))
        progress = await bench.warm(
            WarmupRequest(port=port, count=100, concurrency=2, until=until, timeout=timedelta(days=1))
        )
    assert (progress.sent, asked) == (21, 21)


async def test_fewer_than_20_requests_never_stop_it(bench: Bench) -> None:
    async with counting() as (port, asked):
        await bench.warm(WarmupRequest(port=port, count=19, until=Until(p95=timedelta(seconds=9))))
    assert len(asked) == 19


async def test_a_failure_is_never_fast(bench: Bench) -> None:
    async with counting(lambda _: web.Response(status=503)) as (port, asked):
        progress = await bench.warm(WarmupRequest(port=port, count=25, until=Until(p95=timedelta(seconds=9))))
    assert len(asked) == 25
    assert progress.p95_seconds is None


@pytest.mark.parametrize(
    ("skip", "paths"),
    [(0, "aaabb"), (1, "aabb"), (3, "bb"), (4, "b"), (5, ""), (99, "")],
)
async def test_what_an_earlier_process_has_sent_is_not_sent_again(bench: Bench, skip: int, paths: str) -> None:
    async with counting() as (port, asked):
        requests = [WarmupRequest(port=port, path=f"/{path}", count=count) for path, count in (("a", 3), ("b", 2))]
        progress = await bench.warm(*requests, skip=skip)
    assert "".join(request.path[1:] for request in asked) == paths
    assert (progress.sent, progress.total, progress.succeeded) == (5, 5, True)


async def test_starting_the_same_again_changes_nothing(bench: Bench) -> None:
    async with counting() as (port, asked):
        request = WarmupRequest(port=port, count=4)
        await bench.warm(request)
        await bench.warm(request)
        assert len(asked) == 4


async def test_a_new_epoch_begins_anew_and_gives_the_old_one_up(bench: Bench) -> None:
    first_came = asyncio.Event()
    asked = 0

    async def handler(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        if asked == 1:
            first_came.set()
            await asyncio.sleep(60)
        return web.Response()

    async with serving(handler) as port:
        request = WarmupRequest(port=port, count=5, concurrency=1)
        bench.warmups.start(POD, [request])
        await first_came.wait()
        progress = await bench.warm(request, target=replace(POD, epoch="1/"))
    assert (progress.epoch, progress.sent, asked) == ("1/", 5, 6)


async def test_requests_that_were_mended_begin_anew(bench: Bench) -> None:
    """Or the pod that they hold would be held for ever."""
    async with counting() as (port, asked):
        bench.warmups.start(POD, [WarmupRequest(port="nope")], on_failure=OnWarmupFailure.HOLD)
        await bench.done()
        for _ in range(3):
            bench.warmups.renew([POD.uid, "unknown"], [WarmupRequest(port=port, count=4)], OnWarmupFailure.HOLD)
        progress = await bench.until(lambda progress: progress.succeeded)
    assert progress.succeeded
    assert len(asked) == 4


async def test_who_is_not_kept_is_given_up_and_forgotten(bench: Bench) -> None:
    came = asyncio.Event()

    async def handler(_: web.Request) -> web.Response:
        came.set()
        await asyncio.sleep(60)
        raise AssertionError

    async with serving(handler) as port:
        bench.warmups.start(POD, [WarmupRequest(port=port)])
        bench.warmups.start(replace(POD, uid="uid-2"), [WarmupRequest(port=port)])
        await came.wait()
        bench.warmups.keep_only(["uid-2", "uid-3"])
        assert bench.warmups.progress("uid-1") is None
        assert bench.warmups.progress("uid-2") is not None
        await bench.warmups.close()
    assert bench.told == [], "what was given up is not worth another look"
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("warm up")] == []


async def test_hold_makes_rounds_until_one_succeeds(bench: Bench) -> None:
    async with counting(lambda number: web.Response(status=500 if number in (2, 7) else 200)) as (port, asked):
        bench.warmups.start(POD, [WarmupRequest(port=port, count=4)], on_failure=OnWarmupFailure.HOLD)
        progress = await bench.until(lambda progress: progress.succeeded)
    assert (progress.sent, progress.failed) == (4, 0)
    assert len(asked) == 12
    assert bench.pauses.seconds.count(warmup.BETWEEN_ROUNDS) == 2


async def test_while_it_holds_the_failure_stays_to_be_seen(bench: Bench) -> None:
    """A second round under way must not look like a pod that is merely not done: that is let in at its timeout."""
    seen: list[WarmupProgress | None] = []

    def answer(number: int) -> web.Response:
        seen.append(bench.warmups.progress(POD.uid))
        return web.Response(status=500 if number <= 4 else 200)

    async with counting(answer) as (port, _):
        bench.warmups.start(POD, [WarmupRequest(port=port, count=2)], on_failure=OnWarmupFailure.HOLD)
        await bench.until(lambda progress: progress.succeeded)
    second_and_third = seen[2:]
    assert len(second_and_third) == 4
    assert all(progress and progress.done and progress.failed == 2 for progress in second_and_third)
    assert second_and_third[-1] is not None
    assert second_and_third[-1].last_failure == "status 500; round 2"


async def test_hold_takes_nobodys_word_for_what_was_sent_before(bench: Bench) -> None:
    async with counting() as (port, asked):
        await bench.warm(WarmupRequest(port=port, count=5), skip=5, hold=True)
    assert len(asked) == 5


async def test_commands_run_in_the_container_that_was_named_or_the_first(bench: Bench) -> None:
    ran: list[tuple[str, ...]] = []

    async def run(namespace: str, pod: str, container: str, command: Sequence[str]) -> ExecResult:
        ran.append((namespace, pod, container, *command))
        return ExecResult(0)

    bench.exec_in_pod = run
    progress = await bench.warm(
        WarmupRequest(exec=Exec(command=["warm", "--up"]), count=1),
        WarmupRequest(exec=Exec(command=["warm"], container="proxy"), count=1),
    )
    assert progress.succeeded
    assert ran == [("shop", "web-1", "app", "warm", "--up"), ("shop", "web-1", "proxy", "warm")]


async def test_a_container_that_is_not_there_is_said_once(bench: Bench) -> None:
    progress = await bench.warm(WarmupRequest(exec=Exec(command=["warm"], container="db")))
    assert (progress.sent, progress.failed) == (0, 1)
    assert progress.last_failure == "the pod has no container named db (it has app, proxy)"


@pytest.mark.parametrize(
    ("outcome", "failure"),
    [
        (ExecResult(3, "no such table\n"), "exit code 3 of warm: no such table"),
        (ExecResult(1), "exit code 1 of warm"),
        (ExecError("the API server refused it: 403 Forbidden"), "the API server refused it: 403 Forbidden"),
    ],
)
async def test_a_command_that_fails_is_a_failure(bench: Bench, outcome: ExecResult | ExecError, failure: str) -> None:
    async def run(namespace: str, pod: str, container: str, command: Sequence[str]) -> ExecResult:
        if isinstance(outcome, ExecError):
            raise outcome
        return outcome

    bench.exec_in_pod = run
    progress = await bench.warm(WarmupRequest(exec=Exec(command=["warm"]), count=2))
    assert (progress.sent, progress.failed, progress.last_failure) == (2, 2, failure)


async def test_a_defect_of_ours_leaves_no_pod_waiting_for_ever(bench: Bench) -> None:
    async def run(namespace: str, pod: str, container: str, command: Sequence[str]) -> ExecResult:
        raise RuntimeError("a bug")

    bench.exec_in_pod = run
    progress = await bench.warm(WarmupRequest(exec=Exec(command=["warm"]), count=2))
    assert progress.done
    assert progress.failed
    assert "a bug" in progress.last_failure


async def test_it_is_told_now_and_then_and_not_for_every_request(bench: Bench) -> None:
    async with counting() as (port, _):
        await bench.warm(WarmupRequest(port=port, count=110, concurrency=4))
    assert bench.told == [POD.uid] * 5, "at 25, 50, 75, 100 and at the end"


async def test_nothing_to_send_is_done_at_once(bench: Bench) -> None:
    assert (await bench.warm()).succeeded


@settings(deadline=None, max_examples=50)
@given(
    counts=st.lists(st.integers(1, 30), max_size=4),
    concurrency=st.integers(1, 8),
    skip=st.integers(0, 130),
    fails=st.sets(st.integers(1, 120)),
    hold=st.booleans(),
)
def test_the_sums_are_right_whatever_fails(
    counts: list[int], concurrency: int, skip: int, fails: set[int], hold: bool
) -> None:
    """Sent is never more than the total and never falls within a round; what is made, is made once."""

    async def scenario() -> None:
        calls = 0

        async def run(namespace: str, pod: str, container: str, command: Sequence[str]) -> ExecResult:
            nonlocal calls
            calls += 1
            failed = calls in fails
            await asyncio.sleep(0)
            return ExecResult(1 if failed else 0)

        async with aiohttp.ClientSession() as http:
            bench = Bench(http)
            bench.exec_in_pod = run
            requests = [
                WarmupRequest(exec=Exec(command=["x"]), count=count, concurrency=concurrency) for count in counts
            ]
            on_failure = OnWarmupFailure.HOLD if hold else OnWarmupFailure.CONTINUE
            bench.warmups.start(POD, requests, skip, on_failure)
            progress = await bench.until(lambda progress: progress.done and not (hold and progress.failed))
            await bench.warmups.close()
        total = sum(counts)
        assert progress.sent == progress.total == total
        if hold:
            assert progress.failed == 0
            assert total == 0 or calls % total == 0
        else:
            assert calls == max(0, total - skip)
            assert progress.failed == len([number for number in fails if number <= calls])

    asyncio.run(scenario())
