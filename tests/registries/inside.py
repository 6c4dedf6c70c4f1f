"""A registry's file at work inside a box, with the guard as it is: `python -m tests.registries.inside`.

Reads {"kind": …, "spec": {…}, "steps": [[what, pod, fraction?], …]} from its input; prints, as JSON, one result a step:
what `look` saw, nothing, or the error.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from localcluster import Box
from lossless.api import traffic
from lossless.traffic.registries.client import Client, session
from lossless.traffic.registries.consul import ConsulRegistry
from lossless.traffic.registries.errors import RegistryError
from lossless.traffic.registries.eureka import EurekaRegistry
from lossless.traffic.registries.nacos import NacosRegistry
from lossless.traffic.registries.registry import Instance, Registry

ROOT = Path(__file__).parents[2]
TIMEOUT = 10.0


class Inside:
    """The registry of one kind and spec, spoken to from inside the box."""

    def __init__(self, box: Box, kind: str, **spec: object) -> None:
        self._box = box
        self._order = {"kind": kind, "spec": spec}

    def do(self, what: str, ip: str, fraction: float | None = None, *, original: str = "", port: int = 8080) -> Any:
        """What `look` saw of it, as a dictionary; None for the others. Raises RegistryError."""
        pod = {"addresses": [ip], "port": port, "original": original}
        order = {**self._order, "steps": [[what, pod, fraction]]}
        argv = [sys.executable, "-m", "tests.registries.inside"]
        done = self._box.run(argv, env={"PYTHONPATH": str(ROOT)}, input=json.dumps(order))
        [result] = json.loads(done.stdout)
        if isinstance(result, dict) and "error" in result:
            raise RegistryError(f"{result['error']}: {result['text']}")
        return result

    def look(self, ip: str, original: str = "") -> dict[str, Any]:
        seen: dict[str, Any] = self.do("look", ip, original=original)
        return seen

    def until(self, presence: str, ip: str) -> dict[str, Any]:
        """What `look` saw, once it has seen this."""
        seen: dict[str, Any] = {}

        def is_so() -> bool:
            seen.update(self.look(ip))
            return bool(seen["presence"] == presence)

        self._box.wait_until(is_so, describe=f"{ip} is {presence}")
        return seen


def _made(order: dict[str, Any]) -> Registry:
    client = Client(session(), TIMEOUT)
    if order["kind"] == "consul":
        return ConsulRegistry(traffic.Consul.model_validate(order["spec"]), client)
    if order["kind"] == "eureka":
        return EurekaRegistry(traffic.Eureka.model_validate(order["spec"]), client)
    return NacosRegistry(traffic.Nacos.model_validate(order["spec"]), client)


async def _step(registry: Registry, what: str, pod: dict[str, Any], fraction: float | None) -> Any:
    instance = Instance("uid", "ns", "web", "node", tuple(pod["addresses"]), pod["port"], original=pod["original"])
    try:
        if what == "look":
            return asdict((await registry.look([instance]))["uid"])
        if what == "weigh":
            return await registry.weigh(instance, fraction or 0)
        return await (registry.withdraw if what == "withdraw" else registry.restore)(instance)
    except RegistryError as error:
        return {"error": type(error).__name__, "text": str(error)}


async def main() -> None:
    order = json.load(sys.stdin)
    registry = _made(order)
    try:
        print(json.dumps([await _step(registry, *step) for step in order["steps"]]))
    finally:
        await registry.close()


if __name__ == "__main__":
    asyncio.run(main())
