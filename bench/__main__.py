"""`python -m bench [NAME …]`: what the operator costs. Prints a table, writes `build/bench.json` and a page beside it.

Ends with 0 unless a measurement failed: a missed bar is a figure, not an error.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from bench.figure import Figure
from bench.machine import load, machine
from bench.measurements import LARGE, MEASUREMENTS, Measurement
from bench.report import report
from bench.table import table
from bench.testbed import Testbed, large_testbed, testbed
from localcluster.errors import MissingRequirement

OUT = Path("build/bench.json")
BEDS: Sequence[
    tuple[Callable[[bool, Callable[[str], None]], AbstractContextManager[Testbed]], Mapping[str, Measurement]]
] = ((testbed, MEASUREMENTS), (large_testbed, LARGE))
"""What each measurement is given."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    names = list(dict.fromkeys(options.names)) or list(MEASUREMENTS)  # the large ones take too long to come unasked
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {line}", flush=True)

    figures: list[Figure] = []
    runs: dict[str, Any] = {}
    version = ""
    try:
        for make, measurements in BEDS:
            if not (chosen := [name for name in names if name in measurements]):
                continue
            say("starts a cluster in a box, with the operator in it")
            with make(options.quick, say) as bed:
                for name in chosen:
                    say(f"── {name}: {_first_sentence(measurements[name].__doc__ or '')}")
                    runs[name] = _carry_out(measurements[name], bed, figures)
                version = bed.box.version
    except KeyboardInterrupt:
        return 130
    except MissingRequirement as error:
        print(f"bench: {error}", file=sys.stderr)
        return error.exit_code
    about = {**machine(), "kubernetes": version, "quick": options.quick}
    result = {"machine": about, "measurements": runs, "figures": [figure.to_json() for figure in figures]}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    page = options.out.with_suffix(".html")
    print(f"\n{table(figures)}\n")
    loads = [run[key] for run in runs.values() for key in ("load_before", "load_after")]
    where = f"{about['cores']} cores, load {min(loads)} to {max(loads)}; Kubernetes {version}"
    page.write_text(report(figures, where))
    print(f"{where}; see {options.out} and {page}.")
    failed = [f"{name}: {run['failed']}" for name, run in runs.items() if "failed" in run]
    for each in failed:
        print(f"bench: FAILED: {each}", file=sys.stderr)
    return 1 if failed else 0


def _carry_out(measure: Measurement, bed: Testbed, figures: list[Figure]) -> dict[str, Any]:
    """How it went; what it measures before it fails is kept."""
    run: dict[str, Any] = {"load_before": load()}
    started = time.monotonic()
    try:
        figures += measure(bed)
    except Exception as error:  # noqa: BLE001 - the others are worth having all the same
        traceback.print_exc()
        run["failed"] = f"{type(error).__name__}: {error}"[:2000]
    return {**run, "load_after": load(), "seconds": round(time.monotonic() - started, 1)}


def _first_sentence(text: str) -> str:
    return " ".join(text.split()).split(". ")[0].rstrip(".")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        choices=[[], *MEASUREMENTS, *LARGE],
        help=f"some of: {', '.join([*MEASUREMENTS, *LARGE])}",
    )
    parser.add_argument("--quick", action="store_true", help="fewer pods and rounds; some 4 minutes")
    parser.add_argument("--out", type=Path, default=OUT, help="the file to write")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
