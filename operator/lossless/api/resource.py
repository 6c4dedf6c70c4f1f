"""The LosslessRollout as users write it. ``crds/`` is generated from it: the docstrings are ``kubectl explain``.

Every default is here and nowhere else. What the API server can refuse, it refuses (patterns, bounds, CEL rules);
what only the cluster can tell (is there such a Deployment?) becomes a condition.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from lossless.api.autoscaler import AutoscalerSpec
from lossless.api.model import Model, rules
from lossless.api.quantities import Duration, IntOrPercent, Port
from lossless.api.routes import Ramp, RouteRef
from lossless.api.traffic import Registry


class Mode(StrEnum):
    ENFORCE = "Enforce"
    OBSERVE = "Observe"


class OnWarmupFailure(StrEnum):
    CONTINUE = "Continue"
    HOLD = "Hold"


class OnDrainTimeout(StrEnum):
    HOLD = "Hold"
    RELEASE = "Release"


class Disruption(StrEnum):
    GRACEFUL = "Graceful"
    GATE = "Gate"


class TargetRef(Model):
    """The workload whose pods pass through the doors. It is never written to."""

    api_version: Annotated[str, Field(max_length=253, pattern=r"^([a-z0-9.-]+/)?v[0-9][a-z0-9]*$")] = "apps/v1"
    """The workload's API version."""
    kind: Annotated[str, Field(max_length=63, pattern=r"^[A-Z][A-Za-z0-9]*$")] = "Deployment"
    """The workload's kind: Deployment, StatefulSet or DaemonSet of apps/v1, or Rollout of argoproj.io/v1alpha1."""
    name: Annotated[str, Field(min_length=1, max_length=240, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
    """The workload's name, in the namespace of the LosslessRollout."""


class Header(Model):
    """One header of a warm-up request."""

    name: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[-A-Za-z0-9!#$%&'*+.^_`|~]+$")]
    """The header's name."""
    value: Annotated[str, Field(max_length=4096, pattern=r"^[\t -~]*$")] = ""
    """The header's value, as it is, in ASCII without control characters. Never put a secret here."""


class Until(Model):
    """When warm-up may stop before its count."""

    p95: Duration
    """Stop as soon as 95 % of the last 20 requests took no longer than this."""


class Exec(Model):
    """A command run inside the pod instead of a request from outside: where a mesh or a NetworkPolicy refuses ours."""

    container: Annotated[str, Field(max_length=63, pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$")] = ""
    """The container to run it in; the pod's first one when empty."""
    command: Annotated[list[Annotated[str, Field(max_length=4096)]], Field(min_length=1, max_length=64)]
    """The command and its arguments. No shell is put around it. Exit code 0 is success."""


class WarmupRequest(Model):
    """One kind of request sent to a new pod, to its own address, before anybody else's request reaches it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.port) != has(self.exec)",
                "give exactly one of port (a request to the pod) and exec (a command in it)",
            ),
            (
                "duration(self.timeout) > duration('0s') && duration(self.timeout) <= duration('1h')",
                "a request's timeout must be longer than 0s, and an hour or less",
            ),
        )
    )

    port: Port | None = None
    """The container port to ask: its number or its name."""
    path: Annotated[str, Field(max_length=2048, pattern=r"^/[!-~]*$")] = "/"
    """Path and query of the request, as they are on the wire: anything but visible ASCII must be percent-encoded."""
    method: Annotated[str, Field(pattern=r"^[A-Z]{3,10}$")] = "GET"
    """The HTTP method. Warm-up requests reach your application like any other: choose one that changes nothing."""
    headers: Annotated[list[Header], Field(max_length=32)] = []
    """Headers to send along; a Host header is honoured."""
    exec: Exec | None = None
    """A command in the pod instead of a request to it."""
    count: Annotated[int, Field(ge=1, le=100_000)] = 50
    """How many of them, at most."""
    concurrency: Annotated[int, Field(ge=1, le=100)] = 2
    """How many of them at a time."""
    until: Until | None = None
    """Stop earlier, once the pod answers fast enough."""
    timeout: Duration = timedelta(seconds=10)
    """How long one of them may take. A status of 500 and above, or no answer in this time, is a failure."""


class Warmup(Model):
    """The way in: what a new pod goes through before it is given traffic."""

    delay: Duration = timedelta(0)
    """Wait for this long after the containers are ready, before anything else."""
    requests: Annotated[list[WarmupRequest], Field(max_length=16)] = []
    """Requests sent to the new pod, in this order."""
    on_failure: OnWarmupFailure = OnWarmupFailure.CONTINUE
    """What failed warm-up requests mean. Continue: they are counted and reported. Hold: the pod is not let in until a
    round of requests has succeeded, so a bad release stops here."""
    max_parallel: IntOrPercent = "25%"
    """How many pods may be warming up at the same time, of the wanted replicas (rounded up, at least 1)."""
    ramp: Ramp | None = None
    """Then let a new pod's share of the traffic grow from little to a full one, where a route or a registry carries
    weights (`spec.traffic`)."""
    timeout: Duration = timedelta(minutes=10)
    """A pod is let in after this long at the latest, counted from when its containers were ready, and this is said."""


class InFlight(Model):
    """Where a pod says how many requests it is working on. Asked only while it drains."""

    port: Port
    """The container port to ask: its number or its name."""
    path: Annotated[str, Field(max_length=2048, pattern=r"^/[!-~]*$")] = "/metrics"
    """The path to ask, percent-encoded."""
    metric: Annotated[str, Field(max_length=256, pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")] | None = None
    """The gauge in the Prometheus text there; its samples are added up. Without it, the body must be the number."""


class Drain(Model):
    """The way out: what a pod goes through before its controller may delete it."""

    settle: Duration = timedelta(seconds=5)
    """The wait after the pod was seen to be gone from every traffic source, for those who still hold its address.
    At least the age of the oldest list of addresses that any caller may use: a gRPC or JVM client that re-reads its
    addresses every 15 s needs 16s. Also the length of the preStop sleep given to new pods."""
    in_flight: InFlight | None = None
    """Wait for the requests that the pod is working on."""
    timeout: Duration = timedelta(minutes=10)
    """How long a pod may take from being withdrawn to being drained, before onTimeout applies."""
    on_timeout: OnDrainTimeout = OnDrainTimeout.HOLD
    """What happens then. Hold: the pod stays, the condition Stalled says what it waits for. Release: it is let go, and
    this is said."""
    disruption: Disruption = Disruption.GRACEFUL
    """What evictions meet (`kubectl drain`, node autoscalers). Graceful: they pass, and the pod is taken out of the
    traffic within its preStop sleep. Gate: a PodDisruptionBudget refuses them until the pod is drained; pods on
    cordoned nodes are replaced first and then drained, so never fewer serve than are wanted. Of Deployments only."""


class Affinity(StrEnum):
    NONE = "None"
    HASH = "Hash"


class Traffic(Model):
    """Traffic sources that can't be found by themselves. Services are: by their selectors."""

    registries: Annotated[
        list[Registry],
        Field(
            max_length=8, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
        ),
    ] = []
    """Service registries whose consumers call the pods."""
    routes: Annotated[list[RouteRef], Field(max_length=16)] = []
    """Routes in which new pods ramp."""
    affinity: Affinity = Affinity.NONE
    """Whether a hash over slots keeps each client at its pod. Hash: a release swaps pods one at a time, and a new pod
    takes over the slot (annotation `lossless.dev/slot`) of the one that it replaces. Of no use where the hash is over
    addresses."""

    @property
    def weighted(self) -> bool:
        """Something in it carries weights: a route, or a registry that weighs."""
        return bool(self.routes) or any(one.weighs for one in self.registries)


class LosslessRolloutSpec(Model):
    """What is asked of the operator."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("duration(self.drain.settle) < duration('1h')", "drain.settle must be shorter than an hour"),
            (
                "duration(self.drain.settle) < duration(self.drain.timeout)",
                "drain.timeout must be longer than drain.settle, or no pod could ever drain in time",
            ),
            (
                "duration(self.warmup.delay) < duration(self.warmup.timeout)",
                "warmup.timeout must be longer than warmup.delay, or no pod could ever warm up in time",
            ),
            (
                "!has(self.warmup.ramp) || "
                "duration(self.warmup.delay) + duration(self.warmup.ramp.duration) < duration(self.warmup.timeout)",
                "warmup.timeout must be longer than warmup.delay and warmup.ramp.duration together",
            ),
            (
                "!has(self.warmup.ramp) || self.traffic.affinity != 'Hash'",
                "warmup.ramp and traffic.affinity: Hash exclude each other: a split by weight comes before the hash "
                "and would move clients away from their pods",
            ),
            ("duration(self.drain.timeout) <= duration('24h')", "drain.timeout must be a day or less"),
            ("duration(self.warmup.timeout) <= duration('24h')", "warmup.timeout must be a day or less"),
            (
                "duration(self.autoscaler.maxHold) >= duration('1m') && "
                "duration(self.autoscaler.maxHold) <= duration('24h')",
                "autoscaler.maxHold must be from 1m to 24h",
            ),
        )
    )

    mode: Mode = Mode.ENFORCE
    """Enforce: pods pass through the doors. Observe: say what would be done, touch nothing."""
    target_ref: Annotated[
        TargetRef,
        Field(
            json_schema_extra=rules(
                ("self == oldSelf", "targetRef cannot be changed: create another LosslessRollout and delete this one")
            )
        ),
    ]
    """The workload whose pods pass through the doors."""
    warmup: Warmup = Warmup()
    """The way in."""
    drain: Drain = Drain()
    """The way out."""
    traffic: Traffic = Traffic()
    """Traffic sources that can't be found by themselves."""
    autoscaler: AutoscalerSpec = AutoscalerSpec()
    """The workload's autoscaler."""


class Condition(Model):
    """A condition as in metav1.Condition."""

    type: Annotated[str, Field(max_length=316)]
    """What it is about, in CamelCase."""
    status: Annotated[str, Field(json_schema_extra={"enum": ["True", "False", "Unknown"]})]
    """True, False or Unknown."""
    observed_generation: Annotated[int, Field(ge=0)] = 0
    """The generation of the resource that this was said of."""
    last_transition_time: Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})]
    """When the status last changed."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """Why, in one CamelCase word for programs."""
    message: Annotated[str, Field(max_length=32_768)] = ""
    """Why, on what evidence, and what to do next."""


class Finding(Model):
    """A hazard seen in the set-up, with its cure."""

    reason: Annotated[str, Field(max_length=128)]
    """What it is, in one CamelCase word for programs."""
    message: Annotated[str, Field(max_length=1024)]
    """What was seen, and what it can cost."""
    fix: Annotated[str, Field(max_length=1024)]
    """What to do about it."""


class PodCounts(Model):
    """How many pods are where. The counts do not overlap, except that serving ones may be counted in desired."""

    desired: Annotated[int, Field(ge=0)] = 0
    """Replicas that the workload asks for."""
    serving: Annotated[int, Field(ge=0)] = 0
    """Pods that are admitted, ready and seen in their Services."""
    in_: Annotated[int, Field(ge=0, alias="in")] = 0
    """Pods on their way in."""
    out: Annotated[int, Field(ge=0)] = 0
    """Pods on their way out."""
    established: Annotated[int, Field(ge=0)] = 0
    """The most pods that have served at once since so many were last wanted. Below this, less what the strategy
    tolerates, warm-up is cut short rather than capacity withheld."""
    needed: Annotated[int, Field(ge=0)] = 0
    """How many the load needs in the middle of a release, by the autoscaler's own metrics; 0: no more than desired."""


class Revision(Model):
    """Which revisions the pods are of."""

    current: Annotated[str, Field(max_length=253)] = ""
    """The revision that the workload wants, as its pods' pod-template-hash or controller-revision-hash has it."""
    old: Annotated[int, Field(ge=0)] = 0
    """Live pods of other revisions."""


class LosslessRolloutStatus(Model):
    """What the operator sees and does: a summary. Each pod's own passage is on the pod."""

    observed_generation: Annotated[int, Field(ge=0)] = 0
    """The generation that this status speaks of."""
    phase: Annotated[str, Field(max_length=64)] = ""
    """One word for people. Derived from the rest; programs read the conditions."""
    waiting_for: Annotated[str, Field(max_length=1024)] = ""
    """What is being waited for, on what evidence."""
    ready: Annotated[str, Field(max_length=32)] = ""
    """Serving and desired pods, as kubectl shows them."""
    pods: PodCounts = PodCounts()
    """How many pods are where."""
    revision: Revision = Revision()
    """Which revisions the pods are of."""
    findings: Annotated[
        list[Finding],
        Field(
            max_length=32, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["reason"]}
        ),
    ] = []
    """Hazards seen in the set-up."""
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
        ),
    ] = []
    """Ready, Reconciling and Stalled as in kstatus; Accepted: whether the target can be taken care of; AutoscalerHeld:
    whether something of ours is in an autoscaler's behavior, where there is one."""


class LosslessRollout(Model):
    """Lets no release, rollback, scale-in or node drain of one workload lose a request.

    New pods are warmed up before they get traffic; old ones are taken out of every traffic source, and seen to be out,
    before they may be deleted. The workload itself is never written to: everything about it works as before.
    """

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "size(self.metadata.name) <= 63",
                "the name must have 63 characters or fewer: it is written into a label of every pod",
            )
        )
    )

    spec: LosslessRolloutSpec
    """What is asked of the operator."""
    status: LosslessRolloutStatus = LosslessRolloutStatus()
    """What the operator sees and does."""
