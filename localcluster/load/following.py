"""A caller's own consumer: a program that follows a registry and prints the list it holds whenever that changes.

Each line of its output is as `localcluster.consumers.addresses` says; other words of it go to its stderr. It is a
client of its own kind, so what it believes, and how late, is the client's business and not decided here.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from localcluster.consumers import addresses
from localcluster.load.callers import Address
from localcluster.load.plan import FollowedAddresses
from localcluster.load.result import HarnessBroken

log = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
LONGEST_LINE = 1 << 24
ENDS_WITHIN = 5.0


class Follower:
    """The list that one consumer holds at this moment."""

    def __init__(self) -> None:
        self.weights: Mapping[Address, float] = {}
        """By address; empty until it has told of any."""
        self.broken = ""
        """Why it is of no use any more."""

    def hear(self, line: str) -> None:
        """A line that the consumer has printed. Raises ValueError when it is not what it should be."""
        _, held = addresses.parse(line)
        weights = {}
        for each in held:
            host, _, port = each.address.rpartition(":")
            weights[host, int(port)] = each.weight
        self.weights = weights

    def check(self) -> None:
        """Raises HarnessBroken when it is of no use any more."""
        if self.broken:
            raise HarnessBroken(self.broken)


@asynccontextmanager
async def following(caller: FollowedAddresses, stop: asyncio.Event) -> AsyncIterator[Follower]:
    """Runs one consumer of the caller while the block runs. One that ends by itself is broken, and sets `stop`.

    Raises:
        HarnessBroken: the command can't be started.
    """
    libc = ctypes.CDLL(None)
    follower = Follower()
    try:
        process = await asyncio.create_subprocess_exec(
            *caller.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE,
            # The load may be killed at any time; nothing of it is to be left in the box.
            preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
        )
    except OSError as error:
        raise HarnessBroken(f"the consumer of {caller.name} can't be started: {error}") from error
    assert process.stdout is not None
    output = process.stdout

    async def listen() -> None:
        try:
            while line := await output.readline():
                log.info("%s: %s", caller.name, line.decode(errors="replace").strip())
                follower.hear(line.decode())
            follower.broken = f"the consumer of {caller.name} ended with status {await process.wait()}"
        except ValueError as error:
            follower.broken = f"the consumer of {caller.name} said what can't be understood: {error}"
        stop.set()

    listener = asyncio.create_task(listen())
    try:
        yield follower
    finally:
        listener.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listener
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    try:
        async with asyncio.timeout(ENDS_WITHIN):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
