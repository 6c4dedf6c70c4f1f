"""The errors of this package: one small tree, so that a caller can catch as much or as little as it wants."""

from __future__ import annotations

from collections.abc import Sequence


class LocalClusterError(Exception):
    """Anything this package raises on purpose. The message alone must tell a user what to do."""

    exit_code = 1
    """What the command line exits with."""


class MissingRequirement(LocalClusterError):
    """This machine lacks a system package or a kernel right; the message is one line that says how to get it."""

    exit_code = 2


class BinariesError(LocalClusterError):
    """Binaries are nowhere to be had: not found, not downloaded, not built."""


class NamespaceError(LocalClusterError):
    """The namespace could not be made, or is gone."""


class BoxError(LocalClusterError):
    """Something in the box did not start, stopped, or did not get ready; the message quotes the end of its log."""


class CommandFailed(BoxError):
    """A command run in or against the box ended with a status other than 0."""

    def __init__(self, argv: Sequence[str], returncode: int, stdout: str, stderr: str) -> None:
        self.argv = list(argv)
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr
        said = (stderr.strip() or stdout.strip() or "it said nothing")[-4000:]
        super().__init__(f"`{' '.join(self.argv)}` ended with status {returncode}: {said}")
