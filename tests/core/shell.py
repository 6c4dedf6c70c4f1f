"""A model of the operator's shell around `decide`: caches that lag, writes that fail, crashes between any two steps.

What the shell promises is modelled: it does steps in order and stops at the first that fails; it knows of its own
writes at once; before what cannot be undone it decides again on what it reads live. Whatever it decides is checked
here, on what it knew.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from lossless.api import names
from lossless.api.resource import Disruption, Mode, OnDrainTimeout, OnWarmupFailure
from lossless.core import capacity
from lossless.core.decide import decide, let_go
from lossless.core.passage import Hold, Passage, Stage
from lossless.core.steps import Decision, LetGo, Move, SetKeep, SetReplicas, StartWarmup, Step, Tell, Verb
from lossless.core.world import Group, Pod, Presence, Registered, Sighting, WarmupProgress, Workload, World
from tests.core import native
from tests.core.native import Broken, Native

WARM_UP_SECONDS = 1.0
LAG = timedelta(seconds=2)
"""How far a cache may lag behind, at most, when time passes."""


@dataclass
class Known:
    """What the caches hold: of each kind as it was at some time, the last."""

    pods: dict[str, native.Pod] = field(default_factory=dict)
    sets: list[native.ReplicaSet] = field(default_factory=list)
    deployment: native.Deployment = field(default_factory=native.Deployment)
    listed: frozenset[str] = frozenset()
    cordoned: frozenset[str] = frozenset()
    rollout: native.Rollout | None = None


@dataclass
class Shell:
    cluster: Native
    by_template: bool = True
    """It finds the current ReplicaSet by its template, as the Deployment controller does; else by its revision."""
    bad: frozenset[str] = frozenset()
    """Templates whose warm-up requests fail."""
    known: Known = field(default_factory=Known)
    warmups: dict[str, tuple[str, datetime, int]] = field(default_factory=dict)
    """By pod: the epoch that it is for, when it began, and how many requests were skipped. In memory only."""
    queue: list[Step] = field(default_factory=list)
    decision: Decision | None = None
    failing: bool = False
    """The next write fails."""
    unanswered: bool = False
    """There is a registry that gives no answer; while it does, it says what the Service says."""
    writes: list[tuple[str, str]] = field(default_factory=list)
    """Every write: to whom, and what."""
    drained: dict[str, Passage] = field(default_factory=dict)
    """The passages of the pods that were marked drained."""
    passages: dict[str, list[Passage]] = field(default_factory=dict)
    """By pod: every passage that was written on it, in order."""

    # -- knowing ---------------------------------------------------------------------------------------------------

    def watch_pods(self) -> None:
        self.known.pods = {uid: _copy(pod) for uid, pod in self.cluster.pods.items()}

    def watch_sets(self) -> None:
        self.known.sets = [replace(group) for group in self.cluster.sets]

    def watch_deployment(self) -> None:
        self.known.deployment = replace(self.cluster.deployment)

    def watch_slices(self) -> None:
        self.known.listed = self.cluster.listed

    def watch_rollout(self) -> None:
        rollout = self.cluster.rollout
        self.known.rollout = replace(rollout) if rollout else None
        self.known.cordoned = self.cluster.cordoned

    def watch(self) -> None:
        """Every cache has caught up."""
        self.watch_pods()
        self.watch_sets()
        self.watch_deployment()
        self.watch_slices()
        self.watch_rollout()

    def crash(self) -> None:
        """All that is only in memory is lost; the next one begins by listing everything."""
        self.queue, self.warmups, self.decision = [], {}, None
        self.watch()

    def world(self) -> World:
        rollout = self.known.rollout
        assert rollout
        return World(
            spec=rollout.spec,
            status=rollout.status,
            generation=rollout.generation,
            workload=self._workload(),
            pods=tuple(self._pod(pod) for pod in self.known.pods.values()),
            evictions_wait=rollout.spec.drain.disruption is Disruption.GATE
            and not self.known.deployment.recreate
            and rollout.spec.mode is Mode.ENFORCE,
        )

    def _workload(self) -> Workload:
        deployment = self.known.deployment
        sets = self.known.sets
        settled = deployment.observed == deployment.generation
        if self.by_template:
            current = next((group for group in sets if group.template == deployment.template), None)
            settled &= current is not None or deployment.recreate or deployment.paused
        else:
            current = max(sets, key=lambda group: group.revision, default=None)
            settled &= current is not None and current.revision == deployment.revision
        return Workload(
            kind="Deployment",
            name="web",
            uid="uid-web",
            wanted=deployment.replicas,
            current_revision=current.template if current else "",
            max_surge=deployment.surge,
            max_unavailable=deployment.unavailable,
            recreate=deployment.recreate,
            paused=deployment.paused,
            settled_generation=settled,
            groups=tuple(Group(group.uid, group.uid, group.template, group.keep, group.replicas) for group in sets),
            create_failed_since=deployment.create_failed_since,
        )

    def _pod(self, pod: native.Pod) -> Pod:
        presence = Presence.PRESENT if pod.uid in self.known.listed else Presence.ABSENT
        registry = (Sighting("Registry", Presence.UNANSWERED),) if self.unanswered else ()
        seen = Pod(
            uid=pod.uid,
            name=pod.uid,
            group=pod.group,
            revision=pod.template,
            created_at=pod.created_at,
            node=pod.node,
            cordoned=pod.node in self.known.cordoned,
            phase=pod.phase,
            deleting_since=pod.deleting_since,
            unschedulable_since=pod.unschedulable_since,
            managed=pod.labelled,
            inside=pod.inside,
            gated=pod.gated,
            gate_open=pod.gate_open,
            containers_ready=pod.containers_ready,
            containers_ready_since=pod.containers_ready_since,
            ready=pod.ready,
            ready_since=pod.ready_since,
            restarts=pod.restarts,
            deletion_cost=pod.deletion_cost,
            passage=Passage.from_annotations(pod.annotations),
            holds=Hold.all_in(pod.annotations),
            sightings=(Sighting("Service web", presence), *registry),
            registrations=tuple(Registered(one.source) for one in registry),
            resource_version=str(pod.version),
        )
        return replace(seen, warmup=self._progress(seen))

    def _progress(self, pod: Pod) -> WarmupProgress | None:
        if pod.uid not in self.warmups:
            return None
        epoch, began, skipped = self.warmups[pod.uid]
        sent = min(50, skipped + int((self.cluster.now - began).total_seconds() * 50 / WARM_UP_SECONDS))
        failed = sent if pod.revision in self.bad else 0
        return WarmupProgress(epoch, sent, 50, failed, sent >= 50)

    # -- doing -----------------------------------------------------------------------------------------------------

    def step(self) -> bool:
        """One step of what was decided; if nothing is left of that, decide. Says whether anything was done."""
        rollout = self.known.rollout
        if rollout is None:
            self.queue, self.warmups, self.decision = [], {}, None
            return False
        if rollout.deleting:
            return self._take_leave()
        if not self.queue:
            self.decide()
        return bool(self.queue) and self._do(self.queue.pop(0))

    def decide(self) -> None:
        world, now = self.world(), self.cluster.now
        self.decision = decide(world, now)
        check(world, self.decision, now)
        self.queue = list(self.decision.steps)
        assert self.known.rollout
        self.known.rollout.status = self.decision.status
        if self.cluster.rollout:
            self.cluster.rollout.status = self.decision.status

    def _take_leave(self) -> bool:
        """Deleted: everything of ours comes off, then the finalizer."""
        self.watch()
        self.queue, self.warmups, self.decision = [], {}, None
        if self.known.rollout is None:
            return True
        groups = self._workload().groups
        steps = let_go(tuple(self._pod(pod) for pod in self.known.pods.values()), groups)
        if not steps:
            self.cluster.rollout = self.known.rollout = None
            return True
        return self._do(steps[0])

    def _do(self, step: Step) -> bool:
        match step:
            case StartWarmup():
                return self._start_warmup(step)
            case SetKeep():
                return self._keep(step)
            case SetReplicas():
                return self._replicas(step)
            case Move() | LetGo():
                return self._write(step)
            case Tell():
                raise AssertionError("there is no registry in this model")

    def _start_warmup(self, step: StartWarmup) -> bool:
        known = self.warmups.get(step.pod.uid)
        if known and known[0] == step.pod.epoch:
            return False
        assert self.known.rollout
        hold = self.known.rollout.spec.warmup.on_failure is OnWarmupFailure.HOLD
        self.warmups[step.pod.uid] = (step.pod.epoch, self.cluster.now, 0 if hold else step.skip)
        return True

    def _keep(self, step: SetKeep) -> bool:
        known = next((group for group in self.known.sets if group.uid == step.group.uid), None)
        live = next((group for group in self.cluster.sets if group.uid == step.group.uid), None)
        if self._fails() or known is None or live is None or known.version != live.version:
            return self._outdated(self.watch_sets)
        self.cluster.write_keep(step.group.uid, step.keep)
        known.keep, known.version = live.keep, live.version
        self.writes.append((step.group.uid, "keep"))
        return True

    def _replicas(self, step: SetReplicas) -> bool:
        known = next((group for group in self.known.sets if group.uid == step.group.uid), None)
        live = next((group for group in self.cluster.sets if group.uid == step.group.uid), None)
        if self._fails() or known is None or live is None or known.version != live.version:
            return self._outdated(self.watch_sets)
        self.cluster.write_replicas(step.group.uid, step.replicas)
        known.replicas, known.version = live.replicas, live.version
        self.writes.append((step.group.uid, "replicas"))
        return True

    def _write(self, step: Move | LetGo) -> bool:
        uid = step.pod.uid
        if self._fails() or uid not in self.cluster.pods:
            return self._outdated(self.watch_pods)
        if isinstance(step, Move):
            if step.irreversible and not self._still_asked(step):
                return self._outdated(self.watch)
            annotations = dict(step.passage.to_annotations())
            if step.cost is not None:
                annotations[names.DELETION_COST] = str(step.cost) if step.cost else None
            gate, labelled, inside = step.gate, True, step.inside
            self.writes.append((uid, step.verb.value))
            self.passages.setdefault(uid, []).append(step.passage)
        else:
            annotations = dict.fromkeys(names.PASSAGE_ANNOTATIONS)
            if step.pod.passage.cost_before is not None:
                annotations[names.DELETION_COST] = step.pod.passage.cost_before or None
            gate, labelled = True if step.pod.gated or step.pod.containers_ready else None, False
            inside = False
        self.cluster.write_pod(uid, annotations, gate, labelled, inside)
        pod = self.cluster.pods[uid]
        if isinstance(step, Move) and step.irreversible:
            self.drained[uid] = step.passage
            self._has_settled(pod, step)
        if gate is not None:
            pod.passed = gate
        elif isinstance(step, Move) and step.verb is Verb.ADOPT:
            pod.passed = step.passage.stage is Stage.ADMITTED
        self.known.pods[uid] = _copy(pod)
        return True

    def _still_asked(self, step: Move) -> bool:
        """Read live, decided again."""
        self.watch()
        if self.known.rollout is None or self.known.rollout.deleting:
            return False
        again = decide(self.world(), self.cluster.now)
        return any(
            isinstance(one, Move) and one.verb is step.verb and one.pod.uid == step.pod.uid for one in again.steps
        )

    def _has_settled(self, pod: native.Pod, step: Move) -> None:
        """In truth, whatever was known."""
        pod.excused |= step.event is not None
        if pod.excused or pod.listed_last is None or pod.passed:
            return
        assert self.known.rollout
        settle = self.known.rollout.spec.drain.settle
        if pod.uid in self.cluster.listed or self.cluster.now < pod.listed_last + settle - LAG:
            raise Broken(f"{pod.uid} is drained at {self.cluster.now}, it was listed until {pod.listed_last}")

    def _fails(self) -> bool:
        failing, self.failing = self.failing, False
        return failing

    def _outdated(self, look: object) -> bool:
        assert callable(look)
        look()
        self.queue = []
        return True

    def next_event(self) -> Iterable[datetime]:
        if self.decision and self.decision.wake_at:
            yield self.decision.wake_at
        for _, began, skipped in self.warmups.values():
            yield began + timedelta(seconds=(50 - skipped) / 50 * WARM_UP_SECONDS)


def _copy(pod: native.Pod) -> native.Pod:
    return replace(pod, annotations=dict(pod.annotations))


# -- what must hold of every decision, on what was known ---------------------------------------------------------------


def check(world: World, decision: Decision, now: datetime) -> None:
    """Raises Broken if a decision breaks one of the promises of the design."""
    _floor_holds(world, decision, now)
    for step in decision.steps:
        if isinstance(step, Move):
            _allowed_out(world, step, now)
            _allowed_in(world, step, now)
    _one_at_a_time(world, decision, now)
    _wakes_up_in_time(world, decision, now)
    _comes_to_rest(world, decision, now)


def _floor_holds(world: World, decision: Decision, now: datetime) -> None:
    workload = world.workload
    if workload is None or world.spec.mode is Mode.OBSERVE:
        return
    least = workload.wanted
    if workload.max_surge == 0 or capacity.has_no_room(world, now):
        least -= workload.max_unavailable
    if workload.recreate:
        least = 0
    before = {pod.uid for pod in world.pods if pod.serving}
    out = {step.pod.uid for step in decision.steps if isinstance(step, Move) and step.gate is False}
    if len(before - out) < min(least, len(before)):
        raise Broken(f"{len(before)} pods served and {least} must, and {len(before & out)} of them are taken out")
    moved = {uid for uid in before & out if _is_moved(world, uid)}
    if moved and not world.affine and len(before - out) < min(workload.wanted, len(before)):
        raise Broken(f"{len(before)} pods served, {workload.wanted} are wanted, and {sorted(moved)} leave their nodes")


def _is_moved(world: World, uid: str) -> bool:
    """It goes for no other reason than that its node may be about to."""
    pod, workload = next(pod for pod in world.pods if pod.uid == uid), world.workload
    gate = world.spec.drain.disruption is Disruption.GATE
    current = workload is not None and not workload.recreate and pod.revision == workload.current_revision
    return current and world.hold_works and (pod.node_going or (pod.cordoned and gate))


def _allowed_out(world: World, step: Move, now: datetime) -> None:
    pod, drain = step.pod, world.spec.drain
    if step.verb is not Verb.MARK_DRAINED:
        return
    began = pod.passage.withdrawn_at or pod.created_at
    if drain.on_timeout is OnDrainTimeout.RELEASE and now >= began + drain.timeout:
        return
    if any(sighting.presence is Presence.PRESENT for sighting in pod.sightings):
        raise Broken(f"{pod.uid} is marked drained while a source lists it")
    if pod.node and any(sighting.presence is Presence.UNANSWERED for sighting in pod.sightings):
        raise Broken(f"{pod.uid} is marked drained while a source says nothing of it")
    if (pod.gate_open if pod.gated else pod.ready) and pod.phase == "Running":
        raise Broken(f"{pod.uid} is marked drained while its door is open")
    if pod.passage.admitted_at and drain.settle:
        if pod.passage.gone_at is None or now < pod.passage.gone_at + drain.settle:
            raise Broken(f"{pod.uid} is marked drained before it has settled")
        if pod.passage.withdrawn_at is None:
            raise Broken(f"{pod.uid} is marked drained and was never withdrawn")
    if any(hold.closes_out for hold in pod.holds) and now < began + drain.timeout:
        raise Broken(f"{pod.uid} is marked drained while somebody else keeps the door out shut")


def _allowed_in(world: World, step: Move, now: datetime) -> None:
    pod, warmup = step.pod, world.spec.warmup
    if step.gate is not True:
        return
    if step.verb is Verb.READMIT:
        if pod.passage.admitted_at is None or pod.restarts > pod.passage.admitted_restarts:
            raise Broken(f"{pod.uid} is let in again, and is not warm")
        return
    if step.verb is not Verb.ADMIT or pod.passage.stage.value == "Admitted":
        return
    if not pod.containers_ready or pod.containers_ready_since is None:
        raise Broken(f"{pod.uid} is let in, and its containers are not ready")
    progress = pod.warmup if pod.warmup and pod.warmup.epoch == pod.epoch else None
    hold = warmup.on_failure is OnWarmupFailure.HOLD
    late = now >= pod.containers_ready_since + warmup.timeout
    if warmup.requests and hold and progress and progress.failed:
        raise Broken(f"{pod.uid} is let in after its warm-up has failed")
    if step.reason == "AdmittedCold":
        workload = world.workload
        assert workload
        serving = sum(1 for one in world.pods if one.serving)
        tolerated = 1 if workload.recreate else min(workload.wanted, world.status.pods.established or serving)
        if serving >= max(1, tolerated - (0 if workload.recreate else workload.max_unavailable)):
            raise Broken(f"{pod.uid} is let in cold, and {serving} pods are serving")
        return
    if late and not (hold and warmup.requests):
        return
    if now < pod.containers_ready_since + warmup.delay:
        raise Broken(f"{pod.uid} is let in during its delay")
    if any(one.closes_in for one in pod.holds) and not late:
        raise Broken(f"{pod.uid} is let in while somebody else keeps the door in shut")
    if warmup.requests and not (progress and progress.done):
        raise Broken(f"{pod.uid} is let in before it is warm")


def _one_at_a_time(world: World, decision: Decision, now: datetime) -> None:
    """Where traffic is hashed: beyond the wanted ones one pod comes in, and only after the last has been swapped."""
    workload = world.workload
    moves = [step for step in decision.steps if isinstance(step, Move)]
    comes = [step for step in moves if step.verb is Verb.ADMIT and step.pod.stage.is_in and step.gate]
    serving = sum(1 for pod in world.pods if pod.serving)
    if not world.affine or workload is None or not comes or serving + len(comes) <= workload.wanted:
        return
    if len(comes) > 1 or serving > workload.wanted:
        raise Broken(f"{len(comes)} come in, {serving} serve and {workload.wanted} are wanted")
    drain = world.spec.drain
    for pod in world.pods:
        withdrawn_at, gone_at = pod.passage.withdrawn_at, pod.passage.gone_at
        is_leaving = pod.live and pod.stage in (Stage.WITHDRAWN, Stage.DRAINING)
        is_seen = gone_at is None or now < gone_at + drain.settle
        if is_leaving and is_seen and withdrawn_at and now < withdrawn_at + drain.timeout:
            raise Broken(f"{comes[0].pod.uid} comes in, and {pod.uid} is still on its way out")


def _wakes_up_in_time(world: World, decision: Decision, now: datetime) -> None:
    """Between now and its wake-up, nothing changes by time alone."""
    if decision.wake_at is not None and decision.wake_at <= now:
        raise Broken("the wake-up is in the past")
    if decision.steps:
        return
    later = decision.wake_at - timedelta(microseconds=1) if decision.wake_at else now + timedelta(days=30)
    again = decide(replace(world, status=decision.status), later)
    if again.steps or again.status != decision.status:
        raise Broken(f"at {later} the answer is another one, and nobody would have looked: {again.steps}")


def _comes_to_rest(world: World, decision: Decision, now: datetime) -> None:
    """Done, and asked again at the same moment, it says nothing that contradicts what it said."""
    gates: dict[str, bool] = {}
    marked: set[str] = set()
    for _ in range(6):
        for step in decision.steps:
            if isinstance(step, Move):
                if step.gate is not None and gates.setdefault(step.pod.uid, step.gate) is not step.gate:
                    raise Broken(f"{step.pod.uid}: {step.verb}: opened and closed at the same moment")
                if step.irreversible:
                    marked.add(step.pod.uid)
                elif step.pod.uid in marked:
                    raise Broken(f"{step.pod.uid}: {step.verb}: drained and not drained at the same moment")
        if all(isinstance(step, StartWarmup) for step in decision.steps):
            return
        world = applied(world, decision.steps)
        decision = decide(world, now)
    raise Broken(f"there is no end of it: {decision.steps}")


def applied(world: World, steps: Iterable[Step]) -> World:
    """The world after these writes, and nothing else."""
    pods = {pod.uid: pod for pod in world.pods}
    groups = {group.uid: group for group in world.workload.groups} if world.workload else {}
    for step in steps:
        if isinstance(step, Move):
            pod = replace(pods[step.pod.uid], passage=step.passage, managed=True, inside=step.inside)
            if step.cost is not None:
                pod = replace(pod, deletion_cost=step.cost)
            if step.gate is not None:
                ready = step.gate and pod.ready if pod.gated else step.gate
                pod = replace(pod, gate_open=step.gate and pod.gated, ready=ready)
            pods[pod.uid] = pod
        elif isinstance(step, LetGo):
            pods[step.pod.uid] = replace(
                pods[step.pod.uid],
                passage=Passage(),
                managed=False,
                inside=False,
                gate_open=step.pod.gated or step.pod.gate_open,
            )
        elif isinstance(step, SetReplicas):
            groups[step.group.uid] = replace(groups[step.group.uid], replicas=step.replicas)
        elif isinstance(step, SetKeep):
            groups[step.group.uid] = replace(groups[step.group.uid], keep=step.keep)
    workload = replace(world.workload, groups=tuple(groups.values())) if world.workload else None
    return replace(world, pods=tuple(pods.values()), workload=workload)
