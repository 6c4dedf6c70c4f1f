"""CRDs of others, taken from the Go modules that their projects publish, each checked against a go.sum."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from localcluster import cache, gobuild
from localcluster.cache import Say


@dataclass(frozen=True)
class Published:
    """Where a project's CRDs are."""

    subject: str
    """`localcluster/go/<subject>` pins the module."""
    module: str
    version: str
    files: str
    """Which files of the module they are: a pattern as `Path.glob` has it."""


GATEWAY_API = Published("gateway-api", "sigs.k8s.io/gateway-api", "v1.6.3", "config/crd/standard/*.yaml")
"""The standard channel. Traefik 3.7 waits for TLSRoute, which that has since 1.5, and answers 404 until then."""

TRAEFIK = Published(
    "traefik",
    "github.com/traefik/traefik/v3",
    "v3.7.13",
    "docs/content/reference/dynamic-configuration/traefik.io_*.yaml",
)
"""Of the release line of the pinned Traefik: its own patch release is not among the published modules."""

ARGO_ROLLOUTS = Published("argo-rollouts", "github.com/argoproj/argo-rollouts", "v1.9.1", "manifests/crds/*-crd.yaml")

KEDA = Published("keda", "github.com/kedacore/keda/v2", "v2.20.2", "config/crd/bases/keda.sh_scaledobjects.yaml")

ISTIO = Published("istio", "istio.io/api", "v1.31.1", "kubernetes/customresourcedefinitions.gen.yaml")


def fetch(published: Published, say: Say) -> Path:
    """The directory with the CRDs: in the cache, else taken from the published Go module.

    Raises:
        BinariesError: they are not to be had.
    """
    target = cache.root() / f"{published.subject}-crds-{published.version}"
    if not target.exists():
        with cache.locked(target.name, say), cache.draft(target) as draft:
            if not target.exists():
                say(f"Fetching {published.module} {published.version}")
                source = gobuild.module_directory(published.subject, published.module, say)
                (draft / "crds").mkdir()
                for file in sorted(source.glob(published.files)):
                    shutil.copyfile(file, draft / "crds" / file.name)  # not its mode: Go's module cache is read-only
                (draft / "crds").rename(target)
    return target
