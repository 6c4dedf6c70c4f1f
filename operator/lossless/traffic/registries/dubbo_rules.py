"""The text of a Dubbo configurator rule: what it says of a provider, our weights in it, and nobody else's touched.

A rule is a document in ZooKeeper, one for each service (`dubbo_document`). Sources: Dubbo 3.3's ConfigParser,
ConfigItem, AbstractConfigurator, AbstractConfiguratorListener and RandomLoadBalance; each rule below was seen to hold
with real consumers of Dubbo 3.3.6, both of interface-level and of application-level discovery.

- Entries are applied in order, so that ours, at the end, win.
- A key that Dubbo does not know makes 2.7 refuse the whole document, and other tools drop it. So what marks an entry as
  ours is one of its `parameters`, which everybody keeps: `lossless: <pod uid>.<seconds since 1970>`. It ends up as a
  parameter of the provider's URL inside the consumer, where nobody reads it.
- An entry with a `type` has an `enabled` of its own: it holds even where the document's says false.
- A document without entries changes nothing: a consumer goes on with the ones it has. Only deleting the node, or
  another entry, ends a rule. So where the last entry goes and the document was not made by us, one that matches no
  provider stays.
- The default load balancer looks at weights only if the first provider in its list has one. For interface-level
  discovery, therefore, the others are given theirs too, by the entry called base: 100, what Dubbo takes for granted.
- A provider whose parameters change is another one to its consumers: they make anew what they call it by, and destroy
  what they had (toInvokers of RegistryDirectory and ServiceDiscoveryRegistryDirectory). So pods are taken out by
  `dubbo_routers`, and nothing here is changed without need.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lossless.traffic.registries.dubbo_document import MARK, Document, Entry, Service, Unreadable, java, marked, words

SUFFIX: Final = ".configurators"
LIST: Final = "configs"
BASE: Final = "base"
NOTHING: Final = "none"
NOWHERE: Final = "0.0.0.0:0"
"""An address that is no provider's."""
ANYHOST: Final = "0.0.0.0"
DEFAULT_WEIGHT: Final = 100
"""Dubbo's Constants.DEFAULT_WEIGHT."""
_HEAD: Final[Mapping[str, Any]] = {"configVersion": "v2.7", "scope": "service", "enabled": True}


@dataclass(frozen=True, slots=True)
class Weight(Entry):
    """An entry of ours, about one pod."""

    weight: int

    @property
    def item(self) -> dict[str, Any]:
        """The entry as Dubbo reads it."""
        return _item("weight", self.addresses, {"weight": str(self.weight), MARK: self.mark})


@dataclass(frozen=True, slots=True)
class Effect:
    """What a rule makes of one provider, at the consumers."""

    disabled: bool | None = None
    """True: no consumer makes an invoker for it. None: the rule says nothing of it."""
    weight: int | None = None


def put(text: str | None, service: Service, entry: Weight, base: Sequence[str] | None = None) -> str:
    """The document with this entry in place of any that we have of this pod or its addresses.

    Args:
        base: the providers that are given the weight that Dubbo takes for granted; None: those that are given it
            already.

    Raises:
        Unreadable: there is a document, and Dubbo could not read it.
    """
    document = _document(text if text is not None else _fresh(service))
    if entry.item not in document.items:
        document.add(entry.item)  # before the others go: a list that was empty for a moment would lose its layout
    document.drop(lambda item: item != entry.item and (_mark(item) == NOTHING or _is_about(item, entry)))
    return _with_base(document, base).text


def drop(text: str | None, unwanted: Callable[[Weight], bool]) -> str | None:
    """The document without those of our entries; None when its node is to be deleted.

    Raises:
        Unreadable: there is a document, and Dubbo could not read it.
    """
    if text is None:
        return None
    document = _document(text)
    had = bool(document.items)

    def is_unwanted(item: Mapping[str, Any]) -> bool:
        ours = _ours(item)
        return ours is not None and unwanted(ours)

    if all(is_unwanted(item) or _mark(item) == BASE for item in document.items) and had:
        if document.has_only(_HEAD):
            return None
        document.add(_item(None, (NOWHERE,), {MARK: NOTHING}))
    document.drop(is_unwanted)
    return _with_base(document, None).text


class Rule:
    """What a document says; read once, asked of many providers."""

    def __init__(self, text: str | None) -> None:
        """Raises Unreadable: Dubbo could not read it."""
        self._document = _document(text) if text is not None else None

    @property
    def entries(self) -> tuple[Weight, ...]:
        """Ours, in order."""
        items = self._document.items if self._document else []
        return tuple(ours for item in items if (ours := _ours(item)) is not None)

    def effect(self, service: Service, address: str, ours: bool = True) -> Effect:
        """What it makes of the provider at this address (ip:port), for every consumer of the service.

        An entry that holds for some consumers only never disables a provider, as the others still call it.

        Args:
            ours: our own entries included.
        """
        document = self._document
        if document is None or not _is_for(document, service):
            return Effect()
        disabled: bool | None = None
        weight: int | None = None
        whole = document.says("enabled", True)
        for item in sorted(document.items, key=_order):
            if item.get("side") != "consumer" or not _matches(item, address) or not _enabled(item, whole):
                continue
            if _mark(item) == BASE or (not ours and _ours(item) is not None):
                continue
            parameters = {str(name): java(value) for name, value in item["parameters"].items()}
            everywhere = _for_everybody(item, parameters, document.version)
            if "disabled" in parameters and (everywhere or parameters["disabled"].lower() != "true"):
                disabled = parameters["disabled"].lower() == "true"
            if everywhere and re.fullmatch(r"\d{1,9}", parameters.get("weight", "")):
                weight = int(parameters["weight"])
        return Effect(disabled, weight)


def _is_for(document: Document, service: Service) -> bool:
    """Its entries are applied to providers of this service."""
    return document.data.get("scope") != "application" and document.data.get("key") in (service.key, "*")


def _fresh(service: Service) -> str:
    return f"configVersion: v2.7\nscope: service\nkey: {json.dumps(service.key)}\nenabled: true\n{LIST}: []\n"


def _document(text: str) -> Document:
    """As ConfigParser does, which casts these to String, and throws when an entry has no parameters."""
    document = Document(text, LIST)
    items = document.items
    if not all(isinstance(item, dict) for item in items):
        raise Unreadable("an entry of the rule is none that Dubbo can read: mend or remove it")
    if not all(item.get(name) is None or isinstance(item[name], str) for item in items for name in ("type", "side")):
        raise Unreadable("a word in the rule is no string, which Dubbo cannot read: put it into quotes")
    if not all(isinstance(item.get("parameters"), dict) and item["parameters"] for item in items):
        raise Unreadable("an entry of the rule has no parameters, so Dubbo ignores all of it: mend or remove it")
    return document


def _item(kind: str | None, addresses: Sequence[str], parameters: Mapping[str, str]) -> dict[str, Any]:
    head: dict[str, Any] = {"type": kind, "enabled": True} if kind else {}
    return {**head, "side": "consumer", "providerAddresses": list(addresses), "parameters": dict(parameters)}


def _mark(item: Mapping[str, Any]) -> str:
    return str(item["parameters"].get(MARK, ""))


def _ours(item: Mapping[str, Any]) -> Weight | None:
    """The entry about a pod that it is, whatever another tool made of its layout."""
    named = marked(_mark(item))
    if named is None:
        return None
    weight = java(item["parameters"].get("weight", ""))
    number = int(weight) if re.fullmatch(r"\d{1,9}", weight) else 0
    return Weight(named[0], tuple(words(item, "providerAddresses")), named[1], number)


def _is_about(item: Mapping[str, Any], entry: Weight) -> bool:
    ours = _ours(item)
    return ours is not None and ours.is_about(entry)


def _with_base(document: Document, base: Sequence[str] | None) -> Document:
    """With the base entry as the first if there are weights of ours, else without. None: as it is, if it is needed."""
    weighs = any(_ours(item) is not None for item in document.items)
    there = next((item for item in document.items if _mark(item) == BASE), None)
    wanted = list(base) if base is not None else (words(there, "providerAddresses") if there else [])
    if weighs and wanted and there and words(there, "providerAddresses") == wanted and document.items[0] is there:
        return document
    if weighs and wanted:
        item = _item("weight", wanted, {"weight": str(DEFAULT_WEIGHT), MARK: BASE})
        document.drop(lambda other: _mark(other) == BASE)
        document.add(item, first=True)
    elif there:
        document.drop(lambda other: _mark(other) == BASE)
    return document


def _matches(item: Mapping[str, Any], address: str) -> bool:
    """AbstractConfigurator.isV27ConditionMatchOrUnset."""
    host, _, port = address.rpartition(":")
    named = words(item, "providerAddresses")
    return not named or any(word in (address, host, ANYHOST, f"{ANYHOST}:*", f"{ANYHOST}:{port}") for word in named)


def _enabled(item: Mapping[str, Any], whole: bool) -> bool:
    """ConfigParser.parseEnabled: an entry with a type has its own word, one without follows the document. "null" is
    not false."""
    if item.get("type") in (None, "general"):
        return whole
    value = item.get("enabled")
    return value is not None and java(value).lower() == "true"


def _for_everybody(item: Mapping[str, Any], parameters: Mapping[str, str], version: str) -> bool:
    """It holds for every consumer, whatever its address, its application or its URL."""
    hosts = words(item, "addresses")
    applications = words(item, "applications")
    return (
        (not hosts or ANYHOST in hosts)
        and (not applications or "*" in applications)
        and not (item.get("match") and version.startswith("v3"))
        and not any(name.startswith("~") for name in parameters)
    )


def _order(item: Mapping[str, Any]) -> tuple[str, int]:
    """Configurator.compareTo: by the consumer's address, then by priority; as in the document where both are equal."""
    priority = java(item["parameters"].get("priority", 0))
    hosts = words(item, "addresses") or [ANYHOST]
    return max(hosts), int(priority) if re.fullmatch(r"-?\d{1,9}", priority) else 0
