"""The split of an Ingress in the cluster: a canary beside it (`lossless.traffic.routes.canary`).

The owner's Ingress is read and never written to. What lies beside it is found by its labels.
"""

from collections.abc import Sequence
from contextlib import suppress

from lossless.api.routes import RouteKind, RouteRef
from lossless.cluster.errors import Forbidden, Invalid, NotFound
from lossless.cluster.gateway import Gateway
from lossless.cluster.interest import Key
from lossless.cluster.resources import INGRESS_CLASSES, INGRESSES, Raw
from lossless.cluster.route_reads import listed
from lossless.cluster.warmup_backend import OURS
from lossless.traffic.routes import canary
from lossless.traffic.routes.canary import Around, Owner
from lossless.traffic.routes.route import Split
from lossless.traffic.routes.warmup_service import MANAGER


class BesideRoute:
    """A canary. See `lossless.cluster.splits.RouteSplit`."""

    def __init__(self, gateway: Gateway, key: Key, ref: RouteRef, lies: bool = False) -> None:
        self.key = key
        self.ref = ref
        self.document: Raw = {}
        self._gateway = gateway
        self._namespace, rollout = key
        self._owner = Owner(rollout, ref.name)
        self._name = canary.canary_name(rollout, ref.name)
        self._around = Around()
        self._there: Raw | None = {} if lies else None
        """What was last applied; None: nothing is there; empty: something is, and nobody knows what."""

    @property
    def lies(self) -> bool:
        return self._there is not None

    async def read(self) -> None:
        ingresses = (await self._gateway.list(INGRESSES, self._namespace)).items
        lies = any(canary.owner_of(one) == self._owner for one in ingresses)
        self._there = (self._there or {}) if lies else None
        found = next((one for one in ingresses if one["metadata"]["name"] == self.ref.name), None)
        if found is None:
            raise NotFound(str(self.ref), "it is not in the list")
        self.document = found
        self._around = await around(self._gateway, found, ingresses)

    async def lay(self, split: Split) -> str:
        wanted, refusal = self._decided(split)
        if wanted != self._there:
            try:
                await self.read()
            except NotFound:
                await self.take_out()
                raise
            wanted, refusal = self._decided(split)
        if wanted is None:
            await self.take_out()
        elif wanted != self._there:
            try:
                await self._gateway.apply(INGRESSES, self._namespace, self._name, wanted, MANAGER)
            except (Forbidden, Invalid) as error:  # Its controller may have a say in it: an admission webhook.
                await self.take_out()
                return f"the API server does not take a canary beside it: {error.message}"
            self._there = wanted
        return refusal

    async def take_out(self) -> None:
        if self.lies:
            with suppress(NotFound):
                await self._gateway.delete(INGRESSES, self._namespace, self._name)
            self._there = None

    def _decided(self, split: Split) -> tuple[Raw | None, str]:
        """What is to lie there; or nothing, and why."""
        refusal = canary.refusal(self.document, split, self._around)
        return (None, refusal) if refusal else (canary.canary(self.document, split), "")


async def around(gateway: Gateway, ingress: Raw, ingresses: Sequence[Raw]) -> Around:
    """What else there is to know of an Ingress, whose namespace has these."""
    named = canary.class_names(ingress)
    if len(named) != 1:
        return Around(ingresses=ingresses)
    [name] = named
    try:
        found = await gateway.get(INGRESS_CLASSES, None, name)
    except NotFound:
        return Around(unread=f"its IngressClass {name} is not there", ingresses=ingresses)
    except Forbidden:
        why = f"the operator may not read its IngressClass {name}: bind it a ClusterRole that may get ingressclasses"
        return Around(unread=why, ingresses=ingresses)
    return Around(controller=found["spec"].get("controller", ""), ingresses=ingresses)


async def beside_routes(gateway: Gateway, namespace: str | None) -> list[BesideRoute]:
    """Every canary of ours, in a namespace or anywhere."""
    found = []
    for one in await listed(gateway, INGRESSES, namespace, OURS):
        if owner := canary.owner_of(one):
            # Whoever may write labels may write any name there: it is compared with others, and no more.
            ref = RouteRef.model_construct(kind=RouteKind.INGRESS, name=owner.ingress)
            found.append(BesideRoute(gateway, (one["metadata"]["namespace"], owner.rollout), ref, lies=True))
    return found
