"""Dubbo applications registered in ZooKeeper: pods are taken out at their consumers by a router, or given a weight by a
rule.

An ephemeral node of a provider can be deleted, but comes back with its next session, and cannot be put back by us. What
is said of a *service* holds for whatever is registered, for as long as it is there. (The rule of an *application* is
read by the consumers of that name, not by those of the provider; so it is of no use here.) Every interface of the
application has two documents: ``<root>/config/dubbo/<interface>:<version>:<group>`` and ``.condition-router``, or
``.configurators``. What is in them, and why, is told in `dubbo_routers` and `dubbo_rules`.

Where a router would leave a service with no provider at all, consumers do not follow it. So the last provider of a
service is never taken out, and never said to be absent. Nor is one whose consumers want several groups where there is
but one: they ask no router (DynamicDirectory.doList).
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final, TypeVar

from lossless.api import traffic
from lossless.core.world import Presence
from lossless.traffic.registries import dubbo_qos, dubbo_routers, dubbo_rules
from lossless.traffic.registries.client import Client
from lossless.traffic.registries.dubbo_document import MARK, Entry, Service, Unreadable
from lossless.traffic.registries.dubbo_registered import Interfaces, Registered, covers, each, find_interfaces, read
from lossless.traffic.registries.dubbo_routers import Router
from lossless.traffic.registries.dubbo_rules import Rule, Weight
from lossless.traffic.registries.errors import Refused, RegistryError, Unreachable
from lossless.traffic.registries.matching import is_of
from lossless.traffic.registries.registry import Instance, Registration
from lossless.traffic.registries.zookeeper import Changed, Node, Znodes, within

SETTLE: Final = timedelta(seconds=10)
"""Consumers are told by a watch, within milliseconds. What takes longer: one whose server follows its leader late,
which ZooKeeper bears with for syncLimit, 5 ticks of 2 s; and Dubbo's RegistryNotifier, which puts addresses that change
often together for 5 s."""
ATTEMPTS: Final = 12
"""To change one document that others change at the same time."""
KNOWN_FOR: Final = 30.0
"""Seconds for which `look` believes that the application has no more interfaces than it had: to find them, every
interface in the registry is asked for. Whatever changes something looks afresh."""
NOT_ITS_OWN: Final = 0.99
"""Said of a pod with a full share and an entry of ours in a rule, so that this is taken out again: weights are whole
numbers, and 100 may be what 99.6 % of it is."""
LEFT_AFTER: Final = 600
"""Seconds after which our entry for an address that is not registered counts as left over. A provider that is alive
comes back within its session's timeout, a minute at most, and the entry must still be there."""

T = TypeVar("T")
E = TypeVar("E", bound=Entry)
Change = Callable[[Service, str | None], str | None]
"""From what a document says to what it is to say."""


class DubboRegistry:
    """A Registry (see `registry.py`), by routers and rules or by QoS."""

    def __init__(
        self,
        named: traffic.Dubbo,
        znodes: Znodes,
        client: Client,
        *,
        timeout: float,
        settle: timedelta | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            client: for QoS.
            timeout: seconds for each method, all of its questions together.
            clock: seconds since 1970.
        """
        self._named = named
        self._root = "" if named.root == "/" else named.root.rstrip("/")
        self._znodes = znodes
        self._client = client
        self._timeout = timeout
        self._settle = SETTLE if settle is None else settle
        self._clock = clock
        self._known: tuple[float, Interfaces] = (0.0, {})

    @property
    def settle(self) -> timedelta:
        return self._settle

    @property
    def weighs(self) -> bool:
        return self._by_rule

    async def look(self, instances: Sequence[Instance]) -> Mapping[str, Registration]:
        """What consumers make of each pod: what is registered, with the routers and rules in force.

        Raises:
            RegistryError: ZooKeeper does not answer, or does not let us read.
        """
        return await within(self._timeout, self._look(instances))

    async def withdraw(self, instance: Instance) -> None:
        """Take a pod out for all consumers of all its services, or have it take itself offline. A weight that it has is
        left: to change that makes its consumers destroy what they call it by.

        Raises:
            Refused: it is the last provider of a service; a document cannot be read, or does not take our entry; access
                control; QoS does not let us.
        """
        if not self._by_rule:
            await dubbo_qos.command(self._client, instance, self._named.qos_port, "offline")
            return
        await within(self._timeout, self._withdraw(instance))

    async def weigh(self, instance: Instance, fraction: float) -> None:
        """Give a pod this fraction of the weight that it has without us, and at least 1: Dubbo's weight 0 is for
        `withdraw`.

        Raises:
            Refused: as `withdraw`.
        """
        if fraction >= 1:
            await self.restore(instance)
        else:
            await within(self._timeout, self._weigh(instance, max(fraction, 0.0)))

    async def restore(self, instance: Instance) -> None:
        """Take our entries out again, and the nodes that held nothing else; or have the pod put itself online.

        Online again, a provider has the same URL and so the same age: it gets its full share at once.
        """
        if not self._by_rule:
            await dubbo_qos.command(self._client, instance, self._named.qos_port, "online")
            return
        await within(self._timeout, self._restore(instance))

    async def close(self) -> None:
        try:
            await self._znodes.close()
        finally:
            await self._client.close()

    @property
    def _by_rule(self) -> bool:
        return self._named.via is traffic.DubboVia.RULE

    async def _registered(self, fresh: bool) -> Registered:
        now = self._clock()
        since, interfaces = self._known
        if fresh or not interfaces or not 0 <= now - since <= KNOWN_FOR:
            interfaces = await find_interfaces(self._znodes, self._root, self._named.application)
            self._known = (now, interfaces)
        services_root = self._named.services_root.rstrip("/")
        return await read(self._znodes, self._root, services_root, self._named.application, interfaces)

    async def _look(self, instances: Sequence[Instance]) -> Mapping[str, Registration]:
        registered = await self._registered(fresh=False)
        services = sorted(registered.services, key=lambda service: service.node)
        rules = await self._read_all(services, dubbo_rules.SUFFIX, Rule)
        routers = await self._read_all(services, dubbo_routers.SUFFIX, Router)
        return {one.uid: judge(registered, rules, routers, registered.addresses_of(one)) for one in instances}

    async def _read_all(
        self, services: Sequence[Service], suffix: str, kind: Callable[[str | None], T]
    ) -> Mapping[Service, T | None]:
        """What the documents of this kind say; None where that cannot be read."""

        async def one(service: Service) -> T | None:
            try:
                return kind(_text(await self._znodes.get(self._path(service, suffix))))
            except Unreadable:
                return None

        return dict(zip(services, await each(one, services), strict=True))

    async def _withdraw(self, instance: Instance) -> None:
        registered = await self._registered(fresh=True)
        own = registered.addresses_of(instance)
        if not own:
            return  # nobody is handed it; `look` says so, and will say when that has changed
        services = self._serving(registered, own)
        rules = await self._read_all(sorted(services, key=lambda one: one.node), dubbo_rules.SUFFIX, Rule)
        now = int(self._clock())

        def route_away(service: Service, text: str | None) -> str:
            text = dubbo_routers.drop(text, lambda entry: _left(entry, registered, instance, now))
            entry = _same(Router(text).entries, Entry(instance.uid, tuple(sorted(own)), now))
            text = dubbo_routers.put(text, service, entry)
            _check_router(Router(text), rules[service] or Rule(None), registered, service, own)
            return text

        await self._edit_all(services, dubbo_routers.SUFFIX, route_away)

    async def _weigh(self, instance: Instance, fraction: float) -> None:
        registered = await self._registered(fresh=True)
        own = registered.addresses_of(instance)
        if not own:
            return
        services = self._serving(registered, own)
        now = int(self._clock())
        address = min(own)

        def weigh(service: Service, text: str | None) -> str:
            text = dubbo_rules.drop(text, lambda entry: _left(entry, registered, instance, now))
            rule = Rule(text)
            full = rule.effect(service, address, ours=False).weight or registered.weight(service, address)
            weight = Weight(instance.uid, tuple(sorted(own)), now, max(1, round(fraction * full)))
            entry = _same(rule.entries, weight)
            text = dubbo_rules.put(text, service, entry, _base(registered, service, own))
            _check_rule(Rule(text), service, entry)
            return text

        await self._edit_all(services, dubbo_rules.SUFFIX, weigh)
        await self._let_in(registered, instance)

    async def _restore(self, instance: Instance) -> None:
        registered = await self._registered(fresh=True)
        unwanted = self._unwanted(registered, instance)
        await self._edit_there(registered, dubbo_rules.SUFFIX, lambda text: dubbo_rules.drop(text, unwanted))
        await self._let_in(registered, instance)

    async def _let_in(self, registered: Registered, instance: Instance) -> None:
        """Consumers choose it again: after its weight is what it should be."""
        unwanted = self._unwanted(registered, instance)
        await self._edit_there(registered, dubbo_routers.SUFFIX, lambda text: dubbo_routers.drop(text, unwanted))

    def _unwanted(self, registered: Registered, instance: Instance) -> Callable[[Entry], bool]:
        """Entries of this pod, or of one that had its address before it, and those that are left over."""
        own = registered.addresses_of(instance)
        now = int(self._clock())

        def is_unwanted(entry: Entry) -> bool:
            its = entry.uid == instance.uid or any(one in own or _is_at(instance, one) for one in entry.addresses)
            return its or _left(entry, registered, instance, now)

        return is_unwanted

    def _serving(self, registered: Registered, own: frozenset[str]) -> frozenset[Service]:
        """The services whose documents are to be written. Raises Refused: there is none."""
        if services := _serving(registered, own):
            return services
        raise Refused(f"no interface of {self._named.application} is known in {self._root}/mapping: no rule to write")

    async def _edit_there(self, registered: Registered, suffix: str, drop: Callable[[str | None], str | None]) -> None:
        """Change the documents that are there, also of a service that the application has had only once."""

        def change(_: Service, text: str | None) -> str | None:
            try:
                return drop(text)
            except Unreadable:
                if text and MARK in text:
                    raise
                return text

        names = await self._znodes.children(f"{self._root}/config/dubbo")
        services = (_service(name.removesuffix(suffix)) for name in names if name.endswith(suffix))
        there = {service for service in services if service and service.interface in registered.interfaces}
        await self._edit_all(there, suffix, change)

    async def _edit_all(self, services: Iterable[Service], suffix: str, change: Change) -> None:
        """Change the documents, all that can be; then raise the first error there was."""

        async def one(service: Service) -> RegistryError | None:
            try:
                await self._edit(service, suffix, change)
            except RegistryError as error:
                return error
            return None

        for error in await each(one, sorted(services, key=lambda service: service.node)):
            if error:
                raise error

    async def _edit(self, service: Service, suffix: str, change: Change) -> None:
        """Read, change and write, again from the start where somebody else wrote in between."""
        path = self._path(service, suffix)
        for attempt in range(ATTEMPTS):
            node = await self._znodes.get(path)
            try:
                before = _text(node)
                after = change(service, before)
            except Unreadable as error:
                raise Unreadable(f"{_named(service, suffix)}: {error}") from None
            if after == before:
                return
            try:
                if node is None:
                    await self._znodes.create(path, (after or "").encode())
                elif after is None:
                    await self._znodes.delete(path, node.version)
                else:
                    await self._znodes.set(path, after.encode(), node.version)
                return
            except Changed:
                await asyncio.sleep(random.uniform(0, 0.01 * 2 ** min(attempt, 5)))
        raise Unreachable(f"{_named(service, suffix)} is being changed by others all the time")

    def _path(self, service: Service, suffix: str) -> str:
        return f"{self._root}/config/dubbo/{service.node}{suffix}"


def judge(
    registered: Registered,
    rules: Mapping[Service, Rule | None],
    routers: Mapping[Service, Router | None],
    own: frozenset[str],
) -> Registration:
    """What a pod with these addresses is to its consumers. A document that is None cannot be read: consumers that come
    anew have none."""
    if not own:
        last = not registered.addresses
        return Registration(Presence.ABSENT, "not registered" + ", nor is any other of its application" * last)
    shares: list[float] = []
    called: list[str] = []
    held: list[str] = []
    unread: list[str] = []
    services = _serving(registered, own)
    for service in sorted(services, key=lambda one: one.node):
        rule, router = rules.get(service), routers.get(service)
        unread += [_named(service, dubbo_rules.SUFFIX)] * (rule is None)
        unread += [_named(service, dubbo_routers.SUFFIX)] * (router is None)
        rule, router = rule or Rule(None), router or Router(None)
        for address in sorted(own & _found(registered, service)):
            share = _share(registered, service, address, rule, router)
            shares.append(share)
            if share > 0:
                called.append(service.interface)
        if _is_last(registered, service, own, rule, router):
            held.append(f"{service.interface} has no provider that is not: consumers may go on calling this one")
        if _asks_no_router(registered, service):
            held.append(f"{service.interface} has consumers of any group and one group: they ask no router")
    fraction = None if unread else max(shares, default=1.0)
    if fraction == 1 and any(
        own.intersection(entry.addresses) for rule in rules.values() if rule for entry in rule.entries
    ):
        fraction = NOT_ITS_OWN
    # What consumers have subscribed to for it is not known to ZooKeeper: as far as we know, all of it is called.
    count = f"{len(services)} service" + "s" * (len(services) != 1)
    if called or not services:
        note = f"; {unread[0]} cannot be read" if unread else ""
        share_text = f" at {fraction:.0%} of its weight" if fraction is not None and 0 < fraction < 1 else ""
        return Registration(Presence.PRESENT, f"registered for {count}{share_text}{note}", fraction)
    if held:
        return Registration(Presence.PRESENT, f"taken out, but {held[0]}", 0.0)
    return Registration(Presence.ABSENT, f"registered, and taken out for all consumers of {count}", 0.0)


def _serving(registered: Registered, own: frozenset[str]) -> frozenset[Service]:
    """The services that some consumer may find these addresses for."""
    return frozenset(service for service in registered.services if own & _found(registered, service))


def _found(registered: Registered, service: Service) -> frozenset[str]:
    by_interface = frozenset(provider.address for provider in registered.by_interface(service))
    return by_interface | registered.of_application(registered.application)


def _share(registered: Registered, service: Service, address: str, rule: Rule, router: Router) -> float:
    """What a provider gets of its full share."""
    effect = rule.effect(service, address)
    disabled = _born_disabled(registered, service, address) if effect.disabled is None else effect.disabled
    if router.is_out(address) or disabled:
        return 0.0
    if effect.weight is None:
        return 1.0
    full = rule.effect(service, address, ours=False).weight or registered.weight(service, address)
    return effect.weight / full if full else 1.0


def _born_disabled(registered: Registered, service: Service, address: str) -> bool:
    """It is registered as disabled, and by its interface only: who finds it by its application does not see that."""
    said = [provider.disabled for provider in registered.by_interface(service) if provider.address == address]
    return bool(said) and all(said) and address not in registered.by_application(service)


def _is_last(registered: Registered, service: Service, own: frozenset[str], rule: Rule, router: Router) -> bool:
    """With these, consumers of one kind or the other find these addresses, and none that is not taken out."""

    def enabled(address: str) -> bool:
        return not router.is_out(address) and rule.effect(service, address).disabled is not True

    by_interface = registered.by_interface(service)
    by_application = registered.by_application(service)
    nobody = not any(enabled(provider.address) and not provider.disabled for provider in by_interface)
    if nobody and any(provider.address in own for provider in by_interface):
        return True
    return bool(by_application & own) and not any(enabled(address) for address in by_application)


def _asks_no_router(registered: Registered, service: Service) -> bool:
    """It is that of consumers who want several groups, and there is but one: DynamicDirectory.doList gives them all
    providers. (Where there are several, each group's own routers are asked.)"""
    if not any(sign in service.group for sign in "*,"):
        return False
    known = {*registered.services, *(provider.service for provider in registered.by_interface(service))}
    groups = {one.group for one in known if covers(service, one) and not any(sign in one.group for sign in "*,")}
    return len(groups) == 1


def _base(registered: Registered, service: Service, own: frozenset[str]) -> list[str] | None:
    """Who must be given the usual weight for weights to count; None: nobody here is found by its interface."""
    providers = registered.by_interface(service)
    if not any(provider.address in own for provider in providers):
        return None
    if all(provider.weight is None for provider in providers):
        return [dubbo_rules.ANYHOST]
    return sorted({provider.address for provider in providers if provider.weight is None})


def _check_rule(rule: Rule, service: Service, entry: Weight) -> None:
    """Before it is written. Raises Refused: it would do nothing."""
    if rule.effect(service, entry.addresses[0]).weight != entry.weight:
        raise Refused(
            f"{_named(service, dubbo_rules.SUFFIX)} does not take our entry: it is of another scope or key, or another "
            "entry in it overrules ours"
        )


def _check_router(router: Router, rule: Rule, registered: Registered, service: Service, own: frozenset[str]) -> None:
    """Before it is written. Raises Refused: it would do harm, or nothing."""
    if router.obstacle:
        raise Refused(f"{_named(service, dubbo_routers.SUFFIX)} does not take our condition: {router.obstacle}")
    if _is_last(registered, service, own, rule, router):
        raise Refused(
            f"{service.interface} has no other provider that is not taken out: consumers would go on calling this one"
        )


def _left(entry: Entry, registered: Registered, instance: Instance, now: int) -> bool:
    """It is of another pod that is no more."""
    gone = not registered.addresses.intersection(entry.addresses)
    return gone and entry.uid != instance.uid and now - entry.since > LEFT_AFTER


def _same(there: Iterable[E], wanted: E) -> E:
    """The entry that says the same already, or this one."""
    return next((one for one in there if replace(one, since=wanted.since) == wanted), wanted)


def _is_at(instance: Instance, address: str) -> bool:
    host, _, port = address.rpartition(":")
    return port.isdigit() and is_of(instance, host, int(port))


def _text(node: Node | None) -> str | None:
    """What a document's node says; None when that is nothing, as it is to Dubbo."""
    try:
        text = node.data.decode() if node else ""
    except UnicodeDecodeError:
        raise Unreadable("it is not UTF-8: mend or remove it") from None
    return text if text.strip() else None


def _named(service: Service, suffix: str) -> str:
    return f"the {suffix[1:]} of {service.interface}"


def _service(node: str) -> Service | None:
    parts = node.split(":")
    return Service(*parts) if len(parts) == 3 else None
