"""The sample app: one program, the manners by flags. See `sample-app --help`.

Each request that was answered in full is one line on stdout, `{"id": …, "t": …, "pod": …, "path": …}`, written after
its last byte went out to the kernel; probes and metrics are not logged. A load generator sends `X-Request-Id` and
reconciles; the answer names its pod in `X-Pod`. Lines of `--cold-requests` have `"cold": true`, too.

Paths: `/` (any other too), `/slow?s=20`, `/stream?s=5&chunks=10`, `/burn?ms=50`, `/crash`, `/healthz`, `/metrics`,
`/inflight`, `/unready?s=10`.

With `--register` it registers itself with service registries, and says so in lines of the form
`{"registry": …, "did": …}`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

from .web import Request, Response, Server  # relative: bin/sample-app runs it without the package above

if TYPE_CHECKING:
    from .registration.keeper import Keeper

_QUIET = frozenset({"/healthz", "/metrics", "/inflight"})


def options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Every flag can be given as an environment variable too: `--cold-requests` as COLD_REQUESTS."""

    def env(name: str, default: str) -> str:
        return os.environ.get(name, default)

    parser = argparse.ArgumentParser(prog="sample-app", description=__doc__)
    parser.add_argument("--host", default=env("POD_IP", "0.0.0.0"), help="address to bind (POD_IP)")
    parser.add_argument("--port", type=int, default=int(env("PORT", "8080")), help="(PORT)")
    parser.add_argument("--version", default=env("VERSION", "1"), help="told in the answer (VERSION)")
    parser.add_argument(
        "--on-term",
        choices=("drain", "die", "ignore"),
        default=env("ON_TERM", "drain"),
        help="SIGTERM: finish the work and go; die at once; take no notice (ON_TERM)",
    )
    parser.add_argument(
        "--linger",
        type=float,
        default=float(env("LINGER", "1")),
        help="draining, seconds in which idle connections are told before they are closed; 0 as many servers do",
    )
    parser.add_argument("--latency-ms", type=float, default=float(env("LATENCY_MS", "5")), help="of a warm answer")
    parser.add_argument(
        "--cold-requests", type=int, default=int(env("COLD_REQUESTS", "0")), help="so many first answers are slow"
    )
    parser.add_argument("--cold-ms", type=float, default=float(env("COLD_MS", "800")), help="how slow those are")
    parser.add_argument(
        "--cold-burn",
        action="store_true",
        default=env("COLD_BURN", "") == "1",
        help="burn the CPU in a cold answer instead of sleeping (COLD_BURN=1)",
    )
    parser.add_argument("--work-ms", type=float, default=float(env("WORK_MS", "0")), help="CPU of a warm answer")
    parser.add_argument(
        "--burn-for", type=float, default=float(env("BURN_FOR", "0")), help="seconds from its start, in which"
    )
    parser.add_argument("--burn-ms", type=float, default=float(env("BURN_MS", "50")), help="CPU of an answer is this")
    parser.add_argument(
        "--start-delay", type=float, default=float(env("START_DELAY", "0")), help="seconds before it listens"
    )
    _add_registration(parser, env)
    return parser.parse_args(argv)


def _add_registration(parser: argparse.ArgumentParser, env: Callable[[str, str], str]) -> None:
    """What concerns service registries."""
    parser.add_argument(
        "--register",
        action="append",
        default=env("REGISTER", "").split(),
        metavar="KIND=URL",
        help="register with consul, nacos, eureka or etcd; options follow a `?`, see apps/registration; repeatable",
    )
    parser.add_argument("--service", default=env("SERVICE", "sample"), help="the name to register as (SERVICE)")
    parser.add_argument(
        "--register-at",
        choices=("start", "listening"),
        default=env("REGISTER_AT", "listening"),
        help="register at once, before it listens, or as frameworks do (REGISTER_AT)",
    )
    parser.add_argument(
        "--register-delay", type=float, default=float(env("REGISTER_DELAY", "0")), help="seconds more before that"
    )
    parser.add_argument(
        "--register-disabled",
        action="store_true",
        default=env("REGISTER_DISABLED", "") == "1",
        help="not to be asked until somebody says so (REGISTER_DISABLED=1)",
    )
    parser.add_argument(
        "--register-weight", type=float, default=float(env("REGISTER_WEIGHT", "1")), help="(REGISTER_WEIGHT)"
    )
    parser.add_argument(
        "--deregister",
        choices=("first", "last", "never"),
        default=env("DEREGISTER", "first"),
        help="SIGTERM: before the work is finished, after it, or not at all (DEREGISTER)",
    )


class App:
    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._pod = os.environ.get("POD_NAME") or os.environ.get("HOSTNAME", "")
        self._cold_left: int = args.cold_requests
        self._in_flight = 0
        self._served = 0
        self._unready_until = 0.0
        self._burns_until = time.monotonic() + args.burn_for
        self.server = Server(self.handle)

    async def handle(self, request: Request) -> Response:
        if request.path in _QUIET:
            return self._quiet(request.path)
        self._in_flight += 1
        try:
            response = await self._answer(request)
        except BaseException:
            self._in_flight -= 1
            raise
        response.headers |= {"X-Pod": self._pod, "X-Version": self._args.version}
        response.on_sent = lambda: self._sent(request, "X-Cold" in response.headers)
        response.on_end = self._ended
        return response

    def _ended(self) -> None:
        self._in_flight -= 1

    def _sent(self, request: Request, cold: bool) -> None:
        self._served += 1
        request_id = request.headers.get("x-request-id", "")
        # Written by hand: importing json costs a pod more than all its lines.
        line = f'{{"id": "{request_id}", "t": {time.time():.3f}, "pod": "{self._pod}", "path": "{request.path}"'
        sys.stdout.write(line + (', "cold": true}\n' if cold else "}\n"))
        sys.stdout.flush()

    def _quiet(self, path: str) -> Response:
        if path == "/healthz":
            if time.monotonic() < self._unready_until:
                return Response(503, b"not now\n")
            return Response(200, b"ok\n")
        if path == "/inflight":
            return Response(200, f"{self._in_flight}\n".encode())
        text = (
            "# HELP http_requests_in_flight Requests being answered.\n"
            "# TYPE http_requests_in_flight gauge\n"
            f"http_requests_in_flight {self._in_flight}\n"
            "# HELP http_requests_total Requests answered.\n"
            "# TYPE http_requests_total counter\n"
            f"http_requests_total {self._served}\n"
        )
        return Response(200, text.encode(), {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _answer(self, request: Request) -> Response:
        cold = False
        if request.path == "/crash":
            sys.stdout.flush()
            os._exit(int(request.query.get("code", "1")))
        if request.path == "/unready":
            self._unready_until = time.monotonic() + float(request.query.get("s", "10"))
            return Response(200, b"unready\n")
        if request.path == "/stream":
            seconds = float(request.query.get("s", "5"))
            return Response(200, stream=_chunks(seconds, int(request.query.get("chunks", "10"))))
        if request.path == "/slow":
            await asyncio.sleep(float(request.query.get("s", "20")))
        elif request.path == "/burn":
            _burn(float(request.query.get("ms", "50")) / 1000)
        elif cold := self._cold_left > 0:
            self._cold_left -= 1
            if self._args.cold_burn:
                _burn(self._args.cold_ms / 1000)
            else:
                await asyncio.sleep(self._args.cold_ms / 1000)
        else:
            burns = time.monotonic() < self._burns_until
            _spend((self._args.burn_ms if burns else self._args.work_ms) / 1000)
            await asyncio.sleep(self._args.latency_ms / 1000)
        body = f"{self._pod} version {self._args.version}\n".encode()
        return Response(200, body, {"X-Cold": "true"} if cold else {})


async def _chunks(seconds: float, count: int) -> AsyncIterator[bytes]:
    for number in range(count):
        yield f"chunk {number + 1} of {count}\n".encode()
        if number + 1 < count:
            await asyncio.sleep(seconds / max(count - 1, 1))


def _burn(seconds: float) -> None:
    """Keeps a core busy; the event loop waits, as a JIT or a cache that is filled would make it."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def _spend(seconds: float) -> None:
    """So much of the CPU's time, however long that takes on a busy machine: for those who measure what is used."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


class Registrations:
    """The app's registrations, none of them without `--register`."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._delay: float = args.register_delay
        self._keepers: list[Keeper] = []
        self._begun: asyncio.TimerHandle | None = None
        if not args.register:
            return
        from .registration import flags, registration  # costs a start as much as all the rest

        instance = registration.Instance(
            service=args.service,
            ip=args.host,
            port=args.port,
            name=os.environ.get("POD_NAME") or os.environ.get("HOSTNAME", ""),
            version=args.version,
            weight=args.register_weight,
            disabled=args.register_disabled,
        )
        try:
            self._keepers = flags.keepers(args.register, instance, os.environ.get("NODE_NAME", ""))
        except registration.UnknownOption as error:
            raise SystemExit(f"sample-app: {error}") from error

    def begin(self) -> None:
        self._begun = asyncio.get_running_loop().call_later(self._delay, self._start)

    def _start(self) -> None:
        for keeper in self._keepers:
            keeper.start()

    async def leave(self) -> None:
        if self._begun is not None:
            self._begun.cancel()
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(None, keeper.leave) for keeper in self._keepers))


async def serve(args: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    terminated = asyncio.Event()
    if args.on_term == "drain":
        loop.add_signal_handler(signal.SIGTERM, terminated.set)
    elif args.on_term == "die":
        signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    else:
        signal.signal(signal.SIGTERM, lambda *_: None)
    app = App(args)
    registrations = Registrations(args)
    if args.register_at == "start":
        registrations.begin()
    if args.start_delay and args.on_term == "drain":
        waiter = asyncio.create_task(terminated.wait())
        await asyncio.wait([waiter], timeout=args.start_delay)
    else:
        await asyncio.sleep(args.start_delay)
    if not terminated.is_set():
        await app.server.listen(args.host, args.port)
        if args.register_at == "listening":
            registrations.begin()
    await terminated.wait()
    if args.deregister == "first":
        await registrations.leave()
    await app.server.drain(args.linger)
    if args.deregister == "last":
        await registrations.leave()


def main() -> None:
    asyncio.run(serve(options()))


if __name__ == "__main__":
    main()
