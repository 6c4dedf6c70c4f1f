"""What can go wrong between us and a registry: one small tree. No message ever has a secret or a body in it."""


class RegistryError(Exception):
    """The registry did not do what it was asked."""


class Unreachable(RegistryError):
    """No answer in time, no connection, or a fault of its own (5xx, no leader): the same may succeed later."""


class Refused(RegistryError):
    """It says no (401, 403, 404, 410, or this operator may not go there): it will until somebody changes something."""


class Nonsense(RegistryError):
    """It answered what its documentation does not know."""


class Changed(RegistryError):
    """It holds something else than when it was looked at: look again, keep what that says, then the same may
    succeed."""
