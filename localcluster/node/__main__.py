"""`python -m localcluster.node`: one process node."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import signal
from collections.abc import Sequence
from pathlib import Path

from localcluster.node.agent import Agent, Directories
from localcluster.node.api import Api
from localcluster.node.machine import become_machine
from localcluster.node.node_object import NodeSpec


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m localcluster.node", description=__doc__)
    parser.add_argument("--name", required=True, help="name of the Node object")
    parser.add_argument("--kubeconfig", required=True, type=Path)
    parser.add_argument("--pod-cidr", required=True, help="addresses for pods; every one must be bindable here")
    parser.add_argument(
        "--logs",
        required=True,
        type=Path,
        help="container logs: DIR/pods/<namespace>_<pod>_<uid>/<container>/<restart>.log",
    )
    parser.add_argument("--run", required=True, type=Path, help="volumes and other short-lived files")
    parser.add_argument("--address", default="10.0.0.1", help="the node's InternalIP")
    parser.add_argument(
        "--api-port", type=int, default=0, help="of the kubelet's API (exec, logs, metrics); 0: any free"
    )
    parser.add_argument("--cpu", default="16", help="capacity; nothing is limited by it")
    parser.add_argument("--memory", default="64Gi", help="capacity; nothing is limited by it")
    parser.add_argument("--pods", type=int, default=110, help="capacity")
    parser.add_argument("--kubernetes-version", default="v1.36.3", help="what kubectl get nodes shows")
    parser.add_argument("--label", action="append", default=[], metavar="KEY=VALUE", help="a further label; repeatable")
    parser.add_argument(
        "--relist-period",
        type=float,
        default=1.0,
        metavar="SECONDS",
        help="how often ended containers are noticed; a kubelet's is 1 s",
    )
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args(argv)


async def run(args: argparse.Namespace) -> None:
    spec = NodeSpec(
        name=args.name,
        address=args.address,
        pod_cidr=args.pod_cidr,
        cpu=args.cpu,
        memory=args.memory,
        pods=args.pods,
        version=args.kubernetes_version,
        labels=dict(label.split("=", 1) for label in args.label),
    )
    async with Api(args.kubeconfig) as api:
        agent = Agent(api, spec, Directories(args.logs, args.run), relist_period=args.relist_period)
        task = asyncio.create_task(agent.run(args.api_port))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task


def main() -> None:
    args = arguments()
    become_machine()
    logging.basicConfig(
        level=logging.DEBUG if args.verbose else logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    asyncio.run(run(args))


if __name__ == "__main__":
    main()
