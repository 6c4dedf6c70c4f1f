"""The Java servers and clients of localcluster/java: built with Maven, and how each is started.

Every version is pinned in the poms, and every jar that comes from outside by its SHA-256 in jars.sha256. What is built
is kept in the cache under a hash of the sources and of the JDK's own version.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from localcluster import cache, progress
from localcluster.cache import Say
from localcluster.errors import BinariesError

SOURCES = Path(__file__).parent / "java"
CHECKSUMS = SOURCES / "jars.sha256"
MODULES = ("dubbo", "eureka", "nacos")
"""Each has a main `localcluster.<module>.Training`, see `_train`."""
OPTIONS = "java.args"
"""The JVM's options for everything of a module, for `java @FILE`: class path, archive and what is in LIGHT."""
JDK_NEEDED = 17
INSTALL = "sudo apt-get install openjdk-17-jdk-headless maven"
LIGHT = (
    # One core's worth of compiler and no parallel collector: tests start many of these side by side.
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Xss512k",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)


@dataclass(frozen=True, slots=True)
class Jdk:
    home: Path
    version: str
    """In full, such as "javac 17.0.15"."""

    @property
    def java(self) -> Path:
        return self.home / "bin" / "java"


def jdk() -> Jdk:
    """The JDK of JAVA_HOME, else the one on the PATH.

    Raises:
        BinariesError: there is none, or it is too old; the message says what to install.
    """
    candidates = [Path(os.environ["JAVA_HOME"]) / "bin" / "javac"] if os.environ.get("JAVA_HOME") else []
    if on_path := shutil.which("javac"):
        candidates.append(Path(on_path))
    found = []
    for javac in candidates:
        if (version := _says(javac)) is None:
            continue
        if (number := re.match(r"javac (\d+)", version)) and int(number[1]) >= JDK_NEEDED:
            return Jdk(javac.resolve().parents[1], version)
        found.append(version)
    instead = f"; found only {', '.join(found)}" if found else ""
    raise BinariesError(f"Java servers need a JDK of version {JDK_NEEDED} or newer{instead}: {INSTALL}")


@functools.cache
def _says(javac: Path) -> str | None:
    """Its version, asked once: a JVM is started for it. None: it can't be run."""
    try:
        said = subprocess.run([javac, "-version"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    return (said.stdout or said.stderr).strip()  # before JDK 9 on stderr


def maven() -> Path:
    """Raises BinariesError when there is no Maven; the message says what to install."""
    on_path = shutil.which("mvn")
    if on_path is None:
        raise BinariesError(f"Java servers are built with Maven, and there is no mvn on the PATH: {INSTALL}")
    return Path(on_path)


def obtain(module: str, say: Say) -> Path:
    """The directory of a built module: from the cache, else with Maven, a minute or so when its own cache is cold.

    Raises:
        BinariesError: no JDK, no Maven, the build failed, or a jar is not the pinned one.
    """
    found = jdk()
    target = cache.root() / f"java-{module}-{_key(found, module)}"
    cache.prepared(target, say, lambda directory: _build(found, module, directory, say))
    _train(found, target, module, say)
    return target


def command(
    module: str, main: str, properties: Mapping[str, str | float], *, heap_mb: int = 64, say: Say = print
) -> list[str]:
    """How one of the Java programs is started: also a pod's `command`.

    Args:
        module: one of MODULES.
        main: the class, with its package.
        properties: given as `-Dname=value`.

    Raises:
        BinariesError: see `obtain`.
    """
    options = obtain(module, say) / OPTIONS
    given = [f"-D{name}={value}" for name, value in properties.items()]
    return [str(jdk().java), f"@{options}", f"-Xmx{heap_mb}m", *given, main]


def _files(module: str) -> Iterator[Path]:
    """What a module is built from, and what it must come to."""
    yield SOURCES / "pom.xml"
    yield from (path for path in sorted((SOURCES / module).rglob("*")) if path.is_file() and "target" not in path.parts)


def _pinned(module: str) -> dict[str, str]:
    """SHA-256 by name of jar."""
    pinned = {}
    for line in CHECKSUMS.read_text().splitlines():
        checksum, name = line.split()
        if name.startswith(f"{module}/"):
            pinned[name] = checksum
    return pinned


def _key(found: Jdk, module: str) -> str:
    digest = hashlib.sha256(f"{found.version} {found.home} {LIGHT} {_pinned(module)}".encode())
    for path in _files(module):
        digest.update(f"\0{path.relative_to(SOURCES)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _build(found: Jdk, module: str, directory: Path, say: Say) -> None:
    say(f"Building the Java parts of {module}: a minute or so when Maven's own cache is cold, once per version")
    work = directory / "source"
    for path in _files(module):
        copy = work / path.relative_to(SOURCES)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    # In its own directory Maven takes the parent from the one above and asks for no other module. It says on stdout
    # what it does, and it is stderr that is counted.
    argv = ["sh", "-c", 'exec "$@" >&2', "sh", str(maven()), "-B", "-Dstyle.color=never", "package"]
    environment = {**os.environ, "JAVA_HOME": str(found.home)}
    try:
        progress.run_counting(argv, work / module, environment, say, _counts_as)
    except BinariesError as error:
        raise BinariesError(f"Maven could not build the Java parts of {module}: {error}") from error
    (work / module / "target" / "classpath").rename(directory / "jars")
    shutil.rmtree(work)
    if differences := _differences(_pinned(module), foreign_jars(module, directory)):
        raise BinariesError(f"jars are not what {CHECKSUMS.name} says: {'; '.join(differences)}")


def _counts_as(line: str) -> str | None:
    if "Downloaded from" in line:
        return "files fetched"
    return "steps done" if line.startswith("[INFO] --- ") else None


def foreign_jars(module: str, built: Path) -> dict[str, str]:
    """The SHA-256 of every jar that came from outside, by `<module>/<name>`."""
    return {
        f"{module}/{path.name}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((built / "jars").glob("*.jar"))
        if not path.name.startswith("localcluster-")
    }


def _differences(pinned: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    return [
        *(f"{name} is missing" for name in sorted(pinned.keys() - found.keys())),
        *(f"{name} is not pinned" for name in sorted(found.keys() - pinned.keys())),
        *(
            f"{name} has another content"
            for name in sorted(pinned.keys() & found.keys())
            if pinned[name] != found[name]
        ),
    ]


def _train(found: Jdk, built: Path, module: str, say: Say) -> None:
    """Keep what the JVM makes of the classes in an archive (class data sharing): halves the CPU time of a start.

    Done where the jars will stay, for the archive holds for jars of these paths and times only.
    """
    options = built / OPTIONS
    if options.exists():
        return
    with cache.locked(f"{built.name}-training", say):
        if options.exists():
            return
        say(f"Trying out the Java parts of {module}, which makes later starts faster")
        archive = built / "classes.jsa"
        archive.unlink(missing_ok=True)
        plain = [*LIGHT, "-cp", ":".join(str(path) for path in sorted((built / "jars").glob("*.jar")))]
        main = f"localcluster.{module}.Training"
        with tempfile.TemporaryDirectory() as folder:
            keep = [f"-XX:ArchiveClassesAtExit={archive}", f"-Djava.io.tmpdir={folder}", f"-Duser.home={folder}"]
            argv = [str(found.java), *plain, *keep, main]
            done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=folder)
        if done.returncode != 0 or not archive.exists():
            said = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
            raise BinariesError(f"the Java parts of {module} do not run (status {done.returncode}):\n{said}")
        words = [*plain, f"-XX:SharedArchiveFile={archive}", "-Xshare:auto"]
        draft = options.with_suffix(".draft")
        draft.write_text("".join(f'"{word}"\n' for word in words))
        draft.rename(options)
