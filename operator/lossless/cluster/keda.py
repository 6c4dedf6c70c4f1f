"""ScaledObjects of KEDA: the HorizontalPodAutoscaler that one owns is left alone, and KEDA is asked to hold scale-in.

By its own annotation, which makes it disable scale-in in that autoscaler (kedacore/keda, controllers/keda/hpa.go). It
has one for scale-out as well, but that forbids it, which would starve a release in a traffic peak: so scale-out is not
damped. ScaledObjects are not watched, for a cluster may not have them: one is read when a hold begins or ends.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from lossless.api import names
from lossless.cluster.errors import Conflict, Forbidden, NotFound, Outdated
from lossless.cluster.gateway import Gateway
from lossless.cluster.interest import Key
from lossless.cluster.resources import Raw, Resource
from lossless.core import autoscaler as core
from lossless.core.autoscaler import SCALE_IN, Record, Verdict
from lossless.core.world import Autoscaler, Behavior

SCALED_OBJECTS: Final = Resource("keda.sh", "v1alpha1", "scaledobjects")
KIND: Final = "ScaledObject"
PAUSED: Final = "autoscaling.keda.sh/paused-scale-in"


def scaled_object_of(autoscaler: Autoscaler) -> str:
    """The name of the ScaledObject that owns an autoscaler; empty: none does."""
    kind, _, name = autoscaler.managed_by.partition(" ")
    return name if kind == KIND else ""


@dataclass
class Keda:
    """The ScaledObjects that we have to do with at the moment."""

    gateway: Gateway
    _read: dict[Key, Raw] = field(default_factory=dict)
    """By namespace and name. Only those that are held, or may be."""

    async def ensure(
        self, namespace: str, autoscaler: Autoscaler, decide: Callable[[Autoscaler], Verdict], under_way: bool
    ) -> Verdict | None:
        """Have the ScaledObject be as the core asks; None: there is nothing to do, or it may not be read.

        Raises:
            Outdated: it was changed by somebody else meanwhile.
            ClusterError: the API server did not do it.
        """
        name = scaled_object_of(autoscaler)
        raw = self._read.get((namespace, name))
        if raw is None:
            if not under_way:
                return None
            try:
                raw = await self.gateway.get(SCALED_OBJECTS, namespace, name)
            except (NotFound, Forbidden):
                return None
            self._read[namespace, name] = raw
        if PAUSED in _annotations(raw) and _note(raw) is None:
            self._read.pop((namespace, name))
            return None  # Its owner has said what is to be, whatever that is.
        seen = replace(autoscaler, behavior=_as_behavior(raw), note=_note(raw), metrics=(), managed_by="")
        verdict = replace(decide(seen), autoscaler=autoscaler)
        if verdict.change:
            await self._write(namespace, raw, verdict.change.record)
        if not under_way and not verdict.state.holds:
            self._read.pop((namespace, name), None)
        return verdict

    async def give_back(self, namespace: str, name: str) -> None:
        """The LosslessRollout of that name is gone. Raises as `ensure`."""
        for (where, _), raw in list(self._read.items()):
            record = Record.from_annotation(_note(raw))
            if where == namespace and record and record.rollout == name:
                await self._write(namespace, raw, None)
                self._read.pop((where, raw["metadata"]["name"]), None)

    async def left_over(self, parts: Iterable[str | None]) -> set[Key]:
        """LosslessRollouts, there or not, of which something stands on a ScaledObject. Found once, at the start."""
        found = set()
        for part in parts:
            try:
                listed = await self.gateway.list(SCALED_OBJECTS, part)
            except (NotFound, Forbidden):
                continue
            for raw in listed.items:
                if record := Record.from_annotation(_note(raw)):
                    metadata = raw["metadata"]
                    self._read[metadata["namespace"], metadata["name"]] = raw
                    found.add((metadata["namespace"], record.rollout))
        return found

    async def _write(self, namespace: str, raw: Raw, record: Record | None) -> None:
        metadata, before = raw["metadata"], Record.from_annotation(_note(raw))
        name = metadata["name"]
        annotations: dict[str, str | None] = {names.ORIGINAL_BEHAVIOR: record.to_annotation() if record else None}
        was_ours = before is not None and SCALE_IN in dict(before.ours)
        if record and SCALE_IN in dict(record.ours):
            annotations[PAUSED] = "true"
        elif was_ours and _annotations(raw).get(PAUSED) == "true":
            annotations[PAUSED] = None
        version = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
        body: Raw = {"metadata": {**version, "annotations": annotations}}
        try:
            self._read[namespace, name] = await self.gateway.patch(SCALED_OBJECTS, namespace, name, body)
        except NotFound:
            self._read.pop((namespace, name), None)
        except Conflict as error:
            self._read[namespace, name] = await self.gateway.get(SCALED_OBJECTS, namespace, name)
            raise Outdated(f"ScaledObject {name} has changed") from error


def _as_behavior(raw: Raw) -> Behavior | None:
    """What its annotation makes of its autoscaler, as the core knows autoscalers."""
    said = _annotations(raw).get(PAUSED)
    return None if said is None else core.laid(None, {SCALE_IN: core.DISABLED if said == "true" else said})


def _note(raw: Raw) -> str | None:
    return _annotations(raw).get(names.ORIGINAL_BEHAVIOR)


def _annotations(raw: Raw) -> dict[str, str]:
    found: dict[str, str] = raw["metadata"].get("annotations") or {}
    return found
