"""What somebody answers over HTTP, or that nobody does."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.request


def answer_of(
    asked: str | urllib.request.Request, within: float, context: ssl.SSLContext | None = None
) -> bytes | None:
    """The body of the answer; None when there is none within so many seconds, or an error."""
    try:
        with urllib.request.urlopen(asked, timeout=within, context=context) as answer:
            content: bytes = answer.read()
            return content
    except urllib.error.HTTPError as error:
        error.close()  # it carries the open response
    except OSError:
        pass
    return None
