"""Pods as registries know them, and what is kept on a pod of the registries that were told of it.

The registries themselves are kept there as well, as the LosslessRollout named them (Secrets by name only): so a pod can
be put back when that is gone and nobody remembers it.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Final

from pydantic import ValidationError

from lossless.api.traffic import KINDS, Registry
from lossless.cluster.observed import SeenPod
from lossless.core import way_out
from lossless.pods.address import NoSuchPort, port_number
from lossless.traffic.registries.registry import Instance

MOST: Final = 64 * 1024
"""Bytes of it that are believed: nobody's list of registries is longer."""


def instance_of(pod: SeenPod, spec: Registry) -> Instance:
    """A pod, as this registry needs to know it. A port that the pod does not have names no registration of it."""
    port: int | None = None
    if spec.port is not None:
        try:
            port = port_number(spec.port, pod.ports)
        except NoSuchPort:
            port = 0
    passage = pod.core.passage
    return Instance(
        uid=pod.uid,
        namespace=pod.namespace,
        name=pod.name,
        node=pod.core.node,
        addresses=pod.addresses,
        port=port,
        ports=pod.ports,
        containers=pod.containers,
        original=passage.original(spec.name) or "",
        told=spec.name in passage.told,
        unanswered_since=way_out.unanswered_since(passage),
    )


def written(registries: Iterable[Registry], pod: SeenPod) -> str:
    """The registries, as they are kept on a pod: with those that were told of it and are not named any more."""
    named = {one.name: one for one in registries}
    every = {spec.name: spec for spec, _ in told_of(pod)} | named
    return json.dumps(
        [one.model_dump(mode="json", by_alias=True, exclude_none=True) for one in every.values()],
        separators=(",", ":"),
    )


def told_of(pod: SeenPod) -> Sequence[tuple[Registry, Instance]]:
    """The registries that were told something of this pod, by what is on it. What can't be read was not ours."""
    passage = pod.core.passage
    told = {source for source, _ in passage.originals} | set(passage.told)
    if not told or len(pod.registries) > MOST:
        return ()
    try:
        specs = [Registry.model_validate(one) for one in json.loads(pod.registries or "[]")]
    except (ValueError, TypeError, ValidationError, RecursionError):
        return ()
    # Of more than one kind, or of none: the API server lets no LosslessRollout name such a one.
    whole = [spec for spec in specs if sum(getattr(spec, kind) is not None for kind in KINDS) == 1]
    return [(spec, instance_of(pod, spec)) for spec in whole if spec.name in told]
