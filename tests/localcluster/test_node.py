"""The process node in a real cluster: what happens to pods, seen through the API and by the pods themselves."""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from localcluster.box import Box
from localcluster.errors import CommandFailed
from tests.localcluster.pods import (
    SAYS_STOP,
    Cluster,
    Json,
    Recorder,
    app,
    condition,
    container,
    deployment,
    if_there,
    is_ready,
    obedient,
    pod,
    shell,
)

SLOW_STOP = SAYS_STOP.replace("    sys.exit(0)", "    time.sleep(60)")
"""Says that it was told to stop, and does not."""


@pytest.fixture
def cluster(box: Box, kube_namespace: str) -> Cluster:
    return Cluster(box, kube_namespace)


class Patience:
    """What takes ten seconds and more, as it does on a kubelet: begun with the first test, seen through beside them.

    On node-1, since a test ends node-2.
    """

    def __init__(self, cluster: Cluster, pool: ThreadPoolExecutor) -> None:
        self._cluster = cluster
        self.crashing: Future[Recorder] = pool.submit(self._crashing)
        self.missing_config_map: Future[Recorder] = pool.submit(self._missing_config_map)
        self.stranger: Future[tuple[Recorder, float, int]] = pool.submit(self._stranger)

    def _crashing(self) -> Recorder:
        """A first restart at once, a second after the back-off."""
        with self._cluster.record("crashing") as seen:
            self._cluster.create(pod("crashing", shell("c", "exit 3"), nodeName="node-1"))
            seen.until(lambda v: restarts(v) == 2, "has been restarted twice")
        return seen

    def _missing_config_map(self) -> Recorder:
        """Found missing, made, and found at the next try."""
        env = [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "k"}}}]
        later = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "later"}, "data": {"k": "v"}}
        with self._cluster.record("waiting") as seen:
            self._cluster.create(pod("waiting", shell("c", "exec sleep 600", env=env), nodeName="node-1"))
            seen.until(lambda v: "message" in state(v)["state"].get("waiting", {}), "waits")
            self._cluster.create(later)
            seen.until(is_ready, "is Ready")
        return seen

    def _stranger(self) -> tuple[Recorder, float, int]:
        """Two lies. The first is corrected at a tick, so the second is told just after one.

        Returns the record, when the second lie was told, and the number of the version that corrects it.
        """
        lie = [{"type": "Ready", "status": "False"}, {"type": "example.com/mine", "status": "True"}]
        with self._cluster.record("slandered") as seen:
            self._cluster.create(pod("slandered", obedient("c"), nodeName="node-1"))
            number = seen.until(is_ready, "is Ready")
            for _ in range(2):
                lied = time.monotonic()
                self._cluster.patch_status("slandered", lie)
                number = seen.until(lambda v: not is_ready(v), "is slandered", after=number)
                number = seen.until(is_ready, "is Ready again", after=number)
        return seen, lied, number


@pytest.fixture(scope="module", autouse=True)
def patience(box: Box) -> Iterator[Patience]:
    name = f"patience-{os.getpid()}"
    box.api.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    path = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    box.wait_until(lambda: box.api.answers(path), describe="pods can be made in it")
    with ThreadPoolExecutor(3) as pool:
        yield Patience(Cluster(box, name), pool)
    box.api.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
def nobody_waits(patience: Patience) -> None:
    """For tests that end what the patient ones need."""
    for each in (patience.crashing, patience.missing_config_map, patience.stranger):
        each.exception()


def state(version: Json, name: str = "") -> Json:
    entries = version["status"].get("containerStatuses") or [{"name": name, "state": {}}]
    found: Json = next(e for e in entries if not name or e["name"] == name)
    return found


def restarts(version: Json, name: str = "") -> int:
    return int(state(version, name).get("restartCount", 0))


def described(version: Json) -> tuple[str, str, str, str]:
    """Phase, container state, ContainersReady and Ready: what a person would tell about it."""
    return (
        version["status"]["phase"],
        next(iter(state(version)["state"]), ""),
        condition(version, "ContainersReady").get("status", ""),
        condition(version, "Ready").get("status", ""),
    )


def _condition(kind: str, version: Json) -> Json:
    return condition(version, kind)


def _has_status(kind: str, wanted: str, version: Json) -> bool:
    return bool(condition(version, kind).get("status") == wanted)


class TestLife:
    def test_a_pod_passes_through_the_documented_states_and_no_others(self, cluster: Cluster, tmp_path: Path) -> None:
        """Each state is held until it was seen: a kubelet tells the latest only, and may skip what is over already."""
        goes_on, ready = tmp_path / "goes-on", tmp_path / "ready"
        held = shell("init", f"until test -e {goes_on}; do sleep 0.05; done")
        with cluster.record("p") as seen:
            cluster.create(pod("p", obedient("c", readinessProbe=if_there(ready)), initContainers=[held]))
            seen.until(lambda v: described(v)[1] == "waiting", "waits")
            goes_on.touch()
            seen.until(lambda v: described(v)[1] == "running", "runs")
            cluster.says("p", "START", "c")
            ready.touch()
            seen.until(is_ready, "is Ready")
            cluster.delete("p")
            seen.until_deleted()
        assert seen.steps(described) == [
            ("Pending", "", "", ""),  # created, then scheduled
            ("Pending", "waiting", "False", "False"),
            ("Running", "running", "False", "False"),
            ("Running", "running", "True", "True"),  # until its containers have stopped
            ("Succeeded", "terminated", "False", "False"),
        ]
        deleting = [v for _, v in seen.events if "deletionTimestamp" in v["metadata"]]
        assert is_ready(deleting[0]), "a kubelet leaves Ready alone while the pod is being stopped"
        assert condition(deleting[-1], "Ready")["reason"] == "PodCompleted"

    def test_transition_times_change_exactly_with_the_status(self, cluster: Cluster) -> None:
        with cluster.record("p") as seen:
            cluster.create(pod("p", app()))
            cluster.until_ready("p")
            cluster.box.kubectl("label", "pod", "p", "x=y", "-n", cluster.namespace)
            cluster.delete("p")
            seen.until_deleted()
        for kind in ("Ready", "ContainersReady", "Initialized", "PodScheduled", "PodReadyToStartContainers"):
            steps = [s for s in seen.steps(partial(_condition, kind)) if s]
            for before, after in itertools.pairwise(steps):
                if before["status"] == after["status"]:
                    assert before["lastTransitionTime"] == after["lastTransitionTime"], kind

    def test_it_knows_its_address_and_its_name(self, cluster: Cluster) -> None:
        script = "echo $POD_NAME $POD_IP $NODE $LABEL $SECRET $MAP $EXPANDED; exec sleep 600"
        env = [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "MAP", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "k"}}},
            {"name": "EXPANDED", "value": "$(POD_NAME)!"},
        ]
        cluster.create(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "hidden"}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"k": "plain"}},
            pod("p", shell("c", script, env=env), terminationGracePeriodSeconds=1),
        )
        running = cluster.until_ready("p")
        cluster.says("p", "p!")
        said = cluster.logs("p").split()
        node = running["spec"]["nodeName"]
        assert said == ["p", running["status"]["podIP"], node, "p", "hidden", "plain", "p!"]
        assert running["status"]["hostIP"] == "10.0.0.1"
        assert running["status"]["podIP"].startswith(f"10.244.{node[-1]}.")

    def test_a_missing_config_map_is_waited_for(self, patience: Patience) -> None:
        seen = patience.missing_config_map.result()
        waiting = seen.events[seen.until(lambda v: "message" in state(v)["state"].get("waiting", {}), "waits")][1]
        assert state(waiting)["state"]["waiting"] == {
            "reason": "CreateContainerConfigError",
            "message": 'configmap "later" not found',
        }
        assert is_ready(seen.events[-1][1])

    def test_a_deployment_rolls(self, cluster: Cluster) -> None:
        cluster.create(deployment("web", app("--version=1")))
        where = ("-n", cluster.namespace, "--timeout=60s")
        cluster.box.kubectl("rollout", "status", "deployment/web", *where)
        first = {p["metadata"]["name"] for p in cluster.pods()}
        cluster.box.kubectl("set", "env", "deployment/web", "A=b", "-n", cluster.namespace)
        cluster.box.kubectl("rollout", "status", "deployment/web", *where)
        cluster.box.wait_until(lambda: len(cluster.pods()) == 2, describe="the old pods are gone")
        assert first.isdisjoint(p["metadata"]["name"] for p in cluster.pods())

    def test_a_job_ends_although_it_has_a_sidecar(self, cluster: Cluster, tmp_path: Path) -> None:
        hears = tmp_path / "hears"
        probe = if_there(hears, failureThreshold=600)
        sidecar = obedient("side", hears, restartPolicy="Always", startupProbe=probe)
        cluster.create(pod("p", shell("main", "exit 0"), initContainers=[sidecar], restartPolicy="Never"))
        done = cluster.until("p", lambda v: v["status"]["phase"] == "Succeeded", "has succeeded")
        assert "TERM" in cluster.logs("p", "side")
        assert condition(done, "Ready")["reason"] == "PodCompleted"

    def test_a_command_that_is_not_there_is_a_start_error(self, cluster: Cluster) -> None:
        cluster.create(pod("p", container("c", ["no-such-command"])))
        failed = cluster.until("p", lambda v: state(v).get("lastState", {}).get("terminated"), "has failed to start")
        assert state(failed)["lastState"]["terminated"]["exitCode"] == 128
        assert state(failed)["lastState"]["terminated"]["reason"] == "StartError"


class TestRestarts:
    def test_a_crashing_container_is_restarted_at_once_and_then_backs_off(self, patience: Patience) -> None:
        seen = patience.crashing.result()
        states = seen.steps(lambda v: (restarts(v), state(v)["state"].get("waiting", {}).get("reason")))
        assert (1, "CrashLoopBackOff") in states
        assert (0, "CrashLoopBackOff") not in states, "the first restart is free"
        ends = [
            state(v)["lastState"]["terminated"]
            for _, v in seen.events
            if restarts(v) == 1 and state(v).get("lastState")
        ]
        assert ends[-1]["exitCode"] == 3
        assert ends[-1]["reason"] == "Error"

    def test_a_restart_is_seen_as_unready_in_between(self, cluster: Cluster, tmp_path: Path) -> None:
        ready, crash = tmp_path / "ready", tmp_path / "crash"
        script = f"rm -f {ready} {crash}; echo START; until test -e {crash}; do sleep 0.05; done; exit 7"
        cluster.create(pod("p", shell("c", script, readinessProbe=if_there(ready)), obedient("other")))
        cluster.says("p", "START", "c")
        ready.touch()
        before = cluster.until_ready("p")
        with cluster.record("p") as seen:
            crash.touch()
            seen.until(lambda v: not is_ready(v), "is not Ready")
            cluster.box.wait_until(lambda: cluster.logs("p", "c").count("START") == 2, describe="it runs again")
            ready.touch()
            after = seen.events[seen.until(is_ready, "is Ready again")][1]
        assert restarts(after, "c") == 1
        assert state(after, "c")["lastState"]["terminated"]["exitCode"] == 7
        assert restarts(after, "other") == 0
        assert after["status"]["podIP"] == before["status"]["podIP"], "the sandbox stays"

    def test_a_failing_liveness_probe_restarts_with_grace(self, cluster: Cluster, tmp_path: Path) -> None:
        hears = tmp_path / "hears"
        probe = {"exec": {"command": ["test", "!", "-e", str(hears)]}, "periodSeconds": 1, "failureThreshold": 2}
        cluster.create(pod("p", obedient("c", hears, livenessProbe=probe)))
        after = cluster.until("p", lambda v: restarts(v) == 1, "has been restarted")
        assert "TERM" in cluster.logs("p")
        assert state(after)["lastState"]["terminated"]["exitCode"] == 0
        cluster.box.wait_until(
            lambda: (
                "Container c failed liveness probe, will be restarted"
                in cluster.box.kubectl("get", "events", "-n", cluster.namespace)
            ),
            describe="there is an Event",
        )

    def test_never_means_never(self, cluster: Cluster) -> None:
        cluster.create(pod("p", shell("c", "exit 4"), restartPolicy="Never"))
        failed = cluster.until("p", lambda v: v["status"]["phase"] == "Failed", "has failed")
        assert state(failed)["state"]["terminated"]["exitCode"] == 4
        assert condition(failed, "Ready")["reason"] == "PodFailed"


class TestReadiness:
    def test_it_follows_the_probe(self, cluster: Cluster, tmp_path: Path) -> None:
        ready = tmp_path / "ready"
        ready.touch()
        cluster.create(pod("p", obedient("app", readinessProbe=if_there(ready))))
        cluster.until_ready("p")
        ready.unlink()
        unready = cluster.until("p", lambda v: not is_ready(v), "is not Ready")
        assert condition(unready, "Ready")["message"] == "containers with unready status: [app]"
        ready.touch()
        cluster.until_ready("p")

    def test_a_probe_over_http_follows_the_answer(self, cluster: Cluster) -> None:
        probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1}
        cluster.create(pod("p", app(readinessProbe=probe)))
        ready = cluster.until_ready("p")

        def ask(path: str) -> None:
            cluster.box.run(["curl", "--silent", "--fail", f"http://{ready['status']['podIP']}:8080{path}"])

        ask("/unready?s=3600")
        cluster.until("p", lambda v: not is_ready(v), "is not Ready")
        ask("/unready?s=0")
        cluster.until_ready("p")

    def test_the_startup_probe_comes_first(self, cluster: Cluster, tmp_path: Path) -> None:
        started, ready = tmp_path / "started", tmp_path / "ready"
        ready.touch()
        slow = obedient("c", startupProbe=if_there(started, failureThreshold=600), readinessProbe=if_there(ready))

        def how(version: Json) -> tuple[bool | None, bool | None]:
            return state(version).get("started"), state(version).get("ready")

        with cluster.record("p") as seen:
            cluster.create(pod("p", slow))
            cluster.says("p", "START")
            seen.until(lambda v: state(v)["state"].get("running"), "runs")
            ready.unlink()  # up to now it would have been found, had anybody looked
            started.touch()
            seen.until(lambda v: how(v) == (True, False), "has started")
            ready.touch()
            seen.until(is_ready, "is Ready")
        assert seen.steps(how) == [(None, None), (False, False), (True, False), (True, True)]

    def test_a_gate_holds_it_and_lets_it_go_at_once(self, cluster: Cluster) -> None:
        gate = "example.com/open"
        cluster.create(pod("p", app(), readinessGates=[{"conditionType": gate}]))
        held = cluster.until("p", lambda v: condition(v, "ContainersReady").get("status") == "True", "is held")
        assert condition(held, "Ready")["reason"] == "ReadinessGatesNotReady"
        for wanted in ("True", "False", "True"):
            cluster.patch_status("p", [{"type": gate, "status": wanted}])
            # Well before a status manager's tick, which is up to ten seconds away.
            is_so = partial(_has_status, "Ready", wanted)
            changed = cluster.until("p", is_so, f"is {wanted}", timeout=4)
            assert condition(changed, gate)["status"] == wanted, "not the node's to write"

    def test_a_stranger_who_writes_ready_is_overruled_at_the_tick_and_not_before(self, patience: Patience) -> None:
        seen, lied, corrected = patience.stranger.result()
        assert seen.heard[corrected] - lied >= 8, "ten seconds from tick to tick"
        after = seen.events[corrected][1]
        assert condition(after, "example.com/mine")["status"] == "True", "what is not the node's stays"


class TestStop:
    def stopped_after(self, cluster: Cluster, grace: int | None = None) -> float:
        """Seconds a deletion took."""
        start = time.monotonic()
        cluster.delete("p", grace)
        return time.monotonic() - start

    def test_sigterm_comes_at_once_without_a_hook(self, cluster: Cluster) -> None:
        cluster.create(pod("p", obedient("c")))
        cluster.until_ready("p")
        cluster.says("p", "START")
        with cluster.record("p") as seen:
            cluster.delete("p")
            seen.until_deleted()
        assert "TERM" in cluster.logs("p")
        assert seen.events[-1][1]["status"]["phase"] == "Succeeded"

    @pytest.mark.parametrize(
        "hook",
        [
            {"sleep": {"seconds": 2}},
            {"exec": {"command": ["sh", "-c", "echo HOOK for $POD_NAME; sleep 2"]}},
        ],
        ids=["sleep", "exec"],
    )
    def test_pre_stop_comes_before_sigterm(self, cluster: Cluster, hook: Json) -> None:
        watcher = obedient("watcher", lifecycle={"preStop": hook})
        cluster.create(pod("p", watcher))
        cluster.until_ready("p")
        cluster.says("p", "START", "watcher")
        asked = time.time()
        cluster.delete("p")
        assert cluster.said_at("p", "watcher", "TERM") - asked >= 2

    def test_pre_stop_may_ask_the_container_over_http(self, cluster: Cluster) -> None:
        hook = {"httpGet": {"port": 8080, "path": "/slow?s=2"}}
        cluster.create(pod("p", app("--on-term=die", lifecycle={"preStop": hook})))
        cluster.until_ready("p")
        assert self.stopped_after(cluster) >= 2, "it was answered before SIGTERM came"

    def test_grace_includes_pre_stop_and_ends_in_sigkill(self, cluster: Cluster) -> None:
        stubborn = container(
            "c", ["python3", "-c", SLOW_STOP], lifecycle={"preStop": {"exec": {"command": ["sleep", "30"]}}}
        )
        cluster.create(pod("p", stubborn, terminationGracePeriodSeconds=1))
        cluster.until_ready("p")
        cluster.says("p", "START")
        with cluster.record("p") as seen:
            asked = time.time()
            took = self.stopped_after(cluster)
            seen.until_deleted()
        last = seen.events[-1][1]
        assert state(last)["state"]["terminated"]["exitCode"] == 137
        assert last["status"]["phase"] == "Failed"
        assert cluster.said_at("p", "c", "TERM") - asked >= 1, "preStop used up the grace period"
        assert 3 <= took < 25, "a second of grace, and the two a kubelet always adds for SIGTERM"

    def test_a_process_without_a_handler_does_not_hear_sigterm(self, cluster: Cluster) -> None:
        """Number 1 of a pid namespace: in a cluster `sleep` has to be killed, and so it has here."""
        cluster.create(pod("p", container("c", ["sleep", "600"]), terminationGracePeriodSeconds=2))
        cluster.until_ready("p")
        with cluster.record("p") as seen:
            assert self.stopped_after(cluster) >= 2
            seen.until_deleted()
        assert state(seen.events[-1][1])["state"]["terminated"]["exitCode"] == 137

    def test_deleting_again_can_only_shorten_the_grace(self, cluster: Cluster) -> None:
        cluster.create(pod("p", container("c", ["sleep", "600"]), terminationGracePeriodSeconds=120))
        cluster.until_ready("p")
        cluster.delete("p", wait=False)
        cluster.until("p", lambda v: "deletionTimestamp" in v["metadata"], "is being deleted")
        assert self.stopped_after(cluster, 2) < 60

    def test_a_gate_does_not_change_ready_while_a_pod_is_being_stopped(self, cluster: Cluster) -> None:
        gate = "example.com/open"
        hook = {"preStop": {"sleep": {"seconds": 2}}}
        cluster.create(pod("p", app(lifecycle=hook), readinessGates=[{"conditionType": gate}]))
        cluster.until("p", lambda v: condition(v, "ContainersReady").get("status") == "True", "is held")
        cluster.patch_status("p", [{"type": gate, "status": "True"}])
        cluster.until_ready("p")
        with cluster.record("p") as seen:
            cluster.delete("p", wait=False)
            cluster.until("p", lambda v: "deletionTimestamp" in v["metadata"], "is being deleted")
            cluster.patch_status("p", [{"type": gate, "status": "False"}])
            seen.until_deleted()
        lived = [v for _, v in seen.events if v["status"]["phase"] == "Running"]
        assert condition(lived[-1], gate)["status"] == "False"
        assert all(is_ready(v) for v in lived)

    def test_a_forced_deletion_stops_the_process_as_well(self, cluster: Cluster) -> None:
        cluster.create(pod("p", obedient("c")))
        cluster.until_ready("p")
        cluster.says("p", "START")
        cluster.delete("p", 0)
        cluster.says("p", "TERM")

    def test_children_of_a_container_end_with_it(self, cluster: Cluster) -> None:
        mark = f"9{time.time_ns() % 10**8}"
        listens = app()["readinessProbe"]
        cluster.create(pod("p", shell("c", f"sleep {mark} & exec sample-app", readinessProbe=listens)))
        cluster.until_ready("p")
        box = cluster.box
        box.wait_until(lambda: f"sleep {mark}" in box.run(["ps", "-eo", "args"]).stdout, describe="the child runs")
        cluster.delete("p")
        # The pod is gone when they were killed; a moment more until the machine has buried them.
        box.wait_until(lambda: f"sleep {mark}" not in box.run(["ps", "-eo", "args"]).stdout, describe="it is gone")

    def test_a_drain_evicts(self, cluster: Cluster) -> None:
        cluster.create(deployment("web", app(), replicas=3))
        cluster.box.kubectl("rollout", "status", "deployment/web", "-n", cluster.namespace, "--timeout=60s")
        node = cluster.pods()[0]["spec"]["nodeName"]
        try:
            cluster.box.kubectl(
                "drain", node, f"--pod-selector=app=web,pod-template-hash={self._hash(cluster)}", "--timeout=60s"
            )
            cluster.box.kubectl("rollout", "status", "deployment/web", "-n", cluster.namespace, "--timeout=60s")
            assert node not in {p["spec"]["nodeName"] for p in cluster.pods()}
        finally:
            cluster.box.kubectl("uncordon", node)

    @staticmethod
    def _hash(cluster: Cluster) -> str:
        return str(cluster.pods()[0]["metadata"]["labels"]["pod-template-hash"])


class TestOrder:
    def test_init_containers_then_sidecars_then_the_rest_and_back(self, cluster: Cluster, tmp_path: Path) -> None:
        """What follows a sidecar waits until its startup probe succeeds: here, until it has said that it started."""

        def init(name: str) -> Json:
            return shell(name, "echo START $(date +%s.%N)")

        def sidecar(name: str) -> Json:
            probe = if_there(tmp_path / name, failureThreshold=600)
            return obedient(name, tmp_path / name, restartPolicy="Always", startupProbe=probe)

        inits = [init("first"), sidecar("outer"), init("second"), sidecar("inner")]
        cluster.create(pod("p", obedient("main"), initContainers=inits))
        running = cluster.until_ready("p")
        cluster.says("p", "START", "main")
        order = ["first", "outer", "second", "inner", "main"]
        starts = [cluster.said_at("p", name, "START") for name in order]
        assert starts == sorted(starts)
        init_statuses = running["status"]["initContainerStatuses"]
        assert [e["name"] for e in init_statuses] == order[:4]
        assert [(e["started"], e["ready"]) for e in init_statuses] == [
            (False, True),
            (True, True),
            (False, True),
            (True, True),
        ]
        cluster.delete("p")
        stops = [cluster.said_at("p", name, "TERM") for name in ("main", "inner", "outer")]
        assert stops == sorted(stops)

    def test_a_failed_init_container_is_tried_again(self, cluster: Cluster, tmp_path: Path) -> None:
        script = f"test -e {tmp_path}/tried || {{ touch {tmp_path}/tried; exit 1; }}"
        cluster.create(pod("p", obedient("main"), initContainers=[shell("init", script)]))
        after = cluster.until_ready("p")
        assert after["status"]["initContainerStatuses"][0]["restartCount"] == 1


@pytest.mark.usefixtures("nobody_waits")
class TestTrouble:
    def test_pods_live_through_a_restart_of_the_api_server(self, cluster: Cluster) -> None:
        cluster.create(pod("p", app()))
        before = cluster.until_ready("p")
        cluster.box.process("kube-apiserver").restart()
        cluster.create(pod("q", app()))
        cluster.until_ready("q")
        after = cluster.pod("p")
        assert is_ready(after)
        assert state(after)["containerID"] == state(before)["containerID"]

    @pytest.mark.parametrize("way", ["stop", "kill"])
    def test_a_node_that_goes_down_takes_its_pods_along_and_restarts_them(self, cluster: Cluster, way: str) -> None:
        mark = f"8{time.time_ns() % 10**8}"
        # Its shell starts a child in the background, which nobody but the machine would take down.
        both = shell("c", f"setsid sleep {mark} & exec sample-app --version {mark}")
        cluster.create(pod("p", both, nodeName="node-2", terminationGracePeriodSeconds=1))
        before = cluster.until_ready("p")
        node = cluster.box.process("node-2")
        node.stop() if way == "stop" else node.kill()
        cluster.box.wait_until(lambda: mark not in cluster.box.run(["ps", "-eo", "args"]).stdout, describe="p is dead")
        assert is_ready(cluster.pod("p")), "nobody is there to tell"
        node.start()
        after = cluster.until("p", lambda v: restarts(v) == 1 and is_ready(v), "has been restarted")
        assert state(after)["lastState"]["terminated"]["exitCode"] == 255
        assert state(after)["containerID"] != state(before)["containerID"]


class TestVolumes:
    def test_files_are_where_the_container_wants_them_and_nowhere_else(self, cluster: Cluster) -> None:
        script = (
            "cat /etc/sample/k /mnt/s/hidden /mnt/info/labels; echo shared >/mnt/e/file; echo; "
            "echo x 2>/dev/null >/etc/sample/k || echo read-only; wc -c </etc/passwd; exec sleep 600"
        )
        mounts = [
            {"name": "m", "mountPath": "/etc/sample", "readOnly": True},
            {"name": "s", "mountPath": "/mnt/s"},
            {"name": "e", "mountPath": "/mnt/e"},
            {"name": "d", "mountPath": "/mnt/info"},
        ]
        label = {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}
        cluster.create(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"k": "plain\n"}},
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"hidden": "secret\n"}},
            pod(
                "p",
                shell("c", script, volumeMounts=mounts),
                shell("other", "until grep shared /mnt/x/file; do sleep 0.1; done; exec sleep 600")
                | {"volumeMounts": [{"name": "e", "mountPath": "/mnt/x"}]},
                volumes=[
                    {"name": "m", "configMap": {"name": "m"}},
                    {"name": "s", "secret": {"secretName": "s"}},
                    {"name": "e", "emptyDir": {}},
                    {"name": "d", "downwardAPI": {"items": [label]}},
                ],
                terminationGracePeriodSeconds=1,
            ),
        )
        cluster.until_ready("p")
        cluster.says("p", "shared", "other")
        size = str(Path("/etc/passwd").stat().st_size)
        cluster.says("p", size, "c")
        said = cluster.logs("p", "c").splitlines()
        assert said == ["plain", "secret", 'app="p"', "read-only", size]
        assert not os.path.exists("/etc/sample")

    def test_a_volume_hides_what_was_there_but_not_the_image(self, cluster: Cluster) -> None:
        """The image of each container is where this project is: in /tmp, for somebody who tries it there."""
        above = Path("/", Path(__file__).parts[1])
        script = f"ls -A {above}; ls {__file__}; exec sleep 600"
        mounts = [{"name": "e", "mountPath": str(above)}]
        cluster.create(pod("p", shell("c", script, volumeMounts=mounts), volumes=[{"name": "e", "emptyDir": {}}]))
        cluster.says("p", __file__, "c")
        shown = cluster.logs("p", "c").splitlines()[:-1]
        image = [Path(path).resolve() for path in (__file__, sys.prefix, *sys.path)]
        assert set(shown) == {path.parts[2] for path in image if path.is_relative_to(above)}

    def test_a_pod_with_a_service_account_of_its_own_reaches_the_api_server(self, cluster: Cluster) -> None:
        script = (
            "import os, ssl, urllib.request as u\n"
            "d = '/var/run/secrets/kubernetes.io/serviceaccount/'\n"
            "host = os.environ['KUBERNETES_SERVICE_HOST'] + ':' + os.environ['KUBERNETES_SERVICE_PORT']\n"
            "path = '/apis/authentication.k8s.io/v1/selfsubjectreviews'\n"
            "head = {'Authorization': 'Bearer ' + open(d + 'token').read(), 'Content-Type': 'application/json'}\n"
            'body = b\'{"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"}\'\n'
            "ask = u.Request(f'https://{host}{path}', body, head)\n"
            "print(u.urlopen(ask, context=ssl.create_default_context(cafile=d + 'ca.crt')).read().decode())\n"
            "print(open(d + 'namespace').read())\n"
        )
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "worker"}}
        cluster.create(account)
        cluster.create(
            pod("p", container("c", ["python3", "-c", script]), serviceAccountName="worker", restartPolicy="Never")
        )
        cluster.until("p", lambda v: v["status"]["phase"] in ("Succeeded", "Failed"), "has ended")
        said = cluster.logs("p")
        assert f"system:serviceaccount:{cluster.namespace}:worker" in said
        assert said.splitlines()[-1] == cluster.namespace


class TestKubeletApi:
    def test_exec_logs_and_metrics(self, cluster: Cluster) -> None:
        cluster.create(pod("p", shell("c", "echo one; echo two; exec sleep 600"), terminationGracePeriodSeconds=1))
        cluster.until_ready("p")
        cluster.says("p", "two")
        here = ("-n", cluster.namespace)
        kubectl = cluster.box.kubectl
        assert kubectl("logs", "p", "--tail=1", *here) == "two\n"
        assert kubectl("exec", "p", *here, "--", "sh", "-c", "echo $POD_NAME") == "p\n"
        assert kubectl("exec", "-i", "p", *here, "--", "wc", "-c", input="x" * 100_000).strip() == "100000"
        with pytest.raises(CommandFailed) as failed:
            kubectl("exec", "p", *here, "--", "sh", "-c", "echo why >&2; exit 3")
        assert failed.value.returncode == 3
        assert "why" in failed.value.stderr
        node = cluster.pod("p")["spec"]["nodeName"]
        metrics = kubectl("get", "--raw", f"/api/v1/nodes/{node}/proxy/metrics/resource")
        assert f'container_cpu_usage_seconds_total{{container="c",namespace="{cluster.namespace}",pod="p"}}' in metrics

    def test_exec_is_in_the_network_that_a_container_has_made_itself(self, cluster: Cluster) -> None:
        cluster.create(pod("p", shell("c", "exec unshare --net sh -c 'echo alone; exec sleep 600'")))
        cluster.until_ready("p")
        cluster.says("p", "alone")
        which = ("readlink", "/proc/self/ns/net")
        inside = cluster.box.kubectl("exec", "p", "-n", cluster.namespace, "--", *which)
        assert inside != cluster.box.run(which).stdout

    def test_logs_of_the_run_before(self, cluster: Cluster) -> None:
        cluster.create(pod("p", shell("c", "echo $$; exit 1")))
        cluster.until("p", lambda v: restarts(v) == 1, "has been restarted")
        cluster.box.wait_until(lambda: len(cluster.logs("p").split()) == 2, describe="it ran twice")
        first, second = cluster.logs("p").split()
        assert cluster.box.kubectl("logs", "p", "-n", cluster.namespace).strip() == second
        assert cluster.box.kubectl("logs", "p", "--previous", "-n", cluster.namespace).strip() == first
