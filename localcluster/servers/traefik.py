"""What Traefik itself routes at this moment: its own word, not what the API server says.

Its API answers at `/api/rawdata` with two maps (`/api/http/routers` and `/api/http/services` have the same as lists):

    {"routers": {"<name>@<provider>": {"rule": "Host(`web.example`)", "service": "<name>", "status": "enabled", …}},
     "services": {"<name>@<provider>": {"weighted": {"services": [{"name": "<name>", "weight": 9}, …]}},
                  "<name>@<provider>": {"loadBalancer": {"servers": [{"url": "http://10.244.1.2:8080"}, …]},
                                        "serverStatus": {"http://10.244.1.2:8080": "UP", …}}}}

A name without `@` is of the provider of who names it. A router with `tls` is for connections with TLS, which no entry
point of the box has: each Ingress brings one. The API is one of the services of the configuration it tells of, and is
exchanged with all others, entry point by entry point (`switchRouter` in Traefik's cmd/traefik/traefik.go): what it says
holds for every request from then on, on kept connections too.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

from localcluster.errors import BoxError


class TraefikBox(Protocol):
    """What is needed of a box: `Box(gateway=True)`."""

    @property
    def gateway_api(self) -> str: ...


def routed(box: TraefikBox, host: str) -> Mapping[str, float]:
    """`shares` of the box's Traefik at this moment. Raises BoxError when it says nothing of that host."""
    with urllib.request.urlopen(f"{box.gateway_api}/api/rawdata", timeout=5) as answer:
        return shares(json.load(answer), host)


def shares(rawdata: Mapping[str, Any], host: str) -> Mapping[str, float]:
    """The part of a host's requests that is sent to each `<ip>:<port>`, by the weights.

    Less than 1 in all: a backend without servers, or one that is named but is not there, has its part answered with an
    error.

    Raises:
        BoxError: no router, or more than one, is for that host, or it leads to what is neither weighted nor servers.
    """
    named = f"Host(`{host}`)", f'Host("{host}")'
    routers = [
        name
        for name, router in (rawdata.get("routers") or {}).items()
        if any(rule in router["rule"] for rule in named) and router["status"] == "enabled" and "tls" not in router
    ]
    if len(routers) != 1:
        raise BoxError(f"Traefik has {len(routers)} routers for {host}")
    provider = routers[0].rpartition("@")[2]
    found: dict[str, float] = {}
    _share_out(rawdata["services"], rawdata["routers"][routers[0]]["service"], provider, 1.0, found)
    return found


def _share_out(
    services: Mapping[str, Mapping[str, Any]], name: str, provider: str, share: float, found: dict[str, float]
) -> None:
    full = name if "@" in name else f"{name}@{provider}"
    service = services.get(full)
    if service is None:
        return  # the Gateway API's backends without endpoints are such names
    if "weighted" in service:
        parts = service["weighted"].get("services") or ()
        total = sum(part.get("weight", 1) for part in parts)
        for part in parts:
            if weight := part.get("weight", 1):
                _share_out(services, part["name"], full.rpartition("@")[2], share * weight / total, found)
    elif "loadBalancer" in service:
        servers = [
            server
            for server in service["loadBalancer"].get("servers") or ()
            if service.get("serverStatus", {}).get(server["url"], "UP") == "UP"
            and not server.get("fenced")  # terminating: it has only those who were with it before, by a cookie
        ]
        total = sum(server.get("weight", 1) for server in servers)
        for server in servers:
            address = urlsplit(server["url"]).netloc
            found[address] = found.get(address, 0.0) + share * server.get("weight", 1) / total
    else:
        raise BoxError(f"Traefik's service {full} is neither weighted nor servers: {', '.join(service)}")
