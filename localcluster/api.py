"""A few plain requests to the API server, without a client library: enough to start a box and to look into it."""

from __future__ import annotations

import json
import ssl
from typing import Any, Final

import urllib3

from localcluster.errors import BoxError

JSON: Final = "application/json"


class ApiError(BoxError):
    """The API server answered with an error, or not at all (`status` 0)."""

    def __init__(self, what: str, status: int, message: str) -> None:
        self.status = status
        """The HTTP status, or 0 when there was no answer."""
        super().__init__(f"{what}: {message}" if status == 0 else f"{what}: {status}: {message}")


class Api:
    """Connections are kept: a test that looks ten times a second would spend its CPU on shaking hands.

    Any thread may ask; a connection that a restarted API server has dropped is not used again.
    """

    def __init__(self, port: int, ca: str, token: str, timeout: float = 30.0) -> None:
        self._pool = urllib3.HTTPSConnectionPool(
            "127.0.0.1",
            port,
            timeout=timeout,
            maxsize=8,
            retries=False,
            ssl_context=ssl.create_default_context(cadata=ca),
            headers={"Authorization": f"Bearer {token}"},
        )

    def close(self) -> None:
        """Let go of the connections that are kept."""
        self._pool.close()

    def request_text(
        self,
        method: str,
        path: str,
        body: Any = None,
        content_type: str = JSON,
        *,
        accept: str = JSON,
        as_user: str = "",
        as_group: str = "",
    ) -> str:
        """The answer's body; asked as somebody else (impersonated), if one is named. Raises ApiError.

        A `body` that is text is sent as it is, anything else as JSON.
        """
        what = f"{method} {path}"
        asked_by = {
            **({"Impersonate-User": as_user} if as_user else {}),
            **({"Impersonate-Group": as_group} if as_group else {}),
        }
        try:
            response = self._pool.request(
                method,
                path,
                body=body if body is None or isinstance(body, str) else json.dumps(body),
                headers={**self._pool.headers, "Content-Type": content_type, "Accept": accept, **asked_by},
            )
        except urllib3.exceptions.HTTPError as error:
            raise ApiError(what, 0, f"no answer from the API server ({error})") from error
        text = response.data.decode(errors="replace")
        if response.status >= 400:
            try:
                message = str(json.loads(text)["message"])
            except (ValueError, KeyError, TypeError):
                message = text.strip()
            raise ApiError(what, response.status, message)
        return text

    def request(self, method: str, path: str, body: Any = None, content_type: str = JSON, **how: str) -> Any:
        """The answer's body, parsed from JSON; `how` as in `request_text`. Raises ApiError."""
        return json.loads(self.request_text(method, path, body, content_type, **how))

    def answers(self, path: str) -> bool:
        """Whether a GET of this path succeeds."""
        try:
            self.request_text("GET", path)
        except ApiError:
            return False
        return True
