"""The text of a Dubbo configurator rule: what it says of a provider, our entries in it, and nobody else's touched.

A rule is a YAML document in ZooKeeper, one for each service, shared by every tool (dubbo-admin, scripts, several of
us). Sources: Dubbo 3.3's ConfigParser, ConfigItem, AbstractConfigurator, AbstractConfiguratorListener and
RandomLoadBalance; each rule below was seen to hold with real consumers of Dubbo 3.3.6, both of interface-level and of
application-level discovery.

- Entries are applied in order, so that ours, at the end, win.
- A key that Dubbo does not know makes 2.7 refuse the whole document, and other tools drop it. So what marks an entry as
  ours is one of its `parameters`, which everybody keeps: `lossless: <pod uid>.<seconds since 1970>`. It ends up as a
  parameter of the provider's URL inside the consumer, where nobody reads it.
- An entry with a `type` has an `enabled` of its own: it holds even where the document's says false.
- A document without entries changes nothing: a consumer goes on with the ones it has. Only deleting the node, or
  another entry, ends a rule. So where the last entry goes and the document was not made by us, one that matches no
  provider stays.
- A consumer by applications that has disabled a provider keeps the closed invoker, and takes it up again if the
  provider's URL becomes what it was before: it never calls it again (ServiceDiscoveryRegistryDirectory.toInvokers).
  So an entry that disabled is not taken out, but gives way to one that says nothing but its mark, as that makes the
  URL another. Once all consumers have seen that, it can go.
- The default load balancer looks at weights only if the first provider in its list has one. For interface-level
  discovery, therefore, the others are given theirs too, by the entry called base: 100, what Dubbo takes for granted.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from lossless.traffic.registries.errors import Refused

MARK: Final = "lossless"
BASE: Final = "base"
NOTHING: Final = "none"
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The same, ten times as fast, where PyYAML was built with libyaml."""
NOWHERE: Final = "0.0.0.0:0"
"""An address that is no provider's."""
ANYHOST: Final = "0.0.0.0"
DEFAULT_WEIGHT: Final = 100
"""Dubbo's Constants.DEFAULT_WEIGHT."""


class Unreadable(Refused):
    """The document is none that Dubbo could read: no consumer gets a new rule before somebody mends or removes it."""


@dataclass(frozen=True, slots=True)
class Service:
    """What a consumer subscribes to; a rule's node is named after it."""

    interface: str
    version: str = ""
    group: str = ""

    @property
    def node(self) -> str:
        """The name of its rule's node: DynamicConfiguration.getRuleKey and ".configurators"."""
        return f"{self.interface}:{self.version}:{self.group}.configurators"

    @property
    def key(self) -> str:
        """The rule's own `key`. For a consumer of any version or group, that of all services: the providers' own keys
        are not equal to its own."""
        if any("*" in part or "," in part for part in (self.version, self.group)):
            return "*"
        return f"{self.group}/" * bool(self.group) + self.interface + f":{self.version}" * bool(self.version)


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of ours, about one pod."""

    uid: str
    addresses: tuple[str, ...]
    """As ip:port."""
    since: int
    """Seconds since 1970 when it was made."""
    weight: int | None = None
    """None: it is disabled, or back."""
    back: bool = False
    """It was disabled and is not any more."""

    @property
    def item(self) -> dict[str, Any]:
        """The entry as Dubbo reads it."""
        mark = {MARK: f"{self.uid}.{self.since}"}
        if self.back:
            return _item("weight", self.addresses, mark)
        parameters = {"disabled": "true"} if self.weight is None else {"weight": str(self.weight)}
        kind = "disabled" if self.weight is None else "weight"
        return _item(kind, self.addresses, {**parameters, **mark})


@dataclass(frozen=True, slots=True)
class Effect:
    """What a rule makes of one provider, at the consumers."""

    disabled: bool | None = None
    """True: no consumer makes an invoker for it. None: the rule says nothing of it."""
    weight: int | None = None


def put(text: str | None, service: Service, entry: Entry, base: Sequence[str] | None = None) -> str:
    """The document with this entry in place of any that we have of this pod or its addresses.

    Args:
        base: the providers that are given the weight that Dubbo takes for granted, if any entry of ours has a weight;
            None: those that are given it already.

    Raises:
        Unreadable: there is a document, and Dubbo could not read it.
    """
    document = _Document(text if text is not None else _fresh(service))
    if entry.item not in document.items:
        document.add(entry.item)  # before the others go: a list that was empty for a moment would lose its layout
    document.drop(lambda item: item != entry.item and (_is_nothing(item) or _about(item, entry)))
    return _with_base(document, base).text


def drop(text: str | None, unwanted: Callable[[Entry], bool]) -> str | None:
    """The document without those of our entries; None when its node is to be deleted.

    Raises:
        Unreadable: there is a document, and Dubbo could not read it.
    """
    if text is None:
        return None
    document = _Document(text)
    had = bool(document.items)

    def is_unwanted(item: Mapping[str, Any]) -> bool:
        ours = _ours(item)
        return ours is not None and unwanted(ours)

    if all(is_unwanted(item) or _mark(item) == BASE for item in document.items) and had:
        if document.made_by_us:
            return None
        document.add(_item(None, (NOWHERE,), {MARK: NOTHING}))
    document.drop(is_unwanted)
    return _with_base(document, None).text


class Rule:
    """What a document says; read once, asked of many providers."""

    def __init__(self, text: str | None) -> None:
        """Raises Unreadable: Dubbo could not read it."""
        self._document = _Document(text) if text is not None else None

    @property
    def entries(self) -> tuple[Entry, ...]:
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
        if document is None or not document.is_for(service):
            return Effect()
        disabled: bool | None = None
        weight: int | None = None
        for item in sorted(document.items, key=_order):
            if item.get("side") != "consumer" or not _matches(item, address) or not _enabled(item, document.enabled):
                continue
            if _mark(item) == BASE or (not ours and _ours(item) is not None):
                continue
            parameters = {str(name): _java(value) for name, value in item["parameters"].items()}
            everywhere = _for_everybody(item, parameters, document.version)
            if "disabled" in parameters and (everywhere or parameters["disabled"].lower() != "true"):
                disabled = parameters["disabled"].lower() == "true"
            if everywhere and re.fullmatch(r"\d{1,9}", parameters.get("weight", "")):
                weight = int(parameters["weight"])
        return Effect(disabled, weight)


class _Document:
    """A document and its text, changed together."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.data = _load(text)
        self.items: list[dict[str, Any]] = self.data.get("configs") or []

    @property
    def enabled(self) -> bool:
        value = self.data.get("enabled")
        return value is None or _java(value).lower() == "true"

    @property
    def version(self) -> str:
        return str(self.data.get("configVersion") or "")

    @property
    def made_by_us(self) -> bool:
        head = {name: value for name, value in self.data.items() if name != "configs"}
        return head == {**_HEAD, "key": self.data.get("key")}

    def is_for(self, service: Service) -> bool:
        """Its entries are applied to providers of this service."""
        return self.data.get("scope") != "application" and self.data.get("key") in (service.key, "*")

    def add(self, item: Mapping[str, Any], first: bool = False) -> None:
        wanted = [dict(item), *self.items] if first else [*self.items, dict(item)]
        self._become(wanted, _spliced_in(self.text, _line(item), first))

    def drop(self, unwanted: Callable[[Mapping[str, Any]], bool]) -> None:
        for index in reversed(range(len(self.items))):
            if unwanted(self.items[index]):
                rest = self.items[:index] + self.items[index + 1 :]
                self._become(rest, _cut_out(self.text, index) if rest else None)

    def _become(self, items: list[dict[str, Any]], text: str | None) -> None:
        """The text as it was but for one entry, if it reads as it should; else written anew, with nothing lost but
        comments and layout."""
        data = {**self.data, "configs": items}
        if text is None or not _reads_as(text, data):
            text = _dump(self.text, data)
        self.text, self.data, self.items = text, data, items


_HEAD: Final = {"configVersion": "v2.7", "scope": "service", "enabled": True}


def _fresh(service: Service) -> str:
    return f"configVersion: v2.7\nscope: service\nkey: {json.dumps(service.key)}\nenabled: true\nconfigs: []\n"


def _load(text: str) -> dict[str, Any]:
    """As ConfigParser does, which casts these to String, and throws when an entry has no parameters."""
    try:
        data = yaml.load(text, _LOADER)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise Unreadable("the rule is no YAML that can be read: mend or remove it") from None
    if not isinstance(data, dict):
        raise Unreadable("the rule is no YAML mapping, which Dubbo's rules are: mend or remove it")
    strings = (data.get("configVersion"), data.get("scope"), data.get("key"))
    items = data.get("configs") or []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise Unreadable("the rule's configs are no list of entries: mend or remove it")
    kinds = [item.get(name) for item in items for name in ("type", "side")]
    if not all(value is None or isinstance(value, str) for value in (*strings, *kinds)):
        raise Unreadable("a word in the rule is no string, which Dubbo cannot read: put it into quotes")
    if not all(isinstance(item.get("parameters"), dict) and item["parameters"] for item in items):
        raise Unreadable("an entry of the rule has no parameters, so Dubbo ignores all of it: mend or remove it")
    return data


def _item(kind: str | None, addresses: Sequence[str], parameters: Mapping[str, str]) -> dict[str, Any]:
    head: dict[str, Any] = {"type": kind, "enabled": True} if kind else {}
    return {**head, "side": "consumer", "providerAddresses": list(addresses), "parameters": dict(parameters)}


def _mark(item: Mapping[str, Any]) -> str:
    return str(item["parameters"].get(MARK, ""))


def _is_nothing(item: Mapping[str, Any]) -> bool:
    return _mark(item) == NOTHING


def _ours(item: Mapping[str, Any]) -> Entry | None:
    """The entry about a pod that it is, whatever another tool made of its layout."""
    uid, dot, since = _mark(item).rpartition(".")
    if not dot or not uid or not since.isdigit():
        return None
    weight = item["parameters"].get("weight")
    number = int(weight) if weight is not None and re.fullmatch(r"\d{1,9}", _java(weight)) else None
    back = number is None and "disabled" not in item["parameters"]
    return Entry(uid, tuple(_words(item, "providerAddresses")), int(since), number, back)


def _about(item: Mapping[str, Any], entry: Entry) -> bool:
    ours = _ours(item)
    return ours is not None and (ours.uid == entry.uid or bool(set(ours.addresses) & set(entry.addresses)))


def _with_base(document: _Document, base: Sequence[str] | None) -> _Document:
    """With the base entry as the first if there are weights of ours, else without. None: as it is, if it is needed."""
    weighs = any(ours.weight is not None for item in document.items if (ours := _ours(item)) is not None)
    there = next((item for item in document.items if _mark(item) == BASE), None)
    wanted = list(base) if base is not None else (_words(there, "providerAddresses") if there else [])
    if weighs and wanted and there and _words(there, "providerAddresses") == wanted and document.items[0] is there:
        return document
    if weighs and wanted:
        item = _item("weight", wanted, {"weight": str(DEFAULT_WEIGHT), MARK: BASE})
        document.drop(lambda other: _mark(other) == BASE)
        document.add(item, first=True)
    elif there:
        document.drop(lambda other: _mark(other) == BASE)
    return document


def _words(item: Mapping[str, Any], name: str) -> list[str]:
    value = item.get(name)
    return [_java(one) for one in value] if isinstance(value, list) else []


def _java(value: object) -> str:
    """As Java's String.valueOf makes it of what SnakeYAML reads."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _matches(item: Mapping[str, Any], address: str) -> bool:
    """AbstractConfigurator.isV27ConditionMatchOrUnset."""
    words = _words(item, "providerAddresses")
    host, _, port = address.rpartition(":")
    return not words or any(word in (address, host, ANYHOST, f"{ANYHOST}:*", f"{ANYHOST}:{port}") for word in words)


def _enabled(item: Mapping[str, Any], whole: bool) -> bool:
    """ConfigParser.parseEnabled: an entry with a type has its own word, one without follows the document. "null" is
    not false."""
    if item.get("type") in (None, "general"):
        return whole
    value = item.get("enabled")
    return value is not None and _java(value).lower() == "true"


def _for_everybody(item: Mapping[str, Any], parameters: Mapping[str, str], version: str) -> bool:
    """It holds for every consumer, whatever its address, its application or its URL."""
    hosts = _words(item, "addresses")
    applications = _words(item, "applications")
    return (
        (not hosts or ANYHOST in hosts)
        and (not applications or "*" in applications)
        and not (item.get("match") and version.startswith("v3"))
        and not any(name.startswith("~") for name in parameters)
    )


def _order(item: Mapping[str, Any]) -> tuple[str, int]:
    """Configurator.compareTo: by the consumer's address, then by priority; as in the document where both are equal."""
    priority = _java(item["parameters"].get("priority", 0))
    hosts = _words(item, "addresses") or [ANYHOST]
    return max(hosts), int(priority) if re.fullmatch(r"-?\d{1,9}", priority) else 0


def _line(item: Mapping[str, Any]) -> str:
    """On one line, which JSON is, and YAML reads; and most people too."""
    return json.dumps(item, ensure_ascii=False)


def _configs(text: str) -> yaml.SequenceNode | None:
    """Where the entries are in the text, when they are a list in block style."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        return None
    values = [value for name, value in root.value if name.value == "configs"]
    if len(values) != 1 or not isinstance(values[0], yaml.SequenceNode) or values[0].flow_style or not values[0].value:
        return None
    return values[0]


def _spliced_in(text: str, line: str, first: bool) -> str | None:
    """The text with one more entry; None where its layout is not one that this knows."""
    configs = _configs(text)
    if configs is None:
        head, found, rest = _empty(text)
        return f"{head}configs:\n- {line}\n{rest}" if found else None
    lines = text.splitlines(keepends=True)
    indent = " " * configs.start_mark.column
    at = configs.start_mark.line
    if not first:
        at = configs.end_mark.line + bool(configs.end_mark.column)
        while at > 0 and (not lines[at - 1].strip() or lines[at - 1].lstrip().startswith("#")):
            at -= 1  # what stands between the list and the next key is that one's
        if not lines[at - 1].endswith("\n"):
            lines[at - 1] += "\n"
    return "".join([*lines[:at], f"{indent}- {line}\n", *lines[at:]])


def _empty(text: str) -> tuple[str, bool, str]:
    """The text around an empty list of entries, at the left edge where ours stands."""
    found = list(re.finditer(r"^configs:[ \t]*(\[[ \t]*\])?[ \t]*\r?(\n|\Z)", text, re.MULTILINE))
    if len(found) != 1:
        return "", False, ""
    return text[: found[0].start()], True, text[found[0].end() :]


def _cut_out(text: str, index: int) -> str | None:
    """The text without the entry of this number, when that is one line and nothing else is on it."""
    configs = _configs(text)
    if configs is None:
        return None
    node = configs.value[index]
    lines = text.splitlines(keepends=True)
    at = node.start_mark.line
    if node.end_mark.line != at or lines[at].strip() != f"- {text[node.start_mark.index : node.end_mark.index]}":
        return None
    return "".join(lines[:at] + lines[at + 1 :])


def _reads_as(text: str, data: Mapping[str, Any]) -> bool:
    try:
        return bool(yaml.load(text, _LOADER) == data)
    except (yaml.YAMLError, ValueError):
        return False


def _dump(before: str, data: Mapping[str, Any]) -> str:
    """Written anew: JSON stays JSON, the order of keys stays."""
    if data.get("configs") and before.lstrip().startswith("{"):
        try:
            json.loads(before)
            return json.dumps(data, ensure_ascii=False)
        except (ValueError, TypeError):
            pass
    return str(yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True, width=4096))
