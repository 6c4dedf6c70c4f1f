"""The ``kubectl lossless`` command line.

On the PATH as ``kubectl-lossless`` it is a kubectl plugin: kubectl hands it everything that follows its name.
"""

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from lossless.cli.check import check
from lossless.cli.connection import Connection, connect
from lossless.cli.errors import CliError, explained
from lossless.cli.look import look, namespaces
from lossless.cli.release import held, release
from lossless.cli.status import status
from lossless.cluster.errors import ClusterError

OK, FAILED, USAGE = 0, 1, 2
WATCH_EVERY: Final = 2.0
_CLEAR: Final = "\x1b[H\x1b[2J"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. 0: well; 1: it failed, or `check` found something; 2: it was asked wrongly."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.CRITICAL)  # What goes wrong is told below, once, and for people.
    try:
        if options.kubeconfig and not options.kubeconfig.is_file():
            raise CliError(f"no cluster: there is no file {options.kubeconfig}")
        return asyncio.run(_run(options))
    except CliError as error:
        print(f"error: {error}", file=sys.stderr)
    except ClusterError as error:
        print(f"error: {explained(error)}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return FAILED


async def _run(options: argparse.Namespace) -> int:
    async with connect(options.kubeconfig, options.context) as connection:
        namespace = options.namespace or connection.namespace
        match options.command:
            case "status":
                return await _status(connection, namespace, options.name, options.watch)
            case "check":
                text, is_clean = await check(
                    connection.gateway, await look(connection.gateway, namespace), options.name
                )
                print(text)
                return OK if is_clean else FAILED
            case _:
                return await _release(connection, namespace, options)


async def _status(connection: Connection, namespace: str, name: str | None, watch: bool) -> int:
    shown = ""
    while True:
        text = status(await look(connection.gateway, namespace), name)
        if text != shown:
            print(f"{_CLEAR if watch and sys.stdout.isatty() else ''}{text}", flush=True)
            shown = text
        if not watch:
            return OK
        await asyncio.sleep(WATCH_EVERY)


async def _release(connection: Connection, namespace: str, options: argparse.Namespace) -> int:
    gateway = connection.gateway
    targets = [(namespace, options.name)]
    if options.all:
        where = await namespaces(gateway) if options.all_namespaces else (namespace,)
        looks = [await look(gateway, one) for one in where]
        targets = [(one.namespace, rollout.name) for one in looks for rollout in one.rollouts()]
    if not options.yes:
        for where_it_is, name in targets:
            print(f"{where_it_is}/{name} holds {held(await look(gateway, where_it_is), name)}")
        _confirm("They will be let go, and nothing of theirs is lossless until the mode is Enforce again.")
    for where_it_is, name in targets:
        await release(gateway, where_it_is, name, print)
    return OK


def _confirm(what: str) -> None:
    if not sys.stdin.isatty():
        raise CliError("nobody is there to confirm it: give --yes")
    if input(f"{what} Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise CliError("nothing was done")


def _parser() -> argparse.ArgumentParser:
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("-n", "--namespace", help="the namespace; that of the kubeconfig's context when not given")
    where.add_argument("--kubeconfig", type=Path, help="the kubeconfig file")
    where.add_argument("--context", help="the context of the kubeconfig")

    parser = argparse.ArgumentParser(prog="kubectl lossless", description="Rollouts that lose no request.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    one = commands.add_parser("status", parents=[where], help="where rollouts stand, and what each pod waits for")
    one.add_argument("name", nargs="?", metavar="NAME", help="of the LosslessRollout; all of the namespace without it")
    one.add_argument("-w", "--watch", action="store_true", help="go on, and show it again whenever it has changed")

    one = commands.add_parser(
        "check", parents=[where], help="hazards in the set-up, and their cures; 1 if there are any"
    )
    one.add_argument("name", metavar="NAME", help="of the LosslessRollout")

    one = commands.add_parser(
        "release",
        parents=[where],
        help="break glass: give the workload back to Kubernetes, without an operator",
        description="Sets the mode to Observe, opens the gates of all pods and takes everything of ours off them. "
        "The workload goes on as if it had never been taken care of. To undo it, set the mode to Enforce.",
    )
    which = one.add_mutually_exclusive_group(required=True)
    which.add_argument("name", nargs="?", metavar="NAME", help="of the LosslessRollout; it may be gone already")
    which.add_argument("--all", action="store_true", help="all of the namespace")
    one.add_argument("-A", "--all-namespaces", action="store_true", help="with --all: of all namespaces")
    one.add_argument("-y", "--yes", action="store_true", help="do not ask")
    return parser


if __name__ == "__main__":
    sys.exit(main())
