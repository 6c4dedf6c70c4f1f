"""Pods as a registry knows them."""

from typing import Final

from lossless.traffic.registries.registry import Instance

PORT: Final = 8080


def pod(ip: str = "10.0.0.1", port: int | None = PORT, **fields: object) -> Instance:
    """A pod of the shop, called after its address."""
    name = "web-" + ip.replace(".", "-").replace(":", "-")
    given = {"uid": f"uid-{name}", "namespace": "shop", "name": name, "node": "node-1", "containers": ("app", "log")}
    return Instance(addresses=(ip,), port=port, **{**given, **fields})  # type: ignore[arg-type]
