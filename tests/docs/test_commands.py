"""Every kubectl command in the documentation works, in the order in which it stands there."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from localcluster.box import Box

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_COMMANDS = ("", "sh", "console")
_LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(?:#[^)]*)?\)")

SETUP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: app
        image: sample
        command: [sample-app]
        env: [{name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
---
apiVersion: lossless.dev/v1alpha1
kind: LosslessRollout
metadata: {name: web}
spec: {targetRef: {name: web}}
"""


def commands(page: Path) -> Iterator[str]:
    """The kubectl commands of a page: lines of `sh` blocks, and those behind a `$` in `console` blocks."""
    for block in [block for language, block in _BLOCK.findall(page.read_text()) if language in _COMMANDS]:
        for line in block.replace("\\\n", " ").splitlines():
            command = line.strip().removeprefix("$ ").split("  #")[0].strip()
            if command.startswith("kubectl "):
                yield command


def filled_in(command: str, cluster: Box) -> str:
    """With something real where the page says `<something>`."""
    for placeholder in ("<rollout>", "<name>"):
        command = command.replace(placeholder, "web")
    command = command.replace("<namespace>", "default")
    if "<pod>" in command:
        names = cluster.kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].metadata.name}").split()
        command = command.replace("<pod>", names[0])
    return f"{command} --yes" if command.startswith("kubectl lossless release") else command


@pytest.fixture(scope="module")
def cluster() -> Iterator[Box]:
    with Box(nodes=1) as box:
        yield box


@pytest.fixture
def prepared(cluster: Box) -> Box:
    """A cluster with the operator installed and a LosslessRollout beside a Deployment, both named web."""
    cluster.kubectl("apply", "--server-side", "-k", str(ROOT / "manifests" / "install"))
    cluster.kubectl("wait", "--for=condition=Established", "crd/losslessrollouts.lossless.dev")
    cluster.wait_until(lambda: cluster.kubectl("apply", "-f", "-", input=SETUP), 20, "the samples are applied")
    cluster.kubectl("rollout", "status", "deployment/lossless-operator", "-n", "lossless-system", "--timeout=60s")
    return cluster


@pytest.mark.parametrize("page", [page for page in PAGES if any(commands(page))], ids=lambda page: str(page.name))
def test_the_commands_of_a_page_work(page: Path, prepared: Box) -> None:
    path = f"{Path(sys.executable).parent}:{prepared.directory / 'bin'}:{os.environ['PATH']}"
    for command in commands(page):
        said = filled_in(command, prepared)
        argv = ["sh", "-c", f"cd {shlex.quote(str(ROOT))} && {said}"]
        done = prepared.run(argv, env={"PATH": path}, check=False, timeout=120)
        assert done.returncode == 0, f"{command}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    broken = [link for link in _LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not broken
