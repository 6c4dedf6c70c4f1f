"""What the status of a HorizontalPodAutoscaler (autoscaling/v2) says of its metrics, against their targets."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from lossless.cluster.resources import Raw
from lossless.core.world import AutoscalerMetric

_POWERS: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY: Final = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_OF_PODS: Final = {"resource": "Resource", "containerResource": "ContainerResource", "pods": "Pods"}
_OTHERS: Final = {"object": "Object", "external": "External"}


def quantity(text: object) -> float | None:
    """A resource.Quantity as a number; None: it is none. Source: apimachinery/pkg/api/resource/quantity.go."""
    said = str(text)
    suffix = said.lstrip("+-0123456789.")
    number, suffix = (
        (said, "") if suffix[:1] in ("e", "E") and len(suffix) > 1 else (said[: len(said) - len(suffix)], suffix)
    )
    try:
        value = Decimal(number)
    except InvalidOperation:
        return None
    if suffix in _BINARY:
        return float(value * 1024 ** _BINARY[suffix])
    return float(value.scaleb(_POWERS[suffix])) if suffix in _POWERS else None


def autoscaler_metrics(spec: Raw, status: Raw) -> tuple[AutoscalerMetric, ...]:
    """One for each metric that is asked for, in that order."""
    current = {_identity(one): one for one in status.get("currentMetrics") or () if one.get("type")}
    return tuple(_metric(one, current.get(_identity(one))) for one in spec.get("metrics") or () if _source(one))


def _metric(asked: Mapping[str, Any], current: Mapping[str, Any] | None) -> AutoscalerMetric:
    source = _source(asked)
    target = source.get("target") or {}
    now = (_source(current) if current else {}).get("current") or {}
    kind = {"Utilization": "averageUtilization", "AverageValue": "averageValue"}.get(target.get("type", ""), "value")
    # The status leaves out what is nothing.
    is_known = current is not None and now != {}
    at, of = quantity(now.get(kind, 0)) if is_known else None, quantity(target.get(kind))
    name = source.get("name") or f"{(source.get('metric') or {}).get('name', '')} ({asked['type']})"
    per_pod = kind != "value"
    return AutoscalerMetric(
        name, at / of if at is not None and of else None, asked["type"] in _OF_PODS.values(), per_pod
    )


def _source(metric: Mapping[str, Any]) -> Mapping[str, Any]:
    kind = metric.get("type", "")
    key = f"{kind[:1].lower()}{kind[1:]}"
    return metric.get(key) or {} if key in (*_OF_PODS, *_OTHERS) else {}


def _identity(metric: Mapping[str, Any]) -> tuple[object, ...]:
    source = _source(metric)
    about = source.get("metric") or {}
    described = source.get("describedObject") or {}
    selector = str(sorted(((about.get("selector") or {}).get("matchLabels") or {}).items()))
    name = source.get("name") or about.get("name")
    return metric.get("type"), name, source.get("container"), described.get("kind"), described.get("name"), selector
