"""The health endpoints and the metrics endpoint."""

from collections.abc import Awaitable, Callable
from typing import Self

from aiohttp import web

Check = Callable[[], str | None]
"""Why it is not well; None: it is."""


class Health:
    """A running health server."""

    def __init__(self, runner: web.AppRunner, port: int) -> None:
        self._runner = runner
        self.port = port
        """Where it listens: what was asked for, or what port 0 came to."""

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


async def serve(
    port: int, render_metrics: Callable[[], bytes], livez: Check, readyz: Check, host: str | None = None
) -> Health:
    """Serve ``/livez``, ``/readyz`` (200 and "ok", or 503 and the reason) and ``/metrics``.

    It runs on the event loop of the work it vouches for: a loop that is blocked does not answer either.

    Args:
        port: 0 takes a free one.
        render_metrics: Prometheus text.
        livez: should this process be restarted?
        readyz: can it do its work?
        host: the address to listen on; all when not given.

    Raises:
        OSError: the port is taken.
    """

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=render_metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app = web.Application()
    app.router.add_get("/livez", _answer(livez))
    app.router.add_get("/readyz", _answer(readyz))
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        await runner.cleanup()
        raise
    return Health(runner, runner.addresses[0][1])


def _answer(check: Check) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handler(_: web.Request) -> web.StreamResponse:
        problem = check()
        return web.Response(text="ok\n") if problem is None else web.Response(text=f"{problem}\n", status=503)

    return handler
