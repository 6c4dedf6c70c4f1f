"""Dubbo applications registered in ZooKeeper: pods are disabled, or given a weight, at their consumers by a rule.

An ephemeral node of a provider can be deleted, but comes back with its next session, and cannot be put back by us. A
configurator rule of the *service* holds for whatever is registered, for as long as it is there. (The rule of an
*application* is read by the consumers of that name, not by those of the provider; so it is of no use here.) Every
interface of the application has one: ``<root>/config/dubbo/<interface>:<version>:<group>.configurators``. What is in
it, and why, is told in `dubbo_rules`.

Where a rule would leave a service with no provider at all, consumers either ignore it and go on with what they had, or
have nobody to call (seen with 3.3.6: the first by interface, the second by application), with or without
enable-empty-protection. So the last provider of a service is never disabled, and never said to be absent.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from lossless.api import traffic
from lossless.core.world import Presence
from lossless.traffic.registries import dubbo_qos, dubbo_rules
from lossless.traffic.registries.client import Client
from lossless.traffic.registries.dubbo_registered import Interfaces, Registered, each, find_interfaces, read
from lossless.traffic.registries.dubbo_rules import Entry, Rule, Service, Unreadable
from lossless.traffic.registries.errors import Refused, RegistryError, Unreachable
from lossless.traffic.registries.matching import is_of
from lossless.traffic.registries.registry import Instance, Registration
from lossless.traffic.registries.zookeeper import Changed, Node, Znodes, within

SETTLE: Final = timedelta(seconds=10)
"""Consumers are told by a watch, within milliseconds. What takes longer: one whose server follows its leader late,
which ZooKeeper bears with for syncLimit, 5 ticks of 2 s; and Dubbo's RegistryNotifier, which puts addresses that change
often together for 5 s. The connections to a disabled provider are closed only after the calls on them are answered, or
dubbo.service.shutdown.wait (10 s)."""
ATTEMPTS: Final = 12
"""To change one rule that others change at the same time."""
KNOWN_FOR: Final = 30.0
"""Seconds for which `look` believes that the application has no more interfaces than it had: to find them, every
interface in the registry is asked for. Whatever changes something looks afresh."""
LEFT_AFTER: Final = 600
"""Seconds after which our entry for an address that is not registered counts as left over, as does one that says that
a pod is back. A provider that is alive comes back within its session's timeout, a minute at most, and the entry must
still be there; and so for a consumer that was cut off."""
SUFFIX: Final = ".configurators"


class DubboRegistry:
    """A Registry (see `registry.py`), by rules or by QoS."""

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
        """What consumers make of each pod: what is registered, with the rules in force.

        Raises:
            RegistryError: ZooKeeper does not answer, or does not let us read.
        """
        return await within(self._timeout, self._look(instances))

    async def withdraw(self, instance: Instance) -> None:
        """Disable a pod for all consumers of all its services, or have it take itself offline.

        Raises:
            Refused: it is the last provider of a service; a rule cannot be read, or does not take our entry; access
                control; QoS does not let us.
        """
        if not self._by_rule:
            await dubbo_qos.command(self._client, instance, self._named.qos_port, "offline")
            return
        await within(self._timeout, self._put(instance, None))

    async def weigh(self, instance: Instance, fraction: float) -> None:
        """Give a pod this fraction of the weight that it has without us, and at least 1: Dubbo's weight 0 is for
        `withdraw`.

        Raises:
            Refused: as `withdraw`.
        """
        if fraction >= 1:
            await self.restore(instance)
        else:
            await within(self._timeout, self._put(instance, max(fraction, 0.0)))

    async def restore(self, instance: Instance) -> None:
        """Take our entries out again, and the nodes that held nothing else; or have the pod put itself online.

        Where a pod was disabled, an entry that changes nothing stays for LEFT_AFTER, see `dubbo_rules`: it goes with
        the next change to that rule, or when this is asked for again.

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
        nodes = await each(lambda service: self._znodes.get(self._path(service)), services)
        rules = {service: _rule(node) for service, node in zip(services, nodes, strict=True)}
        return {one.uid: judge(registered, rules, registered.addresses_of(one)) for one in instances}

    async def _put(self, instance: Instance, fraction: float | None) -> None:
        """An entry of ours in each rule of the pod's services. Without a fraction, it is disabled."""
        registered = await self._registered(fresh=True)
        own = registered.addresses_of(instance)
        if not own:
            return  # nobody is handed it; `look` says so, and will say when that has changed
        services = _serving(registered, own)
        if not services:
            raise Refused(
                f"no interface of {self._named.application} is known in {self._root}/mapping: no rule to write"
            )
        now = int(self._clock())

        def change(service: Service, text: str | None) -> str | None:
            text = dubbo_rules.drop(text, lambda entry: _left(entry, registered, instance, now))
            rule = Rule(text)
            weight = None
            if fraction is not None:
                address = min(own)
                full = rule.effect(service, address, ours=False).weight or registered.weight(service, address)
                weight = max(1, round(fraction * full))
            addresses = tuple(sorted(own))
            wanted = Entry(instance.uid, addresses, now, weight)
            entry = next((one for one in rule.entries if replace(one, since=now) == wanted), wanted)
            text = dubbo_rules.put(text, service, entry, _base(registered, service, own))
            _check(Rule(text), registered, service, entry)
            return text

        await self._edit_all(services, change)

    async def _restore(self, instance: Instance) -> None:
        registered = await self._registered(fresh=True)
        own = registered.addresses_of(instance)
        now = int(self._clock())

        def is_its(entry: Entry) -> bool:
            return entry.uid == instance.uid or any(one in own or _is_at(instance, one) for one in entry.addresses)

        def change(service: Service, text: str | None) -> str | None:
            try:
                for entry in Rule(text).entries:
                    if is_its(entry) and entry.weight is None and not entry.back and own:
                        text = dubbo_rules.put(text, service, replace(entry, since=now, back=True))
            except Unreadable:
                if text and dubbo_rules.MARK in text:
                    raise
                return text

            def unwanted(entry: Entry) -> bool:
                kept = entry.back and now - entry.since <= LEFT_AFTER and own
                return (is_its(entry) and not kept) or _left(entry, registered, instance, now)

            return dubbo_rules.drop(text, unwanted)

        # A service that the application has had once may still have a rule with our entry.
        names = await self._znodes.children(f"{self._root}/config/dubbo")
        there = {
            service for name in names if (service := _service(name)) and service.interface in registered.interfaces
        }
        await self._edit_all(there, change)

    async def _edit_all(self, services: Iterable[Service], change: Callable[[Service, str | None], str | None]) -> None:
        """Change the rules, all that can be; then raise the first error there was."""

        async def one(service: Service) -> RegistryError | None:
            try:
                await self._edit(service, change)
            except RegistryError as error:
                return error
            return None

        for error in await each(one, sorted(services, key=lambda service: service.node)):
            if error:
                raise error

    async def _edit(self, service: Service, change: Callable[[Service, str | None], str | None]) -> None:
        """Read, change and write, again from the start where somebody else wrote in between."""
        path = self._path(service)
        for attempt in range(ATTEMPTS):
            node = await self._znodes.get(path)
            before = _text(node)
            after = change(service, before)
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
        raise Unreachable(f"the rule of {service.interface} is being changed by others all the time")

    def _path(self, service: Service) -> str:
        return f"{self._root}/config/dubbo/{service.node}"


def judge(registered: Registered, rules: Mapping[Service, Rule | None], own: frozenset[str]) -> Registration:
    """What a pod with these addresses is to its consumers. A rule that is None cannot be read: consumers that come anew
    have none."""
    if not own:
        last = not registered.addresses
        return Registration(Presence.ABSENT, "not registered" + ", nor is any other of its application" * last)
    shares: list[float] = []
    called: list[str] = []
    lonely: list[str] = []
    unread: list[str] = []
    services = _serving(registered, own)
    for service in sorted(services, key=lambda one: one.node):
        rule = rules.get(service)
        if rule is None:
            unread.append(service.interface)
        for address in sorted(own & _found(registered, service)):
            share = _share(registered, service, address, rule or Rule(None))
            shares.append(share)
            if share > 0:
                called.append(service.interface)
        if _is_last(registered, service, own, rule or Rule(None)):
            lonely.append(service.interface)
    fraction = None if unread else max(shares, default=1.0)
    # What consumers have subscribed to for it is not known to ZooKeeper: as far as we know, all of it is called.
    count = f"{len(services)} service" + "s" * (len(services) != 1)
    if called or not services:
        note = f"; the rule of {unread[0]} cannot be read" if unread else ""
        share_text = f" at {fraction:.0%} of its weight" if fraction is not None and 0 < fraction < 1 else ""
        return Registration(Presence.PRESENT, f"registered for {count}{share_text}{note}", fraction)
    if lonely:
        evidence = f"disabled, but {lonely[0]} has no provider that is not: consumers may go on calling this one"
        return Registration(Presence.PRESENT, evidence, fraction)
    return Registration(Presence.ABSENT, f"registered, and disabled for all consumers of {count}", 0.0)


def _serving(registered: Registered, own: frozenset[str]) -> frozenset[Service]:
    """The services that some consumer may find these addresses for."""
    return frozenset(service for service in registered.services if own & _found(registered, service))


def _found(registered: Registered, service: Service) -> frozenset[str]:
    by_interface = frozenset(provider.address for provider in registered.by_interface(service))
    return by_interface | registered.of_application(registered.application)


def _share(registered: Registered, service: Service, address: str, rule: Rule) -> float:
    """What a provider gets of its full share."""
    effect = rule.effect(service, address)
    if effect.disabled or (effect.disabled is None and _born_disabled(registered, service, address)):
        return 0.0
    if effect.weight is None:
        return 1.0
    full = rule.effect(service, address, ours=False).weight or registered.weight(service, address)
    return effect.weight / full if full else 1.0


def _born_disabled(registered: Registered, service: Service, address: str) -> bool:
    """It is registered as disabled, and by its interface only: who finds it by its application does not see that."""
    said = [provider.disabled for provider in registered.by_interface(service) if provider.address == address]
    return bool(said) and all(said) and address not in registered.by_application(service)


def _is_last(registered: Registered, service: Service, own: frozenset[str], rule: Rule) -> bool:
    """With this rule, consumers of one kind or the other find these addresses, and none that is not disabled."""

    def enabled(address: str) -> bool:
        return rule.effect(service, address).disabled is not True

    by_interface = registered.by_interface(service)
    by_application = registered.by_application(service)
    nobody = not any(enabled(provider.address) and not provider.disabled for provider in by_interface)
    if nobody and any(provider.address in own for provider in by_interface):
        return True
    return bool(by_application & own) and not any(enabled(address) for address in by_application)


def _base(registered: Registered, service: Service, own: frozenset[str]) -> list[str] | None:
    """Who must be given the usual weight for weights to count; None: nobody here is found by its interface."""
    providers = registered.by_interface(service)
    if not any(provider.address in own for provider in providers):
        return None
    if all(provider.weight is None for provider in providers):
        return [dubbo_rules.ANYHOST]
    return sorted({provider.address for provider in providers if provider.weight is None})


def _check(rule: Rule, registered: Registered, service: Service, entry: Entry) -> None:
    """Before it is written.

    Raises:
        Refused: it would do harm, or nothing.
    """
    effect = rule.effect(service, entry.addresses[0])
    if effect.disabled is not True if entry.weight is None else effect.weight != entry.weight:
        raise Refused(
            f"the rule of {service.interface} does not take our entry: it is of another scope or key, or another entry "
            "in it overrules ours"
        )
    if entry.weight is None and _is_last(registered, service, frozenset(entry.addresses), rule):
        raise Refused(
            f"{service.interface} has no other provider that is not disabled: consumers would go on calling this one, "
            "or have none"
        )


def _left(entry: Entry, registered: Registered, instance: Instance, now: int) -> bool:
    """It is of a pod that is no more, or said that one is back, and everybody has heard it."""
    gone = entry.back or not registered.addresses.intersection(entry.addresses)
    return gone and (entry.back or entry.uid != instance.uid) and now - entry.since > LEFT_AFTER


def _is_at(instance: Instance, address: str) -> bool:
    host, _, port = address.rpartition(":")
    return port.isdigit() and is_of(instance, host, int(port))


def _text(node: Node | None) -> str | None:
    """What a rule's node says; None when that is nothing, as it is to Dubbo."""
    try:
        text = node.data.decode() if node else ""
    except UnicodeDecodeError:
        raise Unreadable("the rule is not UTF-8: mend or remove it") from None
    return text if text.strip() else None


def _rule(node: Node | None) -> Rule | None:
    try:
        return Rule(_text(node))
    except Unreadable:
        return None


def _service(name: str) -> Service | None:
    parts = name.removesuffix(SUFFIX).split(":")
    return Service(*parts) if name.endswith(SUFFIX) and len(parts) == 3 else None
