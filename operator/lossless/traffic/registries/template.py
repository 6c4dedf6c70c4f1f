"""Addresses and texts with words in them that stand for a pod's own: {ip}, {name}, {namespace}, {uid}, {node}.

Whoever names a pod must not thereby choose where a request goes: a pod may be called `169.254.169.254`. So a word alone
is a host only where it is {ip} or {node}; any other host ends in something that the template fixes.
"""

import ipaddress
import re
from typing import Final

from lossless.traffic.registries.errors import Refused
from lossless.traffic.registries.registry import Instance

_WORD: Final = re.compile(r"\{(ip|name|namespace|uid|node)\}")
_PLAIN: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9.]{0,251}[A-Za-z0-9])?")
"""Every name, uid and node that Kubernetes allows: none of it means anything in a URL."""
_URL: Final = re.compile(r"(https?)://(\[[0-9a-fA-F:.]+\]|[^\[\]:/?#@\\]+)(:[0-9]{1,5})?([/?].*)?")


class UrlTemplate:
    """The address of a hook.

    Raises:
        Refused: it is none, or has a word where it must not be.
    """

    def __init__(self, text: str, *, loopback: bool = False) -> None:
        """With `loopback`, the host must be the pod itself."""
        match = _URL.fullmatch(text)
        if not match or "{" in _WORD.sub("", text) or "}" in _WORD.sub("", text):
            raise Refused("a hook's url is no address, or has an unknown word in braces")
        self._scheme, self._host, self._port, self._rest = (part or "" for part in match.groups())
        if not _is_host(self._host):
            raise Refused("the host of a hook's url must be {ip}, {node}, or end in something fixed")
        if loopback and self._host != "{ip}" and not _is_loopback(self._host):
            raise Refused("a request made inside the pod goes to {ip}, localhost or a loopback address only")

    def fill(self, instance: Instance) -> str:
        """The address for this pod. Raises Refused where the pod lacks what is asked for."""
        host = fill(self._host, instance)
        if self._host == "{ip}" and ":" in host:
            host = f"[{host}]"
        rest = fill(self._rest, instance)
        return f"{self._scheme}://{host}{self._port}{'' if rest.startswith('/') else '/'}{rest}"


def fill(text: str, instance: Instance) -> str:
    """Other braces stay as they are: the text may be JSON. Raises Refused where the pod lacks what is asked for."""
    return _WORD.sub(lambda match: _value(match[1], instance), text)


def _value(word: str, instance: Instance) -> str:
    if word == "ip":
        try:
            return str(ipaddress.ip_address(instance.addresses[0]))
        except (IndexError, ValueError):
            raise Refused("the pod has no address") from None
    value = str(getattr(instance, word))
    if not _PLAIN.fullmatch(value):
        raise Refused(f"the pod has no {word} that can stand in a url")
    return value


def _is_host(host: str) -> bool:
    if host in ("{ip}", "{node}"):
        return True
    if host.startswith("["):
        return True  # the client reads it, and refuses what is no address
    if "{ip}" in host or not re.fullmatch(r"[A-Za-z0-9._-]+", _WORD.sub("x", host)):
        return False
    last = host.rpartition(".")[2]
    return not _WORD.search(host) or bool(re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", last))


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
