"""Where a pod is asked: its address and its ports, as a URL."""

from collections.abc import Mapping

from yarl import URL


class NoSuchPort(Exception):
    """None of the pod's containers has a port of this name."""


def port_number(port: int | str, ports: Mapping[str, int]) -> int:
    """The number of a port given by number or by name, among the named ports of a pod's containers.

    Raises:
        NoSuchPort: it says which names there are.
    """
    if isinstance(port, int):
        return port
    if port in ports:
        return ports[port]
    names = ", ".join(sorted(ports)[:8]) or "none"
    raise NoSuchPort(f"the pod has no port named {port} (named ports: {names})")


def url(ip: str, port: int | str, path: str, ports: Mapping[str, int]) -> URL:
    """The URL of a path on a pod; IPv6 addresses are bracketed.

    Raises:
        NoSuchPort: see `port_number`.
        ValueError: path and address make no URL.
    """
    if not ip:
        raise ValueError("the pod has no address yet")
    host = f"[{ip}]" if ":" in ip else ip
    return URL(f"http://{host}:{port_number(port, ports)}{path}")
