"""What is applied to a cluster: a real API server takes it all, and the operator's pods keep the strictest rules."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from localcluster.box import Box
from tests.policies.bench import Bench
from tests.policies.conftest import ROOT

MANIFESTS = ROOT / "manifests"
WHOLE = ("install", "install-before-1.36", "admin", "namespaced", "samples")
COMPONENTS = ("without-exec", "network-policy")


def rendered(box: Box, folder: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(box.kubectl("kustomize", str(MANIFESTS / folder))) if one]


def find(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = (one for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, name))
    return found


@pytest.mark.parametrize("folder", WHOLE)
def test_the_api_server_takes_all_of_it(box: Box, folder: str) -> None:
    objects = rendered(box, folder)
    namespaces = {one["metadata"].get("namespace", "default") for one in objects}
    for name in namespaces - {"default"}:  # a dry run makes no namespace for what is in it
        box.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    applied = box.kubectl(
        "apply", "--server-side", "--dry-run=server", "--validate=strict", "-k", str(MANIFESTS / folder)
    )
    assert len(applied.splitlines()) == len(objects)


@pytest.mark.parametrize("folder", WHOLE)
def test_nothing_without_a_namespace_is_given_one(box: Box, folder: str) -> None:
    """kustomize does not know all kinds, and takes those it does not know for namespaced."""
    for one in rendered(box, folder):
        if "Admission" in one["kind"] or one["kind"].startswith("Cluster"):
            assert "namespace" not in one["metadata"], one["metadata"]


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("folder", ["install", "namespaced"])
def test_a_component_fits_every_install(box: Box, folder: str, component: str) -> None:
    overlay = ROOT / "build" / f"overlay-{folder}-{component}"
    overlay.mkdir(parents=True, exist_ok=True)
    (overlay / "kustomization.yaml").write_text(
        f"resources: [../../manifests/{folder}]\ncomponents: [../../manifests/components/{component}]\n"
    )
    objects = [one for one in yaml.safe_load_all(box.kubectl("kustomize", str(overlay))) if one]
    names = [one["metadata"]["name"] for one in objects]
    assert ("lossless-operator-exec" in names) == (component != "without-exec")
    if component == "network-policy":
        find(objects, "NetworkPolicy", "lossless-operator")


def test_before_1_36_there_are_the_policies_that_only_refuse(box: Box) -> None:
    policies = [one["kind"] for one in rendered(box, "install-before-1.36") if "Admission" in one["kind"]]
    assert sorted(policies) == ["ValidatingAdmissionPolicy"] * 2 + ["ValidatingAdmissionPolicyBinding"] * 2


def test_the_operators_pods_pass_the_restricted_pod_security_standard(bench: Bench) -> None:
    bench.kubectl("label", "namespace", bench.ns, "pod-security.kubernetes.io/enforce=restricted")
    for folder in ("install", "samples"):
        for one in rendered(bench.box, folder):
            if one["kind"] == "Deployment":
                template = one["spec"]["template"]
                bench.created(
                    {
                        "apiVersion": "v1",
                        "kind": "Pod",
                        "metadata": {"name": "restricted", "labels": template["metadata"]["labels"]},
                        "spec": {**template["spec"], "serviceAccountName": "default"},
                    }
                )


def test_the_operators_file_system_is_read_only(box: Box) -> None:
    pod = find(rendered(box, "install"), "Deployment", "lossless-operator")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert "memory" in container["resources"]["limits"]


def test_the_namespaced_operator_looks_at_its_own_namespace_only(box: Box) -> None:
    objects = rendered(box, "namespaced")
    assert not [one for one in objects if one["kind"].startswith("Cluster")]
    assert len({one["metadata"]["namespace"] for one in objects}) == 1
    (container,) = find(objects, "Deployment", "lossless-operator")["spec"]["template"]["spec"]["containers"]
    assert "--namespace=$(POD_NAMESPACE)" in container["args"]


def test_every_sample_is_taken_as_it_is(bench: Bench) -> None:
    bench.kubectl("apply", "--validate=strict", "-k", str(MANIFESTS / "samples"))
    assert bench.kubectl("get", "lr", "-o", "name").split() == [
        "losslessrollout.lossless.dev/shop",
        "losslessrollout.lossless.dev/web",
    ]
