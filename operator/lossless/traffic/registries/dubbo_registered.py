"""What a Dubbo application has registered in ZooKeeper, both ways: each interface by itself, and the application as a
whole. Dubbo 3 does both unless told otherwise, and each consumer picks one.

Sources: Dubbo 3.3's ZookeeperRegistry (`<root>/<interface>/providers/<URL>`), ZookeeperServiceDiscovery
(`<services root>/<application>/<ip:port>`) and ZookeeperMetadataReport (`<root>/mapping/<interface>`: applications;
`<root>/metadata/<interface>/…/provider/<application>`: version and group).
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

from lossless.traffic.registries.dubbo_document import Service
from lossless.traffic.registries.dubbo_rules import DEFAULT_WEIGHT
from lossless.traffic.registries.matching import is_of
from lossless.traffic.registries.registry import Instance
from lossless.traffic.registries.zookeeper import Znodes

S = TypeVar("S")
T = TypeVar("T")

NO_INTERFACES: Final = frozenset({"config", "mapping", "metadata"})
"""Nodes under the root that are none."""
AT_ONCE: Final = 64
"""Questions on their way to ZooKeeper at one time."""


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider of one service, as registered by its interface."""

    service: Service
    address: str
    """As ip:port, the way Dubbo compares it."""
    application: str
    weight: int | None = None
    """The one that it registered itself with; None: it said nothing, so 100."""
    disabled: bool = False
    """It registered itself so."""


Interfaces = Mapping[str, frozenset[str]]
"""The interfaces of an application, each with all applications that are registered to provide it."""


@dataclass(frozen=True, slots=True)
class Registered:
    """What is registered, of one application and of those that provide the same interfaces."""

    application: str
    services: frozenset[Service] = frozenset()
    """What consumers of this application subscribe to: the services whose rules they listen to."""
    providers: tuple[Provider, ...] = ()
    """By interface, whatever the application."""
    instances: Mapping[str, tuple[frozenset[str], ...]] = field(default_factory=dict)
    """By application: the addresses (ip:port) of each of its instances, one for each protocol."""
    interfaces: Interfaces = field(default_factory=dict)

    def addresses_of(self, instance: Instance) -> frozenset[str]:
        """A pod's, as registered by this application, either way. A port names an instance, with all its protocols."""
        own = {provider.address for provider in self.providers if provider.application == self.application}
        its = [held for held in self.instances.get(self.application, ()) if any(_of(instance, one) for one in held)]
        return frozenset(one for one in own if _of(instance, one)).union(*its)

    @property
    def addresses(self) -> frozenset[str]:
        """All that are registered."""
        registered = frozenset(provider.address for provider in self.providers)
        return registered.union(*(self.of_application(application) for application in self.instances))

    def of_application(self, application: str) -> frozenset[str]:
        """The addresses of an application's instances."""
        return frozenset[str]().union(*self.instances.get(application, ()))

    def by_interface(self, service: Service) -> tuple[Provider, ...]:
        """The providers that a consumer of this service finds by its interface."""
        return tuple(provider for provider in self.providers if covers(service, provider.service))

    def by_application(self, service: Service) -> frozenset[str]:
        """The addresses that a consumer of this service finds by applications."""
        applications = self.interfaces.get(service.interface, frozenset())
        return frozenset[str]().union(*(self.of_application(one) for one in applications))

    def weight(self, service: Service, address: str) -> int:
        """The weight that a provider registered itself with, as far as ZooKeeper knows; 100 else."""
        known = (one.weight for one in self.by_interface(service) if one.address == address)
        return next((weight for weight in known if weight is not None), DEFAULT_WEIGHT)


def covers(wanted: Service, given: Service) -> bool:
    """Whether a consumer of the first calls providers of the second."""

    def fits(one: str, other: str) -> bool:
        return one == other or "*" in one or other in one.split(",")

    return (
        wanted.interface == given.interface and fits(wanted.version, given.version) and fits(wanted.group, given.group)
    )


def provider_of(interface: str, encoded: str) -> Provider | None:
    """The provider that a node below `providers` stands for; None when it is none."""
    url = unquote(encoded)
    try:
        parts = urlsplit(url)
        words = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if not parts.scheme or not parts.hostname or parts.port is None:
            return None
    except ValueError:
        return None
    weight = words.get("weight", "")
    disabled = words["disabled"] == "true" if "disabled" in words else words.get("enabled") == "false"
    return Provider(
        Service(interface, words.get("version", ""), words.get("group", "")),
        parts.netloc.rpartition("@")[2],
        words.get("application", ""),
        int(weight) if weight.isdigit() and len(weight) < 10 else None,
        disabled,
    )


def endpoints_of(name: str, data: bytes) -> frozenset[str]:
    """The addresses of an application's instance: that of its node, and one for each protocol that it serves."""
    host, _, _ = name.rpartition(":")
    try:
        endpoints = json.loads(json.loads(data)["payload"]["metadata"]["dubbo.endpoints"])
        return frozenset({name, *(f"{host}:{int(endpoint['port'])}" for endpoint in endpoints)})
    except (ValueError, KeyError, TypeError):
        return frozenset({name})


async def find_interfaces(znodes: Znodes, root: str, application: str) -> Interfaces:
    """Those that the application has registered in either way: two questions for every interface there is."""
    mapped = await znodes.children(f"{root}/mapping")
    named = [name for name in await znodes.children(root) if name not in NO_INTERFACES]

    async def mapping(interface: str) -> frozenset[str]:
        node = await znodes.get(f"{root}/mapping/{interface}")
        return frozenset(filter(None, (node.data if node else b"").decode(errors="replace").split(",")))

    async def providing(interface: str) -> frozenset[str]:
        names = await znodes.children(f"{root}/{interface}/providers")
        found = (provider_of(interface, name) for name in names)
        return frozenset(provider.application for provider in found if provider)

    by_mapping = dict(zip(mapped, await each(mapping, mapped), strict=True))
    by_interface = dict(zip(named, await each(providing, named), strict=True))
    return {
        name: by_mapping.get(name, frozenset()) | by_interface.get(name, frozenset())
        for name in by_mapping.keys() | by_interface.keys()
        if application in by_mapping.get(name, ()) or application in by_interface.get(name, ())
    }


async def read(znodes: Znodes, root: str, services_root: str, application: str, interfaces: Interfaces) -> Registered:
    """What is registered now of these interfaces."""
    names = sorted(interfaces)
    applications = sorted({application}.union(*interfaces.values()))

    async def providers(interface: str) -> list[Provider]:
        nodes = await znodes.children(f"{root}/{interface}/providers")
        return [provider for node in nodes if (provider := provider_of(interface, node))]

    async def wishes(interface: str) -> set[Service]:
        """What consumers want that name no one version or group: they listen to a rule of that name."""
        nodes = await znodes.children(f"{root}/{interface}/consumers")
        urls = [parse_qs(urlsplit(unquote(node)).query) for node in nodes]
        wanted = {Service(interface, url.get("version", [""])[-1], url.get("group", [""])[-1]) for url in urls}
        return {one for one in wanted if any(sign in one.version + one.group for sign in "*,")}

    async def instances(name: str) -> tuple[frozenset[str], ...]:
        nodes = await znodes.children(f"{services_root}/{name}")
        if name != application:
            return tuple(frozenset({node}) for node in nodes)

        async def endpoints(node: str) -> frozenset[str]:
            held = await znodes.get(f"{services_root}/{name}/{node}")
            return endpoints_of(node, held.data) if held else frozenset()

        return tuple(await each(endpoints, nodes))

    async def described(interface: str) -> set[Service]:
        return await _described(znodes, f"{root}/metadata/{interface}", interface, application)

    found = [provider for some in await each(providers, names) for provider in some]
    services = {provider.service for provider in found if provider.application == application}
    services.update(*await each(described, names))
    for interface, wanted in zip(names, await each(wishes, names), strict=True):
        if not any(service.interface == interface for service in services):
            services.add(Service(interface))
        services.update(one for one in wanted if any(covers(one, service) for service in services))
    held = dict(zip(applications, await each(instances, applications), strict=True))
    return Registered(application, frozenset(services), tuple(found), held, interfaces)


async def _described(znodes: Znodes, path: str, interface: str, application: str, depth: int = 0) -> set[Service]:
    """The versions and groups in the metadata: `path` is the interface's node, or that of a version or group of it."""
    names = await znodes.children(path)
    found: set[Service] = set()
    if "provider" in names:
        node = await znodes.get(f"{path}/provider/{application}")
        if node:
            try:
                words = json.loads(node.data)["parameters"]
                found.add(Service(interface, str(words.get("version", "")), str(words.get("group", ""))))
            except (ValueError, KeyError, TypeError, AttributeError):
                pass  # of a Dubbo that describes itself otherwise
    if depth < 2:
        for name in names:
            if name not in ("provider", "consumer"):
                found |= await _described(znodes, f"{path}/{name}", interface, application, depth + 1)
    return found


async def each(ask: Callable[[S], Awaitable[T]], about: Iterable[S]) -> list[T]:
    """Ask all of these, some at a time, in order. The first error ends it, and what is still under way with it."""
    free = asyncio.Semaphore(AT_ONCE)

    async def one(subject: S) -> T:
        async with free:
            return await ask(subject)

    tasks = [asyncio.ensure_future(one(subject)) for subject in about]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()


def _of(instance: Instance, address: str) -> bool:
    host, _, port = address.rpartition(":")
    return port.isdigit() and is_of(instance, host, int(port))
