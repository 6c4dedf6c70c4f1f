"""The policies spell names in CEL that the operator spells in Python. They must be the same ones."""

from __future__ import annotations

import re

import yaml

from lossless.api import names
from lossless.core.passage import Stage
from tests.policies.conftest import ROOT

POLICIES = sorted((ROOT / "manifests" / "base" / "policies").glob("*.yaml"))
OBJECTS = [
    document
    for path in POLICIES
    if path.name != "kustomization.yaml"
    for document in yaml.safe_load_all(path.read_text())
]
SPELT = re.compile(r"'(lossless\.dev/[a-z-]+)'")


def spelt(name: str) -> set[str]:
    """The names of ours in a policy: those in its CEL expressions, and its object selector's."""
    (policy,) = (one for one in OBJECTS if one["metadata"]["name"] == name and not one["kind"].endswith("Binding"))
    selector = policy["spec"]["matchConstraints"]["objectSelector"]["matchExpressions"]
    return set(SPELT.findall(str(policy).replace('\\"', "'"))) | {
        expression["key"] for expression in selector if expression["key"].startswith(names.GROUP)
    }


def test_the_door_in_writes_the_gate_and_the_label() -> None:
    assert spelt("lossless-door-in") == {names.GATE, names.ROLLOUT_LABEL, names.TARGETS}


def test_the_door_in_for_pods_without_a_replica_set_does_the_same() -> None:
    assert spelt("lossless-door-in-owned") == spelt("lossless-door-in")


def test_the_door_in_for_argo_rollouts_does_the_same() -> None:
    assert spelt("lossless-door-in-argo") == spelt("lossless-door-in")


def test_the_hold_reads_the_number_to_keep() -> None:
    assert spelt("lossless-hold") == {names.KEEP_LABEL, names.TARGETS}


def test_the_hold_for_argo_rollouts_notes_what_was_asked_for_as_well() -> None:
    assert spelt("lossless-hold-argo") == {names.KEEP_LABEL, names.TARGETS, names.ASKED}


def test_the_door_out_reads_the_passage() -> None:
    assert spelt("lossless-door-out") == {
        names.ROLLOUT_LABEL,
        names.ADMITTED_AT,
        names.DRAINED_AT,
        names.STAGE,
        names.WAITING_FOR,
        names.TARGETS,
    }


def test_who_is_kept_out_is_told_by_the_stage() -> None:
    assert spelt("lossless-kept-out") == {names.ROLLOUT_LABEL, names.STAGE, names.TARGETS, names.GATE}
    (policy,) = (one for one in OBJECTS if one["metadata"]["name"] == "lossless-kept-out" and "params" in str(one))
    assert f"in {[stage.value for stage in Stage if stage.is_out]}" in str(policy).replace('\\"', "'")


def test_every_policy_takes_a_kind_that_every_api_server_knows_as_its_parameter_and_fails_open() -> None:
    policies = [one for one in OBJECTS if not one["kind"].endswith("Binding")]
    assert len(policies) == 7
    for policy in policies:
        assert policy["spec"]["paramKind"] == {"apiVersion": "v1", "kind": "LimitRange"}
        assert policy["spec"]["failurePolicy"] == "Ignore"
        assert policy["spec"]["matchConstraints"]["objectSelector"], "a policy for everything would cost everybody"


def test_every_binding_reads_the_parameters_of_the_objects_own_namespace() -> None:
    """A paramRef with a namespace would let that namespace decide for all the others."""
    bindings = [one for one in OBJECTS if one["kind"].endswith("Binding")]
    assert len(bindings) == 7
    for binding in bindings:
        assert binding["spec"]["policyName"] == binding["metadata"]["name"]
        assert binding["spec"]["paramRef"] == {"name": names.PARAMETERS, "parameterNotFoundAction": "Allow"}
