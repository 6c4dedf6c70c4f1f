"""Whether a registration is a pod's: by any of its addresses, and by its port where one is named."""

import ipaddress

from lossless.traffic.registries.registry import Instance


def is_of(instance: Instance, address: str, *ports: int) -> bool:
    """Whether this address, with any of these ports, is the pod's. Addresses are compared as such, not as text: IPv6
    has many spellings."""
    return (instance.port is None or instance.port in ports) and _plain(address) in map(_plain, instance.addresses)


def _plain(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address.strip().strip("[]")))
    except ValueError:
        return address.strip().lower()
