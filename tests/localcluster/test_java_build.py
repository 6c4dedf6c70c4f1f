"""How the Java parts are built: pinned, kept, and refused with a line that says what to do. Maven itself is run by
`localcluster build --servers`."""

from __future__ import annotations

import hashlib
import re
import stat
from pathlib import Path
from xml.etree import ElementTree

import pytest

from localcluster import cache, javabuild
from localcluster.errors import BinariesError

MAVEN = "{http://maven.apache.org/POM/4.0.0}"
POMS = [javabuild.SOURCES / "pom.xml", *(javabuild.SOURCES / module / "pom.xml" for module in javabuild.MODULES)]
JAR = b"made elsewhere"


def nothing_said(line: str) -> None:
    pass


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with no JDK and no Maven on it, but with a shell, and an empty cache; returns a directory on that PATH."""
    empty = tmp_path / "bin"
    empty.mkdir()
    for name in ("sh", "mkdir", "printf", "cp"):
        (empty / name).symlink_to(Path("/bin") / name if (Path("/bin") / name).exists() else Path("/usr/bin") / name)
    monkeypatch.setenv("PATH", str(empty))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return empty


def put_jdk(home: Path, version: str, java: str = "exit 0") -> None:
    script(home / "bin" / "javac", f"echo javac {version}")
    script(home / "bin" / "java", java)


WRITES_ITS_ARCHIVE = 'for word in "$@"; do case "$word" in -XX:ArchiveClassesAtExit=*) echo > "${word#*=}";; esac; done'
BUILDS = f"mkdir -p target/classpath; printf '{JAR.decode()}' > target/classpath/other.jar; echo '[INFO] --- one'"


@pytest.fixture
def pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pins the one jar that a fake Maven brings."""
    checksums = tmp_path / "jars.sha256"
    checksums.write_text(f"{hashlib.sha256(JAR).hexdigest()}  nacos/other.jar\n")
    monkeypatch.setattr(javabuild, "CHECKSUMS", checksums)
    return checksums


def test_a_missing_jdk_is_named_with_its_package(machine: Path) -> None:
    with pytest.raises(
        BinariesError, match=r"JDK of version 17 or newer: sudo apt-get install openjdk-17-jdk-headless"
    ):
        javabuild.obtain("nacos", nothing_said)


def test_an_old_jdk_is_not_used_and_its_version_is_told(machine: Path) -> None:
    script(machine / "javac", "echo javac 11.0.2")
    with pytest.raises(BinariesError, match=r"found only javac 11\.0\.2: sudo apt-get install"):
        javabuild.jdk()


def test_the_jdk_of_java_home_comes_first(machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_jdk(machine.parent, "17.0.1")
    put_jdk(tmp_path / "jdk", "21.0.2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    assert javabuild.jdk() == javabuild.Jdk(tmp_path / "jdk", "javac 21.0.2")


def test_a_missing_maven_is_named_with_its_package(machine: Path) -> None:
    put_jdk(machine.parent, "17.0.1")
    with pytest.raises(BinariesError, match=r"no mvn on the PATH: sudo apt-get install .*maven"):
        javabuild.obtain("nacos", nothing_said)


def test_what_is_built_once_is_not_built_again(machine: Path, pinned: Path) -> None:
    put_jdk(machine.parent, "17.0.1", WRITES_ITS_ARCHIVE)
    script(machine / "mvn", BUILDS)
    built = javabuild.obtain("nacos", nothing_said)
    assert (built / "jars" / "other.jar").read_bytes() == JAR
    script(machine / "mvn", "exit 1")
    assert javabuild.obtain("nacos", nothing_said) == built
    command = javabuild.command("nacos", "some.Main", {"a": 1}, heap_mb=32)
    assert command[1:] == [f"@{built / 'java.args'}", "-Xmx32m", "-Da=1", "some.Main"]


def test_a_build_that_fails_leaves_nothing_and_quotes_maven(machine: Path, pinned: Path) -> None:
    put_jdk(machine.parent, "17.0.1")
    script(machine / "mvn", "echo '[ERROR] no such artifact'; exit 1")
    with pytest.raises(BinariesError, match="no such artifact"):
        javabuild.obtain("nacos", nothing_said)
    assert not list(cache.root().glob("*java*"))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (f"{'0' * 64}  nacos/other.jar", "nacos/other.jar has another content"),
        ("", "nacos/other.jar is not pinned"),
        (
            f"{hashlib.sha256(JAR).hexdigest()}  nacos/other.jar\n{'0' * 64}  nacos/more.jar",
            "nacos/more.jar is missing",
        ),
    ],
)
def test_a_jar_that_is_not_the_pinned_one_is_refused(machine: Path, pinned: Path, line: str, complaint: str) -> None:
    pinned.write_text(line + "\n" if line else "")
    put_jdk(machine.parent, "17.0.1", WRITES_ITS_ARCHIVE)
    script(machine / "mvn", BUILDS)
    with pytest.raises(BinariesError, match=complaint):
        javabuild.obtain("nacos", nothing_said)
    assert not list(cache.root().glob("*java*"))


def test_parts_that_do_not_run_are_refused(machine: Path, pinned: Path) -> None:
    put_jdk(machine.parent, "17.0.1", "echo NoClassDefFoundError; exit 1")
    script(machine / "mvn", BUILDS)
    with pytest.raises(BinariesError, match=r"do not run .*\n(.|\n)*NoClassDefFoundError"):
        javabuild.obtain("nacos", nothing_said)


@pytest.mark.parametrize("pom", POMS, ids=lambda pom: str(pom.relative_to(javabuild.SOURCES)))
def test_every_version_is_exact_and_no_site_is_named(pom: Path) -> None:
    root = ElementTree.parse(pom).getroot()
    for kind in ("plugin", "dependency"):
        for each in root.iter(f"{MAVEN}{kind}"):
            version = each.findtext(f"{MAVEN}version")
            name = each.findtext(f"{MAVEN}artifactId")
            managed = pom.parent.name == "eureka" or f"<artifactId>{name}</artifactId><version>" in pom.read_text()
            assert version or managed, name
            assert version is None or re.fullmatch(r"[0-9][0-9A-Za-z.\-]*", version), f"{name} {version}"
    for kind in ("repositories", "pluginRepositories", "distributionManagement"):
        assert root.find(f"{MAVEN}{kind}") is None


def test_every_module_has_its_jars_pinned() -> None:
    names = [line.split()[1] for line in javabuild.CHECKSUMS.read_text().splitlines()]
    assert {name.partition("/")[0] for name in names} == set(javabuild.MODULES)
    assert len(set(names)) == len(names)
