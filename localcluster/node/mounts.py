"""A container's own view of the file system: its volumes where it wants them, the machine's files elsewhere.

A mount namespace of its own (`unshare --mount`) and bind mounts in it, so that `/var/run/secrets/…` is one thing to one
pod and another to the next. Only for containers that mount something worth it (volumes.is_wanted): it costs a few
milliseconds and a shell at each start.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from localcluster.node.environment import ConfigError, expand
from localcluster.node.objects import Json
from localcluster.node.volumes import is_wanted


def mount_wrapper(
    pod: Json, container: Json, volumes: Mapping[str, Path], variables: Mapping[str, str]
) -> tuple[str, ...]:
    """The command to put in front of a container's own; empty when it mounts nothing. Raises ConfigError."""
    steps: list[str] = []
    made: set[Path] = set()
    shown = {*_programs(), *volumes.values()}
    for mount in sorted(container.get("volumeMounts") or [], key=lambda m: str(m["mountPath"])):
        if not is_wanted(pod, mount):
            continue
        source = volumes[mount["name"]]
        sub_path = mount.get("subPath") or expand(mount.get("subPathExpr") or "", variables)
        if sub_path:
            source = source / sub_path
            if not source.exists():
                source.mkdir(parents=True)
        target = Path(os.path.realpath(mount["mountPath"]))
        steps += _make_room(target, made, is_file=source.is_file())
        quoted = shlex.quote(str(target))
        steps += _mount(source, target, shown)
        if mount.get("readOnly"):
            steps.append(f"mount -o remount,bind,ro {quoted}")
    if not steps:
        return ()
    script = "set -e\n" + "\n".join(steps) + '\nexec "$@"'
    return ("unshare", "--mount", "--propagation", "private", "--", "sh", "-c", script, "sh")


def _programs() -> Iterable[Path]:
    """Where this package, its Python, and what is installed beside it are: the image of every container."""
    paths = [sys.prefix, os.getcwd(), *sys.path]
    return [Path(path).resolve() for path in paths if os.path.isdir(path)]


def _mount(source: Path, target: Path, shown: Iterable[Path]) -> list[str]:
    """Steps that put the source there. What of `shown` was below the target stays to be seen: a checkout in /tmp is not
    hidden by a volume that a container has as its /tmp."""
    step = f"mount --bind {shlex.quote(str(source))} {shlex.quote(str(target))}"
    below = {path for path in shown if path != target and path.is_relative_to(target)}
    outermost = sorted(path for path in below if below.isdisjoint(path.parents))
    if not outermost:
        return [step]
    steps = [f"exec 9<{shlex.quote(str(target))}", step]
    for path in outermost:
        old = shlex.quote(f"/proc/self/fd/9/{path.relative_to(target)}")
        steps += [
            f"mkdir -p {shlex.quote(str(path))}",
            f"mount --no-canonicalize --rbind {old} {shlex.quote(str(path))}",
        ]
    return [*steps, "exec 9<&-"]


def _make_room(target: Path, made: set[Path], *, is_file: bool) -> list[str]:
    """Steps that make the target exist in this namespace alone.

    Nothing is created on the machine: the nearest directory that exists is covered by a tmpfs with the same entries.
    """
    if target.exists() or any(target.is_relative_to(m) for m in made if m == target):
        return []
    nearest = next(parent for parent in target.parents if parent.exists())
    steps: list[str] = []
    if nearest == Path("/"):
        raise ConfigError(
            f"mountPath {target}: a process node mounts only below directories that exist on this machine, such as /mnt"
        )
    if nearest not in made and not any(nearest.is_relative_to(m) for m in made):
        made.add(nearest)
        here = shlex.quote(str(nearest))
        # The open directory is reachable beneath the tmpfs, unless mount makes a path of it first.
        steps += [f"exec 9<{here}", f"mount -t tmpfs tmpfs {here}"]
        for entry in sorted(nearest.iterdir()):
            name, path = shlex.quote(entry.name), shlex.quote(str(entry))
            if entry.is_symlink():
                steps.append(f"ln -s {shlex.quote(os.readlink(entry))} {path}")
            else:
                steps.append(f"mkdir -p {path}" if entry.is_dir() else f": >{path}")
                steps.append(f"mount --no-canonicalize --rbind /proc/self/fd/9/{name} {path} 2>/dev/null || true")
        steps.append("exec 9<&-")
    made.add(target)
    parent = shlex.quote(str(target.parent))
    steps.append(f"mkdir -p {parent}")
    steps.append(f": >{shlex.quote(str(target))}" if is_file else f"mkdir -p {shlex.quote(str(target))}")
    return steps
