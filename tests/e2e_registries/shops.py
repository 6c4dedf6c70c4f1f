"""A Deployment whose pods register themselves, and nobody calls them by a Service: only by what their registry says."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

import pytest

from localcluster.errors import BoxError
from localcluster.load import FollowedAddresses
from localcluster.load.running import LoadRun
from lossless.api import names
from tests.e2e.operators import Operator, kill_at, sleep_until
from tests.e2e.workloads import Manifest, Web
from tests.e2e_registries.registries import FollowedRegistry, Registry, WeighingRegistry

SAID_SOON = {"settle": "1s", "timeout": "4s"}
"""A drain that is stalled before long, which the status says at once; mere waits it says every few seconds."""
RAMP = 12.0
"""Seconds: more than an operator takes to start."""
PORT = 8080
only = partial(pytest.mark.parametrize, "registry", indirect=True)
"""These registries alone."""


@dataclass(frozen=True, kw_only=True)
class Shop(Web):
    """A Web whose only callers follow its registry; its namespace's name is the service's."""

    registry: Registry
    strategy: Mapping[str, Any] = field(default_factory=lambda: {"maxSurge": "50%", "maxUnavailable": 0})

    def services(self) -> list[Manifest]:
        return []

    def deploy(self) -> Self:
        """Apply it and wait until every pod is available and registered."""
        self.box.apply(self.deployment())
        self.box.kubectl("rollout", "status", "deployment/web", "-n", self.namespace, "--timeout=90s")
        self.wait_until_registered()
        return self

    def cared_for(self, **spec: Any) -> Self:
        """Born behind its doors, with a LosslessRollout that names the registry."""
        return self.gated(**{"drain": {"settle": "1s"}, "traffic": {"registries": [self.named()]}, **spec})

    def named(self) -> Mapping[str, Any]:
        return self.registry.spec(self.namespace)

    def address(self, pod: Manifest) -> str:
        """As the registry has it."""
        return f"{pod['status'].get('podIP')}:{PORT}"

    def addresses(self) -> set[str]:
        """Of the pods that are not being deleted."""
        return {self.address(pod) for pod in self.pods() if not pod["metadata"].get("deletionTimestamp")}

    def wait_until_registered(self, timeout: float = 60) -> None:
        """The registry holds the running pods and no others, each just as it has registered itself."""
        held: dict[str, str] = {}

        def is_so() -> bool:
            held.clear()
            held.update(self.registry.held(self.namespace))
            return held == dict.fromkeys(self.addresses(), "")

        try:
            self.box.wait_until(is_so, timeout, "the registry holds the running pods, as they registered themselves")
        except Exception as error:
            raise AssertionError(f"{self.registry.kind} holds {held} of {sorted(self.addresses())}") from error

    def marks(self) -> dict[str, dict[str, str]]:
        """What is left on each pod of what the registry was told."""
        kept = ("lossless.dev/registry-originals", "lossless.dev/told", "lossless.dev/registries")
        return {
            pod["metadata"]["name"]: {name: notes[name] for name in kept if name in notes}
            for pod in self.pods()
            if (notes := pod["metadata"].get("annotations", {}))
        }

    def status(self) -> Mapping[str, Any]:
        """Of its LosslessRollout."""
        found: Mapping[str, Any] = self.lossless().get("status", {})
        return found

    def waits_for_its_registry(self) -> bool:
        """Its status says that the registry gives no answer, or can't be told. One that can't be seen is told first."""
        name, said = self.named()["name"], self.status().get("waitingFor", "")
        return f"no answer from {name}" in said or f"{name} must be told" in said

    def says(self, words: str) -> bool:
        """Its status does: what it waits for, and why it is not Ready."""
        return all(words in said for said in (self.status().get("waitingFor", ""), self.condition("Ready")["message"]))

    def drained(self) -> set[str]:
        """The pods that are marked so, by name."""
        return {name for name, notes in self.notes().items() if names.DRAINED_AT in notes}

    def notes(self) -> dict[str, Mapping[str, str]]:
        """Each pod's annotations."""
        return {pod["metadata"]["name"]: pod["metadata"].get("annotations", {}) for pod in self.pods()}

    def wait_until_nothing_is_left(self) -> None:
        """Nothing of ours is in the registry, nor on any pod about it."""
        self.wait_until_registered()
        self.box.wait_until(lambda: not any(self.marks().values()), 30, f"no marks are left: {self.marks()}")


@dataclass(frozen=True, kw_only=True)
class FollowedShop(Shop):
    """The sample app, registered."""

    registry: FollowedRegistry
    app: Sequence[str] = ("--deregister", "last")
    """By default it leaves its registry after its server is down: the usual order of a framework that does not wait."""

    def deployment(self, version: str = "1") -> Manifest:
        whole = super().deployment(version)
        container = whole["spec"]["template"]["spec"]["containers"][0]
        container["command"] += self.registry.flags(self.namespace)
        container["env"].append({"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}})
        return whole

    def followers(self) -> tuple[FollowedAddresses, ...]:
        """Half of the requests on fresh connections, half on kept-alive ones, each by a consumer of its own."""
        command = tuple(self.registry.consumer(self.namespace))
        return (
            FollowedAddresses(command, name="fresh"),
            FollowedAddresses(command, name="kept-alive", keep_alive=True),
        )


Make = Callable[..., FollowedShop]
"""Makes one in a namespace of its own, registered with the registry of the test."""


def wait_until_answered(run: LoadRun) -> None:
    """Consumers find somebody to ask in their own time; what happens before that shows nothing."""
    deadline = time.monotonic() + 60
    while len(run.so_far().answered) < 50:
        assert time.monotonic() < deadline, "nobody is asked"
        time.sleep(0.1)


def wait_until_one_is(stage: str, shop: Shop) -> None:
    shop.box.wait_until(lambda: stage in shop.stages().values(), 60, f"a pod is {stage}", every=0.02)


def go_on_without_registry(shop: Shop, run: LoadRun, seconds: float) -> None:
    """As soon as a pod is withdrawn the registry is away, and for so long nobody may go.

    A status may be late: it is written again after up to 30 s where the API server is slow.
    """
    wait_until_one_is("Withdrawn", shop)
    shop.registry.away()
    run.mark("away")
    back_at = time.monotonic() + seconds
    try:
        shop.box.wait_until(shop.waits_for_its_registry, 60, "the status says so")
    except BoxError as error:
        raise AssertionError(f"{shop.status()} of {shop.stages()}") from error
    drained = shop.drained()
    time.sleep(max(0, back_at - time.monotonic()))
    assert shop.waits_for_its_registry(), shop.status()
    assert shop.drained() <= drained, "of nobody else could it be seen that it is out"
    assert not shop.quiet(), "nobody can tell that the old pods are out, so they stay"
    shop.registry.back()
    run.mark("back")


def wait_until_in_mid_ramp(shop: Shop, registry: WeighingRegistry) -> tuple[str, str]:
    """A pod ramps and has more than a little of its weight, and not all of it. Says its name and its address."""

    def found() -> list[tuple[str, str]]:
        ramping, parts = shop.since("Ramping"), registry.parts(shop.namespace)
        pods = [(pod["metadata"]["name"], shop.address(pod)) for pod in shop.pods()]
        return [(name, address) for name, address in pods if name in ramping and 0.2 < parts.get(address, 0) < 1]

    return shop.box.wait_until(found, 60, "a pod has a part of its weight", every=0.05)[0]


def ramp_through_a_kill(shop: Shop, registry: WeighingRegistry, operator: Operator, run: LoadRun) -> None:
    """A release in which the operator is killed while a pod has a part of its weight. Started again, it gives the pod
    as much as the line has by then: the ramp has neither begun anew nor stood still. And it goes on to its end."""
    shop.release("2")
    name, address = wait_until_in_mid_ramp(shop, registry)
    began = shop.since("Ramping")
    operator.kill_long_ago()
    run.mark("killed in mid-ramp")
    time.sleep(1)
    before = registry.parts(shop.namespace)[address]
    line = (time.time() - began[name]) / RAMP
    operator.start()

    def other() -> float:
        part = registry.parts(shop.namespace)[address]
        return part if part != before else 0

    after = shop.box.wait_until(other, 60, f"it has another part of its weight than {before:.0%}", every=0.05)
    assert after >= line, f"given {after:.0%} after the line was at {line:.0%}"
    shop.wait_until_rolled_out()
    admitted = shop.since("Admitted")
    assert all(admitted[pod] - since >= RAMP for pod, since in began.items()), "a ramp was cut short"


def delete_in_mid_ramp(shop: Shop, registry: WeighingRegistry) -> None:
    """While one more pod has a part of its weight the LosslessRollout is deleted."""
    shop.scale(shop.replicas + 1)
    wait_until_in_mid_ramp(shop, registry)
    shop.box.kubectl("delete", "losslessrollout", "web", "-n", shop.namespace)


def kill_in_each(stages: Sequence[str], shop: Shop, operator: Operator, old: set[str], run: LoadRun) -> None:
    """In each stage of a release the operator is killed, and started again a second later; `old` (uids) are to go."""
    for stage in stages:
        kill_at(stage, shop, operator, old)
        run.mark(f"killed at {stage}")
        time.sleep(1)
        operator.start()


def storm(shop: Shop) -> None:
    """Release, another on top after 4 s, undo 5 s later, scale 4→6→2."""
    start = time.time()
    shop.release("2")
    sleep_until(start + 4)
    shop.release("3")
    sleep_until(start + 9)
    shop.undo()
    sleep_until(start + 12)
    shop.scale(6)
    sleep_until(start + 17)
    shop.scale(2)
    shop.wait_until_rolled_out()
    time.sleep(2)
