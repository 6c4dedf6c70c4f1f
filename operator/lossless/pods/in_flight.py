"""Asking a pod how many requests it is working on."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from lossless.api.resource import InFlight
from lossless.core.world import InFlightCount
from lossless.pods import address, body

TIMEOUT: Final = 2.0
MAX_BODY: Final = 8 * 1024 * 1024
_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")
_ACCEPT: Final = "text/plain;version=0.0.4,*/*;q=0.1"


async def ask(
    http: aiohttp.ClientSession, ip: str, ports: Mapping[str, int], spec: InFlight, *, timeout: float = TIMEOUT
) -> InFlightCount:
    """Ask a pod for its requests in flight, as its LosslessRollout says where.

    Never raises for what a pod does: whatever can't be understood is None, with the reason as evidence.

    Args:
        http: the client's session.
        ip: the pod's address.
        ports: the named ports of its containers.
        spec: where to ask, and for what.
        timeout: seconds for all of it.
    """
    where = f":{spec.port}{spec.path}"
    try:
        target = address.url(ip, spec.port, spec.path, ports)
        async with http.get(
            target, allow_redirects=False, timeout=aiohttp.ClientTimeout(total=timeout), headers={"Accept": _ACCEPT}
        ) as response:
            if not 200 <= response.status < 300:
                return InFlightCount(None, f"{where} answered {response.status}")
            raw = await body.read(response, MAX_BODY)
    except address.NoSuchPort as error:
        return InFlightCount(None, str(error))
    except TimeoutError:
        return InFlightCount(None, f"{where} gave no answer within {timeout:g} s")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return InFlightCount(None, f"{where} could not be asked: {str(error)[:200]}")
    if raw is None:
        return InFlightCount(None, f"{where} answered more than {MAX_BODY // 2**20} MiB")
    return understand(raw.decode(errors="replace"), spec.metric, where)


def understand(text: str, metric: str | None, where: str) -> InFlightCount:
    """What an answer says: the sum of a metric's samples, or the number that it is. `where` is for the evidence."""
    return _of_metric(text, metric, where) if metric else _of_number(text, where)


def _of_number(text: str, where: str) -> InFlightCount:
    stripped = text.strip()
    if len(stripped) > 64 or not _NUMBER.fullmatch(stripped):
        return InFlightCount(None, f"{where} answered no number: {stripped[:40]!r}")
    return _counted([float(stripped)], where)


def _of_metric(text: str, metric: str, where: str) -> InFlightCount:
    # Only the lines of this one metric are parsed: the whole text of a large application takes seconds to parse, and
    # what is wrong with another metric is none of our business.
    lines = [line for raw in text.split("\n") if (line := raw.strip()).startswith(metric)]
    of_metric = [line for line in lines if line[len(metric) : len(metric) + 1] in ("{", " ", "\t")]
    try:
        families = text_string_to_metric_families("\n".join(of_metric) + "\n")
        values = [float(sample.value) for family in families for sample in family.samples if sample.name == metric]
    except (ValueError, KeyError, IndexError) as error:
        return InFlightCount(None, f"{metric} at {where} can't be read: {str(error)[:100]}")
    if not values:
        return InFlightCount(None, f"there is no metric {metric} at {where}")
    return _counted(values, metric)


def _counted(values: Iterable[float], source: str) -> InFlightCount:
    """The sum, if all of them can be numbers of requests: one that is below zero must not hide another."""
    total = 0.0
    for value in values:
        if not math.isfinite(value) or value < 0:
            return InFlightCount(None, f"{source} says {value:g}, which is no number of requests")
        total += value
    if not math.isfinite(total):
        return InFlightCount(None, f"{source} says {total:g}, which is no number of requests")
    return InFlightCount(total, f"{total:g} {'request' if total == 1 else 'requests'} in flight ({source})")
