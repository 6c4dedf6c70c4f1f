"""Where the servers' binaries come from. A fake cargo and a fake go stand in for the minutes of a real build."""

from __future__ import annotations

from pathlib import Path

import pytest

from localcluster import cache, crds, gobuild
from localcluster.errors import BinariesError
from localcluster.servers import argo_rollouts, consul, nacos

FAKE_CARGO = """#!/bin/sh
echo "$@" > "{record}"
echo "   Compiling rnacos v0" >&2
{then}
while [ "$1" != --root ]; do shift; done
mkdir -p "$2/bin" "$2/target" && echo built > "$2/bin/rnacos"
"""
FAKE_GO = """#!/bin/sh
if [ "$1" = env ]; then echo go1.26.0; exit; fi
while [ "$1" != -o ]; do shift; done
echo "$3" > "$2/consul"
"""


def nothing_said(line: str) -> None:
    pass


@pytest.fixture(autouse=True)
def own_bin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a directory of our own first on the PATH."""
    own = tmp_path / "own-bin"
    own.mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{own}:/usr/bin:/bin")
    return own


def put(script: Path, text: str) -> None:
    script.write_text(text)
    script.chmod(0o755)


def test_rnacos_is_built_once_as_its_lock_file_pins_it(own_bin: Path, tmp_path: Path) -> None:
    record = tmp_path / "called"
    put(own_bin / "cargo", FAKE_CARGO.format(record=record, then=""))
    said: list[str] = []
    found = nacos.binary(said.append)
    assert found.read_text() == "built\n"
    called = record.read_text()
    assert f"--locked --version {nacos.VERSION}" in called
    assert said[0].startswith(f"Building rnacos {nacos.VERSION}")
    record.unlink()
    assert nacos.binary(said.append) == found
    assert not record.exists()
    assert not (found.parents[1] / "target").exists()


def test_without_cargo_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch, own_bin: Path) -> None:
    monkeypatch.setenv("PATH", str(own_bin))
    with pytest.raises(BinariesError, match="there is no cargo on the PATH: install Rust"):
        nacos.binary(nothing_said)


def test_a_build_that_fails_leaves_nothing_and_quotes_cargo(own_bin: Path, tmp_path: Path) -> None:
    failing = FAKE_CARGO.format(record=tmp_path / "called", then="echo 'error: no space left' >&2; exit 101")
    put(own_bin / "cargo", failing)
    with pytest.raises(BinariesError, match="error: no space left"):
        nacos.binary(nothing_said)
    assert list((cache.root() / "bin").iterdir()) == []


def test_consul_is_built_from_the_committed_modules(own_bin: Path) -> None:
    put(own_bin / "go", FAKE_GO)
    assert consul.binary(nothing_said).read_text() == f"{consul.MODULE}\n"


def test_the_modules_pin_the_version_of_consul() -> None:
    text = (gobuild.MODULES / "consul" / "go.mod").read_text()
    assert f"\t{consul.MODULE} v{consul.VERSION} // indirect\n" in text
    assert f"tool {consul.MODULE}\n" in text


def test_the_controller_of_argo_rollouts_and_its_crds_are_of_one_version() -> None:
    text = (gobuild.MODULES / "argo-rollouts" / "go.mod").read_text()
    assert f"tool {argo_rollouts.COMMAND}\n" in text
    assert f"\tgithub.com/argoproj/argo-rollouts v{argo_rollouts.VERSION} // indirect\n" in text
    assert crds.ARGO_ROLLOUTS.version == f"v{argo_rollouts.VERSION}"
