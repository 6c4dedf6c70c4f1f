"""A proxy in front of the API server that lets every kind of call fail, each in its own way, before it works.

Run in the box: `python -m tests.e2e.faulty_api --kubeconfig FILE --port PORT`. Listens on plain HTTP; what comes it
passes on with the kubeconfig's credentials. A kind of call is its method and its path without names; the first three
calls of each kind fail: with a 500, by a connection closed before the API server heard of it, and by one closed after
the API server has done it. Watches work, but are cut every few seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import re
import ssl
from collections import Counter

import yaml
from aiohttp import ClientSession, TCPConnector, web

WATCH_SECONDS = 7
_FAILURES = ("a 500", "closed before", "closed after")
_HOP = frozenset({"host", "transfer-encoding", "connection", "content-length", "content-encoding", "authorization"})


class FaultyApi:
    def __init__(self, server: str, token: str, session: ClientSession) -> None:
        self._server = server
        self._token = token
        self._session = session
        self._calls: Counter[str] = Counter()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("watch") in ("true", "1"):
            return await self._watch(request)
        kind = kind_of(request.method, request.path)
        self._calls[kind] += 1
        number = self._calls[kind]
        failure = _FAILURES[number - 1] if number <= len(_FAILURES) else None
        print(f"{kind} {number} {failure or 'works'}", flush=True)
        if failure == "a 500":
            return web.json_response({"kind": "Status", "code": 500, "reason": "InternalError"}, status=500)
        if failure == "closed before":
            return self._closed(request)
        async with self._send(request, await request.read()) as answer:
            body = await answer.read()
            if failure == "closed after":
                return self._closed(request)
            headers = {key: value for key, value in answer.headers.items() if key.lower() not in _HOP}
            return web.Response(status=answer.status, body=body, headers=headers)

    def _send(self, request: web.Request, body: bytes = b""):  # type: ignore[no-untyped-def]
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _HOP}
        headers["Authorization"] = f"Bearer {self._token}"
        return self._session.request(
            request.method, self._server + request.raw_path, headers=headers, data=body or None
        )

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        """Passed on as it comes, and cut in the middle."""
        async with self._send(request) as answer:
            response = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/json"})
            await response.prepare(request)
            try:
                async with asyncio.timeout(WATCH_SECONDS):
                    async for chunk in answer.content.iter_any():
                        await response.write(chunk)
            except TimeoutError:
                self._closed(request)
            return response

    @staticmethod
    def _closed(request: web.Request) -> web.Response:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()


def kind_of(method: str, path: str) -> str:
    """`PATCH pods/status` for `PATCH /api/v1/namespaces/x/pods/y/status`."""
    path = re.sub(r"^/(api/[^/]+|apis/[^/]+/[^/]+)/", "", path)
    path = re.sub(r"^namespaces/[^/]+/", "", path)
    parts = path.strip("/").split("/")
    return f"{method} {parts[0]}{'/' + parts[2] if len(parts) > 2 else '' if len(parts) == 1 else '/*'}"


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--port", type=int, required=True)
    args = parser.parse_args()
    with open(args.kubeconfig) as file:  # noqa: ASYNC230
        config = yaml.safe_load(file)
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    trust = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    async with ClientSession(connector=TCPConnector(ssl=trust), auto_decompress=True) as session:
        app = web.Application(client_max_size=10**8)
        app.router.add_route("*", "/{path:.*}", FaultyApi(cluster["server"], user["token"], session).handle)
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", args.port).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
