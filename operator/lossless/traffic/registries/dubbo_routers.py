"""The text of a Dubbo condition router: which providers consumers choose among, our condition in it, and nobody else's
touched.

A router is a document in ZooKeeper, one for each service (`dubbo_document`). A consumer asks it for each request,
before it chooses a provider; so nobody who has just chosen the one that is taken out loses a request. (A configurator
rule with `disabled`, and a provider's own farewell, destroy what the consumer calls it by: "This invoker has been
destroyed!" is what a request gets that has chosen it and is not sent yet.)

Sources: ConditionRuleParser, ListenableStateRouter, ConditionStateRouter, AbstractConditionMatcher and DynamicDirectory
of Dubbo 3.3; ConditionRuleParser, ListenableRouter and ConditionRouter of 2.7.3 to 2.7.23. What is said of order, marks
and lists that are empty was seen to hold with real consumers of Dubbo 3.3.6, both of interface-level and of
application-level discovery; what is said of 2.7 was only read.

- A condition is `when => then`: `=> address != 10.0.0.1:20880` leaves everybody but that address to every consumer.
- Conditions are applied one after the other, each to what those before it have left. One that would leave nobody is not
  applied, unless the document says `force: true`. So ours is the first: it holds as long as there is anybody else.
- It is one condition for all of our pods, as each costs a consumer a look at every provider, for every request.
- A key that Dubbo does not know makes 2.7 refuse the whole document (`configVersion` is one that only 3.2 knows), and
  other tools drop it. So what marks a pod's addresses as ours is one more value behind them, `lossless.<pod
  uid>.<seconds since 1970>`, which is nobody's address.
- A document without conditions changes nothing: a consumer goes on with the ones it has. So where ours is the last and
  the document was not made by us, one that is true of every provider stays.
- From `configVersion` v3.1 on, conditions are something else, and newer versions are not read at all.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from lossless.traffic.registries.dubbo_document import MARK, Document, Entry, Service, Unreadable, marked

SUFFIX: Final = ".condition-router"
LIST: Final = "conditions"
_OURS: Final = "=> address != "
_NOTHING: Final = f"{_OURS}{MARK}.none"
_HEAD: Final[Mapping[str, Any]] = {"scope": "service", "force": False, "runtime": True, "enabled": True}


def put(text: str | None, service: Service, entry: Entry) -> str:
    """The document with this pod's addresses taken out, in place of any entry that we have of the pod or of them.

    Raises:
        Unreadable: there is a document, and Dubbo could not read it.
    """
    document = _document(text if text is not None else _fresh(service))
    there = _entries(document)
    kept = [one for one in there if one == entry or not one.is_about(entry)]
    return _with(document, kept if entry in kept else [*kept, entry])


def drop(text: str | None, unwanted: Callable[[Entry], bool]) -> str | None:
    """The document without those of our entries; None when its node is to be deleted.

    Raises:
        Unreadable: there is a document, and Dubbo could not read it.
    """
    if text is None:
        return None
    document = _document(text)
    there = _entries(document)
    kept = [one for one in there if not unwanted(one)]
    if len(kept) == len(there):
        return text
    if not kept and all(_is_ours(item) for item in document.items) and document.has_only(_HEAD):
        return None
    return _with(document, kept)


class Router:
    """What a document says; read once, asked of many providers."""

    def __init__(self, text: str | None) -> None:
        """Raises Unreadable: Dubbo could not read it."""
        document = _document(text) if text is not None else None
        self.entries: tuple[Entry, ...] = tuple(_entries(document)) if document else ()
        """Ours, in order."""
        self.obstacle = _obstacle(document) if document else ""
        """Why no condition in it is applied, and what to do; empty when they are."""
        self._out = frozenset(one for entry in self.entries for one in entry.addresses)

    def is_out(self, address: str) -> bool:
        """No consumer chooses this provider (ip:port) by our doing, as long as it has another one."""
        return not self.obstacle and address in self._out


def _fresh(service: Service) -> str:
    key = json.dumps(service.key)
    return f"scope: service\nkey: {key}\nforce: false\nruntime: true\nenabled: true\n{LIST}: []\n"


def _document(text: str) -> Document:
    document = Document(text, LIST)
    if not _is_of_v31(document) and not all(isinstance(item, str) and _is_condition(item) for item in document.items):
        raise Unreadable("a condition in it is none that Dubbo can read, so it ignores all of it: mend or remove it")
    return document


def _is_of_v31(document: Document) -> bool:
    return document.version.lower() >= "v3.1"


def _obstacle(document: Document) -> str:
    if _is_of_v31(document):
        return "its configVersion is v3.1 or later, whose conditions are others: write it as v3.0, or remove it"
    if not document.says("enabled", True):
        return "it says enabled: false: enable or remove it"
    if not document.says("valid", True):
        return "it says valid: false: take that out, or remove it"
    return ""


def _is_condition(text: str) -> bool:
    """ConditionStateRouter.init and parseRule, without which no condition of the document is applied."""
    if not text.strip():
        return False
    when, arrow, then = text.partition("=>")
    for side in (when, then) if arrow else (text,):
        named = valued = False
        for sign, _ in re.findall(r"([&!=,]*)\s*([^&!=,\s]+)", side, re.ASCII):
            if sign not in ("", "&", "=", "!=", ",") or (sign in ("=", "!=") and not named):
                return False
            if sign == "," and not valued:
                return False
            named = True
            valued = valued or sign in ("=", "!=")
    return True


def _entries(document: Document) -> list[Entry]:
    return [entry for item in document.items if _is_ours(item) for entry in _read(item)]


def _is_ours(item: object) -> bool:
    """Whatever another tool made of its spaces."""
    values = _values(item)
    return bool(values) and values[-1].startswith(f"{MARK}.")


def _values(item: object) -> Sequence[str]:
    found = re.fullmatch(r"\s*=>\s*address\s*!=\s*([^&!=\s]+)\s*", item) if isinstance(item, str) else None
    return found[1].split(",") if found else ()


def _read(item: str) -> list[Entry]:
    entries: list[Entry] = []
    addresses: list[str] = []
    for value in _values(item):
        head, dot, mark = value.partition(".")
        if head != MARK or not dot:
            addresses.append(value)
            continue
        if named := marked(mark):
            entries.append(Entry(named[0], tuple(addresses), named[1]))
        addresses.clear()
    return entries


def _with(document: Document, entries: Sequence[Entry]) -> str:
    """With a condition for these as the first, and no other of ours."""
    values = [value for one in entries for value in (*one.addresses, f"{MARK}.{one.mark}")]
    others = any(not _is_ours(item) for item in document.items)
    ours = _OURS + ",".join(values) if values else _NOTHING
    if values or not others:
        if document.items[:1] != [ours]:
            # Before the others go: a list that was empty for a moment would lose its layout.
            document.add(ours, first=True)
        document.drop(_is_ours, start=1)
    else:
        document.drop(_is_ours)
    return document.text
