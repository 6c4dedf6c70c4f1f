"""The split of an Ingress: a canary, which is a second Ingress beside it, as ingress-nginx has it.

    annotations:
      nginx.ingress.kubernetes.io/canary: "true"
      nginx.ingress.kubernetes.io/canary-weight: "17"

A canary has a part of the requests for each of its hosts and paths that its main Ingress has too, and obeys all other
annotations of the main one but those of affinity and balancing. So ours has no more than these two and, of the owner's
rules, what leads to the split's Services, with the warm-up Service in their place. The owner's Ingress stays as it is.

ingress-nginx and Traefik (provider kubernetesingressnginx) divide by the Service and port that the path leads to: a
canary is for every Ingress of the namespace that leads there, and only one counts. A controller that does not know
these annotations would take ours for an Ingress like any other, and send it all there is: so the class is looked at
first.

Weights are whole percents. `canary-weight-total` is not written: there are ingress-nginx that do not know it
(kubernetes/ingress-nginx#9745), and 17 of 1000 would be 17 % to them.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lossless.api import names
from lossless.traffic.routes.ingress import INGRESS, leads_to, paths_of, service_of
from lossless.traffic.routes.nginx import AFFINITY, CANARY, CLASS, HASH_BY, PASSTHROUGH, WEIGHT, annotation, says
from lossless.traffic.routes.policies import MOVES_CLIENTS
from lossless.traffic.routes.route import Raw, Split, mapping, mappings, name_of, names_ours
from lossless.traffic.routes.warmup_service import labels

CONTROLLER: Final = "k8s.io/ingress-nginx"
"""`spec.controller` of the IngressClasses whose controllers know what a canary is."""
_KEEP_CLIENTS: Final = (AFFINITY, HASH_BY)
_WHOLE: Final = 100
_READABLE: Final = 230
"""So much of an Ingress's name is in that of its canary: 253 characters are the most."""


@dataclass(frozen=True, slots=True)
class Around:
    """What else one has to know of an Ingress before anything may lie beside it."""

    controller: str = ""
    """Of its IngressClass; empty: not known."""
    unread: str = ""
    """Why it is not, in a sentence, where a class is named."""
    ingresses: Sequence[Raw] = ()
    """All of its namespace."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a canary is."""

    rollout: str
    ingress: str


def canary(ingress: Raw, split: Split) -> dict[str, Any]:
    """The canary that is this split of an Ingress.

    It goes with the Ingress at the latest: without it, nobody but pods that ramp would have its hosts.
    """
    metadata, spec = mapping(ingress.get("metadata")), mapping(ingress.get("spec"))
    name, named = name_of(ingress), spec.get("ingressClassName")
    annotations = {CANARY: "true", WEIGHT: str(percent(split.share))}
    if not named:  # The API server takes a new Ingress with one of the two alone.
        annotations[CLASS] = annotation(ingress, CLASS)
    like = {"apiVersion": INGRESS.api_version, "kind": str(INGRESS.kind)}
    return {
        **like,
        "metadata": {
            "name": canary_name(split.rollout, name),
            "namespace": metadata.get("namespace"),
            "labels": labels(split.rollout),
            "annotations": annotations,
            "ownerReferences": [{**like, "name": name, "uid": metadata.get("uid")}],
        },
        "spec": {**({"ingressClassName": named} if named else {}), "rules": list(_rules(spec, split))},
    }


def percent(share: float) -> int:
    """Whole percents of the traffic. Never all of it, which no share is."""
    return min(math.floor(share * _WHOLE + 0.5), _WHOLE - 1)


def canary_name(rollout: str, ingress: str) -> str:
    """`<ingress>-warmup-<hash>`: of this LosslessRollout and this Ingress, and of no others."""
    told = hashlib.sha256(f"{rollout}/{ingress}".encode()).hexdigest()[:10]
    return f"{ingress[:_READABLE].rstrip('-.')}-warmup-{told}"


def owner_of(ingress: Raw) -> Owner | None:
    """Whose canary an Ingress is; None: it is none of ours."""
    metadata = mapping(ingress.get("metadata"))
    there = mapping(metadata.get("labels"))
    rollout = str(there.get(names.ROLLOUT_LABEL, ""))
    if not is_canary(ingress) or not labels(rollout).items() <= there.items():
        return None
    owners = [str(one.get("name", "")) for one in mappings(metadata.get("ownerReferences"))]
    return next((Owner(rollout, one) for one in owners if canary_name(rollout, one) == name_of(ingress)), None)


def is_canary(ingress: Raw) -> bool:
    return says(ingress, CANARY)


def class_names(ingress: Raw) -> frozenset[str]:
    """The IngressClass that an Ingress names. None, if there was no default one as it was made: the API server writes
    that into it. Two, if field and annotation differ."""
    named = mapping(ingress.get("spec")).get("ingressClassName")
    return frozenset(str(one) for one in (named, annotation(ingress, CLASS)) if one)


def refusal(ingress: Raw, split: Split, around: Around) -> str:
    """Why nothing may lie beside this Ingress, in a sentence; empty: a canary may."""
    return (
        _its_class(ingress, around)
        or ("" if names_ours(INGRESS, ingress, split.services) else "no path of it leads to a Service of these pods")
        or _keeps_clients(ingress, split, around)
        or _in_the_way(ingress, split, around)
    )


def _its_class(ingress: Raw, around: Around) -> str:
    """Why its controller may not know what a canary is."""
    named = sorted(class_names(ingress))
    if not named:
        return "it names no IngressClass, so there is no telling what its controller would make of a canary"
    if len(named) > 1:
        return f"it names two IngressClasses, {' and '.join(named)}"
    if around.controller != CONTROLLER:
        return around.unread or (
            f"its IngressClass {named[0]} is of {around.controller or 'no controller'}, "
            f"which may not know canaries: {CONTROLLER} does"
        )
    return ""


def _keeps_clients(ingress: Raw, split: Split, around: Around) -> str:
    """Its Services are divided, so it does not matter which of the Ingresses that lead there says so."""
    for one in (ingress, *around.ingresses):
        found = next((name for name in _KEEP_CLIENTS if annotation(one, name)), "")
        if found and leads_to(one) & split.services:
            return f"Ingress {name_of(one)} has {found}: {MOVES_CLIENTS}"
    if says(ingress, PASSTHROUGH):
        return f"it has {PASSTHROUGH}, which goes past every canary"
    return ""


def _in_the_way(ingress: Raw, split: Split, around: Around) -> str:
    if is_canary(ingress):
        return "it is a canary itself"
    name = canary_name(split.rollout, name_of(ingress))
    mains = [one for one in (ingress, *around.ingresses) if not is_canary(one)]
    divided = {key for one in mains for key, service in _paths(one) if service in split.services}
    for one in around.ingresses:
        owner = owner_of(one)
        ours = owner is not None and owner.rollout == split.rollout
        if name_of(one) == name and not ours:
            return f"there is another Ingress {name}"
        if is_canary(one) and not ours and any(key in divided for key, _ in _paths(one)):
            return f"there is a canary already, Ingress {name_of(one)}, and only one counts"
    return ""


def _rules(spec: Raw, split: Split) -> Iterator[dict[str, Any]]:
    """Of an Ingress, the paths that lead to the split's Services: to the warm-up Service instead."""
    for rule in mappings(spec.get("rules")):
        paths = [
            {key: path[key] for key in ("path", "pathType") if key in path} | {"backend": _renamed(path, split.warmup)}
            for path in paths_of(rule)
            if service_of(mapping(path.get("backend"))) in split.services
        ]
        if paths:
            yield {**({"host": rule["host"]} if rule.get("host") else {}), "http": {"paths": paths}}


def _renamed(path: Raw, service: str) -> dict[str, Any]:
    return {"service": {**mapping(mapping(path.get("backend")).get("service")), "name": service}}


def _paths(ingress: Raw) -> Iterator[tuple[tuple[str, str, str], str]]:
    """What a canary and its main Ingress have in common (host, path and its type), and the Service behind it."""
    for rule in mappings(mapping(ingress.get("spec")).get("rules")):
        for path in paths_of(rule):
            key = (str(rule.get("host", "")), str(path.get("path", "")), str(path.get("pathType", "")))
            yield key, service_of(mapping(path.get("backend")))
