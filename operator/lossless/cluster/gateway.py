"""The one way to the API server: raw JSON in and out, every request bounded, counted, and retried where that is safe.

``kubernetes.aio`` gives connection, TLS and credentials. Its typed models are not used: they drop fields that a newer
server knows, and parse a list of 1,000 pods in 430 ms where ``json`` takes 17.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any, Final

import aiohttp
from kubernetes.aio.client import ApiClient
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from lossless.cluster.errors import (
    ClusterError,
    Conflict,
    Expired,
    Forbidden,
    Invalid,
    NotFound,
    NotLeading,
    Unavailable,
)
from lossless.cluster.resources import Raw, Resource

TIMEOUT: Final = 10.0
"""Seconds that one attempt may take."""
ATTEMPTS: Final = 4
PAGE: Final = 500
"""Objects in one page of a LIST."""


class PatchType(StrEnum):
    """How the body of a PATCH is to be read. Always said: the client would otherwise choose by its own lights."""

    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Listing:
    """What a LIST found, and the resourceVersion at which that was all there was."""

    items: tuple[Raw, ...]
    resource_version: str


@dataclass(frozen=True, slots=True)
class Page(Listing):
    """A part of what a LIST found."""

    begins: bool
    """It is the first one. If it comes in the middle, the rest of the list was of a version that is no longer kept: it
    begins anew, and what came before does not count."""


Counted = Callable[[str, str, int], None]
"""Told of every attempt: verb, resource, HTTP status (0: no answer)."""

_BY_CODE: Final[Mapping[int, type[ClusterError]]] = {
    HTTPStatus.NOT_FOUND: NotFound,
    HTTPStatus.GONE: Expired,
    HTTPStatus.CONFLICT: Conflict,
    HTTPStatus.FORBIDDEN: Forbidden,
    HTTPStatus.UNAUTHORIZED: Unavailable,  # A token is being rotated: the next attempt reads the new one.
    HTTPStatus.TOO_MANY_REQUESTS: Unavailable,
}


class Gateway:
    """Asks the API server. Every method raises from the tree of `lossless.cluster.errors` and nothing else."""

    def __init__(
        self,
        client: ApiClient,
        counted: Counted = lambda verb, resource, code: None,
        may_write: Callable[[], bool] = lambda: True,
    ) -> None:
        """`may_write` is asked right before each write: a process that lost its Lease while it slept must not act."""
        self._client = client
        self._counted = counted
        self._may_write = may_write

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Raw:
        """One object, as it is now."""
        return await self._ask("get", resource.plural, "GET", resource.path(namespace, name))

    async def list(self, resource: Resource, namespace: str | None = None, label_selector: str = "") -> Listing:
        """All objects of a kind, in a namespace or everywhere."""
        items: list[Raw] = []
        version = ""
        async for page in self.pages(resource, namespace, label_selector):
            if page.begins:
                items.clear()
            items += page.items
            version = page.resource_version
        return Listing(tuple(items), version)

    async def pages(
        self, resource: Resource, namespace: str | None = None, label_selector: str = ""
    ) -> AsyncIterator[Page]:
        """As `list`, for who need not have all of it in memory at a time."""
        selected = {"labelSelector": label_selector} if label_selector else {}
        query = {"limit": str(PAGE), **selected}
        begins = True
        while True:
            try:
                page = await self._ask("list", resource.plural, "GET", resource.path(namespace), query=query)
            except Expired:
                if "continue" not in query:
                    raise
                # It took so long that the rest is of a version that is no longer kept: all of it at once, then.
                query, begins = selected, True
                continue
            yield Page(tuple(page.get("items") or ()), page["metadata"].get("resourceVersion", ""), begins)
            following = page["metadata"].get("continue")
            if not following:
                return
            query, begins = {**query, "continue": following}, False

    async def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Raw,
        subresource: str = "",
        kind: PatchType = PatchType.MERGE,
    ) -> Raw:
        """Change some fields of an object. Give `metadata.uid` and `metadata.resourceVersion` what they must be."""
        path = resource.path(namespace, name, subresource)
        what = f"{resource.plural}/{subresource}" if subresource else resource.plural
        return await self._ask("patch", what, "PATCH", path, body=body, content_type=kind)

    async def apply(self, resource: Resource, namespace: str | None, name: str, body: Raw, manager: str) -> Raw:
        """Have these fields of an object be so, whether it is there or not: server-side apply, as `manager`.

        Unlike `create` it asks RBAC for an object of this very name, so a Role can grant that one and no other.
        """
        path = resource.path(namespace, name)
        query = {"fieldManager": manager, "force": "true"}
        return await self._ask(
            "apply", resource.plural, "PATCH", path, query=query, body=body, content_type=PatchType.APPLY
        )

    async def create(self, resource: Resource, namespace: str | None, body: Raw) -> Raw:
        """A new object. Not retried: after a lost answer only a look tells whether it is there."""
        return await self._ask("create", resource.plural, "POST", resource.path(namespace), body=body, attempts=1)

    async def replace(self, resource: Resource, namespace: str | None, name: str, body: Raw) -> Raw:
        """A whole object as it was read, changed. Refused (Conflict) if somebody else was faster. Not retried."""
        return await self._ask("update", resource.plural, "PUT", resource.path(namespace, name), body=body, attempts=1)

    async def delete(self, resource: Resource, namespace: str | None, name: str) -> Raw:
        """Have an object of our own making away with."""
        return await self._ask("delete", resource.plural, "DELETE", resource.path(namespace, name))

    async def post(self, path: str, body: Raw) -> Raw:
        """Create something that has a name of its own, such as an Event: said twice it is a Conflict, no second one."""
        resource = path.rstrip("/").rsplit("/", 1)[-1]
        return await self._ask("create", resource, "POST", path, body=body)

    async def read(self, path: str) -> Raw:
        """Whatever is at this path, for example ``/version``."""
        return await self._ask("get", path.split("/")[1], "GET", path)

    async def serves(self, resource: Resource) -> bool:
        """Whether the API server says that it has this kind. No: also when it can't be asked."""
        try:
            found = await self.read(resource.root)
        except ClusterError:
            return False
        return any(one.get("name") == resource.plural for one in found.get("resources") or ())

    async def _ask(
        self,
        verb: str,
        resource: str,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Raw | None = None,
        content_type: str = "application/json",
        attempts: int = ATTEMPTS,
    ) -> Raw:
        retrying = AsyncRetrying(
            stop=stop_after_attempt(attempts),
            wait=_wait,
            retry=retry_if_exception_type(Unavailable),
            reraise=True,
        )
        answer: Raw = await retrying(
            self._attempt, verb, resource, method, path, dict(query or {}), body, str(content_type)
        )
        return answer

    async def _attempt(
        self,
        verb: str,
        resource: str,
        method: str,
        path: str,
        query: dict[str, str],
        body: Raw | None,
        content_type: str,
    ) -> Raw:
        what = f"{method} {path}"
        if method != "GET" and not self._may_write():
            raise NotLeading(what, "this process does not hold the Lease")
        code = 0
        try:
            request = await self._client.param_serialize(
                method=method,
                resource_path=path,
                query_params=list(query.items()),
                header_params={"Accept": "application/json", "Content-Type": content_type},
                body=body,
                auth_settings=["BearerToken"],
            )
            response = await self._client.call_api(*request, _request_timeout=TIMEOUT)
            data: bytes = await response.read()  # type: ignore[no-untyped-call]
            code = response.status
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Unavailable(what, f"no answer from the API server: {error or type(error).__name__}") from error
        finally:
            self._counted(verb, resource, code)
        answer = _parsed(what, code, data)
        if code >= HTTPStatus.BAD_REQUEST:
            raise _error(what, code, answer, response.headers)
        return answer


def _parsed(what: str, code: int, data: bytes) -> Raw:
    try:
        answer = json.loads(data)
    except ValueError as error:
        if code >= HTTPStatus.BAD_REQUEST:  # A proxy or a dying server answers in prose.
            return {"message": data[:200].decode(errors="replace")}
        raise Unavailable(what, f"an answer that is no JSON: {data[:80]!r}", code) from error
    return answer if isinstance(answer, dict) else {"message": str(answer)}


def _error(what: str, code: int, answer: Raw, headers: Mapping[str, Any]) -> ClusterError:
    kind = _BY_CODE.get(code, Unavailable if code >= HTTPStatus.INTERNAL_SERVER_ERROR else Invalid)
    after = str(headers.get("Retry-After", ""))
    return kind(what, str(answer.get("message", "")), code, float(after) if after.isdecimal() else None)


_random = wait_random_exponential(multiplier=0.1, max=2.0)


def _wait(state: RetryCallState) -> float:
    """Longer each time, and at random so that not everybody comes back at once; at least what the server asks for."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, Unavailable) and error.retry_after else 0.0
    return max(_random(state), min(asked, TIMEOUT))
