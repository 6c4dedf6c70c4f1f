"""What the operator may do, asked of a real API server: all it needs and nothing beyond."""

from __future__ import annotations

import itertools

import pytest

from localcluster.box import Box
from tests.installed import install
from tests.policies.bench import Bench
from tests.policies.conftest import ROOT
from tests.policies.test_manifests import rendered

SYSTEM = "lossless-system"
OPERATOR = f"system:serviceaccount:{SYSTEM}:lossless-operator"

NEEDS = """
get,list,watch losslessrollouts.lossless.dev
patch losslessrollouts.lossless.dev/status
get,list,watch deployments.apps
get,list,watch replicasets.apps
patch replicasets.apps/status
get,list,watch statefulsets.apps
get,list,watch daemonsets.apps
list,watch controllerrevisions.apps
get,list,watch rollouts.argoproj.io
get,list,watch pods
patch pods/status
create,get pods/exec
get,list,watch services
get,list,watch endpointslices.discovery.k8s.io
create events.events.k8s.io
get,list,patch httproutes.gateway.networking.k8s.io
get,list,patch grpcroutes.gateway.networking.k8s.io
get,list,patch virtualservices.networking.istio.io
list destinationrules.networking.istio.io
get,list,create,patch,delete ingresses.networking.k8s.io
get ingressclasses.networking.k8s.io
get,list,patch traefikservices.traefik.io
get,list,watch,patch horizontalpodautoscalers.autoscaling
get,list,patch scaledobjects.keda.sh
create,patch,delete services
create,patch,delete endpointslices.discovery.k8s.io
"""
NEEDS_OF_THE_CLUSTER = """
get,list,watch nodes
"""
NEEDS_WHERE_NODES_GO = """
patch replicasets.apps/scale
list,watch,create,patch,delete poddisruptionbudgets.policy
"""
NEEDS_FOR_ITSELF = """
create leases.coordination.k8s.io
get,update leases.coordination.k8s.io lossless-operator
create,patch limitranges lossless-rollouts
"""
NEVER = """
get,list,watch customresourcedefinitions.apiextensions.k8s.io
create,delete,update,patch pods
update,patch,delete deployments.apps
update,patch,delete replicasets.apps
get,update replicasets.apps/scale
update,patch deployments.apps/scale
update,patch,delete statefulsets.apps
update,patch statefulsets.apps/scale
update,patch,delete daemonsets.apps
get,create,update,patch,delete controllerrevisions.apps
create,update,patch,delete rollouts.argoproj.io
patch rollouts.argoproj.io/status
create,update,patch,delete losslessrollouts.lossless.dev
get,list,watch secrets
get,list,watch,create,update,patch,delete configmaps
get,list,watch,create,update,patch,delete limitranges
get,list,watch namespaces
watch,update ingresses.networking.k8s.io
update,patch ingresses.networking.k8s.io/status
list,watch,create,update,patch,delete ingressclasses.networking.k8s.io
update services
create,update,delete horizontalpodautoscalers.autoscaling
watch,create,update,delete scaledobjects.keda.sh
patch horizontalpodautoscalers.autoscaling/status
create pods/eviction
get,update poddisruptionbudgets.policy
patch poddisruptionbudgets.policy/status
delete,update nodes
update,patch,delete mutatingadmissionpolicies.admissionregistration.k8s.io
update,patch,delete validatingadmissionpolicies.admissionregistration.k8s.io
create,bind,escalate clusterroles.rbac.authorization.k8s.io
impersonate serviceaccounts
create serviceaccounts/token
"""


@pytest.fixture(scope="module")
def installed(box: Box) -> Box:
    """The cluster-wide install. Its pods are nobody's business here."""
    install(box)
    return box


def pairs(table: str) -> list[tuple[str, ...]]:
    """Each verb with the rest of its line: the resource, and its name where there is one."""
    lines = [line.split() for line in table.strip().splitlines()]
    return [(verb, *rest) for verbs, *rest in lines for verb in verbs.split(",")]


def granted(box: Box, folder: str) -> set[tuple[str, ...]]:
    """What the operator is given by one of the folders of `manifests/`: verb, resource, and name where there is one."""
    objects = rendered(box, folder)
    roles = {one["metadata"]["name"]: one["rules"] for one in objects if one["kind"] in ("Role", "ClusterRole")}
    bound = [
        rule
        for one in objects
        if one["kind"].endswith("RoleBinding") and [whom["name"] for whom in one["subjects"]] == ["lossless-operator"]
        for rule in roles[one["roleRef"]["name"]]
    ]
    return {
        (verb, _full_name(resource, group), *name)
        for rule in bound
        for verb, group, resource in itertools.product(rule["verbs"], rule["apiGroups"], rule["resources"])
        for name in [[one] for one in rule.get("resourceNames", [])] or [[]]
    }


def _full_name(resource: str, group: str) -> str:
    """`deployments.apps/scale` for `deployments/scale` of `apps`."""
    kind, slash, subresource = resource.partition("/")
    return f"{kind}.{group}{slash}{subresource}" if group else resource


def may(box: Box, user: str, verb: str, resource: str, ns: str, name: str | None = None) -> bool:
    kind, _, subresource = resource.partition("/")
    plural, _, group = kind.partition(".")
    attributes = {"verb": verb, "group": group, "resource": plural, "subresource": subresource, "namespace": ns}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": user,
            "groups": ["system:serviceaccounts", "system:authenticated"],
            "resourceAttributes": {**attributes, "name": name or ""},
        },
    }
    answer = box.api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"]["allowed"])


def test_it_is_given_what_it_needs_and_nothing_more(box: Box) -> None:
    """The exact list, so that a verb which nobody asked for is noticed."""
    in_a_namespace = {*pairs(NEEDS), *pairs(NEEDS_FOR_ITSELF)}
    assert granted(box, "namespaced") == in_a_namespace
    assert granted(box, "install") == in_a_namespace | {*pairs(NEEDS_OF_THE_CLUSTER), *pairs(NEEDS_WHERE_NODES_GO)}


def test_it_may_do_what_it_needs_in_every_namespace(installed: Box) -> None:
    missing = [
        (verb, what)
        for verb, what in pairs(NEEDS) + pairs(NEEDS_WHERE_NODES_GO) + pairs(NEEDS_OF_THE_CLUSTER)
        if not may(installed, OPERATOR, verb, what, "" if (verb, what) in pairs(NEEDS_OF_THE_CLUSTER) else "default")
    ]
    assert not missing


def test_it_may_not_write_any_spec_nor_read_secrets_nor_rule(installed: Box) -> None:
    allowed = [(verb, what) for verb, what in pairs(NEVER) if may(installed, OPERATOR, verb, what, "default")]
    assert not allowed


def test_it_may_write_the_one_limit_range_that_the_policies_go_by(installed: Box) -> None:
    for verb in ("create", "patch"):
        assert may(installed, OPERATOR, verb, "limitranges", "default", "lossless-rollouts")
        assert not may(installed, OPERATOR, verb, "limitranges", "default", "another")


def test_it_has_one_lease_in_its_own_namespace(installed: Box) -> None:
    lease = "leases.coordination.k8s.io"
    assert may(installed, OPERATOR, "create", lease, SYSTEM)
    for verb in ("get", "update"):
        assert may(installed, OPERATOR, verb, lease, SYSTEM, "lossless-operator")
        assert not may(installed, OPERATOR, verb, lease, SYSTEM, "another")
        assert not may(installed, OPERATOR, verb, lease, "kube-system", "lossless-operator")
    assert not may(installed, OPERATOR, "create", lease, "default")


def test_the_namespaced_operator_has_no_right_outside_its_namespace(installed: Box, bench: Bench) -> None:
    text = installed.kubectl("kustomize", str(ROOT / "manifests" / "namespaced"))
    installed.kubectl(
        "apply", "--server-side", "-f", "-", input=text.replace("namespace: default", f"namespace: {bench.ns}")
    )
    bench.scale(0, "lossless-operator")
    operator = f"system:serviceaccount:{bench.ns}:lossless-operator"
    assert not [(verb, what) for verb, what in pairs(NEEDS) if not may(installed, operator, verb, what, bench.ns)]
    never = pairs(NEVER) + pairs(NEEDS_WHERE_NODES_GO)  # It sees no nodes, so it moves nobody.
    assert not [(verb, what) for verb, what in never if may(installed, operator, verb, what, bench.ns)]
    assert may(installed, operator, "update", "leases.coordination.k8s.io", bench.ns, "lossless-operator")
    for ns in ("default", ""):
        everything = pairs(NEEDS) + pairs(NEEDS_OF_THE_CLUSTER) + never
        assert not [(verb, what) for verb, what in everything if may(installed, operator, verb, what, ns)]


@pytest.mark.parametrize(
    ("role", "reads", "writes"), [("view", True, False), ("edit", True, True), ("admin", True, True)]
)
def test_users_of_a_namespace_have_its_rollouts_as_they_have_its_workloads(
    bench: Bench, role: str, reads: bool, writes: bool
) -> None:
    user = f"{role}-of-{bench.ns}"
    bench.kubectl("create", "rolebinding", user, f"--clusterrole={role}", f"--user={user}")
    rollouts = "losslessrollouts.lossless.dev"
    bench.until(lambda: may(bench.box, user, "get", rollouts, bench.ns) == reads, "the roles are aggregated")
    bench.until(lambda: may(bench.box, user, "create", rollouts, bench.ns) == writes, "the roles are aggregated")
    assert not may(bench.box, user, "get", rollouts, "default")
    assert not may(bench.box, user, "patch", f"{rollouts}/status", bench.ns), "the status is the operator's"


def test_who_may_break_the_glass_can_open_a_gate_by_hand(bench: Bench) -> None:
    user = f"on-call-of-{bench.ns}"
    bench.kubectl("create", "rolebinding", user, "--clusterrole=lossless-break-glass", f"--user={user}")
    bench.rollout()
    (pod,) = bench.deployment()
    opened = '{"status": {"conditions": [{"type": "lossless.dev/admitted", "status": "True"}]}}'
    bench.kubectl("patch", "pod", pod, "--subresource=status", "-p", opened, "--as", user)
    assert not may(bench.box, user, "patch", "pods", bench.ns)
    assert not may(bench.box, user, "patch", "pods/status", "default")
