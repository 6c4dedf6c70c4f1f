"""Pod addresses of one node."""

from __future__ import annotations

import ipaddress


class AddressesExhausted(Exception):
    """Every address of the node's pod CIDR is in use."""


class AddressPool:
    """Hands out the addresses of a CIDR in turn, so that a freed one is reused as late as possible.

    The host-local CNI plugin goes round in the same way. An address that came back at once would hide the very
    mistakes a stale one shows: callers with an old list of addresses would reach somebody else's pod.
    """

    def __init__(self, cidr: str) -> None:
        network = ipaddress.IPv4Network(cidr)
        self._first = int(network.network_address) + 2  # .0 is the network, .1 would be the bridge's
        self._count = network.num_addresses - 3
        if self._count < 1:
            raise ValueError(f"pod CIDR {cidr} has no room for a pod")
        self._next = 0
        self._used: set[str] = set()

    def take(self) -> str:
        """The next free address. Raises AddressesExhausted."""
        for _ in range(self._count):
            address = str(ipaddress.IPv4Address(self._first + self._next))
            self._next = (self._next + 1) % self._count
            if address not in self._used:
                self._used.add(address)
                return address
        raise AddressesExhausted(f"all {self._count} pod addresses of the node are in use")

    def give_back(self, address: str) -> None:
        self._used.discard(address)
