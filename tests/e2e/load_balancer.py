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

ATTACHED = f"""
echo here
until ip link show outside > /dev/null 2>&1; do sleep 0.1; done
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

        async def is_healthy() -> bool:
            return await ask(f"http://{node}:{check}/healthz") == "200"

        async def until_out_of_service() -> None:
            failed = 0
            while failed < FAILED_CHECKS:
                failed = 0 if await is_healthy() else failed + 1
                await asyncio.sleep(CHECK_EVERY)

        while not await is_healthy():  # noqa: ASYNC110 - nobody tells it
            await asyncio.sleep(CHECK_EVERY)
        print("balances", flush=True)
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
    with subprocess.Popen(["unshare", "--net", "sh", "-c", ATTACHED, "sh", *again], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()  # It is in its own network now.
        link = f"ip link add inside type veth peer name outside netns {child.pid}"
        for command in (link, f"ip addr add {INSIDE}/24 dev inside", "ip link set inside up"):
            subprocess.run(command.split(), check=True)
        for line in child.stdout:
            print(line.decode(), end="", flush=True)
    sys.exit(child.returncode)


if __name__ == "__main__":
    main()
