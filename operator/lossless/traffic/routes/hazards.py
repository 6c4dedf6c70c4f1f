"""Hazards of ramping in somebody's routes: what was seen, what it can cost, and what to do about it.

As in `lossless.analysis.findings`, a finding never stops anything, and each check is a small pure function of the facts
that says one thing or nothing. What must not be done at all is refused by the kinds themselves; here it is explained.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from lossless.api.resource import Finding
from lossless.api.routes import Ramp, RouteRef
from lossless.traffic.routes import destination_rule
from lossless.traffic.routes.edit import owners_text
from lossless.traffic.routes.kinds import KINDS
from lossless.traffic.routes.route import BackendList, Raw, Route, Split, mapping, mappings, names_ours
from lossless.traffic.routes.status import Answer, taken
from lossless.traffic.routes.virtual_service import PROTOCOLS

MAX_TEXT: Final = 1024
_NGINX: Final = "nginx.ingress.kubernetes.io/"
_ALB: Final = "alb.ingress.kubernetes.io/"


@dataclass(frozen=True, slots=True)
class Named:
    """A route that the LosslessRollout names."""

    ref: RouteRef
    document: Raw | None
    """None: there is no such route."""

    @property
    def route(self) -> Route:
        return KINDS[self.ref.kind]


@dataclass(frozen=True, slots=True)
class RouteFacts:
    """Everything that a finding here may rest on."""

    namespace: str
    split: Split
    """What is, or would be, laid over the routes; its share does not matter."""
    ramp: Ramp | None = None
    """As it is asked for; None: it is not."""
    weighing_registries: bool = False
    """A registry that carries a weight for each instance is named."""
    routes: tuple[Named, ...] = ()
    policies: Sequence[Raw] = ()
    """As for `Route.refusal`."""
    ingresses: Sequence[Raw] = field(default_factory=tuple)
    """The Ingresses of the namespace."""

    @property
    def services(self) -> frozenset[str]:
        return self.split.services

    def there(self) -> Iterator[tuple[Named, Raw]]:
        """The routes that exist, as their owners wrote them."""
        for named in self.routes:
            if named.document is not None:
                yield named, owners_text(named.route, named.document, self.split)


Check = Callable[[RouteFacts], Finding | None]


def find(facts: RouteFacts) -> list[Finding]:
    """Every hazard that is seen, those that can lose requests first."""
    found = (check(facts) for check in CHECKS)
    return [_bounded(finding) for finding in found if finding is not None]


# -- routes that can't be ramped in -----------------------------------------------------------------------------------


def route_missing(facts: RouteFacts) -> Finding | None:
    missing = [str(named.ref) for named in facts.routes if named.document is None]
    if not missing:
        return None
    return Finding(
        reason="RouteMissing",
        message=f"There is no {_listed(missing)} in namespace {facts.namespace}: new pods do not ramp there",
        fix="Create it, or take it out of spec.traffic.routes; a route of another namespace can't be named",
    )


def route_names_others(facts: RouteFacts) -> Finding | None:
    others = [str(named.ref) for named, text in facts.there() if not names_ours(named.route, text, facts.services)]
    if not others:
        return None
    return Finding(
        reason="RouteNamesOtherServices",
        message=f"{_listed(others)} sends nothing by weight to any Service of the workload "
        f"({_listed(sorted(facts.services)) or 'it has none'}): new pods do not ramp there",
        fix="Name a route whose backends are these Services, in their own namespace; a TraefikService needs a weighted "
        "list, and a VirtualService the short or the full name of the Service",
    )


def route_not_accepted(facts: RouteFacts) -> Finding | None:
    said = [
        f"{named.ref}: {answer.evidence}"
        for named in facts.routes
        if named.document is not None and (answer := taken(named.document)).answer is Answer.REFUSED
    ]
    if not said:
        return None
    return Finding(
        reason="RouteNotAccepted",
        message=f"{_listed(said)}: it serves an older version of the route or none, so weights have no effect",
        fix="See status.parents of the route. ResolvedRefs=False names a backend that is not there; Accepted=False, a "
        "listener that does not allow the route",
    )


def affinity(facts: RouteFacts) -> Finding | None:
    """Ramp and affinity can't both be had in one route."""
    if facts.ramp is None:
        return None
    refused = [
        f"{named.ref}: {why}"
        for named, text in facts.there()
        if (why := named.route.refusal(text, facts.split, facts.policies))
    ]
    if not refused:
        return None
    return Finding(
        reason="RouteNotSplit",
        message=f"{_listed(refused)}. New pods do not ramp there: they get a full share at once when they are let in",
        fix="Leave it so, with warm-up requests and a small warmup.maxParallel; or take the affinity away, if the "
        "application does not need it",
    )


def ramp_without_weights(facts: RouteFacts) -> Finding | None:
    if facts.ramp is None or facts.routes or facts.weighing_registries:
        return None
    return Finding(
        reason="RampWithoutWeights",
        message="A ramp is asked for, and nothing that carries weights is named: a Service has none, so a pod gets "
        "either no traffic or a full share",
        fix="Name the route in spec.traffic.routes, or a registry with weights; or take warmup.ramp out and rely on "
        "warm-up requests and warmup.maxParallel",
    )


# -- others who weigh -------------------------------------------------------------------------------------------------


def split_by_owner(facts: RouteFacts) -> Finding | None:
    """Kept in proportion; but who edits weights sees other numbers than their own."""
    split = [
        str(named.ref)
        for named, text in facts.there()
        if any(_divided_by_owner(named.route, each, facts.services) for each in named.route.lists(text))
    ]
    if not split:
        return None
    return Finding(
        reason="RouteSplitByOwner",
        message=f"{_listed(split)} divides traffic by weights of its own. They are kept in proportion, but stand "
        "scaled up in the route while pods ramp: a tool that writes weights (Argo Rollouts, Flagger) reads those",
        fix="Let one tool write the weights of a route: leave the route out of spec.traffic.routes while another does",
    )


def ingress_service_upstream(facts: RouteFacts) -> Finding | None:
    found = _annotated(facts, f"{_NGINX}service-upstream", "true")
    if not found:
        return None
    return Finding(
        reason="IngressServiceUpstream",
        message=f"{_listed(found)} has {_NGINX}service-upstream: requests go to the Service's own address, kube-proxy "
        "chooses the pod by connection, and connections that are kept alive stay with a pod that is on its way out",
        fix="Take the annotation out, so that nginx chooses pods by EndpointSlices; or let drain.settle be longer than "
        "upstream-keepalive-timeout",
    )


def ingress_canary(facts: RouteFacts) -> Finding | None:
    found = _annotated(facts, f"{_NGINX}canary", "true")
    if not found:
        return None
    return Finding(
        reason="IngressCanary",
        message=f"{_listed(found)} is a canary Ingress. nginx allows one for each rule, so there is no room for a "
        "warm-up backend: new pods behind it get a full share at once",
        fix="Rely on warm-up requests and warmup.maxParallel there, or move the rule to an HTTPRoute",
    )


def alb_actions(facts: RouteFacts) -> Finding | None:
    found = [_name(one) for one in facts.ingresses if _forwarded_by_alb(one, facts.services)]
    if not found:
        return None
    return Finding(
        reason="AlbWeights",
        message=f"{_listed(found)} forwards by {_ALB}actions.*, whose weights are not written to: new pods behind it "
        "do not ramp",
        fix=f"Let the load balancer ramp them: {_ALB}target-group-attributes: slow_start.duration_seconds=30, and keep "
        "its deregistration delay within drain.settle",
    )


# -- meshes that judge cold pods --------------------------------------------------------------------------------------


def outlier_detection(facts: RouteFacts) -> Finding | None:
    found = _rules(facts, lambda policy: bool(policy.get("outlierDetection")))
    if facts.ramp is None or not found:
        return None
    return Finding(
        reason="OutlierDetection",
        message=f"DestinationRule {_listed(found)} ejects pods that answer with errors. A pod that was just let in may "
        "be ejected for its first slow or failed answers, and its share then falls on the others",
        fix="Let warm-up requests run until the pod answers well (warmup.requests[].until), and set "
        "consecutive5xxErrors and interval to what a cold pod keeps to. The warm-up Service ejects nobody",
    )


def ramped_twice(facts: RouteFacts) -> Finding | None:
    def warms(policy: Raw) -> bool:
        balanced = mapping(policy.get("loadBalancer"))
        return bool(balanced.get("warmup") or balanced.get("warmupDurationSecs"))

    found = _rules(facts, warms)
    if facts.ramp is None or not found:
        return None
    return Finding(
        reason="RampedTwice",
        message=f"DestinationRule {_listed(found)} ramps new pods as well (loadBalancer.warmup): a pod that has ramped "
        "and is let in falls back to a small share and ramps again",
        fix="Take loadBalancer.warmup out of the DestinationRule, or warmup.ramp out of the LosslessRollout",
    )


def retries(facts: RouteFacts) -> Finding | None:
    """Istio's own default retries no answer that a pod has given."""
    found = [str(named.ref) for named, text in facts.there() if _retries_answers(text, facts.services)]
    if facts.ramp is None or not found:
        return None
    return Finding(
        reason="RetriesHideColdPods",
        message=f"{_listed(found)} sends a request again when a pod has answered it with 5xx: the errors of a cold pod "
        "become load on the others, and requests that are not idempotent are done twice",
        fix="Retry only what no pod has worked on (connect-failure,refused-stream,unavailable), or watch the pods' own "
        "error rates while they ramp",
    )


CHECKS: Final[tuple[Check, ...]] = (
    route_not_accepted,
    route_missing,
    route_names_others,
    affinity,
    ramp_without_weights,
    ingress_service_upstream,
    ingress_canary,
    alb_actions,
    outlier_detection,
    ramped_twice,
    retries,
    split_by_owner,
)


def _divided_by_owner(route: Route, each: BackendList, services: frozenset[str]) -> bool:
    counts = route.counts([backend.weight for backend in each.backends])
    getting = [backend for backend, count in zip(each.backends, counts, strict=True) if count]
    return len(getting) > 1 and any(backend.service in services for backend in getting)


def _annotated(facts: RouteFacts, annotation: str, value: str) -> list[str]:
    return [
        _name(one)
        for one in facts.ingresses
        if mapping(mapping(one.get("metadata")).get("annotations")).get(annotation) == value
        and facts.services & _ingress_backends(one)
    ]


def _ingress_backends(ingress: Raw) -> set[str]:
    spec = mapping(ingress.get("spec"))
    paths = [path for rule in mappings(spec.get("rules")) for path in mappings(mapping(rule.get("http")).get("paths"))]
    backends = [mapping(spec.get("defaultBackend")), *(mapping(path.get("backend")) for path in paths)]
    return {str(mapping(backend.get("service")).get("name", "")) for backend in backends}


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
            _name(rule)
            for service in facts.services
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


def _name(one: Raw) -> str:
    metadata = mapping(one.get("metadata"))
    kind = f"{one['kind']} " if one.get("kind") == "Ingress" else ""
    return f"{kind}{metadata.get('name', '')}"


def _listed(what: Iterable[str], most: int = 3) -> str:
    """The first few of them, and how many more there are."""
    every = list(what)
    more = f" and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def _bounded(finding: Finding) -> Finding:
    return finding.model_copy(update={"message": finding.message[:MAX_TEXT], "fix": finding.fix[:MAX_TEXT]})
