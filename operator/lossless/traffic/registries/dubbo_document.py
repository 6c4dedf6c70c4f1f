"""A document of Dubbo's rules in ZooKeeper: a mapping with one list, in YAML or JSON, shared by every tool
(dubbo-admin, scripts, several of us). Items of ours go into the list and out of it again, and nobody else's are
touched: neither their comments nor their layout, where the list is in block style.

What the items say is the business of `dubbo_rules` and `dubbo_routers`. Sources: Dubbo 3.3's ConfigParser and
ConditionRuleParser.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from lossless.traffic.registries.errors import Refused

MARK: Final = "lossless"
_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The same, ten times as fast, where PyYAML was built with libyaml."""


class Unreadable(Refused):
    """The document is none that Dubbo could read: no consumer gets a new one before somebody mends or removes it."""


@dataclass(frozen=True, slots=True)
class Service:
    """What a consumer subscribes to; its documents' nodes are named after it."""

    interface: str
    version: str = ""
    group: str = ""

    @property
    def node(self) -> str:
        """How the names of its documents' nodes begin: DynamicConfiguration.getRuleKey."""
        return f"{self.interface}:{self.version}:{self.group}"

    @property
    def key(self) -> str:
        """The documents' own `key`. For a consumer of any version or group, that of all services: the providers' own
        keys are not equal to its own."""
        if any("*" in part or "," in part for part in (self.version, self.group)):
            return "*"
        return f"{self.group}/" * bool(self.group) + self.interface + f":{self.version}" * bool(self.version)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a document of ours says of one pod."""

    uid: str
    addresses: tuple[str, ...]
    """As ip:port."""
    since: int
    """Seconds since 1970 when it was made."""

    @property
    def mark(self) -> str:
        return f"{self.uid}.{self.since}"

    def is_about(self, other: "Entry") -> bool:
        """The same pod, or one that had an address before the other."""
        return self.uid == other.uid or bool(set(self.addresses) & set(other.addresses))


def marked(mark: str) -> tuple[str, int] | None:
    """The pod's uid and the seconds since 1970 that a mark of ours names; None when it names no pod."""
    uid, dot, since = mark.rpartition(".")
    return (uid, int(since)) if dot and uid and since.isdigit() else None


class Document:
    """A document and its text, changed together."""

    def __init__(self, text: str, of: str) -> None:
        """
        Args:
            of: the name of the list.

        Raises:
            Unreadable: Dubbo could not read it.
        """
        self.text = text
        self.data = _load(text)
        self._of = of
        self.items: list[Any] = self.data.get(of) or []
        if not isinstance(self.items, list):
            raise Unreadable(f"the {of} in it are no list: mend or remove it")

    @property
    def version(self) -> str:
        return str(self.data.get("configVersion") or "")

    def says(self, name: str, otherwise: bool) -> bool:
        """A word that is true or false."""
        value = self.data.get(name)
        return otherwise if value is None else java(value).lower() == "true"

    def has_only(self, head: Mapping[str, Any]) -> bool:
        """Beside its list and its key there is this and nothing else: as where we have made it."""
        return {name: value for name, value in self.data.items() if name not in (self._of, "key")} == head

    def add(self, item: Any, first: bool = False) -> None:
        wanted = [item, *self.items] if first else [*self.items, item]
        self._become(wanted, _spliced_in(self.text, self._of, line(item), first))

    def drop(self, unwanted: Callable[[Any], bool], start: int = 0) -> None:
        """Args: start: items before this one stay."""
        for index in reversed(range(start, len(self.items))):
            if unwanted(self.items[index]):
                rest = self.items[:index] + self.items[index + 1 :]
                self._become(rest, _cut_out(self.text, self._of, index) if rest else None)

    def _become(self, items: list[Any], text: str | None) -> None:
        """The text as it was but for one item, if it reads as it should; else written anew, with nothing lost but
        comments and layout."""
        data = {**self.data, self._of: items}
        if text is None or not _reads_as(text, data):
            text = _dump(self.text, data, is_empty=not items)
        self.text, self.data, self.items = text, data, items


def java(value: object) -> str:
    """As Java's String.valueOf makes it of what SnakeYAML reads."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def line(item: Any) -> str:
    """On one line, which JSON is, and YAML reads; and most people too."""
    return json.dumps(item, ensure_ascii=False)


def _load(text: str) -> dict[str, Any]:
    """As Dubbo does, which casts these to String."""
    try:
        data = yaml.load(text, _LOADER)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise Unreadable("it is no YAML that can be read: mend or remove it") from None
    if not isinstance(data, dict):
        raise Unreadable("it is no YAML mapping, which Dubbo's rules are: mend or remove it")
    strings = (data.get("configVersion"), data.get("scope"), data.get("key"))
    if not all(value is None or isinstance(value, str) for value in strings):
        raise Unreadable("a word in it is no string, which Dubbo cannot read: put it into quotes")
    return data


def _list(text: str, of: str) -> yaml.SequenceNode | None:
    """Where the items are in the text, when they are a list in block style."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        return None
    values = [value for name, value in root.value if name.value == of]
    if len(values) != 1 or not isinstance(values[0], yaml.SequenceNode) or values[0].flow_style or not values[0].value:
        return None
    return values[0]


def _spliced_in(text: str, of: str, item: str, first: bool) -> str | None:
    """The text with one more item; None where its layout is not one that this knows."""
    there = _list(text, of)
    if there is None:
        head, found, rest = _empty(text, of)
        return f"{head}{of}:\n- {item}\n{rest}" if found else None
    lines = text.splitlines(keepends=True)
    indent = " " * there.start_mark.column
    at = there.start_mark.line
    if not first:
        at = there.end_mark.line + bool(there.end_mark.column)
        while at > 0 and (not lines[at - 1].strip() or lines[at - 1].lstrip().startswith("#")):
            at -= 1  # what stands between the list and the next key is that one's
        if not lines[at - 1].endswith("\n"):
            lines[at - 1] += "\n"
    return "".join([*lines[:at], f"{indent}- {item}\n", *lines[at:]])


def _empty(text: str, of: str) -> tuple[str, bool, str]:
    """The text around an empty list, at the left edge where ours stands."""
    found = list(re.finditer(rf"^{of}:[ \t]*(\[[ \t]*\])?[ \t]*\r?(\n|\Z)", text, re.MULTILINE))
    if len(found) != 1:
        return "", False, ""
    return text[: found[0].start()], True, text[found[0].end() :]


def _cut_out(text: str, of: str, index: int) -> str | None:
    """The text without the item of this number, when that is one line and nothing else is on it."""
    there = _list(text, of)
    if there is None:
        return None
    node = there.value[index]
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


def _dump(before: str, data: Mapping[str, Any], is_empty: bool) -> str:
    """Written anew: JSON stays JSON, the order of keys stays."""
    if not is_empty and before.lstrip().startswith("{"):
        try:
            json.loads(before)
            return json.dumps(data, ensure_ascii=False)
        except (ValueError, TypeError):
            pass
    return str(yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True, width=4096))


def words(item: Mapping[str, Any], name: str) -> Sequence[str]:
    value = item.get(name)
    return [java(one) for one in value] if isinstance(value, list) else []
