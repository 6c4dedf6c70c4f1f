"""The per-user cache: what is slow to get is kept there, keyed by its version, and got by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

Say = Callable[[str], None]
"""Told one line about progress."""


def root() -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/localcluster`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "localcluster"


@contextlib.contextmanager
def locked(name: str, say: Say) -> Iterator[None]:
    """Hold the lock of that name. The kernel lets it go when the process ends, however that happens."""
    path = root() / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"Another process is preparing {name}; waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def draft(target: Path) -> Iterator[Path]:
    """A directory beside `target` to prepare it in; removed at the end. Call it with the lock held.

    It is on the same file system, so that moving the result is one atomic rename: nobody ever sees half a file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}-"
    for left_over in target.parent.glob(f"{prefix}*"):  # of somebody who was killed: the lock is ours, so he is gone
        shutil.rmtree(left_over, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=prefix, dir=target.parent) as path:
        yield Path(path)


def prepared(target: Path, say: Say, prepare: Callable[[Path], None]) -> Path:
    """The directory `target` of the cache; if it is not there, `prepare` fills a draft of it first.

    Raises:
        BinariesError: whatever `prepare` raises; nothing of it stays.
    """
    if not target.exists():
        with locked(target.name, say), draft(target) as drafted:
            if not target.exists():  # another may have got it
                prepare(drafted)
                drafted.chmod(0o755)
                drafted.rename(target)
    return target
