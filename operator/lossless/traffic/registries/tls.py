"""How a registry's certificate is checked: against the system's own authorities, or against those that a user names."""

import ssl
from typing import Final

from lossless.traffic.registries.errors import Refused

BEGIN: Final = b"-----BEGIN CERTIFICATE-----"


def context(pem: bytes | None = None) -> ssl.SSLContext:
    """A context that trusts the certificates in `pem` and no others; those of this system when it is None.

    Certificate and name are always checked; there is no way to switch that off.

    Raises:
        Refused: `pem` has no certificate that can be read. What it does have is not repeated: somebody may have put a
            key there.
    """
    if pem is None:
        return ssl.create_default_context()
    if BEGIN not in pem:
        raise Refused("the certificates to trust are not in PEM: no BEGIN CERTIFICATE in them")
    try:
        return ssl.create_default_context(cadata=pem.decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise Refused("the certificates to trust cannot be read: one of them is damaged") from None
