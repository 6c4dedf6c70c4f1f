"""Durations and int-or-percent as Kubernetes writes them, and their schemas."""

import math
import re
from datetime import timedelta
from typing import Annotated, Final

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_NUMBER: Final = r"[0-9]{1,6}(\.[0-9]{1,3})?"
DURATION_PATTERN: Final = "^" + "".join(f"({_NUMBER}{unit})?" for unit in ("h", "m", "s", "ms")) + "$"
"""Each unit once, largest first: so the longest one that matches is within the 292 years that Go and CEL can count."""
PERCENT_PATTERN: Final = r"^(100|[1-9]?[0-9])%$"


def parse_duration(value: object) -> timedelta:
    """Reads ``90s``, ``1m30s``, ``250ms``: the units of Go's durations from milliseconds to hours.

    Raises ValueError for anything else; there are no negative durations here.
    """
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or not value or not re.fullmatch(DURATION_PATTERN, value):
        raise ValueError(f"not a duration: {value!r}; write it like 5s, 1m30s or 250ms")
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value)))


def format_duration(value: timedelta) -> str:
    """The shortest way to write a duration that ``parse_duration`` reads back: 90 s is ``1m30s``."""
    milliseconds = round(value.total_seconds() * 1000)
    if milliseconds == 0:
        return "0s"
    parts = []
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


def parse_int_or_percent(value: object) -> int | str:
    """Reads ``3`` or ``25%``. Raises ValueError for anything else, and for negative numbers and more than 100 %."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and re.fullmatch(PERCENT_PATTERN, value):
        return value
    raise ValueError(f"neither a whole number nor a percentage: {value!r}; write it like 3 or 25%")


def resolve(value: int | str, total: int, *, round_up: bool) -> int:
    """The number of pods that an int-or-percent means, out of `total`; apps/v1 rounds surge up and unavailable down."""
    if isinstance(value, int):
        return value
    share = int(value.rstrip("%")) * total / 100
    return math.ceil(share) if round_up else math.floor(share)


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "minLength": 2, "maxLength": 32}),
]
IntOrPercent = Annotated[
    int | str,
    BeforeValidator(parse_int_or_percent),
    WithJsonSchema({"x-kubernetes-int-or-string": True, "pattern": PERCENT_PATTERN, "minimum": 0, "maximum": 10_000}),
]
Port = Annotated[
    int | str,
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "pattern": r"^[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?$",
            "minimum": 1,
            "maximum": 65_535,
        }
    ),
]
