"""How the split of one LosslessRollout is laid on a route, and taken off it again: with the I/O that it takes.

When that is done, and what else has to be done before and after it, is in `lossless.cluster.ramping`.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, Protocol

from lossless.api.routes import RouteRef
from lossless.cluster.canaries import BesideRoute, beside_routes
from lossless.cluster.errors import Conflict, NotFound, Outdated
from lossless.cluster.gateway import Gateway, PatchType
from lossless.cluster.interest import Key
from lossless.cluster.resources import DESTINATION_RULES, Raw
from lossless.cluster.route_reads import listed, resource_of
from lossless.traffic.routes import edit, status
from lossless.traffic.routes.kinds import WEIGHTED
from lossless.traffic.routes.policies import obeys_destination_rules
from lossless.traffic.routes.route import Split
from lossless.traffic.routes.status import Answer

ATTEMPTS: Final = 4


class RouteSplit(Protocol):
    """The split of one LosslessRollout on one route, whether anything of it is there or not.

    Every method raises ClusterError when the API server does not do what is asked.
    """

    @property
    def key(self) -> Key:
        """The LosslessRollout."""
        ...

    @property
    def ref(self) -> RouteRef: ...

    @property
    def document(self) -> Raw:
        """The route as it was last seen; empty: it was not yet."""
        ...

    @property
    def lies(self) -> bool:
        """Something of it was there when that was last seen."""
        ...

    async def read(self) -> None:
        """See the route as it is now.

        Raises:
            NotFound: there is no such route.
            Forbidden: it is not ours to read.
        """
        ...

    async def lay(self, split: Split) -> str:
        """Have this lie there, whatever it was before. Where that must not be, nothing lies there any more: why, in a
        sentence; empty: it does.

        Raises:
            NotFound: the route is gone.
            Outdated: the route was changed each time between our look and our write.
        """
        ...

    async def take_out(self) -> None:
        """Have nothing of it lie there. Raises Outdated as `lay`."""
        ...


def split_of(gateway: Gateway, key: Key, ref: RouteRef) -> RouteSplit:
    """That of a LosslessRollout on a route of its namespace; nothing has been seen of it yet."""
    if ref.kind in WEIGHTED:
        return InRoute(gateway, key, ref)
    return BesideRoute(gateway, key, ref)


async def lying(gateway: Gateway, namespace: str | None) -> Sequence[RouteSplit]:
    """Every one of which something is there, in a namespace or anywhere, whosever it is."""
    return [*await _in_routes(gateway, namespace), *await beside_routes(gateway, namespace)]


class InRoute:
    """An edit of the route's own lists of weighted backends: `lossless.traffic.routes.edit`."""

    def __init__(self, gateway: Gateway, key: Key, ref: RouteRef, document: Raw | None = None) -> None:
        self.key = key
        self.ref = ref
        self.document: Raw = document or {}
        self._gateway = gateway
        self._namespace, self._rollout = key
        self._resource = resource_of(ref.kind)
        self._route = WEIGHTED[ref.kind]

    @property
    def lies(self) -> bool:
        return self._rollout in edit.rollouts_on(self.document)

    async def read(self) -> None:
        self.document = await self._gateway.get(self._resource, self._namespace, self.ref.name)

    async def lay(self, split: Split) -> str:
        policies = await self._policies()
        refusal = ""

        def laid(document: Raw) -> edit.Change:
            nonlocal refusal
            said = status.taken(document)
            is_refused = said.answer is Answer.REFUSED
            change = edit.lay(self._route, document, replace(split, share=0.0) if is_refused else split, policies)
            refusal = change.refusal or (said.evidence if is_refused and split.share else "")
            return change

        if laid(self.document).patch is not None:
            await self._edit(laid)
        return refusal

    async def take_out(self) -> None:
        if self.lies:
            with suppress(NotFound):
                await self._edit(lambda document: edit.take_out(self._route, document, self._rollout))

    async def _edit(self, how: Callable[[Raw], edit.Change]) -> None:
        """As it is now: its gateway writes its status whenever we have written, so what was read before is old."""
        for _ in range(ATTEMPTS):
            await self.read()
            change = how(self.document)
            if change.patch is None:
                return
            with suppress(Conflict):
                self.document = await self._gateway.patch(
                    self._resource, self._namespace, self.ref.name, change.patch, kind=PatchType.MERGE
                )
                return
        raise Outdated(f"{self.ref} changes all the time")

    async def _policies(self) -> Sequence[Raw]:
        if not obeys_destination_rules(self.document):
            return ()
        try:
            return (await self._gateway.list(DESTINATION_RULES, self._namespace)).items
        except NotFound:
            return ()


async def _in_routes(gateway: Gateway, namespace: str | None) -> list[RouteSplit]:
    found: list[RouteSplit] = []
    for kind, route in WEIGHTED.items():
        for document in await listed(gateway, resource_of(kind), namespace):
            said = {"apiVersion": route.api_version, "kind": str(kind), **document}  # A LIST leaves them out.
            metadata = document["metadata"]
            ref = RouteRef(kind=kind, name=metadata["name"])
            found += [InRoute(gateway, (metadata["namespace"], name), ref, said) for name in edit.rollouts_on(document)]
    return found
