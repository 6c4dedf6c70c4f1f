"""Hazards in the routes and Ingresses that lead to a workload: what was seen, what it can cost, and what to do.

Nobody watches these objects, so the facts are of the moment when they were read (`lossless.cluster.preflight`).
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from lossless.analysis.checks import MAX_TEXT, listed, run
from lossless.api.resource import Finding
from lossless.api.routes import RouteRef
from lossless.traffic.routes import canary, destination_rule
from lossless.traffic.routes.canary import Around
from lossless.traffic.routes.edit import lay, owners_text
from lossless.traffic.routes.ingress import leads_to
from lossless.traffic.routes.kinds import KINDS, WEIGHTED
from lossless.traffic.routes.nginx import CANARY, SERVICE_UPSTREAM, says
from lossless.traffic.routes.route import BackendList, Raw, Split, WeightedRoute, mapping, mappings, name_of, names_ours
from lossless.traffic.routes.status import Answer, taken
from lossless.traffic.routes.virtual_service import PROTOCOLS
from lossless.traffic.routes.warmup_service import PortsClash, ports, warmup_name

_ALB: Final = "alb.ingress.kubernetes.io/"


@dataclass(frozen=True, slots=True)
class RouteFacts:
    """Everything that a finding here may rest on."""

    namespace: str
    rollout: str
    services: Sequence[Raw]
    """Those that select the workload's pods."""
    ramps: bool
    """A ramp is asked for. Without one nothing is written to routes."""
    routes: Mapping[RouteRef, Raw] = field(default_factory=dict)
    """Those that the LosslessRollout names, as far as they could be read."""
    policies: Sequence[Raw] = ()
    """As for `WeightedRoute.refusal`."""
    ingresses: Sequence[Raw] = ()
    """Those of the namespace."""
    around: Mapping[RouteRef, Around] = field(default_factory=dict)
    """Of each Ingress among the routes."""
    affine: bool = False
    """Pods are swapped one at a time, and have slots."""

    @property
    def names(self) -> frozenset[str]:
        return frozenset(name_of(one) for one in self.services)

    @property
    def split(self) -> Split:
        """What would be laid over the routes; how much goes there does not matter."""
        return Split(self.rollout, self.names, warmup_name(self.rollout), 0.0)

    def owned(self) -> Mapping[RouteRef, Raw]:
        """The routes as their owners wrote them: those that a split is written into."""
        return {
            ref: owners_text(WEIGHTED[ref.kind], document, self.split)
            for ref, document in self.routes.items()
            if ref.kind in WEIGHTED
        }


Check = Callable[[RouteFacts], Finding | None]


def find(facts: RouteFacts) -> list[Finding]:
    """Every hazard that is seen, those that can lose requests first; what keeps a route from being split excepted."""
    return run(CHECKS, facts)


# -- routes that can't be ramped in -----------------------------------------------------------------------------------


def refusals(facts: RouteFacts) -> dict[str, str]:
    """By route: why new pods would not ramp in it, known before any of them tries to."""
    if not facts.ramps:
        return {}
    said = ((ref, _refusal(facts, ref, document)) for ref, document in facts.routes.items())
    return {str(ref): why for ref, why in said if why}


def not_split(refused: Mapping[str, str]) -> list[Finding]:
    """What is said of routes that are not split, each with the reason. Nothing, if there are none."""
    if not refused:
        return []
    said = "; ".join(f"{route}: {why}" for route, why in sorted(refused.items()))
    finding = Finding(
        reason="RouteNotSplit",
        message=f"New pods do not ramp in {said}"[:MAX_TEXT],
        fix="Mend the route, or leave it out of spec.traffic.routes and rely on warm-up requests and a small "
        "warmup.maxParallel. At the end of their ramp pods are let in anyway",
    )
    return [finding]


# -- others who weigh -------------------------------------------------------------------------------------------------


def split_by_owner(facts: RouteFacts) -> Finding | None:
    """Kept in proportion; but who edits weights sees other numbers than their own."""
    split = [
        str(ref)
        for ref, text in facts.owned().items()
        if any(_divided_by_owner(WEIGHTED[ref.kind], each, facts.names) for each in WEIGHTED[ref.kind].lists(text))
    ]
    if not facts.ramps or not split:
        return None
    return Finding(
        reason="RouteSplitByOwner",
        message=f"{listed(split)} divides traffic by weights of its own. They are kept in proportion, but stand "
        "scaled up in the route while pods ramp: a tool that writes weights (Argo Rollouts, Flagger) reads those",
        fix="Let one tool write the weights of a route: leave the route out of spec.traffic.routes while another does",
    )


def ingress_service_upstream(facts: RouteFacts) -> Finding | None:
    found = _annotated(facts, SERVICE_UPSTREAM)
    if not found:
        return None
    return Finding(
        reason="IngressServiceUpstream",
        message=f"{listed(found)} has {SERVICE_UPSTREAM}: requests go to the Service's own address, kube-proxy "
        "chooses the pod by connection, and connections that are kept alive stay with a pod that is on its way out",
        fix="Take the annotation out, so that nginx chooses pods by EndpointSlices; or let the application answer "
        "Connection: close for a second after SIGTERM, and then close what is idle",
    )


def ingress_canary(facts: RouteFacts) -> Finding | None:
    found = _annotated(facts, CANARY)
    if not facts.ramps or not found:
        return None
    return Finding(
        reason="IngressCanary",
        message=f"{listed(found)} is a canary Ingress. nginx allows one for each rule, so there is no room for a "
        "warm-up backend: new pods behind it get a full share at once",
        fix="Rely on warm-up requests and warmup.maxParallel there, or move the rule to an HTTPRoute",
    )


def alb_actions(facts: RouteFacts) -> Finding | None:
    found = _ingresses(one for one in facts.ingresses if _forwarded_by_alb(one, facts.names))
    if not facts.ramps or not found:
        return None
    return Finding(
        reason="AlbWeights",
        message=f"{listed(found)} forwards by {_ALB}actions.*, whose weights are not written to: new pods behind it "
        "do not ramp",
        fix=f"Let the load balancer ramp them: {_ALB}target-group-attributes: slow_start.duration_seconds=30, and keep "
        "its deregistration delay within drain.settle",
    )


# -- meshes that judge cold pods --------------------------------------------------------------------------------------


def outlier_detection(facts: RouteFacts) -> Finding | None:
    found = _rules(facts, lambda policy: bool(policy.get("outlierDetection")))
    if not facts.ramps or not found:
        return None
    return Finding(
        reason="OutlierDetection",
        message=f"DestinationRule {listed(found)} ejects pods that answer with errors. A pod that was just let in may "
        "be ejected for its first slow or failed answers, and its share then falls on the others",
        fix="Let warm-up requests run until the pod answers well (warmup.requests[].until), and set "
        "consecutive5xxErrors and interval to what a cold pod keeps to. The warm-up Service ejects nobody",
    )


def ramped_twice(facts: RouteFacts) -> Finding | None:
    def warms(policy: Raw) -> bool:
        balanced = mapping(policy.get("loadBalancer"))
        return bool(balanced.get("warmup") or balanced.get("warmupDurationSecs"))

    found = _rules(facts, warms)
    if not facts.ramps or not found:
        return None
    return Finding(
        reason="RampedTwice",
        message=f"DestinationRule {listed(found)} ramps new pods as well (loadBalancer.warmup): a pod that has ramped "
        "and is let in falls back to a small share and ramps again",
        fix="Take loadBalancer.warmup out of the DestinationRule, or warmup.ramp out of the LosslessRollout",
    )


def retries(facts: RouteFacts) -> Finding | None:
    """Istio's own default retries no answer that a pod has given."""
    found = [str(ref) for ref, text in facts.owned().items() if _retries_answers(text, facts.names)]
    if not facts.ramps or not found:
        return None
    return Finding(
        reason="RetriesHideColdPods",
        message=f"{listed(found)} sends a request again when a pod has answered it with 5xx: the errors of a cold pod "
        "become load on the others, and requests that are not idempotent are done twice",
        fix="Retry only what no pod has worked on (connect-failure,refused-stream,unavailable), or watch the pods' own "
        "error rates while they ramp",
    )


# -- affinity ---------------------------------------------------------------------------------------------------------


def hash_by_address(facts: RouteFacts) -> Finding | None:
    """Istio's rings are over addresses: nothing tells them of slots."""
    found = _rules(facts, lambda policy: bool(mapping(policy.get("loadBalancer")).get("consistentHash")))
    if not facts.affine or not found:
        return None
    return Finding(
        reason="HashByAddress",
        message=f"DestinationRule {listed(found)} hashes requests to the pods' addresses, and each new pod has another "
        "one: a release also moves clients whose own pod is not being swapped, and swapping one at a time makes that "
        "no better",
        fix="Hash by slot (annotation lossless.dev/slot) where your gateway's endpoints are in your own hands; else "
        "leave spec.traffic.affinity out",
    )


CHECKS: Final[tuple[Check, ...]] = (
    ingress_service_upstream,
    ingress_canary,
    alb_actions,
    outlier_detection,
    ramped_twice,
    retries,
    hash_by_address,
    split_by_owner,
)


def _refusal(facts: RouteFacts, ref: RouteRef, document: Raw) -> str:
    route, weighted = KINDS[ref.kind], WEIGHTED.get(ref.kind)
    text = owners_text(weighted, document, facts.split) if weighted else document
    if not names_ours(route, text, facts.names):
        return "it names no Service of these pods"
    if (said := taken(document)).answer is Answer.REFUSED:
        return said.evidence
    try:
        ports([one for one in facts.services if names_ours(route, document, frozenset({name_of(one)}))])
    except PortsClash as error:
        return str(error)
    if weighted is not None:
        return lay(weighted, document, facts.split, facts.policies).refusal
    return canary.refusal(document, facts.split, facts.around.get(ref, Around()))


def _divided_by_owner(route: WeightedRoute, each: BackendList, services: frozenset[str]) -> bool:
    counts = route.counts([backend.weight for backend in each.backends])
    getting = [backend for backend, count in zip(each.backends, counts, strict=True) if count]
    return len(getting) > 1 and any(backend.service in services for backend in getting)


def _annotated(facts: RouteFacts, annotation: str) -> list[str]:
    return _ingresses(one for one in facts.ingresses if says(one, annotation) and facts.names & leads_to(one))


def _forwarded_by_alb(ingress: Raw, services: frozenset[str]) -> bool:
    annotations = mapping(mapping(ingress.get("metadata")).get("annotations"))
    for key, text in annotations.items():
        if not str(key).startswith(f"{_ALB}actions."):
            continue
        try:
            action = mapping(json.loads(str(text)))
        except ValueError:
            continue
        groups = mappings(mapping(action.get("forwardConfig")).get("targetGroups"))
        if any(group.get("serviceName") in services for group in groups):
            return True
    return False


def _rules(facts: RouteFacts, wanted: Callable[[Raw], bool]) -> list[str]:
    return sorted(
        {
            name_of(rule)
            for service in facts.names
            for rule in destination_rule.applying(facts.policies, service, facts.namespace)
            if any(wanted(policy) for policy in destination_rule.traffic_policies(rule))
        }
    )


def _retries_answers(document: Raw, services: frozenset[str]) -> bool:
    if document.get("kind") != "VirtualService":
        return False
    namespace = str(mapping(document.get("metadata")).get("namespace", ""))
    for rule in mappings(mapping(document.get("spec")).get(PROTOCOLS[0])):
        asked = mapping(rule.get("retries"))
        on = {word.strip() for word in str(asked.get("retryOn") or "").split(",")}
        hosts = (str(mapping(one.get("destination")).get("host", "")) for one in mappings(rule.get("route")))
        named = {destination_rule.service_of(host, namespace) for host in hosts}
        if asked.get("attempts") != 0 and on & {"5xx", "gateway-error"} and named & services:
            return True
    return False


def _ingresses(which: Iterable[Raw]) -> list[str]:
    return [f"Ingress {name_of(one)}" for one in which]
