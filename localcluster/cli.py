"""The command `localcluster`: up, exec, down, list, build."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from localcluster import binaries, gateway, preflight, registry
from localcluster.box import Box, inside_environment
from localcluster.errors import LocalClusterError
from localcluster.namespace import enter_argv
from localcluster.servers import available

DEFAULT_NAME = "box"
ENDS_WITHIN = 20.0
"""Seconds that `down` waits for a box's owner."""


def say(line: str) -> None:
    """Progress, apart from what is asked for."""
    print(line, file=sys.stderr, flush=True)


def up(options: argparse.Namespace) -> int:
    """Run a box until Ctrl-C, or until `down` is called."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    began = time.monotonic()
    is_up = False
    try:
        with Box(options.nodes, options.gateway, options.kubernetes_version, options.name, say=say) as box:
            is_up = True
            print(f"Kubernetes {box.version} with {options.nodes} nodes is up after {time.monotonic() - began:.1f} s.")
            print(how_to_use(box), flush=True)
            while box.alive:
                time.sleep(1)
            say("The box has ended: its first process was killed.")
            return 1
    except KeyboardInterrupt:
        return 0 if is_up else 130


def how_to_use(box: Box) -> str:
    """What a person at a terminal needs to know."""
    named = "" if box.name == DEFAULT_NAME else f" --name {box.name}"
    lines = [
        f"  export KUBECONFIG={box.kubeconfig}",
        f"  export PATH={box.directory / 'bin'}:$PATH    # kubectl {box.version}",
        f"  localcluster exec{named} -- bash    # enter: pods and Services can be reached by their addresses",
        f"  logs: {box.logs}",
        "Ctrl-C ends it.",
    ]
    if box.has_gateway:
        address = box.gateway_address
        lines.insert(3, f"  gateway: http://{address} inside, http://{box.forward(address)} from here")
    return "\n".join(lines)


def exec_(options: argparse.Namespace) -> int:
    """Become a command inside the box."""
    entry = _running(options.name)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        raise LocalClusterError("which command? localcluster exec -- CMD")
    argv = enter_argv(entry.init_pid, command)
    os.execvpe(argv[0], argv, inside_environment(Path(entry.directory), Path(entry.kubeconfig_inside)))


def down(options: argparse.Namespace) -> int:
    """Tell the box's owner to end it, and wait until it is gone."""
    entry = _running(options.name)
    os.kill(entry.owner_pid, signal.SIGTERM)
    deadline = time.monotonic() + ENDS_WITHIN
    while entry.alive:
        if time.monotonic() > deadline:
            raise LocalClusterError(f"the owner of the box, process {entry.owner_pid}, does not end; kill -9 it")
        time.sleep(0.05)
    registry.remove(entry.name)
    return 0


def list_(options: argparse.Namespace) -> int:
    """Print the running boxes of this user."""
    for entry in registry.running():
        print(f"{entry.name}\t{entry.version}\tKUBECONFIG={entry.kubeconfig}\towner {entry.owner_pid}")
    return 0


def build(options: argparse.Namespace) -> int:
    """Make sure that everything a box needs is there."""
    preflight.check()
    version = binaries.choose_version(options.kubernetes_version)
    for name, path in binaries.obtain(version, say).items():
        print(f"{name}\t{path}")
    print(f"etcd\t{binaries.etcd(say)}")
    print(f"traefik\t{binaries.traefik()}")
    for directory in gateway.crd_directories(say):
        print(f"{directory.name}\t{directory}")
    if options.servers:
        for name, get in available.BINARIES.items():
            print(f"{name}\t{get(say)}")
    return 0


def _running(name: str) -> registry.Entry:
    entry = registry.find(name)
    if entry is None:
        others = ", ".join(other.name for other in registry.running()) or "none"
        raise LocalClusterError(f"no box named {name} runs (running: {others}); `localcluster up` starts one")
    return entry


def parser() -> argparse.ArgumentParser:
    whole = argparse.ArgumentParser(prog="localcluster", description="A real Kubernetes cluster in a box.")
    commands = whole.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(run=run)
        return sub

    def add_name(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--name", default=DEFAULT_NAME, help="of the box (default: %(default)s)")

    def add_version(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--kubernetes-version",
            metavar="V",
            help=f"default: ${binaries.VERSION_ENVIRONMENT}, else {binaries.DEFAULT_VERSION}",
        )

    sub = command("up", up, "start a box and keep it up until Ctrl-C")
    add_name(sub)
    add_version(sub)
    sub.add_argument("--nodes", type=int, default=2, metavar="N", help="process nodes (default: %(default)s)")
    sub.add_argument("--gateway", action="store_true", help="run Traefik with the Gateway API")
    sub = command("exec", exec_, "run a command inside a box")
    add_name(sub)
    sub.add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD")
    add_name(command("down", down, "end a box"))
    command("list", list_, "print the running boxes")
    sub = command("build", build, "get or build everything a box needs")
    add_version(sub)
    sub.add_argument("--servers", action="store_true", help="also the servers that a box can run beside its cluster")
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, 1 for an error, 2 when this machine lacks something."""
    options = parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except LocalClusterError as error:
        say(f"localcluster: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    return code
