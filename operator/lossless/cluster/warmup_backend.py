"""What a route's warm-up backend leads to, in the cluster: the warm-up Service of one LosslessRollout and its slices.

They belong to the workload, and not to the LosslessRollout: the garbage collector would take them away with it while
routes still name them. How long they are kept after a ramp is written on the slices themselves (`names.KEPT_UNTIL`), so
that a process which is started meanwhile keeps them for just as long.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from lossless.api import names
from lossless.cluster.errors import NotFound
from lossless.cluster.gateway import Gateway
from lossless.cluster.gather import Gathered
from lossless.cluster.interest import Key
from lossless.cluster.observed import SeenPod
from lossless.cluster.resources import ENDPOINT_SLICES, SERVICES, Raw, Resource
from lossless.core.passage import format_time, parse_time
from lossless.traffic.routes import warmup_slices
from lossless.traffic.routes.warmup_service import MANAGED_BY, MANAGER, labels, service, warmup_name
from lossless.traffic.services import SERVICE_NAME

OURS: Final = f"{MANAGED_BY}={MANAGER}"
"""Selects what was made for ramps."""


class WarmupBackend:
    """The warm-up Service and its slices, as the API server has them.

    Every method raises ClusterError when that does not do what is asked.
    """

    def __init__(self, gateway: Gateway, key: Key) -> None:
        self._gateway = gateway
        self._namespace, self._rollout = key
        self._name = warmup_name(self._rollout)
        self._wanted: Raw | None = None
        self._service: Raw = {}
        self._slices: tuple[Raw, ...] = ()
        self._looked = False

    @property
    def is_anothers(self) -> bool:
        """There is a Service of that name which is none of ours."""
        return bool(self._service) and owner_of(self._service) != self._rollout

    @property
    def leads_nowhere(self) -> bool:
        return not self._slices

    @property
    def pods(self) -> frozenset[str]:
        """The uids of those that it leads to."""
        return frozenset(end["targetRef"]["uid"] for one in self._slices for end in one.get("endpoints") or ())

    @property
    def since(self) -> datetime | None:
        """When it first led to a pod."""
        times = (parse_time(one["metadata"].get("creationTimestamp")) for one in self._slices)
        return min(filter(None, times), default=None)

    @property
    def kept_until(self) -> datetime | None:
        """The end of what was begun when the last ramp was over; None: not begun."""
        return max(filter(None, (parse_time(_marked(one)) for one in self._slices)), default=None)

    async def look(self) -> None:
        """Once: what a process before this one has left."""
        if self._looked:
            return
        try:
            self._service = await self._gateway.get(SERVICES, self._namespace, self._name)
        except NotFound:
            self._service = {}
        # The slices of a Service of somebody else that has this name are not ours to see.
        selector = f"{SERVICE_NAME}={self._name},{OURS}"
        self._slices = (await self._gateway.list(ENDPOINT_SLICES, self._namespace, selector)).items
        self._looked = True

    async def speak_as(self, stables: Sequence[Mapping[str, Any]], gathered: Gathered) -> None:
        """Have the Service stand for these.

        Raises PortsClash where one can't.
        """
        wanted = service(_raw(gathered), stables)
        wanted["metadata"]["ownerReferences"] = _owner(gathered)
        if self._wanted != wanted:
            self._service = await self._gateway.apply(SERVICES, self._namespace, self._name, wanted, MANAGER)
            self._wanted = wanted

    async def lead_to(self, pods: Iterable[SeenPod], gathered: Gathered, until: datetime | None = None) -> None:
        """Have the slices hold these pods and nobody else; `until`: no ramp is under way, and then they go."""
        raws = [_raw_pod(pod) for pod in pods]
        wanted = warmup_slices.slices(_raw(gathered), self._service, raws, present=self._slices)
        for one in wanted:
            one["metadata"]["ownerReferences"] = _owner(gathered)
        await self._apply(wanted, until)

    async def keep(self, until: datetime) -> None:
        """Leave the slices as they are until then."""
        await self._apply([_said(one) for one in self._slices], until)

    async def lead_nowhere(self) -> None:
        """Have the slices go. The Service stays for the next ramp."""
        await self._apply((), None)

    async def delete(self) -> None:
        """Have both go."""
        await self.lead_nowhere()
        if self._service and not self.is_anothers:
            await self._delete(SERVICES, self._name)
        self._service, self._wanted = {}, None

    async def _apply(self, wanted: Sequence[Raw], until: datetime | None) -> None:
        mark = format_time(until)
        before = {one["metadata"]["name"]: one for one in self._slices}
        after = []
        for one in wanted:
            name = one["metadata"]["name"]
            one["metadata"]["annotations"] = {names.KEPT_UNTIL: mark} if mark else {}
            known = before.pop(name, None)
            if known and known.get("endpoints") == one["endpoints"] and _marked(known) == mark:
                after.append(known)
                continue
            applied = await self._gateway.apply(ENDPOINT_SLICES, self._namespace, name, one, MANAGER)
            after.append({**applied, "endpoints": one["endpoints"]})
        for name in before:
            await self._delete(ENDPOINT_SLICES, name)
        self._slices = tuple(after)

    async def _delete(self, resource: Resource, name: str) -> None:
        try:
            await self._gateway.delete(resource, self._namespace, name)
        except NotFound:
            return


def owner_of(made: Raw) -> str:
    """The LosslessRollout for whose ramps a Service was made; empty: for nobody's."""
    there: dict[str, str] = made["metadata"].get("labels") or {}
    name = there.get(names.ROLLOUT_LABEL, "")
    return name if labels(name).items() <= there.items() and made["metadata"]["name"] == warmup_name(name) else ""


def _marked(one: Raw) -> str | None:
    found: str | None = (one["metadata"].get("annotations") or {}).get(names.KEPT_UNTIL)
    return found


def _said(one: Raw) -> Raw:
    """What we have said of a slice, to be said again."""
    metadata = {key: one["metadata"][key] for key in ("name", "labels", "ownerReferences") if key in one["metadata"]}
    body: Raw = {key: one[key] for key in ("addressType", "ports", "endpoints") if key in one}
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata} | body


def _raw(gathered: Gathered) -> Raw:
    rollout = gathered.rollout
    return {"metadata": {"name": rollout.name, "namespace": rollout.namespace, "uid": rollout.uid}}


def _raw_pod(pod: SeenPod) -> Raw:
    """As much of a pod as its endpoint needs."""
    ports = [{"name": name, "containerPort": number} for name, number in pod.ports.items()]
    return {
        "metadata": {"namespace": pod.namespace, "name": pod.name, "uid": pod.uid},
        "spec": {"nodeName": pod.core.node, "containers": [{"ports": ports}]},
        "status": {"podIPs": [{"ip": address} for address in pod.addresses]},
    }


def _owner(gathered: Gathered) -> list[dict[str, Any]]:
    """The workload: what is made for it goes with it at the latest."""
    target, workload = gathered.rollout.target, gathered.world.workload
    if workload is None:
        return []
    return [{"apiVersion": target.api_version, "kind": target.kind, "name": target.name, "uid": workload.uid}]
