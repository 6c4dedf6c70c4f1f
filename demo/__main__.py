"""`python -m demo`: one release of a cold app under load, three ways. Leaves `demo.json` and `demo.html`.

Ends with 1 when the operator lost a request, or the plain Deployment lost none (then the harness proves nothing);
with 3 when the measurement itself can't be trusted.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from demo.figures import Figures
from demo.lossless_operator import installed, wait_for_the_door
from demo.measure import Run, measure
from demo.report import report, this_machine
from demo.table import table
from demo.verdict import failures, sentences
from demo.ways import NAME, WAYS, around, deployment
from localcluster import Box
from localcluster.errors import LocalClusterError, MissingRequirement

BUILD = Path("build")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=BUILD, help="the folder for demo.json and demo.html")
    parser.add_argument(
        "--only", action="append", choices=[way.key for way in WAYS], help="for work on the demo itself"
    )
    options = parser.parse_args()
    ways = [way for way in WAYS if way.key in (options.only or [each.key for each in WAYS])]
    started = time.monotonic()
    say = teller(started)
    try:
        runs: list[Run] = []
        say("starts a cluster in a box: a real control plane, two nodes, pods as processes")
        with Box(nodes=2, name="demo", say=say) as box, ExitStack() as stack:
            say("deploys the app, once for each way")
            for way in ways:
                if way.lossless:
                    say("installs the operator")
                    stack.enter_context(installed(box))
                box.apply(around(way))
                if way.lossless:
                    wait_for_the_door(box, way.key)
                box.apply(deployment(way))
            for way in ways:
                box.kubectl("rollout", "status", f"deployment/{NAME}", "-n", way.key, "--timeout=60s")
            for way in ways:
                say(f"── {way.title} ──")
                runs.append(measure(box, way, say))
    except KeyboardInterrupt:
        return 130
    except MissingRequirement as error:
        print(f"demo: {error}", file=sys.stderr)
        return error.exit_code
    except LocalClusterError as error:
        print(f"demo: {error}", file=sys.stderr)
        for note in getattr(error, "__notes__", ()):
            print(f"demo: {note}", file=sys.stderr)
        return 3
    figures = {run.way.key: Figures.of(run) for run in runs}
    print("\n" + table([(run.way.title, figures[run.way.key]) for run in runs]) + "\n")
    for run in runs:
        if run.way.lossless and run.outcome.lost:
            print(run.outcome.explain(run.timeline) + "\n")
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "demo.json").write_text(
        json.dumps({key: each.to_json() for key, each in figures.items()}, indent=2) + "\n"
    )
    if len(runs) < len(WAYS):
        return 0
    (options.out / "demo.html").write_text(report(runs, figures, this_machine()))
    for sentence in sentences(figures):
        print(f"• {sentence}")
    print(f"\n{options.out / 'demo.html'} has the timelines, {options.out / 'demo.json'} the figures.")
    print(f"All of it took {time.monotonic() - started:.0f} s.")
    failed = failures(figures)
    for failure in failed:
        print(f"demo: FAILED: {failure}", file=sys.stderr)
    return 1 if failed else 0


def teller(started: float) -> Callable[[str], None]:
    """Progress, with the time since the start."""
    return lambda text: print(f"{time.monotonic() - started:6.1f} s  {text}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
