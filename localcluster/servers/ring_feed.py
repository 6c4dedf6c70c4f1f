"""A control plane as small as can be: what Envoys with a hash ring are to know of one Service, kept in files.

`python -m localcluster.servers.ring_feed` follows the Service's EndpointSlices and its pods, and writes two endpoint
assignments, each in one rename, which Envoy watches for:

- `addresses.json`: the ready endpoints. The ring is over their addresses, as with every control plane that knows no
  better.
- `slots.json`: the same, hashed by what an annotation of the pod says, and only the youngest pod of each: when one pod
  takes over from another, the ring keeps its size, and everybody else's points on it stay.

https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers#ring-hash
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from localcluster.reader import ApiReader

ADDRESSES, SLOTS = "addresses", "slots"
"""The names of the two assignments: of their files, and of Envoy's clusters."""
SERVICE = "kubernetes.io/service-name"

Object = Mapping[str, Any]


def ready(slices: Iterable[Object]) -> dict[str, str]:
    """The `<ip>:<port>` of the ready endpoints, each with the name of its pod."""
    return {
        f"{address}:{port['port']}": (endpoint.get("targetRef") or {}).get("name", "")
        for each in slices
        for endpoint in each.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready") is not False
        for address in endpoint["addresses"]
        for port in each.get("ports") or ()
    }


def by_slot(endpoints: Mapping[str, str], pods: Mapping[str, Object], annotation: str) -> dict[str, str]:
    """The `<ip>:<port>` to send to, each with its key on the ring: what the pod's annotation says, else the address."""
    found: dict[str, tuple[str, str]] = {}
    for address, name in endpoints.items():
        metadata = (pods.get(name) or {}).get("metadata") or {}
        slot = (metadata.get("annotations") or {}).get(annotation) or address
        found[slot] = max(found.get(slot, ("", "")), (str(metadata.get("creationTimestamp", "")), address))
    return {address: slot for slot, (_, address) in found.items()}


def assignment(name: str, keys: Mapping[str, str]) -> dict[str, Any]:
    """A file of Envoy's endpoint discovery: the `<ip>:<port>` of one cluster, each with its key on the ring."""
    endpoints: list[dict[str, Any]] = []
    for address, key in sorted(keys.items()):
        ip, _, port = address.rpartition(":")
        where = {"socket_address": {"address": ip, "port_value": int(port)}}
        metadata = {"filter_metadata": {"envoy.lb": {"hash_key": key}}}
        endpoints.append({"endpoint": {"address": where}, "metadata": metadata})
    kind = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
    return {"resources": [{"@type": kind, "cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]}]}


def write(directory: Path, name: str, keys: Mapping[str, str]) -> None:
    """In one rename: Envoy would read half of a file that is just being written."""
    new = directory / f".{name}.new"
    new.write_text(json.dumps(assignment(name, keys)))
    new.rename(directory / f"{name}.json")


async def feed(kubeconfig: Path, namespace: str, service: str, annotation: str, directory: Path) -> None:
    """Keep both files, for ever."""
    slices: dict[str, Object] = {}
    pods: dict[str, Object] = {}
    written: dict[str, Mapping[str, str]] = {}

    def put() -> None:
        endpoints = ready(slices.values())
        for name, keys in {
            ADDRESSES: {address: address for address in endpoints},
            SLOTS: by_slot(endpoints, pods, annotation),
        }.items():
            if written.get(name) != keys:
                write(directory, name, keys)
                written[name] = keys
                print(f"{time.time():.3f} {name} {len(keys)}", flush=True)

    async def follow(api: ApiReader, path: str, known: dict[str, Object], **query: str) -> None:
        async for change in api.follow(path, **query):
            name = change.object["metadata"]["name"]
            known[name] = change.object
            if change.type == "DELETED":
                del known[name]
            put()

    async with ApiReader.connect(kubeconfig) as api:
        of_service = {"labelSelector": f"{SERVICE}={service}"}
        await asyncio.gather(
            follow(api, f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices", slices, **of_service),
            follow(api, f"/api/v1/namespaces/{namespace}/pods", pods),
        )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m localcluster.servers.ring_feed", description=__doc__)
    for name in ("--kubeconfig", "--namespace", "--service", "--annotation", "--directory"):
        parser.add_argument(name, required=True)
    options = parser.parse_args(arguments)
    asyncio.run(
        feed(
            Path(options.kubeconfig),
            options.namespace,
            options.service,
            options.annotation,
            Path(options.directory),
        )
    )


if __name__ == "__main__":
    main()
