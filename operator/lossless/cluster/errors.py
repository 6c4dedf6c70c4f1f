"""What can go wrong between us and the API server: one small tree, so that callers go by meaning and not by code."""


class ClusterError(Exception):
    """The API server did not do what it was asked; `code` is its HTTP status, 0 when there was no answer."""

    def __init__(self, what: str, message: str, code: int = 0, retry_after: float | None = None) -> None:
        self.what = what
        """The request: verb and path."""
        self.message = message
        self.code = code
        self.retry_after = retry_after
        """Seconds that the server asked us to stay away."""
        super().__init__(f"{what}: {message}" if not code else f"{what}: {code}: {message}")


class NotFound(ClusterError):
    """It is not there (any more), or its kind is not."""


class Expired(ClusterError):
    """The version asked for, or to go on from, is no longer kept: begin anew."""


class Conflict(ClusterError):
    """It has changed since we read it, is another one of the same name, or exists already. Read, decide again."""


class Invalid(ClusterError):
    """The request itself is refused: asking again is of no use."""


class Forbidden(ClusterError):
    """We may not do this: RBAC, an admission policy, a quota."""


class Unavailable(ClusterError):
    """No answer, too many requests, or a fault of the server's own: the same request may succeed later."""


class NotLeading(ClusterError):
    """This process does not hold the Lease (any more), so it writes nothing."""


class Outdated(Exception):
    """Not an error: something has changed since it was decided on, and is known by now. Decide again."""
