"""One HTTP request to a registry, with nothing but the standard library."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

from .registration import RegistryError

ANSWER_WITHIN = 5.0


def ask(
    method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """Status and body of the answer, whatever it is. Raises RegistryError when there is none."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=ANSWER_WITHIN)
    try:
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request(method, target, body, {"Accept": "application/json", **(headers or {})})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise RegistryError(f"{parts.netloc} does not answer: {error!r}") from error
    finally:
        connection.close()


def demand(method: str, url: str, data: object = None, headers: Mapping[str, str] | None = None) -> Any:
    """As `ask`, JSON both ways (an empty answer is None). Raises RegistryError for an error status too."""
    body = None if data is None else json.dumps(data).encode()
    typed = {"Content-Type": "application/json"} if body else {}
    status, content = ask(method, url, body, {**typed, **(headers or {})})
    require(status, content, f"{method} {url}")
    return json.loads(content) if content.strip() else None


def require(status: int, content: bytes, what: str) -> None:
    """Raise RegistryError unless the status is one of success."""
    if status >= 300:
        raise RegistryError(f"{what}: {status} {content[:200].decode(errors='replace').strip()}")


def query(**values: object) -> str:
    """As in a URL or a form."""
    return urlencode({key: str(value) for key, value in values.items()})
