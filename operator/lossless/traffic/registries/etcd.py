"""etcd: a pod's keys are deleted while the pod is out, and put back under the lease that the application still keeps.

The HTTP gateway of etcd 3.4 and later is used (https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/).

What is deleted stays deleted as long as the application renews its lease: a renewal does not look at keys. Many
clients write the key again when they have lost the lease, some by a timer; `look` sees that as PRESENT. A key can be
attached to a lease by anybody who may write the keys of that lease, so a restored key ends with the application just as
its own did. Where the lease has ended there is no way back but the application's: a key without it would outlive the
pod.
"""

import base64
import binascii
import ipaddress
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, TypeVar
from urllib.parse import unquote

from lossless.api.traffic import Etcd
from lossless.core.world import Presence
from lossless.traffic.registries.client import Answer, Client
from lossless.traffic.registries.errors import Changed, Nonsense, Refused, Unreachable
from lossless.traffic.registries.nodes import ask_each
from lossless.traffic.registries.registry import Instance, Registration

SETTLE: Final = timedelta(seconds=5)
"""Consumers watch, and a watch tells them within milliseconds. This is for one that has to reconnect."""
MAX_ORIGINAL: Final = 8 * 1024
"""Bytes of keys and values that are kept on a pod."""
_NOT_FOUND, _UNAUTHENTICATED = 5, 16  # gRPC codes

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Key:
    name: bytes
    value: bytes
    lease: int
    """0: none."""
    revision: int = 0
    """When it was last written."""

    @property
    def text(self) -> str:
        """Key and value for searching, as they are and with percent signs resolved (dubbo%3A%2F%2F10.0.0.1%3A20880)."""
        plain = self.name.decode("latin-1") + "\n" + self.value.decode("latin-1")
        return f"{plain}\n{unquote(plain)}" if "%" in plain else plain


class EtcdRegistry:
    """The keys of one service in etcd."""

    def __init__(
        self, spec: Etcd, client: Client, *, login: tuple[str, str] | None = None, settle: timedelta | None = None
    ) -> None:
        """`login`: user and password."""
        self._endpoints = [endpoint.rstrip("/") for endpoint in spec.endpoints]
        self._prefix = spec.prefix.encode()
        self._client = client
        self._login = login
        self._settle = SETTLE if settle is None else settle
        self._token = ""
        """Of the last authentication: etcd hashes a password slowly on purpose, so not with every request."""

    @property
    def settle(self) -> timedelta:
        return self._settle

    @property
    def weighs(self) -> bool:
        return False

    async def look(self, instances: Sequence[Instance]) -> Mapping[str, Registration]:
        """Every endpoint is asked. A read is linearizable: an endpoint that answers has seen all that was committed, so
        one answer is enough, and one that is down keeps nobody waiting."""
        heard = (await ask_each(self._endpoints, self._keys)).needed()
        found = {instance.uid: _Pattern(instance) for instance in instances}
        return {
            instance.uid: _registration(
                instance,
                [[key for key in keys if found[instance.uid].has(key)] for keys in heard.answers.values()],
            )
            for instance in instances
        }

    async def withdraw(self, instance: Instance) -> None:
        """Deletes only what `instance.original` has: nothing else could be put back.

        Raises:
            Changed: there is a key that `original` has not.
            Refused: a key is too large to be kept, or is not this pod's alone.
        """
        pattern = _Pattern(instance)
        for _ in range(2):
            found = [key for key in await self._anywhere(self._keys) if pattern.has(key)]
            if not found:
                return
            if any(pattern.has_others(key) for key in found):
                raise Refused("a key names other instances too: it cannot be deleted for one of them")
            kept = {replace(key, revision=0) for key in _read(instance.original)}
            if any(replace(key, revision=0) not in kept for key in found):
                if not _written(found):
                    raise Refused(f"its keys are larger than {MAX_ORIGINAL // 1024} KiB: they cannot be kept for later")
                raise Changed("it has a key that is not kept yet")
            compare = [
                {"key": _b64(key.name), "target": "MOD", "result": "EQUAL", "mod_revision": str(key.revision)}
                for key in found
            ]
            delete = [{"request_delete_range": {"key": _b64(key.name)}} for key in found]
            if await self._transact(compare, delete):
                return
        raise Changed("its keys are being written right now")

    async def restore(self, instance: Instance) -> None:
        """Puts each key back where there is none, under the application's own lease.

        Raises:
            Refused: that lease has ended and the application has not registered again.
        """
        kept = _read(instance.original)
        back = False
        ended = 0
        for key in kept:
            missing = [{"key": _b64(key.name), "target": "CREATE", "result": "EQUAL", "create_revision": "0"}]
            put = {"key": _b64(key.name), "value": _b64(key.value)}
            if key.lease:
                put["lease"] = str(key.lease)
            try:
                await self._transact(missing, [{"request_put": put}])
                back = True
            except _NoSuchLease:
                ended += 1
        if ended and not back:
            pattern = _Pattern(instance)
            if not any(pattern.has(key) for key in await self._anywhere(self._keys)):
                raise Refused("the lease of its keys has ended: the application itself has to register again")

    async def weigh(self, instance: Instance, fraction: float) -> None:
        raise Refused("a key in etcd has no weight")

    async def close(self) -> None:
        await self._client.close()

    async def _keys(self, endpoint: str) -> list[_Key]:
        end = self._prefix[:-1] + bytes([self._prefix[-1] + 1])  # visible ASCII, so there is a next one
        said = await self._ask(endpoint, "kv/range", {"key": _b64(self._prefix), "range_end": _b64(end)})
        try:
            return [
                _Key(
                    base64.b64decode(one["key"]),
                    base64.b64decode(one.get("value", "")),
                    int(one.get("lease", 0)),
                    int(one["mod_revision"]),
                )
                for one in said.get("kvs", ())
            ]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Nonsense("etcd answered with a key that is none") from error

    async def _transact(self, compare: Sequence[Mapping[str, str]], success: Sequence[Mapping[str, Any]]) -> bool:
        """Whether what was compared was so, and it was done."""

        async def at(endpoint: str) -> bool:
            said = await self._ask(endpoint, "kv/txn", {"compare": list(compare), "success": list(success)})
            return bool(said.get("succeeded"))

        return await self._anywhere(at)

    async def _anywhere(self, ask: Callable[[str], Awaitable[T]]) -> T:
        """At the first endpoint that answers."""
        for endpoint in self._endpoints[:-1]:
            try:
                return await ask(endpoint)
            except Unreachable:
                continue
        return await ask(self._endpoints[-1])

    async def _ask(self, endpoint: str, what: str, said: Mapping[str, Any]) -> Mapping[str, Any]:
        token = self._token
        if self._login and not token:
            token = await self._authenticate(endpoint)
        answer = await self._post(endpoint, what, said, token)
        if self._login and _code(answer) == _UNAUTHENTICATED:  # tokens end after five idle minutes, or with a restart
            answer = await self._post(endpoint, what, said, await self._authenticate(endpoint))
        return _content(answer)

    async def _authenticate(self, endpoint: str) -> str:
        assert self._login is not None
        name, password = self._login
        answer = await self._post(endpoint, "auth/authenticate", {"name": name, "password": password}, "")
        if answer.status == 400:
            raise Refused("etcd does not accept the login")
        token = _content(answer).get("token")
        if not isinstance(token, str) or not token:
            raise Nonsense("etcd gave no token")
        self._token = token
        return token

    async def _post(self, endpoint: str, what: str, said: Mapping[str, Any], token: str) -> Answer:
        headers = {"Authorization": token} if token else {}
        return await self._client.request("POST", f"{endpoint}/v3/{what}", json=said, headers=headers)


class _NoSuchLease(Refused):
    """The lease that a key was to be put under has ended."""


class _Pattern:
    """Finds a pod's address, and its port where it has one, in keys and values of any framework.

    10.0.0.1 is neither in 10.0.0.11 nor in 110.0.0.1. The port stands behind the address, or for itself elsewhere where
    the address has none ({"ip": "10.0.0.1", "port": 8080}). IPv6 is found in its usual spelling, which Kubernetes uses.
    """

    def __init__(self, instance: Instance) -> None:
        self._own = frozenset(instance.addresses)
        self._port = instance.port
        self._pairs: list[re.Pattern[str]] = []
        self._bare: list[re.Pattern[str]] = []
        for address in instance.addresses:
            exact = _exact(address)
            if instance.port is None:
                self._pairs.append(re.compile(exact, re.IGNORECASE))
            else:
                self._pairs.append(re.compile(rf"{exact}\]?:{instance.port}(?![0-9])", re.IGNORECASE))
                self._bare.append(re.compile(rf"{exact}(?!\]?:[0-9])", re.IGNORECASE))

    def has(self, key: _Key) -> bool:
        text = key.text
        if any(pair.search(text) for pair in self._pairs):
            return True
        return any(bare.search(text) for bare in self._bare) and bool(
            re.search(rf"(?<![0-9.]){self._port}(?![0-9.])", text)
        )

    def has_others(self, key: _Key) -> bool:
        """Another address with the same port: a list of instances, not one of them."""
        if self._port is None:
            return False
        found = re.findall(rf"(?<![0-9.])([0-9]{{1,3}}(?:\.[0-9]{{1,3}}){{3}}):{self._port}(?![0-9])", key.text)
        return not self._own.issuperset(found)


def _exact(address: str) -> str:
    """An expression for this address and no longer one."""
    if ipaddress.ip_address(address).version == 6:
        return rf"(?<![0-9a-f:]){re.escape(address)}(?![0-9a-f]|:[0-9a-f:])"
    return rf"(?<![0-9])(?<![0-9]\.){re.escape(address)}(?![0-9]|\.[0-9])"


def _registration(instance: Instance, everywhere: Sequence[Sequence[_Key]]) -> Registration:
    holding = [keys for keys in everywhere if keys]
    if not holding:
        # Told of a pod that never had a key, it had nothing to delete.
        out = instance.told and instance.original
        return Registration(Presence.ABSENT, f"no key at {len(everywhere)} endpoints", fraction=0.0 if out else None)
    newest: dict[bytes, _Key] = {}
    for key in sorted((key for keys in holding for key in keys), key=lambda key: key.revision):
        newest[key.name] = key
    original = _written(_merged(_read(instance.original), newest.values()))
    return Registration(
        Presence.PRESENT,
        f"{len(newest)} keys at {len(holding)} of {len(everywhere)} endpoints",
        fraction=1.0,
        original=original,
        replaces=bool(original and instance.original and original != instance.original),
    )


def _merged(kept: Iterable[_Key], seen: Iterable[_Key]) -> list[_Key]:
    """What is seen, and what was kept and is deleted already. What says the same as one that is seen was written again
    by the application under another name (its new lease), and is forgotten."""
    seen = list(seen)
    names = {key.name for key in seen}
    values = {key.value for key in seen}
    return [*seen, *(key for key in kept if key.name not in names and key.value not in values)]


def _written(keys: Iterable[_Key]) -> str:
    """Keys as they are kept on the pod; empty when they are too large for it."""
    said = [
        {"key": _b64(key.name), "value": _b64(key.value), "lease": str(key.lease)}
        for key in sorted(keys, key=lambda key: key.name)
    ]
    text = json.dumps({"keys": said}, separators=(",", ":"))
    return text if len(text) <= MAX_ORIGINAL else ""


def _read(original: str) -> list[_Key]:
    """Raises Nonsense."""
    if not original:
        return []
    try:
        return [
            _Key(base64.b64decode(one["key"]), base64.b64decode(one["value"]), int(one["lease"]))
            for one in json.loads(original)["keys"]
        ]
    except (ValueError, KeyError, TypeError, binascii.Error) as error:
        raise Nonsense("what was kept on the pod cannot be read") from error


def _content(answer: Answer) -> Mapping[str, Any]:
    """Raises what an answer that is not as it should be means."""
    code = _code(answer)
    if answer.ok:
        said = answer.json()
        if not isinstance(said, dict):
            raise Nonsense("etcd answered something that is no object")
        return said
    if code == _NOT_FOUND:
        raise _NoSuchLease("there is no such lease")
    if answer.status == 404:
        raise Refused("it has no HTTP gateway at /v3 (etcd older than 3.4, or enable-grpc-gateway is off)")
    if answer.status in (408, 429):
        raise Unreachable(f"etcd is busy ({answer.status})")
    if answer.status in (401, 403):
        raise Refused(f"etcd does not let us ({answer.status}): our user must read and write every key of the prefix")
    if answer.status == 400:
        raise Refused("etcd refuses the request (400): it may want a login")
    raise Refused(f"etcd answered {answer.status}")


def _code(answer: Answer) -> int | None:
    """The gRPC code of an error."""
    if answer.ok:
        return None
    try:
        return int(json.loads(answer.body)["code"])
    except (ValueError, KeyError, TypeError):
        return None


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
