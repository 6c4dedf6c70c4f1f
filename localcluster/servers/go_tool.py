"""Servers that are built with Go, each once per version, from the `go.mod` that pins it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from localcluster import binaries, cache, gobuild
from localcluster.cache import Say


def prepared(
    name: str,
    version: str,
    package: str,
    say: Say,
    *,
    minutes: int,
    subject: str = "",
    variables: Mapping[str, str] | None = None,
) -> Path:
    """The directory with its binary: from the cache, else built.

    Args:
        name: of its directory in the cache.
        minutes: what building takes on two cores, to be said beforehand.
        subject: its folder in `localcluster/go`, where that is not its name.
        variables: Go variables to be set by the linker.

    Raises:
        BinariesError: it could not be built.
    """

    def build(directory: Path) -> None:
        say(f"Building {name} {version.removeprefix('v')}: about {minutes} minutes on two cores, once per version")
        gobuild.build_commands(subject or name, [package], directory, say, variables)

    directory = f"{name}-{version}-linux-{binaries.architecture()}"
    return cache.prepared(cache.root() / "bin" / directory, say, build)
