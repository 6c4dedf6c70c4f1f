"""`python -m localcluster.consumers KIND URL SERVICE`: follow a service and print its list whenever it changes.

One JSON line each, `{"at": <unix time>, "addresses": [{"address": "10.244.1.7:8080", "weight": 1.0}, …]}`, the first
one as soon as the registry has answered. Ends on SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine

import aiohttp

from localcluster.consumers import consul, etcd, nacos_http
from localcluster.consumers.addresses import Printer

Follow = Callable[[aiohttp.ClientSession, argparse.Namespace, Printer], Coroutine[None, None, None]]


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="python -m localcluster.consumers", description=__doc__)
    kinds = whole.add_subparsers(required=True, metavar="KIND")

    def kind(name: str, follow: Follow, text: str) -> argparse.ArgumentParser:
        sub = kinds.add_parser(name, help=text, description=text)
        sub.add_argument("url", help="of the registry, such as http://10.0.1.10:8500")
        sub.add_argument("service", help="whom to follow")
        sub.set_defaults(follow=follow)
        return sub

    kind("consul", lambda session, o, emit: consul.follow(session, o.url, o.service, emit), "blocking queries")
    sub = kind(
        "etcd",
        lambda session, o, emit: etcd.follow(session, o.url, o.service, emit, o.prefix, o.login),
        "a watch",
    )
    sub.add_argument("--prefix", default=etcd.PREFIX, help="of the keys (default: %(default)s)")
    sub.add_argument("--login", nargs=2, metavar=("USER", "PASSWORD"), help="where etcd wants one")
    sub = kind(
        "nacos-http",
        lambda session, o, emit: nacos_http.follow(session, o.url, o.service, emit, o.every, o.group, o.namespace),
        "asks again and again",
    )
    sub.add_argument("--every", type=float, help="seconds; when not given, as the server says")
    sub.add_argument("--group", default="DEFAULT_GROUP", help="(default: %(default)s)")
    sub.add_argument("--namespace", default="public", help="(default: %(default)s)")
    return whole


async def follow(options: argparse.Namespace) -> None:
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession() as session:
        task = asyncio.ensure_future(options.follow(session, options, Printer()))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task


if __name__ == "__main__":
    asyncio.run(follow(parser().parse_args()))
