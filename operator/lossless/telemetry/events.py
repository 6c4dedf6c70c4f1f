"""Kubernetes Events: what people see in ``kubectl describe``, each of them posted once.

A decision is made over and over and says the same every time. So an Event's *name* is worked out from what it says:
posting it again is refused by the API server as a conflict, also after this process was restarted or another one took
over. Event objects expire (an hour by default), and only then can the same be said of the same object again.
"""

import asyncio
import hashlib
import logging
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from lossless.core.passage import format_time
from lossless.core.steps import Event

CONTROLLER: Final = "lossless.dev/operator"
MAX_NOTE: Final = 1024
"""Bytes of UTF-8, as the API server counts them."""
MAX_REMEMBERED: Final = 4096
SAID_FOR: Final = timedelta(minutes=10)
"""How long it is taken for granted that an Event is still there: after this, one call finds out."""
TRY_AGAIN_AFTER: Final = timedelta(seconds=30)
"""After a failure: soon, but not with every reconcile."""
POST_TIMEOUT: Final = 5.0

_ACTIONS: Final[Mapping[str, str]] = {
    "AdmittedCold": "Admit",
    "WarmupTimedOut": "Admit",
    "WarmupFailed": "Admit",
    "DrainTimedOut": "MarkDrained",
    "SkippedTheDoor": "Watch",
    "NodeLost": "Watch",
}
_NUMBER: Final = re.compile(r"\d+")

_log = logging.getLogger(__name__)

NAMESPACE_GOES: Final = "because it is being terminated"
"""In the API server's refusal (plugin/pkg/admission/namespace/lifecycle)."""

ANY: Final = ""
"""Instead of an Event's name: whatever there is to say in a namespace."""

Create = Callable[[str, dict[str, Any]], Awaitable[bool]]
"""Posts a body to events.k8s.io/v1 in a namespace. False: an object of this name is already there (409)."""


class Events:
    """Posts Events, each at most once, and never fails: a reconcile does not depend on being heard."""

    def __init__(self, create: Create, instance: str = "lossless-operator") -> None:
        """Args:
        create: see `Create`.
        instance: which of the operator's replicas this is, such as its pod's name.
        """
        self._create = create
        self._instance = instance[:128] or "lossless-operator"
        self._quiet_until: OrderedDict[tuple[str, str], datetime] = OrderedDict()

    async def publish(self, namespace: str, regarding: Mapping[str, str], event: Event, now: datetime) -> None:
        """Say something about an object, unless it was said already.

        Args:
            namespace: of the object, and so of the Event.
            regarding: apiVersion, kind, namespace, name and uid of the object.
            event: what to say.
            now: when it happened.
        """
        name = name_of(regarding, event)
        if self._said(namespace, name, now):
            return
        self._be_quiet(namespace, name, now + SAID_FOR)
        try:
            async with asyncio.timeout(POST_TIMEOUT):
                await self._create(namespace, self._body(namespace, name, regarding, event, now))
        except Exception as error:  # noqa: BLE001 - whatever it is, the reconcile goes on
            self._be_quiet(namespace, name, now + TRY_AGAIN_AFTER)
            level = logging.WARNING
            if NAMESPACE_GOES in str(error):  # nothing can be posted there, and nobody is left to read it
                self._be_quiet(namespace, ANY, now + TRY_AGAIN_AFTER)
                level = logging.DEBUG
            _log.log(level, "event %s of %s was not posted: %r", event.reason, regarding.get("name"), error)

    def _said(self, namespace: str, name: str, now: datetime) -> bool:
        found = (self._quiet_until.get((namespace, each)) for each in (name, ANY))
        return any(until is not None and now < until for until in found)

    def _be_quiet(self, namespace: str, name: str, until: datetime) -> None:
        self._quiet_until[(namespace, name)] = until
        self._quiet_until.move_to_end((namespace, name))
        while len(self._quiet_until) > MAX_REMEMBERED:
            self._quiet_until.popitem(last=False)

    def _body(
        self, namespace: str, name: str, regarding: Mapping[str, str], event: Event, now: datetime
    ) -> dict[str, Any]:
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": format_time(now),
            "type": "Warning" if event.warning else "Normal",
            "reason": event.reason[:128],
            "action": _ACTIONS.get(event.reason, "Reconcile"),
            "note": shortened(event.message, MAX_NOTE),
            "reportingController": CONTROLLER,
            "reportingInstance": self._instance,
            "regarding": dict(regarding),
        }


def name_of(regarding: Mapping[str, str], event: Event) -> str:
    """The Event's name: the same for the same thing said of the same object.

    Numbers are left out of it: "49 of 50 requests" and "50 of 50 requests" are one thing said at two moments. No bucket
    of time is in it either, since the API server's own expiry is one, without an edge at which all is said twice.
    """
    what = "\0".join((regarding.get("uid", ""), event.reason, _NUMBER.sub("#", event.message)))
    digest = hashlib.sha256(what.encode()).hexdigest()[:16]
    return f"{regarding.get('name', '')[:200].rstrip('-.')}.{digest}"


def shortened(text: str, limit: int) -> str:
    """The text, cut to `limit` bytes of UTF-8 with an ellipsis where it is longer."""
    raw = text.encode()
    if len(raw) <= limit:
        return text
    return raw[: limit - 3].decode(errors="ignore") + "…"
