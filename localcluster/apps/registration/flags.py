"""From `--register KIND=URL?option=value&…` to registrations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl

from .consul import Consul
from .etcd import Etcd
from .eureka import Eureka
from .keeper import Keeper
from .nacos import Nacos
from .registration import Instance, Options, UnknownOption

KINDS: Mapping[str, type[Consul] | type[Etcd] | type[Eureka] | type[Nacos]] = {
    "consul": Consul,
    "etcd": Etcd,
    "eureka": Eureka,
    "nacos": Nacos,
}


def keepers(flags: Iterable[str], instance: Instance, node: str) -> list[Keeper]:
    """One for each flag that concerns an app on this node; none has begun yet.

    The option `node` limits any registration to apps on that node: a template is the same for all pods, but each has to
    register with the agent of its own node.

    Raises:
        UnknownOption: a flag is not of that form; the message is for the user.
    """
    found = []
    for flag in flags:
        kind, _, rest = flag.partition("=")
        if kind not in KINDS or not rest.startswith("http://"):
            raise UnknownOption(f"--register {flag}: not KIND=http://HOST:PORT with a KIND of {', '.join(KINDS)}")
        url, _, query = rest.partition("?")
        given = dict(parse_qsl(query))
        if given.pop("node", node) == node:
            try:
                found.append(Keeper(kind, KINDS[kind](url.rstrip("/"), instance, Options(given))))
            except ValueError as error:
                raise UnknownOption(f"--register {flag}: {error}") from error
    return found
