"""A fake of the EDAS or MSE agent, as a container beside the app: `python3 -m tests.fakes.edas_agent ETCD SERVICE`.

What is documented of the real one, and so is here: it registers the app once that answers, and until then its
127.0.0.1:55199/readiness is 500; 127.0.0.1:54199/offline takes the app out of the registry for good, while it goes on
serving. The real one is in the app's own JVM and has a registry of Alibaba Cloud's; here it is an etcd. Told to end it
just ends: without /offline first its registration is left to run out.

Pods here share one loopback device. This process makes itself a network of its own, which has one that nobody else gets
at, just as in a cluster; the thread that was there before stays in the old network, and talks to app and registry.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from localcluster.apps.registration.etcd import Etcd
from localcluster.apps.registration.registration import Instance, Options
from localcluster.apps.web import Request, Response, Server

CLONE_NEWNET = 0x40000000
PORT = 8080


class Agent:
    def __init__(self, url: str, service: str) -> None:
        self._app = f"http://{os.environ['POD_IP']}:{PORT}/healthz"
        instance = Instance(service, os.environ["POD_IP"], PORT, os.environ["POD_NAME"])
        self._registration = Etcd(url, instance, Options({"ttl": "4"}))
        self._outside = ThreadPoolExecutor(1)
        self._outside.submit(int).result()
        self._registered = self._offline = False

    async def run(self) -> None:
        for port in (54199, 55199):
            await Server(self.answer).listen("127.0.0.1", port)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._outside, self._register)
        self._registered = True
        while True:
            await asyncio.sleep(self._registration.every)
            if not self._offline:
                await loop.run_in_executor(self._outside, self._registration.beat)

    async def answer(self, request: Request) -> Response:
        print(f"asked for {request.path}", flush=True)
        if request.path == "/readiness":
            return Response(200 if self._registered else 500)
        if request.path != "/offline":
            return Response(404)
        if not self._offline:
            self._offline = True
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._outside, self._registration.deregister)
        return Response(200, b"ok\n")

    def _register(self) -> None:
        while True:
            try:
                urllib.request.urlopen(self._app, timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        self._registration.register()


def make_own_network() -> None:
    """For this thread and those that it starts from now on."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "no network of its own")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    agent = Agent(*sys.argv[1:])
    make_own_network()
    asyncio.run(agent.run())
