"""The model cluster and the model shell together: what can happen, in any order, and what must be true in the end."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from lossless.api import names
from lossless.api.resource import LosslessRolloutSpec, Mode
from lossless.core.decide import decide
from lossless.core.steps import StartWarmup
from tests.core.given import spec
from tests.core.native import Broken, Native, Pod, Rollout
from tests.core.shell import LAG, Shell

SETTLE = 5.0


@dataclass
class Scenario:
    cluster: Native
    shell: Shell
    releases: int = 1
    lows: list[int] = field(default_factory=list)
    """How many pods the Service lists, whenever it lists fewer than a moment before."""
    mishaps: dict[int, Callable[[Shell], object]] = field(default_factory=dict)
    """What happens to the shell after so many of its steps."""
    steps: int = 0

    @classmethod
    def of(cls, rollout: LosslessRolloutSpec | None = None, **deployment: object) -> "Scenario":
        """A Deployment, and a LosslessRollout for it from the beginning."""
        cluster = Native(Rollout(rollout or spec(drain={"settle": f"{SETTLE:g}s"})))
        cluster.deployment = replace(cluster.deployment, **deployment)  # type: ignore[arg-type]
        scenario = cls(cluster, Shell(cluster))
        scenario.shell.watch()
        return scenario

    # -- what users do ---------------------------------------------------------------------------------------------

    def release(self) -> None:
        self.releases += 1
        self.cluster.change(template=f"v{self.releases}")

    def pod(self, number: int) -> Pod | None:
        pods = list(self.cluster.pods.values())
        return pods[number % len(pods)] if pods else None

    def change_spec(self, **sections: object) -> None:
        if self.cluster.rollout:
            changed = spec(**(self.cluster.rollout.spec.model_dump(mode="json", by_alias=True) | sections))
            self.cluster.rollout = replace(
                self.cluster.rollout, spec=changed, generation=self.cluster.rollout.generation + 1
            )

    # -- time ------------------------------------------------------------------------------------------------------

    def everything(self) -> bool:
        """Everybody once, the shell with fresh caches."""
        changed = self.cluster.step()
        self.shell.watch()
        if self.shell.step():
            changed = True
            self.steps += 1
            if self.steps in self.mishaps:
                self.mishaps[self.steps](self.shell)
        return changed

    def rest(self, limit: int = 4000) -> None:
        """Everybody, until nobody has anything left to do at this moment."""
        for _ in range(limit):
            serving = len(self.cluster.listed)
            if not self.everything():
                return
            if len(self.cluster.listed) < serving:
                self.lows.append(len(self.cluster.listed))
        raise Broken(f"there is no end of it: {self.shell.writes[-9:]}")

    def next_event(self) -> datetime | None:
        events = (*self.cluster.next_event(), *self.shell.next_event())
        return min((at for at in events if at > self.cluster.now), default=None)

    def run(self, seconds: float) -> None:
        """Everybody does all there is to do for so long."""
        until = self.cluster.now + timedelta(seconds=seconds)
        self.rest()
        while (at := self.next_event()) and at <= until:
            self.cluster.now = at
            self.rest()
        self.cluster.now = until

    def wait(self, seconds: float) -> None:
        """Time passes and nobody does anything; caches may lag behind by no more than that."""
        self.cluster.now += min(timedelta(seconds=seconds), LAG)
        self.shell.watch()

    def run_out(self, limit: int = 400) -> None:
        """Everybody, until nothing happens any more."""
        for _ in range(limit):
            self.rest()
            at = self.next_event()
            if at is None:
                return
            self.cluster.now = at
        raise Broken(f"it never comes to rest: {self.shell.decision}")

    # -- the end ---------------------------------------------------------------------------------------------------

    def make_peace(self) -> None:
        """Nobody disturbs any more; what cannot end for reasons of the user's own is made possible."""
        cluster, deployment = self.cluster, self.cluster.deployment
        self.shell.failing, self.shell.unanswered, self.shell.bad = False, False, frozenset()
        self.shell.warmups.clear()
        cluster.cordoned = frozenset()
        for pod in cluster.pods.values():
            for key in [key for key in pod.annotations if key.startswith(names.HOLD_PREFIX)]:
                del pod.annotations[key]
        if deployment.paused:
            cluster.change(paused=False)
        needed = deployment.replicas if deployment.unavailable else deployment.replicas + deployment.surge
        cluster.room = max(cluster.room, (needed + 1) // 2)
        cluster.quota = max(cluster.quota, needed)

    def must_have_converged(self) -> None:
        """Exactly what the Deployment asks for, and nothing left to do."""
        cluster, wanted = self.cluster, self.cluster.deployment
        enforced = cluster.enforced
        pods = list(cluster.pods.values())
        templates = [pod.template for pod in pods]
        if templates != [wanted.template] * wanted.replicas:
            raise Broken(f"{templates}, and {wanted.replicas} of {wanted.template} are wanted: {self.explain()}")
        if {pod.uid for pod in pods} != cluster.listed:
            raise Broken(f"only {sorted(cluster.listed)} are serving: {self.explain()}")
        if any(group.replicas != 0 for group in cluster.sets if group.template != wanted.template):
            raise Broken("an old ReplicaSet still has replicas")
        for pod in pods:
            stage = pod.annotations.get(names.STAGE)
            if enforced and (stage != "Admitted" or not pod.labelled or names.DRAINED_AT in pod.annotations):
                raise Broken(f"{pod.uid} is {stage}")
            if not enforced and (pod.labelled or pod.inside or set(names.PASSAGE_ANNOTATIONS) & pod.annotations.keys()):
                raise Broken(f"{pod.uid} still bears our marks: {pod.annotations}")
            if pod.annotations.get(names.DELETION_COST, "0") != "0":
                raise Broken(f"{pod.uid} still has our deletion cost")
        for group in cluster.sets:
            if not enforced and group.keep is not None:
                raise Broken(f"{group.uid} is still held")
            if enforced and group.keep and group.template != wanted.template:
                raise Broken(f"{group.uid} is still held, at {group.keep}")
        self._must_have_nothing_to_do()

    def _must_have_nothing_to_do(self) -> None:
        self.shell.watch()
        if self.shell.known.rollout is None:
            return
        decision = decide(self.shell.world(), self.cluster.now)
        if [step for step in decision.steps if not isinstance(step, StartWarmup)] or decision.wake_at:
            raise Broken(f"there is still something to do: {decision.steps} {decision.wake_at}")
        phase = "Ready" if self.cluster.enforced else "Observing"
        if decision.status.phase != phase:
            raise Broken(f"phase {decision.status.phase}: {decision.status.waiting_for}")

    def explain(self) -> str:
        status = self.shell.decision.status.waiting_for if self.shell.decision else ""
        return f"{status}\n{self.cluster.deployment}\n{self.cluster.sets}\n{list(self.cluster.pods.values())}"

    @property
    def observing(self) -> bool:
        return self.cluster.rollout is not None and self.cluster.rollout.spec.mode is Mode.OBSERVE
