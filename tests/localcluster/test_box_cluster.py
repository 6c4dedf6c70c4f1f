"""The box is a real cluster: what a user of Kubernetes expects of one, it does."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from localcluster import Box, BoxError, CommandFailed
from localcluster.api import ApiError
from localcluster.kinds import Kinds
from tests.localcluster.inside import ask, bare_service, endpoint_slice
from tests.older import OLDER, needs_older


def config_map(name: str, ns: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": ns}, "data": {"k": "v"}}


def names(box: Box, *arguments: str) -> set[str]:
    return {item["metadata"]["name"] for item in json.loads(box.kubectl("get", *arguments, "-o", "json"))["items"]}


def test_it_has_the_nodes_asked_for_and_they_are_ready(box: Box) -> None:
    assert names(box, "nodes") == {"node-1", "node-2"}
    box.kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=1s")


def test_it_runs_the_version_asked_for(box: Box) -> None:
    assert box.api.request("GET", "/version")["gitVersion"] == f"v{box.version}"


def test_its_kubeconfig_works_outside_and_the_other_one_inside(box: Box) -> None:
    ask_for_nodes = [str(box.directory / "bin" / "kubectl"), "get", "nodes", "-o", "name"]
    outside = subprocess.run(
        ask_for_nodes,
        env={**os.environ, "KUBECONFIG": str(box.kubeconfig)},
        capture_output=True,
        text=True,
        check=True,
    )
    inside = box.run(["kubectl", "get", "nodes", "-o", "name"])
    assert outside.stdout == inside.stdout == "node/node-1\nnode/node-2\n"


def test_lists_are_answered_from_the_cache_of_the_api_server_as_on_a_cluster_of_today(box: Box) -> None:
    """With an etcd before 3.5.13 it asks that, and decodes all of a namespace, for each."""

    def lists_of_etcd() -> float:
        lines = box.kubectl("get", "--raw", "/metrics").splitlines()
        asked = [line for line in lines if line.startswith("etcd_request_duration_seconds_count{")]
        assert any('operation="get"' in line for line in asked)
        return sum(float(line.split()[-1]) for line in asked if 'operation="list"' in line and '"pods"' in line)

    before = lists_of_etcd()
    for _ in range(10):
        box.listed("pods")
    assert lists_of_etcd() == before


def test_kubeconfigs_can_be_read_by_their_owner_only(box: Box) -> None:
    assert box.kubeconfig.stat().st_mode & 0o777 == 0o600
    assert box.kubeconfig_inside.stat().st_mode & 0o777 == 0o600


def test_kubectl_failures_say_what_kubectl_said(box: Box) -> None:
    with pytest.raises(CommandFailed, match='configmaps "nothing" not found'):
        box.kubectl("get", "configmap", "nothing")
    assert box.kubectl("get", "configmap", "nothing", check=False) == ""


def test_an_object_that_is_not_there_is_an_error(box: Box) -> None:
    with pytest.raises(ApiError, match='configmaps "nothing" not found'):
        box.get("configmap", "nothing")


@pytest.mark.parametrize("kind", ["Deployment", "deployment", "deployments", "deploy", "deployments.apps"])
def test_objects_are_found_by_any_name_that_kubectl_knows_their_kind_by(
    box: Box, kube_namespace: str, kind: str
) -> None:
    box.kubectl("create", "deployment", "web", "--image=sample", "--replicas=0", "-n", kube_namespace)
    assert box.get(kind, "web", kube_namespace)["metadata"]["name"] == "web"
    assert [one["metadata"]["name"] for one in box.listed(kind, kube_namespace, "app=web")] == ["web"]
    assert box.listed(kind, kube_namespace, "app=other") == []


def test_a_kind_that_two_groups_have_is_the_one_that_kubectl_means(box: Box) -> None:
    assert Kinds(box.api).of("events").base == "/api/v1"  # and not events.k8s.io
    assert Kinds(box.api).of("events.events.k8s.io").base == "/apis/events.k8s.io/v1"


def test_a_kind_that_is_not_served_is_an_error_until_it_is(box: Box) -> None:
    with pytest.raises(ApiError, match='a resource type "widgets"'):
        box.listed("widgets")
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    box.apply(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "widgets.example.com"},
            "spec": {
                "group": "example.com",
                "scope": "Namespaced",
                "names": {"kind": "Widget", "plural": "widgets", "shortNames": ["wd"]},
                "versions": [
                    {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}},
                ],
            },
        }
    )
    try:
        assert box.wait_until(lambda: box.listed("wd") == [], describe="widgets are served")
    finally:
        box.kubectl("delete", "crd", "widgets.example.com")


def test_a_service_account_may_do_what_its_roles_say_and_no_more(box: Box, kube_namespace: str) -> None:
    ns = kube_namespace
    box.kubectl("create", "serviceaccount", "reader", "-n", ns)
    box.kubectl("create", "role", "reader", "-n", ns, "--verb=get,list", "--resource=configmaps")
    box.kubectl("create", "rolebinding", "reader", "-n", ns, "--role=reader", f"--serviceaccount={ns}:reader")
    kubeconfig = str(box.kubeconfig_for(f"system:serviceaccount:{ns}:reader"))
    box.kubectl("--kubeconfig", kubeconfig, "get", "configmaps", "-n", ns)
    with pytest.raises(CommandFailed, match=f"system:serviceaccount:{ns}:reader.* cannot list resource"):
        box.kubectl("--kubeconfig", kubeconfig, "get", "secrets", "-n", ns)
    inside = box.kubeconfig_for(f"system:serviceaccount:{ns}:reader", inside=True)
    box.run(["kubectl", "get", "configmaps", "-n", ns], env={"KUBECONFIG": str(inside)})


def test_only_service_accounts_get_a_kubeconfig(box: Box) -> None:
    with pytest.raises(BoxError, match="system:serviceaccount:<namespace>:<name>"):
        box.kubeconfig_for("alice")


def test_controllers_act_under_names_of_their_own(box: Box, kube_namespace: str) -> None:
    """Admission policies tell them apart by these."""
    box.kubectl("create", "deployment", "web", "-n", kube_namespace, "--image=none", "--replicas=0")
    managers = box.wait_until(
        lambda: json.loads(
            box.kubectl("get", "replicasets", "-n", kube_namespace, "-o", "json", "--show-managed-fields")
        )["items"],
        describe="the Deployment has a ReplicaSet",
    )
    assert managers[0]["metadata"]["managedFields"][0]["manager"] == "kube-controller-manager"
    path = "/api/v1/namespaces/kube-system/serviceaccounts/deployment-controller"
    assert box.api.answers(path)


def test_a_cluster_ip_reaches_every_address_behind_it(
    box: Box, kube_namespace: str, serve: Callable[[Box, str, str], None]
) -> None:
    ns = kube_namespace
    serve(box, "10.244.200.1", "one")
    serve(box, "10.244.200.2", "two")
    box.apply([bare_service("web", ns), endpoint_slice("web", ns, ["10.244.200.1", "10.244.200.2"])])
    address = box.get("service", "web", ns)["spec"]["clusterIP"]
    box.wait_until(lambda: set(ask(box, address, times=10)) == {"one", "two"}, describe="both answer")
    box.apply(endpoint_slice("web", ns, ["10.244.200.2"]))
    box.wait_until(lambda: set(ask(box, address, times=10)) == {"two"}, describe="one is left out")


def test_an_address_inside_can_be_forwarded_to_the_outside(box: Box, serve: Callable[[Box, str, str], None]) -> None:
    serve(box, "10.244.200.3", "three")
    address = box.forward("10.244.200.3:8080")
    box.wait_until(
        lambda: (
            subprocess.run(
                ["curl", "--silent", f"http://{address}/"], capture_output=True, text=True, check=False
            ).stdout
            == "three"
        ),
        describe="it answers outside",
    )


def test_a_restart_of_the_api_server_loses_no_data(box: Box, kube_namespace: str) -> None:
    box.apply(config_map("kept", kube_namespace))
    box.process("kube-apiserver").restart()
    assert box.get("configmap", "kept", kube_namespace)["data"] == {"k": "v"}


def test_an_api_server_that_is_killed_is_gone_and_comes_back(box: Box, kube_namespace: str) -> None:
    box.apply(config_map("kept", kube_namespace))
    api_server = box.process("kube-apiserver")
    api_server.kill()
    assert not api_server.running
    assert not box.api.answers("/readyz")
    api_server.start()
    assert box.get("configmap", "kept", kube_namespace)["data"] == {"k": "v"}


@pytest.mark.parametrize("name", ["etcd", "kube-controller-manager", "kube-scheduler", "kube-proxy", "node-2"])
def test_every_component_can_be_stopped_and_started(box: Box, name: str) -> None:
    component = box.process(name)
    component.stop()
    assert not component.running
    component.start()
    assert component.running


def test_a_component_that_is_not_there_is_told_with_those_that_are(box: Box) -> None:
    with pytest.raises(BoxError, match="no process 'kubelet'; it has etcd, kube-apiserver"):
        box.process("kubelet")
    with pytest.raises(BoxError, match="no node 'node-3'; it has node-1, node-2"):
        box.node("node-3")


def test_boxes_side_by_side_do_not_see_each_other(box: Box, serve: Callable[[Box, str, str], None]) -> None:
    with Box(nodes=0) as other:
        serve(box, "10.244.200.4", "ours")
        serve(other, "10.244.200.4", "theirs")
        for which, name in ((box, "ours"), (other, "theirs")):
            which.wait_until(lambda: ask(which, "10.244.200.4:8080") == [name], describe="its own server answers")  # noqa: B023
        other.apply(config_map("theirs", "default"))
        assert "theirs" not in names(box, "configmaps")
        processes = other.run(["sh", "-c", "cat /proc/[0-9]*/comm"]).stdout.split()
        assert processes.count("kube-apiserver") == 1
        assert other.directory != box.directory
    assert not other.directory.exists()
    box.kubectl("get", "nodes")


def test_two_boxes_of_one_name_are_refused(box: Box) -> None:
    with pytest.raises(BoxError, match=f"a box named {box.name} is already running"):
        Box(name=box.name).start()


def test_a_component_that_does_not_start_is_told_with_its_log_and_leaves_nothing_running(tmp_path: Path) -> None:
    broken = Box(nodes=0, directory=tmp_path / "box", apiserver_flags=["--no-such-flag"])
    with pytest.raises(BoxError, match="unknown flag: --no-such-flag"):
        broken.start()
    assert not broken.alive
    assert (broken.logs / "kube-apiserver.log").exists()


def test_an_error_inside_the_with_says_where_the_logs_are(tmp_path: Path) -> None:
    failed = Box(nodes=0, directory=tmp_path / "box")
    with pytest.raises(ValueError, match="the user's") as error, failed:
        raise ValueError("the user's own")
    assert error.value.__notes__ == [f"The logs of the box are in {failed.logs}"]
    assert [path.name for path in failed.directory.iterdir()] == ["logs"]


@needs_older
def test_an_older_version_works_too_and_has_no_mutating_admission_policies() -> None:
    with Box(nodes=1, version=OLDER) as older:
        assert older.get("node", "node-1")["status"]["nodeInfo"]["kubeletVersion"] == f"v{OLDER}"
        with pytest.raises(CommandFailed, match="doesn't have a resource type"):
            older.kubectl("get", "mutatingadmissionpolicies")


def test_the_pinned_version_has_mutating_admission_policies(box: Box) -> None:
    assert names(box, "mutatingadmissionpolicies.v1.admissionregistration.k8s.io") == set()
