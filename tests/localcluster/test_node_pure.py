"""What a node decides, without a cluster: environment, back-off, thresholds, conditions, actions."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from localcluster.node.actions import next_actions
from localcluster.node.addresses import AddressesExhausted, AddressPool
from localcluster.node.backoff import BackOff
from localcluster.node.environment import ConfigError, Sources, command_line, environment, expand
from localcluster.node.objects import Json, find_condition, should_restart
from localcluster.node.probes import Thresholds
from localcluster.node.status import ContainerView, Run, needs_readiness_reconcile, pod_status
from localcluster.node.status_manager import same_status, status_patch
from localcluster.node.termination import grace_period, pod_grace

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def a_pod(*names: str, init: list[Json] | None = None, **spec: object) -> Json:
    return {
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "generation": 1, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": n, "image": "i"} for n in names], "initContainers": init or [], **spec},
        "status": {},
    }


def running(count: int = 0) -> ContainerView:
    return ContainerView(current=Run("id", count, NOW))


def ended(code: int, count: int = 0) -> ContainerView:
    return ContainerView(current=Run("id", count, NOW, NOW, code, "Completed" if code == 0 else "Error"))


def status_of(
    pod: Json,
    views: dict[str, ContainerView],
    previous: Json | None = None,
    now: datetime = NOW,
    *,
    terminal: bool = False,
) -> Json:
    return pod_status(
        pod, views, previous=previous or {}, host_ip="10.0.0.1", pod_ip="10.244.1.2", now=now, terminal=terminal
    )


def condition(status: Json, kind: str) -> tuple[str, str]:
    found = find_condition(status, kind)
    assert found is not None
    return found["status"], found.get("reason", "")


class TestEnvironment:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("$(A)-$(B)", "1-2"),
            ("$$(A)", "$(A)"),
            ("$(UNKNOWN)", "$(UNKNOWN)"),
            ("$A $ $$", "$A $ $"),
            ("$(A", "$(A"),
        ],
    )
    def test_references_are_replaced_as_kubernetes_does(self, text: str, expected: str) -> None:
        assert expand(text, {"A": "1", "B": "2"}) == expected

    def make(self, env: list[Json], sources: Sources | None = None, **container: object) -> dict[str, str]:
        pod = a_pod("c")
        pod["metadata"]["annotations"] = {"note": "x"}
        pod["spec"]["nodeName"] = "node-1"
        return environment(
            pod,
            {"name": "c", "env": env, **container},
            pod_ip="10.244.1.2",
            host_ip="10.0.0.1",
            services={"KUBERNETES_SERVICE_HOST": "10.96.0.1"},
            sources=sources or Sources({}),
            allocatable={"cpu": 2.0},
        )

    def test_the_downward_api_tells_a_pod_about_itself(self) -> None:
        paths = {
            "metadata.name": "p",
            "metadata.namespace": "n",
            "metadata.uid": "u",
            "metadata.labels['app']": "web",
            "metadata.annotations['note']": "x",
            "spec.nodeName": "node-1",
            "status.podIP": "10.244.1.2",
            "status.hostIP": "10.0.0.1",
        }
        env = [{"name": f"V{i}", "valueFrom": {"fieldRef": {"fieldPath": p}}} for i, p in enumerate(paths)]
        made = self.make(env)
        assert [made[f"V{i}"] for i in range(len(paths))] == list(paths.values())

    def test_later_variables_may_use_earlier_ones_and_services(self) -> None:
        made = self.make(
            [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)$(C)$(KUBERNETES_SERVICE_HOST)"}, {"name": "C"}]
        )
        assert made["B"] == "1$(C)10.96.0.1"

    def test_env_wins_over_env_from(self) -> None:
        sources = Sources({("ConfigMap", "cm"): {"A": "from", "B": "from"}})
        made = self.make([{"name": "A", "value": "own"}], sources, envFrom=[{"configMapRef": {"name": "cm"}}])
        assert (made["A"], made["B"]) == ("own", "from")

    def test_a_missing_secret_is_an_error_unless_it_is_optional(self) -> None:
        env = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
        with pytest.raises(ConfigError, match='secret "s" not found'):
            self.make(env)
        env[0]["valueFrom"]["secretKeyRef"]["optional"] = True  # type: ignore[index]
        assert "A" not in self.make(env)

    def test_limits_are_rounded_up_to_the_divisor_and_default_to_the_node(self) -> None:
        def reference(resource: str, divisor: str) -> Json:
            return {"name": resource, "valueFrom": {"resourceFieldRef": {"resource": resource, "divisor": divisor}}}

        made = self.make(
            [reference("limits.cpu", "1"), reference("requests.cpu", "1m"), reference("limits.memory", "1Mi")],
            resources={"requests": {"cpu": "250m"}, "limits": {"memory": "64Mi"}},
        )
        assert made["limits.cpu"] == "2"
        assert made["requests.cpu"] == "250"
        assert made["limits.memory"] == "64"

    def test_a_container_must_say_what_to_run(self) -> None:
        with pytest.raises(ConfigError, match="no command"):
            command_line({"args": ["x"]}, {})
        assert command_line({"command": ["a"], "args": ["$(B)"]}, {"B": "b"}) == ["a", "b"]


class TestAddresses:
    def test_a_freed_address_is_the_last_to_be_used_again(self) -> None:
        pool = AddressPool("10.244.1.0/29")
        first = pool.take()
        assert first == "10.244.1.2"
        pool.give_back(first)
        assert [pool.take() for _ in range(5)][-1] == first

    def test_an_empty_pool_says_so(self) -> None:
        pool = AddressPool("10.244.1.0/30")
        pool.take()
        with pytest.raises(AddressesExhausted):
            pool.take()


class TestBackOff:
    def test_the_first_restart_is_free_then_ten_seconds_doubling_to_five_minutes(self) -> None:
        backoff, now, waits = BackOff(), NOW, []
        for _ in range(8):
            until = backoff.until(now)
            waits.append((until - now).total_seconds() if until else 0.0)
            backoff = backoff.restarted(now, until or now)
            now = (until or now) + timedelta(seconds=1)
        assert waits == [0, 10, 20, 40, 80, 160, 300, 300]

    def test_ten_minutes_of_life_are_a_new_start(self) -> None:
        backoff = BackOff().restarted(NOW, NOW).restarted(NOW, NOW)
        assert backoff.until(NOW + timedelta(minutes=10)) is not None
        assert backoff.until(NOW + timedelta(minutes=10, seconds=1)) is None


class TestThresholds:
    def test_a_verdict_needs_so_many_answers_in_a_row(self) -> None:
        thresholds = Thresholds(failure=3, success=2)
        answers = [False, False, True, False, False, False, False, True, True]
        assert [thresholds.count(a) for a in answers] == [None, None, None, None, None, False, False, None, True]


class TestRestartPolicy:
    @pytest.mark.parametrize(
        ("policy", "after_success", "after_failure"),
        [("Always", True, True), ("OnFailure", False, True), ("Never", False, False)],
    )
    def test_of_the_pod(self, policy: str, after_success: bool, after_failure: bool) -> None:
        pod = a_pod("c", restartPolicy=policy)
        assert should_restart(pod, {"name": "c"}, 0) is after_success
        assert should_restart(pod, {"name": "c"}, 1) is after_failure

    def test_of_a_container_comes_first(self) -> None:
        pod = a_pod("c", restartPolicy="Never")
        rule = {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}
        assert should_restart(pod, {"name": "c", "restartPolicy": "Never", "restartPolicyRules": [rule]}, 42)
        assert not should_restart(pod, {"name": "c", "restartPolicy": "Never", "restartPolicyRules": [rule]}, 1)
        assert should_restart(pod, {"name": "c", "restartPolicy": "Always"}, 0)


class TestPhase:
    def test_it_is_pending_until_each_container_has_run(self) -> None:
        pod = a_pod("a", "b")
        assert status_of(pod, {})["phase"] == "Pending"
        assert status_of(pod, {"a": running()})["phase"] == "Pending"
        assert status_of(pod, {"a": running(), "b": running()})["phase"] == "Running"

    def test_a_crashed_container_leaves_the_pod_running_when_it_will_be_restarted(self) -> None:
        assert status_of(a_pod("a", restartPolicy="Always"), {"a": ended(1)})["phase"] == "Running"
        assert status_of(a_pod("a", restartPolicy="Never"), {"a": ended(1)})["phase"] == "Failed"
        assert status_of(a_pod("a", restartPolicy="OnFailure"), {"a": ended(0)})["phase"] == "Succeeded"

    def test_a_stopped_pod_succeeded_only_if_all_of_it_did(self) -> None:
        pod = a_pod("a", "b", restartPolicy="Always")
        assert status_of(pod, {"a": ended(0), "b": ended(0)}, terminal=True)["phase"] == "Succeeded"
        assert status_of(pod, {"a": ended(0), "b": ended(137)}, terminal=True)["phase"] == "Failed"

    def test_an_ended_pod_never_comes_back(self) -> None:
        assert status_of(a_pod("a"), {"a": running()}, {"phase": "Failed"})["phase"] == "Failed"

    def test_a_sidecar_does_not_keep_a_finished_job_from_its_end(self) -> None:
        pod = a_pod("a", init=[{"name": "s", "restartPolicy": "Always"}], restartPolicy="Never")
        assert status_of(pod, {"s": running(), "a": ended(0)})["phase"] == "Running"
        assert status_of(pod, {"s": ended(143), "a": ended(0)})["phase"] == "Succeeded"


class TestConditions:
    def test_ready_needs_the_readiness_probe_where_there_is_one(self) -> None:
        pod = a_pod("a")
        assert condition(status_of(pod, {"a": running()}), "Ready") == ("True", "")
        pod["spec"]["containers"][0]["readinessProbe"] = {}
        assert condition(status_of(pod, {"a": running()}), "Ready") == ("False", "ContainersNotReady")
        ready = replace(running(), readiness=True)
        assert condition(status_of(pod, {"a": ready}), "Ready") == ("True", "")

    def test_a_started_readiness_needs_the_startup_probe_first(self) -> None:
        pod = a_pod("a")
        pod["spec"]["containers"][0]["startupProbe"] = {}
        early = status_of(pod, {"a": running()})["containerStatuses"][0]
        late = status_of(pod, {"a": replace(running(), startup=True)})["containerStatuses"][0]
        assert (early["started"], early["ready"], late["started"], late["ready"]) == (False, False, True, True)

    def test_a_gate_holds_ready_but_not_containers_ready(self) -> None:
        pod = a_pod("a", readinessGates=[{"conditionType": "example.com/gate"}])
        status = status_of(pod, {"a": running()})
        assert condition(status, "ContainersReady") == ("True", "")
        assert condition(status, "Ready") == ("False", "ReadinessGatesNotReady")
        ready = find_condition(status, "Ready")
        assert ready is not None
        assert ready["message"] == 'corresponding condition of pod readiness gate "example.com/gate" does not exist.'

        gate = {"type": "example.com/gate", "status": "False"}
        pod["status"] = {"conditions": [gate]}
        ready = find_condition(status_of(pod, {"a": running()}), "Ready")
        assert ready is not None
        assert ready["message"] == 'the status of pod readiness gate "example.com/gate" is not "True", but False'

        gate["status"] = "True"
        status = status_of(pod, {"a": running()})
        assert condition(status, "Ready") == ("True", "")
        assert gate in status["conditions"], "a condition of somebody else is kept"

    def test_only_pods_with_gates_are_looked_at_when_a_condition_changes(self) -> None:
        pod = a_pod("a")
        pod["status"] = status_of(pod, {"a": running()})
        ready = find_condition(pod["status"], "Ready")
        assert ready is not None
        ready["status"] = "False"
        assert not needs_readiness_reconcile(pod)
        pod["spec"]["readinessGates"] = [{"conditionType": "g"}]
        pod["status"]["conditions"].append({"type": "g", "status": "True"})
        assert needs_readiness_reconcile(pod)

    def test_transition_times_change_only_with_the_status(self) -> None:
        pod = a_pod("a")
        pod["spec"]["containers"][0]["readinessProbe"] = {}
        first = status_of(pod, {"a": running()})
        second = status_of(pod, {"a": running()}, first, NOW + timedelta(seconds=5))
        assert second["conditions"] == first["conditions"]
        third = status_of(pod, {"a": replace(running(), readiness=True)}, second, NOW + timedelta(seconds=9))
        times = {c["type"]: c["lastTransitionTime"] for c in third["conditions"]}
        assert times["Ready"] == times["ContainersReady"] == "2026-01-01T12:00:09Z"
        assert times["Initialized"] == "2026-01-01T12:00:00Z"

    def test_initialized_waits_for_init_containers_and_stays(self) -> None:
        pod = a_pod("a", init=[{"name": "i"}])
        assert condition(status_of(pod, {"i": running()}), "Initialized") == ("False", "ContainersNotInitialized")
        assert condition(status_of(pod, {"i": ended(0)}), "Initialized") == ("True", "")
        assert condition(status_of(pod, {"i": ended(0), "a": ended(1)}), "Initialized") == ("True", "")

    def test_a_pod_that_has_ended_is_never_ready(self) -> None:
        pod = a_pod("a", restartPolicy="Never")
        assert condition(status_of(pod, {"a": ended(0)}), "Ready") == ("False", "PodCompleted")
        assert condition(status_of(pod, {"a": ended(2)}), "Ready") == ("False", "PodFailed")


class TestContainerStatus:
    def test_back_off_is_shown_as_waiting_with_the_last_end_beside_it(self) -> None:
        view = replace(ended(3, count=2), waiting=("CrashLoopBackOff", "back-off 10s"))
        entry = status_of(a_pod("a"), {"a": view})["containerStatuses"][0]
        assert entry["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
        assert entry["lastState"]["terminated"]["exitCode"] == 3
        assert (entry["restartCount"], entry["ready"], entry["started"]) == (2, False, False)

    def test_a_finished_init_container_is_ready_and_not_started(self) -> None:
        entry = status_of(a_pod("a", init=[{"name": "i"}]), {"i": ended(0)})["initContainerStatuses"][0]
        assert (entry["ready"], entry["started"]) == (True, False)


class TestStatusManager:
    def test_somebody_elses_condition_is_no_difference_and_is_never_sent(self) -> None:
        pod = a_pod("a")
        mine = status_of(pod, {"a": running()})
        theirs = {**mine, "conditions": [*mine["conditions"], {"type": "x", "status": "True"}], "qosClass": "Burstable"}
        assert same_status(mine, theirs)
        sent = status_patch("u", theirs)
        assert {c["type"] for c in sent["status"]["conditions"]} == {
            "PodScheduled",
            "Ready",
            "ContainersReady",
            "Initialized",
            "PodReadyToStartContainers",
        }
        assert sent["metadata"] == {"uid": "u"}

    def test_an_owned_condition_that_was_written_over_is_a_difference(self) -> None:
        mine = status_of(a_pod("a"), {"a": running()})
        theirs = {**mine, "conditions": [{**c, "status": "False"} for c in mine["conditions"]]}
        assert not same_status(mine, theirs)


class TestActions:
    def start(self, pod: Json, views: dict[str, ContainerView]) -> tuple[list[str], list[str]]:
        actions = next_actions(pod, views, {})
        return actions.start_init, actions.start

    def test_init_containers_run_one_by_one_and_before_the_rest(self) -> None:
        pod = a_pod("a", "b", init=[{"name": "i"}, {"name": "j"}])
        assert self.start(pod, {}) == (["i"], [])
        assert self.start(pod, {"i": running()}) == ([], [])
        assert self.start(pod, {"i": ended(0)}) == (["j"], [])
        assert self.start(pod, {"i": ended(0), "j": ended(0)}) == ([], ["a", "b"])

    def test_a_failed_init_container_is_tried_again_or_ends_the_pod(self) -> None:
        pod = a_pod("a", init=[{"name": "i"}], restartPolicy="Always")
        assert self.start(pod, {"i": ended(1)}) == (["i"], [])
        pod["spec"]["restartPolicy"] = "Never"
        assert next_actions(pod, {"i": ended(1)}, {}).kill_pod

    def test_a_sidecar_holds_the_next_one_until_it_has_started(self) -> None:
        sidecar = {"name": "s", "restartPolicy": "Always", "startupProbe": {}}
        pod = a_pod("a", init=[sidecar, {"name": "i"}])
        assert self.start(pod, {"s": running()}) == ([], [])
        started = replace(running(), startup=True)
        assert self.start(pod, {"s": started}) == (["i"], [])
        assert self.start(pod, {"s": started, "i": ended(0)}) == ([], ["a"])

    def test_a_sidecar_that_ended_is_restarted_beside_the_running_containers(self) -> None:
        pod = a_pod("a", init=[{"name": "s", "restartPolicy": "Always"}, {"name": "i"}])
        assert self.start(pod, {"s": ended(1), "i": ended(0), "a": running()}) == (["s"], [])

    def test_when_all_regular_containers_are_done_the_sidecars_go_too(self) -> None:
        pod = a_pod("a", init=[{"name": "s", "restartPolicy": "Always"}], restartPolicy="Never")
        assert next_actions(pod, {"s": running(), "a": ended(0)}, {}).kill_pod

    def test_a_failed_liveness_probe_kills_and_restarts(self) -> None:
        actions = next_actions(a_pod("a"), {"a": running()}, {"a": "liveness"})
        assert (actions.kill, actions.start) == ({"a": "liveness"}, ["a"])


class TestGracePeriod:
    def test_deletion_knows_best_then_the_probe_then_the_pod(self) -> None:
        pod = a_pod("a", terminationGracePeriodSeconds=30)
        container = {"livenessProbe": {"terminationGracePeriodSeconds": 5}}
        assert grace_period(pod, container, None) == 30
        assert grace_period(pod, container, "liveness") == 5
        pod["metadata"]["deletionGracePeriodSeconds"] = 7
        assert grace_period(pod, container, "liveness") == 7

    def test_it_is_never_less_than_a_second(self) -> None:
        pod = a_pod("a", terminationGracePeriodSeconds=0)
        assert pod_grace(pod) == 1
