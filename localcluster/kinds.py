"""Where the API server has the objects of a kind, by any name that kubectl knows it by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from localcluster.api import Api, ApiError

DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource, in its group's preferred version."""

    base: str
    """`/api/v1`, `/apis/apps/v1`, …"""
    plural: str
    namespaced: bool

    def path(self, ns: str, name: str = "") -> str:
        """Of an object, or of all of them in a namespace (which is passed over where the kind has none)."""
        place = f"{self.base}/namespaces/{ns}" if self.namespaced else self.base
        return f"{place}/{self.plural}/{name}".rstrip("/")


class Kinds:
    """What the API server serves; asked once, and again for a kind that was not there then."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._known: dict[str, Resource] = {}

    def of(self, kind: str) -> Resource:
        """By its kind, plural, singular or short name, with `.<group>` or without. Raises ApiError (404): no such."""
        asked = kind.lower()
        if asked not in self._known:
            self._known = self._discover()
        if asked not in self._known:
            raise ApiError(f"look up {kind}", 404, f'the server doesn\'t have a resource type "{kind}"')
        return self._known[asked]

    def of_object(self, document: Mapping[str, Any]) -> Resource:
        """In the very version that the object is written in. Raises ApiError (404): no such kind."""
        version = str(document["apiVersion"])
        group, _, _ = version.rpartition("/")
        return replace(self.of(f"{document['kind']}.{group}"), base=f"/apis/{version}" if group else f"/api/{version}")

    def _discover(self) -> dict[str, Resource]:
        known: dict[str, Resource] = {}
        for root in ("/api", "/apis"):
            for group in self._api.request("GET", root, accept=DISCOVERY)["items"]:
                name = group["metadata"].get("name", "")
                version = group["versions"][0]
                base = "/".join([root, *([name] if name else []), version["version"]])
                for said in version.get("resources", []):
                    found = Resource(base, said["resource"], said["scope"] == "Namespaced")
                    for alias in _names(said):
                        # Groups come in the order that kubectl goes by: the first that has the name is meant.
                        known.setdefault(alias, found)
                        known.setdefault(f"{alias}.{name}", found)
        return known


def _names(said: dict[str, Any]) -> set[str]:
    kind = said.get("responseKind", {}).get("kind", "")
    return {
        one.lower()
        for one in (kind, said["resource"], said.get("singularResource"), *said.get("shortNames", ()))
        if one
    }


def objects(manifest: str | Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Each object of YAML text, of one object, or of several; those of a List one by one."""
    if isinstance(manifest, str):
        manifest = [one for one in yaml.load_all(manifest, Loader=yaml.CSafeLoader) if one]  # 20 times as fast
    for one in [manifest] if isinstance(manifest, Mapping) else manifest:
        if str(one["kind"]).endswith("List") and "items" in one:
            yield from objects(one["items"])
        else:
            yield one
