"""Running a build that takes minutes: what it has done so far is told every few seconds, its last words if it fails."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from localcluster.cache import Say
from localcluster.errors import BinariesError

SAY_EVERY = 10.0


def run_counting(
    argv: Sequence[str], cwd: Path, env: Mapping[str, str], say: Say, counts_as: Callable[[str], str | None]
) -> None:
    """Run a build to its end.

    Args:
        counts_as: what a line of its stderr is one of, such as "packages compiled"; None for other lines.

    Raises:
        BinariesError: it failed; the message ends with what it said last.
    """
    last_lines: deque[str] = deque(maxlen=20)
    counts: Counter[str] = Counter()

    def read() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            last_lines.append(line.rstrip())
            if (what := counts_as(line)) is not None:
                counts[what] += 1

    began = time.monotonic()
    with subprocess.Popen(
        argv, cwd=cwd, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        reader = threading.Thread(target=read)
        reader.start()
        try:
            while process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(SAY_EVERY)
                    break
                minutes, seconds = divmod(int(time.monotonic() - began), 60)
                done = ", ".join(f"{count} {what}" for what, count in counts.items()) or "nothing yet"
                say(f"  {minutes}:{seconds:02}: {done}")
        except BaseException:
            process.kill()
            raise
        finally:
            reader.join()
    if process.returncode != 0:
        raise BinariesError("`{}` failed:\n{}".format(" ".join(argv[:2]), "\n".join(last_lines)))
