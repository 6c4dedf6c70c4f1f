"""Which boxes of this user run on this machine: one small state file each, so that `exec` and `down` find them."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from localcluster.errors import LocalClusterError


@dataclass(frozen=True)
class Entry:
    """One running box."""

    name: str
    version: str
    owner_pid: int
    owner_started: str
    """When the owner started, in the kernel's words: a PID alone may have been taken by another process since."""
    init_pid: int
    directory: str
    kubeconfig: str
    kubeconfig_inside: str

    @property
    def alive(self) -> bool:
        return started(self.owner_pid) == self.owner_started


def started(pid: int) -> str | None:
    """When a process started, in clock ticks since boot, or None when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *rest = stat.rpartition(")")[2].split()
    return None if state == "Z" else rest[18]


def directory() -> Path:
    """Where the state files are; made with mode 0700.

    Raises:
        LocalClusterError: it belongs to somebody else, who could make us run things.
    """
    root = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    path = root / f"localcluster-{os.getuid()}"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_uid != os.getuid() or path.is_symlink():
        raise LocalClusterError(f"{path} belongs to another user; remove it or set XDG_RUNTIME_DIR")
    return path


def _path(name: str) -> Path:
    if not name or "/" in name or name.startswith("."):
        raise LocalClusterError(f"{name!r} cannot be the name of a box")
    return directory() / f"{name}.json"


def find(name: str) -> Entry | None:
    """The running box of that name; what a dead owner left is cleared away."""
    path = _path(name)
    try:
        entry = Entry(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):  # another version of this package wrote it
        path.unlink(missing_ok=True)
        return None
    if entry.alive:
        return entry
    path.unlink(missing_ok=True)
    return None


def running() -> list[Entry]:
    """All running boxes of this user, by name."""
    entries = (find(path.stem) for path in sorted(directory().glob("*.json")))
    return [entry for entry in entries if entry is not None]


def add(entry: Entry) -> None:
    """Make a box known; replaces the entry of the same name."""
    path = _path(entry.name)
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    draft.write_text(json.dumps(asdict(entry), indent=2) + "\n")
    draft.replace(path)


def remove(name: str) -> None:
    """Forget a box. Idempotent."""
    with contextlib.suppress(FileNotFoundError):
        _path(name).unlink()
