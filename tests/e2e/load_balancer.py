"""A fake of a cloud's load balancer, for what one does with ``externalTrafficPolicy: Local``: it sends to a node as
long as the node's health check for the Service answers 200, and notices a few failed checks late that it does not.
(`healthCheckNodePort`: https://kubernetes.io/docs/tasks/access-application-cluster/create-external-load-balancer/.)

It stands outside the cluster, in a network of its own, as kube-proxy treats what comes from inside like any other
traffic. Run in the box: `python -m tests.e2e.load_balancer --node 10.0.0.1 --port P --check P`. Says in a line of JSON
what it saw, once the node was out of service for a while.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from collections import Counter

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector

INSIDE, OUTSIDE = "172.20.0.1", "172.20.0.2"
CHECK_EVERY, FAILED_CHECKS = 1.0, 3
ASK_EVERY = 0.02
GOES_ON = 2.0
"""Seconds after the node was taken out of service: what is still under way comes to its end."""

ATTACHED = f"""
until ip link show outside 2> /dev/null; do sleep 0.1; done
ip link set lo up
ip addr add {OUTSIDE}/24 dev outside
ip link set outside up
ip route add default via {INSIDE}
exec "$@"
"""
"""What the network of its own needs, when it is there."""


async def balance(node: str, port: int, check: int) -> dict[str, object]:
    answers: Counter[str] = Counter()
    connector = TCPConnector(limit=0, force_close=True)
    async with ClientSession(connector=connector, timeout=ClientTimeout(2)) as session:

        async def ask(url: str) -> str:
            try:
                async with session.get(url) as answer:
                    await answer.read()
                    return str(answer.status)
            except (ClientError, TimeoutError) as error:
                return type(error).__name__

        async def one() -> None:
            answers[await ask(f"http://{node}:{port}/")] += 1

        async def until_out_of_service() -> None:
            print("balances", flush=True)
            failed = 0
            while failed < FAILED_CHECKS:
                failed = 0 if await ask(f"http://{node}:{check}/healthz") == "200" else failed + 1
                await asyncio.sleep(CHECK_EVERY)

        async with asyncio.TaskGroup() as group:
            checks = group.create_task(until_out_of_service())
            while not checks.done():
                group.create_task(one())
                await asyncio.sleep(ASK_EVERY)
    return dict(answers)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--node", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--check", type=int, required=True)
    parser.add_argument("--outside", action="store_true", help="it is in its network already")
    options = parser.parse_args()
    if options.outside:
        print(json.dumps(asyncio.run(balance(options.node, options.port, options.check))), flush=True)
        return
    again = [sys.executable, "-m", "tests.e2e.load_balancer", *sys.argv[1:], "--outside"]
    child = subprocess.Popen(["unshare", "--net", "sh", "-c", ATTACHED, "sh", *again])
    try:
        link = f"ip link add inside type veth peer name outside netns {child.pid}"
        for command in (link, f"ip addr add {INSIDE}/24 dev inside", "ip link set inside up"):
            subprocess.run(command.split(), check=True)
        sys.exit(child.wait())
    finally:
        child.kill()


if __name__ == "__main__":
    main()
