"""What is built with Rust's cargo, from crates.io, with the dependencies that the crate's own lock file pins."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from localcluster import progress
from localcluster.cache import Say
from localcluster.errors import BinariesError

KINDS = {"Downloaded": "crates fetched", "Compiling": "crates compiled"}


def install(crate: str, version: str, directory: Path, say: Say) -> None:
    """Build a crate's commands into `directory`/bin; that takes minutes.

    Raises:
        BinariesError: there is no cargo, or the build failed; the message ends with what cargo said.
    """
    cargo = shutil.which("cargo") or shutil.which("cargo", path=str(Path.home() / ".cargo" / "bin"))
    if cargo is None:
        raise BinariesError(
            f"{crate} {version} is built with Rust, and there is no cargo on the PATH: "
            "install Rust, for example with rustup (Debian's cargo may be too old)"
        )
    target = directory / "target"
    argv = [cargo, "install", "--locked", "--version", version, "--root", str(directory), "--target-dir", str(target)]
    progress.run_counting([*argv, crate], directory, os.environ, say, _counts_as)
    shutil.rmtree(target)


def _counts_as(line: str) -> str | None:
    found = re.match(r"\s*(\w+) ", line)
    return KINDS.get(found[1]) if found else None
