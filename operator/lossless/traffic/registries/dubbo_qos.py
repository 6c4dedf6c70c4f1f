"""Dubbo's own commands, sent to a pod's QoS port: offline and online.

Sources: dubbo-qos 3.3 (HttpProcessHandler, BaseOffline, PermissionLevel). Both commands answer OK, or "service not
found" where the application serves nothing; both with status 200. Anybody but loopback has the level PUBLIC there, and
these commands are PROTECTED: 403 unless the application's own settings say otherwise. What was taken offline this way
stays so when its session is renewed, and is back when its process starts again.
"""

from typing import Final

from lossless.pods import address
from lossless.traffic.registries.client import Client
from lossless.traffic.registries.errors import Nonsense, Refused
from lossless.traffic.registries.registry import Instance

FORBIDDEN: Final = (
    "the pod's QoS port refuses whoever is not on its own host (403): name the operator's addresses in "
    "dubbo.application.qos-accept-foreign-ip-whitelist, or set "
    "dubbo.application.qos-anonymous-access-permission-level=PROTECTED; or ask from inside the pod, by a registry of "
    "the kind http with place: Pod; or set via: Rule"
)
OLDER: Final = b"Foreign Ip Not Permitted"
"""What Dubbo before 3.2 says, and then closes the connection."""


async def command(client: Client, instance: Instance, port: int | str, name: str) -> None:
    """Have a pod take its services off every registry (`offline`), or put them back (`online`).

    Raises:
        Unreachable: the pod does not answer.
        Refused: it does not let us, or knows no such command.
        Nonsense: an answer that Dubbo does not give.
    """
    if not instance.addresses:
        raise Refused("the pod has no address")
    try:
        url = address.url(instance.addresses[0], port, f"/{name}", instance.ports)
    except (address.NoSuchPort, ValueError) as error:
        raise Refused(str(error)) from error
    answer = await client.request("GET", str(url))
    if answer.status in (401, 403) or OLDER in answer.body:
        raise Refused(FORBIDDEN)
    if answer.status == 404:
        raise Refused(
            f"what listens on the pod's port {url.port} knows no command {name} (404): is it Dubbo's QoS port?"
        )
    said = answer.body.strip()
    # The second: nothing is served, so that nothing is registered either.
    if not answer.ok or said not in (b"OK", b"service not found"):
        raise Nonsense(f"the pod's QoS port answered {answer.status}, and neither OK nor that it serves nothing")
