"""From what a user names to a registry that can be asked: its kind, its secrets, its certificates."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

from lossless.api.traffic import DubboVia, Login, SecretKey
from lossless.api.traffic import Registry as Spec
from lossless.pods.exec import ExecInPod
from lossless.traffic.registries import client, tls
from lossless.traffic.registries.consul import ConsulRegistry
from lossless.traffic.registries.dubbo import SETTLE as DUBBO_SETTLE
from lossless.traffic.registries.dubbo import DubboRegistry
from lossless.traffic.registries.errors import Refused
from lossless.traffic.registries.etcd import EtcdRegistry
from lossless.traffic.registries.eureka import EurekaRegistry
from lossless.traffic.registries.http import HookRegistry
from lossless.traffic.registries.nacos import NacosRegistry
from lossless.traffic.registries.presets import preset_registry
from lossless.traffic.registries.registry import Registry
from lossless.traffic.registries.zookeeper import ZooKeeper

ReadSecret = Callable[[str], Awaitable["dict[str, bytes]"]]
"""The data of a Secret, by its name. Always of the namespace of the LosslessRollout. Raises Refused when it may not be
read, or is not there."""

BLIND: Final = ("preset", "etcd")
"""Kinds that can't tell afterwards what they were told: it has to be remembered for them."""


def is_blind(spec: Spec) -> bool:
    """See `BLIND`. So are hooks that are told anything, and Dubbo by QoS: a provider that is offline is not registered
    any more."""
    by_qos = spec.dubbo is not None and spec.dubbo.via is DubboVia.QOS
    by_hook = spec.http is not None and spec.http.withdraw is not None
    return by_qos or by_hook or any(getattr(spec, kind) is not None for kind in BLIND)


def apps_register(spec: Spec) -> bool:
    """Whether each application that lives is registered there, and that can be seen. What a hook asks may follow the
    Service, and what is offline by QoS or an agent is registered no more."""
    return spec.etcd is not None or not (spec.http or is_blind(spec))


async def make(spec: Spec, read_secret: ReadSecret, run: ExecInPod) -> Registry:
    """The registry that `spec` names. Nothing is sent yet.

    Raises:
        Refused: a Secret or a certificate that can't be used, or a hook that can never be sent.
    """
    secrets = _Secrets(read_secret)
    ca = await secrets.value(spec.tls.ca) if spec.tls and spec.tls.ca else None
    context = tls.context(ca.encode()) if ca is not None else None
    seconds = spec.timeout.total_seconds()
    http = client.Client(client.session(context), seconds, spec.tls.server_name if spec.tls else "")
    try:
        return await _of_kind(spec, http, secrets, run)
    except BaseException:
        await http.close()
        raise


async def _of_kind(spec: Spec, http: client.Client, secrets: "_Secrets", run: ExecInPod) -> Registry:
    settle: timedelta | None = spec.settle
    if spec.nacos:
        return NacosRegistry(spec.nacos, http, login=await secrets.login(spec.nacos.login), settle=settle)
    if spec.consul:
        token = await secrets.value(spec.consul.token) if spec.consul.token else ""
        return ConsulRegistry(spec.consul, http, token=token.strip(), settle=settle)
    if spec.eureka:
        return EurekaRegistry(spec.eureka, http, login=await secrets.login(spec.eureka.login), settle=settle)
    if spec.dubbo:
        znodes = ZooKeeper(tuple(spec.dubbo.zookeeper), timeout=http.timeout)

        settled = DUBBO_SETTLE if settle is None else settle
        return DubboRegistry(spec.dubbo, znodes, http, timeout=http.timeout, settle=settled)
    if spec.etcd:
        return EtcdRegistry(spec.etcd, http, login=await secrets.login(spec.etcd.login), settle=settle)
    if spec.http:
        names = list(spec.http.secret_headers)
        values = await asyncio.gather(*(secrets.value(spec.http.secret_headers[name]) for name in names))
        return HookRegistry(spec.http, http, run, dict(zip(names, values, strict=True)), settle)
    if spec.preset:
        return preset_registry(spec.preset, http, run, settle)
    raise Refused("no kind of registry is named")


class _Secrets:
    """What of Secrets is asked for, in words."""

    def __init__(self, read: ReadSecret) -> None:
        self._read = read

    async def value(self, key: SecretKey) -> str:
        return self._text(await self._read(key.name), key.name, key.key)

    async def login(self, login: Login | None) -> tuple[str, str] | None:
        if login is None:
            return None
        data = await self._read(login.name)
        return self._text(data, login.name, "username"), self._text(data, login.name, "password")

    @staticmethod
    def _text(data: "dict[str, bytes]", name: str, key: str) -> str:
        if key not in data:
            raise Refused(f"Secret {name} has no key {key}")
        try:
            return data[key].decode()
        except UnicodeDecodeError:
            raise Refused(f"the key {key} of Secret {name} is not text") from None
