"""What goes wrong at the command line, said so that a person knows what to do next."""

from lossless.cluster.errors import ClusterError, Forbidden, NotFound, Unavailable


class CliError(Exception):
    """Nothing was done, or not all of it; its text says why."""


def explained(error: ClusterError) -> str:
    """What a failed request means to somebody at a terminal."""
    match error:
        case Unavailable():
            return f"the cluster does not answer: {error.message}"
        case Forbidden():
            return f"you may not do that: {error.message}"
        case NotFound():
            return f"not found: {error.message}"
        case _:
            return str(error)
