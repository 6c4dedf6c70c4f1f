"""Reading a Secret that a LosslessRollout names: only by name, only in its own namespace, only when it is needed.

The operator has no right to any Secret by its installation. Whoever owns a namespace grants the ones that are named.
"""

import base64
import binascii

from lossless.cluster.errors import ClusterError, Forbidden, NotFound
from lossless.cluster.gateway import Gateway
from lossless.cluster.resources import SECRETS
from lossless.traffic.registries.errors import Refused, Unreachable


async def read_secret(gateway: Gateway, namespace: str, name: str) -> dict[str, bytes]:
    """The data of a Secret.

    Raises:
        Refused: it is not there, or the operator may not read it; the message says what to do.
        Unreachable: the API server did not answer.
    """
    try:
        raw = await gateway.get(SECRETS, namespace, name)
    except NotFound:
        raise Refused(f"there is no Secret {name}") from None
    except Forbidden:
        raise Refused(
            f"the operator may not read Secret {name}: grant it get on this one, by a Role and a RoleBinding"
        ) from None
    except ClusterError as error:
        raise Unreachable(f"Secret {name} can't be read ({error.code or 'no answer'})") from None
    try:
        return {key: base64.b64decode(value) for key, value in (raw.get("data") or {}).items()}
    except (binascii.Error, TypeError, ValueError):
        raise Refused(f"Secret {name} can't be read") from None
