"""A fake of the gateway, for tests of what is asked of it: it records every call, and fails when told to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from copy import deepcopy
from typing import Any

from lossless.cluster.errors import ClusterError, Conflict, NotFound
from lossless.cluster.gateway import Gateway, Listing, Page, PatchType
from lossless.cluster.resources import Raw, Resource


class FakeApi(Gateway):
    """Keeps objects by kind and name. Of a patch it applies labels, annotations, whole fields of the spec, and the
    status; that is all we patch."""

    def __init__(self) -> None:
        self.objects: dict[tuple[Resource, str], Raw] = {}
        self.calls: list[tuple[str, str, str]] = []
        self.bodies: list[Raw] = []
        self.failures: dict[tuple[str, str], ClusterError] = {}
        self._version = 100_000

    def has(self, resource: Resource, raw: Raw) -> Raw:
        """There is such an object, newer than all before. Says what a watch would tell of it."""
        name = raw["metadata"]["name"]
        self.objects[resource, name] = deepcopy(raw)
        self.changes(resource, name)
        return deepcopy(self.objects[resource, name])

    def changes(self, resource: Resource, name: str) -> None:
        """Somebody else writes to it."""
        self._version += 1
        self.objects[resource, name]["metadata"]["resourceVersion"] = str(self._version)

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Raw:
        self._called("get", resource.plural, name)
        return deepcopy(self._find(resource, name))

    async def list(self, resource: Resource, namespace: str | None = None, label_selector: str = "") -> Listing:
        self._called("list", resource.plural, label_selector)
        self._version += 1
        parts = label_selector.split(",")
        equal = dict(part.split("=") for part in parts if "=" in part)
        missing = {part[1:] for part in parts if part.startswith("!")}

        def is_meant(raw: Raw) -> bool:
            labels = raw["metadata"].get("labels") or {}
            return equal.items() <= labels.items() and not missing & labels.keys()

        found = [raw for (kind, _), raw in self.objects.items() if kind == resource and is_meant(raw)]
        return Listing(tuple(deepcopy(found)), str(self._version))

    async def pages(
        self, resource: Resource, namespace: str | None = None, label_selector: str = ""
    ) -> AsyncIterator[Page]:
        listing = await self.list(resource, namespace, label_selector)
        yield Page(listing.items, listing.resource_version, begins=True)

    async def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Raw,
        subresource: str = "",
        kind: PatchType = PatchType.MERGE,
    ) -> Raw:
        self._called("patch", resource.plural, name)
        raw = self._find(resource, name)
        wanted = body["metadata"]
        for field in ("uid", "resourceVersion"):
            if field in wanted and wanted[field] != raw["metadata"][field]:
                raise Conflict(f"PATCH {name}", f"{field} is another", 409)
        self.bodies.append(deepcopy(body))
        for field in ("labels", "annotations"):
            _merge(raw["metadata"].setdefault(field, {}), wanted.get(field) or {})
        if spec := body.get("spec"):
            _merge(raw["spec"], deepcopy(spec))
        self._apply_status(raw, deepcopy(body.get("status") or {}))
        self._version += 1
        raw["metadata"]["resourceVersion"] = str(self._version)
        return deepcopy(raw)

    async def apply(self, resource: Resource, namespace: str | None, name: str, body: Raw, manager: str) -> Raw:
        self._called("apply", resource.plural, name)
        self.objects[resource, name] = deepcopy(body)
        self._version += 1
        told = {"uid": f"uid-{name}", "resourceVersion": str(self._version)}
        return {**deepcopy(body), "metadata": {**deepcopy(body["metadata"]), **told}}

    async def delete(self, resource: Resource, namespace: str | None, name: str) -> Raw:
        self._called("delete", resource.plural, name)
        self._find(resource, name)
        return self.objects.pop((resource, name))

    def asked(self) -> Sequence[str]:
        """Every call: its verb and kind."""
        return [f"{verb} {what}" for verb, what, _ in self.calls]

    def _apply_status(self, raw: Raw, status: Raw) -> None:
        conditions = status.pop("conditions", [])
        raw.setdefault("status", {}).update(status)
        known = {one["type"]: one for one in raw["status"].get("conditions") or []}
        for one in conditions:
            known[one["type"]] = {**known.get(one["type"], {}), **one}
        if known:
            raw["status"]["conditions"] = list(known.values())

    def _called(self, verb: str, what: str, name: str) -> None:
        self.calls.append((verb, what, name))
        if error := self.failures.pop((verb, name), None):
            raise error

    def _find(self, resource: Resource, name: str) -> Raw:
        if (resource, name) not in self.objects:
            raise NotFound(f"{resource.plural} {name}", "not there", 404)
        return self.objects[resource, name]


def _merge(into: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if value is None:
            into.pop(key, None)
        elif isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value
