"""`python -m localcluster.load --config FILE.json --out results.jsonl`: carry out a plan, inside the box's network.

Ends after the plan's duration, or on SIGTERM or SIGINT; what is in flight is let finish.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import logging
import os
import resource
import signal
import sys
import time
import uuid
from dataclasses import asdict
from pathlib import Path

from localcluster.load.addresses import from_cluster
from localcluster.load.answering import wait_until_answering
from localcluster.load.following import following
from localcluster.load.generator import run
from localcluster.load.plan import CachedAddresses, FollowedAddresses, Plan, PlanError
from localcluster.load.result import Result
from localcluster.reader import ApiReader

log = logging.getLogger(__name__)


async def carry_out(plan: Plan, out: Path, kubeconfig: Path | None) -> None:
    """Write the results of the plan to `out` as they come, at the latest a second after they are known."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    run_id = uuid.uuid4().hex[:8]
    with out.open("w") as file:

        def sink(result: Result) -> None:
            file.write(result.to_json() + "\n")

        async def flush() -> None:
            while True:
                file.flush()
                await asyncio.sleep(1)

        file.write(json.dumps({"begin": {"run": run_id, "at": time.time(), "plan": json.loads(plan.to_json())}}) + "\n")
        flusher = asyncio.create_task(flush())
        async with contextlib.AsyncExitStack() as stack:
            read = None
            if any(isinstance(caller, CachedAddresses) for caller in plan.callers):
                if kubeconfig is None:
                    raise PlanError("a caller with cached addresses needs --kubeconfig (or KUBECONFIG)")
                read = from_cluster(await stack.enter_async_context(ApiReader.connect(kubeconfig)))
            followers = {
                caller.name: [await stack.enter_async_context(following(caller, stop)) for _ in range(caller.clients)]
                for caller in plan.callers
                if isinstance(caller, FollowedAddresses)
            }
            if plan.ready_within and not await wait_until_answering(plan, read, followers):
                log.warning("not every target answers after %g s; begins all the same", plan.ready_within)
            gc.collect()
            gc.freeze()  # what is here stays: a collection in mid-run has little to look at, so it stalls nothing
            ending = await run(plan, sink, stop, run_id=run_id, read_addresses=read, followers=followers)
        flusher.cancel()
        file.write(json.dumps({"end": asdict(ending)}) + "\n")
    print(
        f"{ending.sent} requests in {ending.wall_seconds:.1f} s, {ending.cpu_share:.0%} of a core for the asking",
        file=sys.stderr,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m localcluster.load", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="the plan, a JSON file")
    parser.add_argument("--out", type=Path, required=True, help="where the results go, a JSON-lines file")
    parser.add_argument("--kubeconfig", type=Path, default=os.environ.get("KUBECONFIG"), help="for cached addresses")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a server that stalls holds rate * timeout connections
    try:
        plan = Plan.from_json(options.config.read_text())
        asyncio.run(carry_out(plan, options.out, Path(options.kubeconfig) if options.kubeconfig else None))
    except PlanError as error:
        print(f"localcluster.load: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
