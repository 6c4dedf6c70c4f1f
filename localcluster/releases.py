"""Kubernetes binaries from the project's official releases, each held against its published checksum."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from localcluster.cache import Say
from localcluster.errors import BinariesError

OFFICIAL = "https://dl.k8s.io"
ENVIRONMENT = "LOCALCLUSTER_RELEASES"
"""Names another base URL, such as a mirror; empty: do not download."""
ANSWER_WITHIN = 5.0
"""Seconds until the release site counts as unreachable. Looking up its name counts as well."""
STALLED_AFTER = 30.0
SAY_EVERY = 5.0


class Unavailable(BinariesError):
    """The release site cannot be reached, or does not have that version: another way may still work."""


def base_url() -> str:
    return os.environ.get(ENVIRONMENT, OFFICIAL).rstrip("/")


@contextlib.contextmanager
def _opened(url: str, timeout: float) -> Iterator[http.client.HTTPResponse]:
    """The answer to a GET; whatever goes wrong with it, also while it is read, is Unavailable."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as response:
            yield response
    except urllib.error.HTTPError as error:
        error.close()  # it carries the open response
        raise Unavailable(f"{url}: {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"{url}: {getattr(error, 'reason', error)}") from error


def _read(url: str, timeout: float) -> bytes:
    with _opened(url, timeout) as response:
        return response.read()


def _read_soon(url: str) -> bytes:
    """Give up after ANSWER_WITHIN, also where looking up the name hangs, which no socket timeout covers."""
    answer: list[bytes | BinariesError] = []

    def ask() -> None:
        try:
            answer.append(_read(url, ANSWER_WITHIN))
        except BinariesError as error:
            answer.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(ANSWER_WITHIN)
    if not answer:
        raise Unavailable(f"{url}: no answer within {ANSWER_WITHIN:g} s")
    if isinstance(answer[0], BinariesError):
        raise answer[0]
    return answer[0]


def _fetch(url: str, checksum: str, path: Path, say: Say) -> None:
    digest = hashlib.sha256()
    say_next = time.monotonic() + SAY_EVERY
    with path.open("wb") as file, _opened(url, STALLED_AFTER) as response:
        size = int(response.headers.get("Content-Length") or 0)
        while chunk := response.read(1 << 20):
            digest.update(chunk)
            file.write(chunk)
            if time.monotonic() > say_next:
                say_next = time.monotonic() + SAY_EVERY
                of = f" of {size >> 20}" if size else ""
                say(f"  {path.name}: {file.tell() >> 20}{of} MiB")
    if digest.hexdigest() != checksum:
        path.unlink()
        raise BinariesError(
            f"{url} is not what its publisher says it is: its SHA-256 is {digest.hexdigest()}, "
            f"published is {checksum}. Refused."
        )
    path.chmod(0o755)


def download(version: str, architecture: str, names: Sequence[str], directory: Path, say: Say) -> None:
    """Put the named binaries of a release into `directory`.

    Args:
        architecture: as Go names it: amd64, arm64.

    Raises:
        Unavailable: the site does not answer, or not with that version; known within seconds.
        BinariesError: a checksum is wrong. Then nothing else should be tried: somebody meddles.
    """
    base = base_url()
    if not base:
        raise Unavailable(f"{ENVIRONMENT} is empty: downloads are switched off")
    urls = {name: f"{base}/v{version}/bin/linux/{architecture}/{name}" for name in names}
    checksums = {}
    for name, url in urls.items():
        words = _read_soon(f"{url}.sha256").decode(errors="replace").split()
        if not words or len(words[0]) != 64:  # a captive portal answers 200 with a page of its own
            raise Unavailable(f"{url}.sha256 is not a checksum")
        checksums[name] = words[0].lower()
    for name, url in urls.items():
        say(f"Downloading {url}")
        _fetch(url, checksums[name], directory / name, say)
