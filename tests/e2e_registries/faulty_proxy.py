"""A fake: a proxy that goes wrong when it is told to. Whoever asks a registry through it takes it for the registry.

Run in the box: `python -m tests.e2e_registries.faulty_proxy --server http://10.0.1.10:8500 --listen 10.0.1.70:8500`.
`PUT /fake/<fault>` has it go wrong so, and `GET /fake/met` says how many requests have met that since.
"""

from __future__ import annotations

import argparse
import asyncio
from enum import StrEnum
from urllib.parse import urlsplit

from aiohttp import ClientSession, web

_HOP = frozenset({"host", "transfer-encoding", "connection", "content-length", "content-encoding"})


class Fault(StrEnum):
    NONE = "none"
    """It passes everything on."""
    HANGS = "hangs"
    """It takes the request, and never answers."""
    UNAVAILABLE = "503"
    FORBIDDEN = "403"
    SIGN_IN = "sign-in"
    """200, with a page for people."""
    CUT_OFF = "cut-off"
    """The first half of the real answer."""
    FORGETS = "forgets"
    """An empty list: so Consul's catalog answers where nobody is registered."""


class FaultyProxy:
    def __init__(self, server: str, session: ClientSession) -> None:
        self._server = server
        self._session = session
        self._fault = Fault.NONE
        self._met = 0

    async def control(self, request: web.Request) -> web.Response:
        if request.method == "PUT":
            self._fault, self._met = Fault(request.match_info["what"]), 0
        return web.Response(text=str(self._met))

    async def answer(self, request: web.Request) -> web.Response:
        self._met += 1
        print(f"{request.method} {request.rel_url}: {self._fault}", flush=True)
        match self._fault:
            case Fault.HANGS:
                await asyncio.Event().wait()
            case Fault.UNAVAILABLE | Fault.FORBIDDEN:
                return web.Response(status=int(self._fault), text="not now")
            case Fault.SIGN_IN:
                return web.Response(text="<html><body>Please sign in</body></html>", content_type="text/html")
            case Fault.FORGETS:
                return web.json_response([])
        return await self._passed_on(request, whole=self._fault is not Fault.CUT_OFF)

    async def _passed_on(self, request: web.Request, *, whole: bool) -> web.Response:
        url, body = self._server + request.raw_path, await request.read()
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _HOP}
        async with self._session.request(request.method, url, headers=headers, data=body or None) as answer:
            said = await answer.read()
            headers = {key: value for key, value in answer.headers.items() if key.lower() not in _HOP}
            return web.Response(status=answer.status, body=said if whole else said[: len(said) // 2], headers=headers)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True)
    parser.add_argument("--listen", required=True)
    options = parser.parse_args()
    listen = urlsplit(f"//{options.listen}")
    async with ClientSession() as session:
        proxy = FaultyProxy(options.server, session)
        app = web.Application()
        app.router.add_route("*", "/fake/{what}", proxy.control)
        app.router.add_route("*", "/{path:.*}", proxy.answer)
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, listen.hostname, listen.port).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
