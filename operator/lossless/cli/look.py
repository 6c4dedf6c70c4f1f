"""A look at one namespace, with the operator's own eyes: the same tables, the same gathering, the same decisions."""

from dataclasses import dataclass
from datetime import UTC, datetime

from lossless.api import names
from lossless.cli.errors import CliError
from lossless.cluster.errors import Forbidden, NotFound
from lossless.cluster.gateway import Gateway
from lossless.cluster.gather import Asked, Gathered, gather
from lossless.cluster.observed import SeenRollout
from lossless.cluster.resources import AUTOSCALERS, BUDGETS, PODS, ROLLOUTS
from lossless.cluster.scope import OPTIONAL, Scope
from lossless.cluster.store import Store
from lossless.cluster.workload import kind_of

INSTALL = (
    "LosslessRollout is not known to this cluster: install it with kubectl apply --server-side -k manifests/install"
)


@dataclass(frozen=True, slots=True)
class Look:
    """What was there at one moment."""

    namespace: str
    store: Store
    installed: bool
    """The cluster knows what a LosslessRollout is."""
    at: datetime

    def rollouts(self, name: str | None = None) -> tuple[SeenRollout, ...]:
        """The one of that name, or all of the namespace.

        Raises:
            CliError: there is none.
        """
        every = sorted(self.store.rollouts, key=lambda one: one.name)
        found = tuple(one for one in every if name in (None, one.name))
        if found:
            return found
        if not self.installed:
            raise CliError(INSTALL)
        if name is None:
            raise CliError(f"no LosslessRollout in namespace {self.namespace}")
        others = ", ".join(one.name for one in every[:5])
        hint = f"; there are: {others}" if others else "; there is none at all"
        raise CliError(f"no LosslessRollout {name} in namespace {self.namespace}{hint}")

    def gathered(self, rollout: SeenRollout) -> Gathered:
        """The world of one of them. How far warm-up is and what is in flight, only the operator knows."""
        return gather(self.store, rollout, rollout.status, Asked())


async def look(gateway: Gateway, namespace: str) -> Look:
    """Read everything in a namespace that a decision rests on.

    Raises ClusterError where the API server does not answer, or not to us.
    """
    store = Store()
    installed = True
    for resource in (*Scope((namespace,)).watched, BUDGETS):
        if resource is PODS:
            continue  # Those without our label as well; see below.
        try:
            listing = await gateway.list(resource, namespace)
        except NotFound:
            if resource not in {ROLLOUTS, *OPTIONAL}:
                raise
            installed = installed and resource is not ROLLOUTS
            store.unserved.add(resource)
            continue
        except Forbidden:
            if resource not in {AUTOSCALERS, BUDGETS, *OPTIONAL}:
                raise
            continue  # Whoever may not see them may have a look at all the rest.
        for raw in listing.items:
            store.table(resource).put(raw)
    for selector in _selectors(store, namespace):
        for raw in (await gateway.list(PODS, namespace, selector)).items:
            store.pods.put(raw)
    return Look(namespace, store, installed, datetime.now(UTC))


async def namespaces(gateway: Gateway) -> tuple[str, ...]:
    """Those with a LosslessRollout in them.

    Raises:
        CliError: the cluster does not know what that is.
    """
    try:
        listing = await gateway.list(ROLLOUTS)
    except NotFound as error:
        raise CliError(INSTALL) from error
    return tuple(sorted({raw["metadata"]["namespace"] for raw in listing.items}))


def _selectors(store: Store, namespace: str) -> list[str]:
    """What finds the pods: those that bear our label, and those of each target, whatever they bear."""
    selectors = {names.ROLLOUT_LABEL}
    for rollout in store.rollouts:
        kind = kind_of(rollout.target)
        selectors.add(kind.selector(store, namespace, rollout.target.name) if kind else "")
    return sorted(selectors - {""})
