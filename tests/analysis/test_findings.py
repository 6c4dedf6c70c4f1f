"""A hazard in the set-up is seen, with what it can cost and what to do; a sound set-up has none."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossless.analysis.checks import MAX_FINDINGS
from lossless.analysis.facts import Facts, Raw
from lossless.analysis.findings import find
from lossless.api.resource import Finding, LosslessRolloutSpec
from lossless.core.world import Autoscaler, ByGroup, ByNode, ByOrdinal, Early, Pod, Workload

Object = dict[str, Any]

SOUND_CONTAINER: Object = {
    "name": "app",
    "ports": [{"name": "http", "containerPort": 8080}],
    "readinessProbe": {"httpGet": {"port": "http"}},
}
SOUND_SERVICE: Object = {"metadata": {"name": "web"}, "spec": {"type": "ClusterIP"}}


def deployment(
    container: Object | None = None, template: Object | None = None, strategy: Object | None = None, **spec: Any
) -> Object:
    """A sound Deployment, but for what is given."""
    containers = [SOUND_CONTAINER | (container or {})]
    rolling = {"maxSurge": 1, "maxUnavailable": 0} | (strategy or {})
    return {
        "spec": {
            "replicas": 3,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
            "template": {"spec": {"terminationGracePeriodSeconds": 30, "containers": containers} | (template or {})},
        }
        | spec
    }


def service(**spec: Any) -> Object:
    return {"metadata": {"name": "web"}, "spec": {"type": "ClusterIP"} | spec}


def pods(*gated: bool) -> tuple[Pod, ...]:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return tuple(Pod(str(number), f"web-{number}", "rs", "new", at, gated=one) for number, one in enumerate(gated))


def found(
    raw: Raw | None = None,
    services: Sequence[Raw] = (SOUND_SERVICE,),
    pods: tuple[Pod, ...] = (),
    early: tuple[Early, ...] = (),
    revision: str = "new",
    injection: bool | None = None,
    workload: Workload | None = None,
    **spec: Any,
) -> list[Finding]:
    asked = LosslessRolloutSpec.model_validate({"targetRef": {"name": "web"}} | spec)
    facts = Facts.of(
        spec=asked,
        deployment=raw or deployment(),
        workload=workload,
        services=services,
        pods=pods,
        early=early,
        current_revision=revision,
        gate_injection_works=injection,
    )
    return find(facts)


def reasons(*args: Any, **kwargs: Any) -> list[str]:
    return [finding.reason for finding in found(*args, **kwargs)]


def stateful_set(**rule: Any) -> Workload:
    by = ByOrdinal(**rule)
    return Workload("StatefulSet", "web", "uid", 3, "new", max_surge=0, max_unavailable=1, rule=by)


def daemon_set(surge: int) -> Workload:
    by = ByNode(surges=surge > 0)
    return Workload("DaemonSet", "web", "uid", 3, "new", max_surge=surge, max_unavailable=1 - surge, rule=by)


def found_of(workload: Workload, **given: Any) -> list[str]:
    return reasons(raw=deployment(progressDeadlineSeconds=None), workload=workload, **given)


def test_a_stateful_set_deletes_before_it_makes_anew() -> None:
    assert found_of(stateful_set()) == ["NoSurge"]
    [finding] = found(workload=stateful_set())
    assert "takes away up to 1 at a time, and only 2 of 3 serve meanwhile" in finding.message


def test_a_daemon_set_does_so_without_a_surge() -> None:
    assert found_of(daemon_set(surge=0)) == ["NoSurge"]
    assert found_of(daemon_set(surge=1)) == []


def test_pods_that_are_deleted_while_ready_need_a_pre_stop_sleep() -> None:
    """Of those that ran before, and of those with no room for it, something is lost as they go."""
    before = pods(False, True)
    assert "DeletedWhileReady" in found_of(stateful_set(), pods=before)
    assert "DeletedWhileReady" in found_of(stateful_set(ordered=False, counts_unavailable=True), pods=before)
    assert "DeletedWhileReady" in found_of(stateful_set(), drain={"settle": "29s"})
    assert "DeletedWhileReady" not in found_of(stateful_set(), pods=pods(True, True))
    assert "DeletedWhileReady" not in found_of(stateful_set(ordered=False), pods=before)
    assert "DeletedWhileReady" not in found_of(stateful_set(replaces=False), pods=before)


def test_a_sound_set_up_has_none() -> None:
    assert found(pods=pods(True, True), injection=True) == []


def test_pods_that_ran_before_have_no_gate() -> None:
    [finding] = found(pods=pods(False, True, False))
    assert finding.reason == "UngatedPods"
    assert "2 of 3 pods" in finding.message
    assert "kubectl rollout restart deployment/web" in finding.fix


def test_without_the_policy_the_gate_goes_into_the_template() -> None:
    [finding] = found(pods=pods(False), injection=False)
    assert "readinessGates: [{conditionType: lossless.dev/admitted}]" in finding.fix


def early(*seconds: float) -> tuple[Early, ...]:
    """So long each of the first pods was handed out before it was let in; 0: it still is."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return tuple(
        Early(str(number), "etcd", took=timedelta(seconds=one), since=None if one else at)
        for number, one in enumerate(seconds)
    )


def test_pods_that_are_handed_out_before_they_are_let_in_can_start_closed() -> None:
    [finding] = found(pods=pods(True, True), early=early(0))
    assert finding.reason == "RegisteredEarly"
    assert finding.message.startswith("New pods were handed out by etcd before they were let in:")
    assert "docs/registries.md#applications-that-start-closed" in finding.fix


@pytest.mark.parametrize(("seconds", "said"), [(0.3, "1 s"), (1, "1 s"), (2.5, "4 s"), (90, "128 s")])
def test_for_how_long_is_said_in_figures_that_do_not_change_with_every_pod(seconds: float, said: str) -> None:
    [finding] = found(pods=pods(True, True, True), early=early(0.1, seconds, 0))
    assert f"before they were let in, for up to {said} each:" in finding.message


def test_a_release_may_have_mended_what_earlier_pods_did() -> None:
    assert found(pods=pods(True, True), early=early(0.3), revision="newer") == []


def test_two_autoscalers_fight_and_one_of_another_object_is_left_alone() -> None:
    def judged(*managed_by: str) -> list[str]:
        every = [Autoscaler(str(number), f"hpa-{number}", managed_by=one) for number, one in enumerate(managed_by)]
        asked = LosslessRolloutSpec.model_validate({"targetRef": {"name": "web"}})
        facts = Facts.of(spec=asked, deployment=deployment(), services=(SOUND_SERVICE,), autoscalers=every)
        return [finding.reason for finding in find(facts)]

    assert judged("") == []
    assert judged("", "") == ["SeveralAutoscalers"]
    assert judged("Scaler web") == ["AutoscalerManagedElsewhere"]
    assert judged("ScaledObject web") == []


def test_recreate_loses_everything_in_between() -> None:
    raw = deployment()
    raw["spec"]["strategy"] = {"type": "Recreate"}
    assert reasons(raw) == ["StrategyRecreate"]


@pytest.mark.parametrize(
    ("settle", "grace", "expected"),
    [
        ("5s", 7, []),
        ("5s", 6, ["GraceTooShort"]),
        ("5100ms", 7, ["GraceTooShort"]),
        ("0s", 3, []),
        ("0s", 2, ["GraceTooShort"]),
        ("29s", None, ["GraceTooShort"]),
    ],
)
def test_the_pre_stop_sleep_must_fit_into_the_grace_period(settle: str, grace: int | None, expected: list[str]) -> None:
    raw = deployment(template={"terminationGracePeriodSeconds": grace})
    assert reasons(raw, drain={"settle": settle}) == expected


def test_a_hook_of_its_own_needs_no_room_for_ours() -> None:
    raw = deployment({"lifecycle": {"preStop": {"httpGet": {"port": 1}}}}, {"terminationGracePeriodSeconds": 1})
    assert reasons(raw) == []


@pytest.mark.parametrize(
    ("hook", "expected"),
    [
        ({"sleep": {"seconds": 4}}, ["PreStopShort"]),
        ({"sleep": {"seconds": 5}}, []),
        ({"exec": {"command": ["sleep", "4"]}}, ["PreStopShort"]),
        ({"exec": {"command": ["/bin/sh", "-c", "nginx -s quit; /bin/sleep 2; sleep 2s"]}}, ["PreStopShort"]),
        ({"exec": {"command": ["sh", "-c", "sleep 3 && sleep 3"]}}, []),
        ({"exec": {"command": ["sh", "-c", "sleep $WAIT"]}}, []),
        ({"exec": {"command": ["/stop", "--no-sleep", "4"]}}, []),
        ({"httpGet": {"path": "/stop", "port": 80}}, []),
    ],
)
def test_a_pre_stop_sleep_of_its_own_may_be_too_short(hook: Object, expected: list[str]) -> None:
    assert reasons(deployment({"lifecycle": {"preStop": hook}})) == expected


def test_somebody_must_say_when_it_is_ready() -> None:
    assert reasons(deployment({"readinessProbe": None})) == ["NoReadinessProbe"]
    assert reasons(deployment({"readinessProbe": None, "startupProbe": {"tcpSocket": {"port": 1}}})) == []


def test_a_sidecars_probe_counts_and_its_hook_does_not() -> None:
    sidecar = SOUND_CONTAINER | {"restartPolicy": "Always", "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}
    assert reasons(deployment({"readinessProbe": None}, {"initContainers": [sidecar]})) == []
    assert reasons(deployment({"readinessProbe": None}, {"initContainers": [SOUND_CONTAINER]})) == ["NoReadinessProbe"]


@pytest.mark.parametrize(
    ("deadline", "count", "expected"),
    [(600, 100_000, []), (120, 50, ["ProgressDeadlineShort"]), (120, 4, []), (None, 50, []), (15, 1, [])],
)
def test_the_progress_deadline_should_not_pass_before_a_pod_is_in(
    deadline: int | None, count: int, expected: list[str]
) -> None:
    warmup = {"requests": [{"port": 8080, "count": count}]}
    assert reasons(deployment(progressDeadlineSeconds=deadline), warmup=warmup) == expected


def test_the_progress_deadline_should_not_pass_while_it_settles() -> None:
    assert reasons(deployment(progressDeadlineSeconds=10), drain={"settle": "16s"}) == ["ProgressDeadlineShort"]


def test_without_surge_pods_go_before_others_come() -> None:
    [finding] = found(deployment(strategy={"maxSurge": 0, "maxUnavailable": "34%"}))
    assert finding.reason == "NoSurge"
    assert "only 2 of 3 serve meanwhile" in finding.message
    raw = deployment(strategy={"maxSurge": 0, "maxUnavailable": 1}, replicas=1)
    assert [one.reason for one in found(raw)] == ["NoSurge", "SingleReplica"]
    assert "nobody serves in between" in found(raw)[0].message


def test_neither_surge_nor_unavailable_is_one_unavailable() -> None:
    """Percentages of few replicas: the Deployment controller then takes one away."""
    [finding] = found(deployment(strategy={"maxSurge": "0%", "maxUnavailable": "10%"}))
    assert "takes away up to 1 pods" in finding.message


def test_one_replica_is_one_too_few_and_none_is_a_choice() -> None:
    assert reasons(deployment(replicas=1)) == ["SingleReplica"]
    assert reasons(deployment(replicas=0)) == []


def test_a_host_port_leaves_no_room_for_a_surge_pod() -> None:
    ports = [{"name": "http", "containerPort": 80, "hostPort": 80}]
    assert reasons(deployment({"ports": ports})) == ["HostPortSurge"]
    assert reasons(deployment(template={"hostNetwork": True})) == ["HostPortSurge"]


def test_min_ready_seconds_is_waited_for_by_the_controller_alone() -> None:
    assert reasons(deployment(minReadySeconds=30)) == []
    assert reasons(deployment(strategy={"maxUnavailable": 1}, minReadySeconds=30)) == ["MinReadySeconds"]


def test_without_a_service_nothing_is_seen() -> None:
    [finding] = found(services=[], drain={"settle": "16s"})
    assert finding.reason == "NoService"
    assert "16s" in finding.message


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (service(publishNotReadyAddresses=True), ["PublishesNotReadyAddresses"]),
        (service(type="LoadBalancer", externalTrafficPolicy="Local"), ["ExternalTrafficPolicyLocal"]),
        (service(type="NodePort", externalTrafficPolicy="Local"), ["ExternalTrafficPolicyLocal"]),
        (service(type="LoadBalancer", externalTrafficPolicy="Cluster"), []),
        (service(internalTrafficPolicy="Local"), ["InternalTrafficPolicyLocal"]),
    ],
)
def test_a_service_may_send_requests_where_the_doors_do_not_reach(raw: Raw, expected: list[str]) -> None:
    assert reasons(services=[SOUND_SERVICE, raw]) == expected


def test_many_services_are_not_all_listed() -> None:
    many = [
        {"metadata": {"name": f"web-{number}"}, "spec": {"publishNotReadyAddresses": True}} for number in range(200)
    ]
    [finding] = found(services=many)
    assert "web-0, web-1, web-2 and 197 more" in finding.message


@pytest.mark.parametrize(
    ("traffic", "weighs"),
    [
        ({}, False),
        ({"registries": [{"name": "r", "eureka": {"servers": ["http://eureka"], "application": "web"}}]}, False),
        ({"routes": [{"kind": "HTTPRoute", "name": "web"}]}, True),
        ({"registries": [{"name": "r", "nacos": {"servers": ["http://nacos"], "service": "web"}}]}, True),
        ({"registries": [{"name": "r", "dubbo": {"zookeeper": ["zk:2181"], "application": "web"}}]}, True),
        (
            {"registries": [{"name": "r", "dubbo": {"zookeeper": ["zk:2181"], "application": "web", "via": "QoS"}}]},
            False,
        ),
    ],
)
def test_a_ramp_needs_something_that_carries_weights(traffic: Object, weighs: bool) -> None:
    assert reasons(warmup={"ramp": {}}, traffic=traffic) == ([] if weighs else ["RampWithoutWeights"])
    assert reasons(traffic=traffic) == []


def test_a_port_that_nobody_has_is_said() -> None:
    [finding] = found(warmup={"requests": [{"port": "grpc"}, {"port": "http"}, {"port": 99}]})
    assert finding.reason == "UnknownPort"
    assert "grpc" in finding.message
    assert reasons(drain={"inFlight": {"port": "metrics"}}) == ["UnknownPort"]


def test_a_container_that_is_not_there_is_said() -> None:
    def asked(container: str) -> Object:
        return {"requests": [{"exec": {"command": ["warm"], "container": container}}]}

    assert reasons(warmup=asked("db")) == ["UnknownContainer"]
    assert reasons(warmup=asked("app")) == []
    assert reasons(warmup=asked("")) == []


json = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 10**9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["sleep", "exec", "x"]), inner),
    max_leaves=6,
)


@given(
    replicas=json,
    grace=json,
    strategy=json,
    container=st.dictionaries(st.sampled_from(["name", "ports", "lifecycle", "readinessProbe"]), json),
    hook=json,
    metadata=json,
)
def test_no_object_at_all_is_an_error_and_findings_stay_within_bounds(
    replicas: Any, grace: Any, strategy: Any, container: dict[str, Any], hook: Any, metadata: Any
) -> None:
    raw = deployment(container, {"terminationGracePeriodSeconds": grace}, replicas=replicas)
    raw["spec"]["strategy"]["rollingUpdate"] = strategy
    raw["spec"]["template"]["spec"]["containers"].append({"name": "b" * 5000, "lifecycle": {"preStop": hook}})
    findings = found(raw, services=[{"metadata": metadata, "spec": strategy}])
    assert len(findings) <= MAX_FINDINGS
    assert len({finding.reason for finding in findings}) == len(findings), "the status lists them by reason"
    assert all(len(finding.message) <= 1024 and 0 < len(finding.fix) <= 1024 for finding in findings)


# -- Argo Rollouts -----------------------------------------------------------------------------------------------------


def argo(strategy: Object, surge: int = 1, unavailable: int = 0, pods: tuple[Pod, ...] = (), **spec: Any) -> list[str]:
    """What is found of a Rollout that is sound but for this."""
    workload = Workload("Rollout", "web", "uid", 3, "2", surge, unavailable, rule=ByGroup())
    raw = deployment()
    raw["spec"]["strategy"] = strategy
    return [one.reason for one in found(raw, pods=pods, workload=workload, **spec)]


def test_a_rollout_has_no_finding_of_a_deployments_strategy() -> None:
    assert argo({"canary": {}}) == []
    assert argo({"blueGreen": {"activeService": "web"}}, surge=3) == []


def test_a_canary_that_may_go_down_first_cannot_be_held() -> None:
    assert argo({"canary": {}}, unavailable=1) == ["RefusedDeletes"]
    assert argo({"canary": {"trafficRouting": {"nginx": {}}}}, unavailable=1) == []
    assert argo({"canary": {}}, surge=0, unavailable=1) == ["NoSurge"]


def test_of_two_who_write_a_routes_weights_one_is_too_many() -> None:
    routed: Object = {"canary": {"trafficRouting": {"plugins": {}}}}
    ramp: Object = {"warmup": {"ramp": {}}, "traffic": {"routes": [{"kind": "HTTPRoute", "name": "web"}]}}
    assert argo(routed, **ramp) == ["RouteWrittenByArgo"]
    assert argo({"canary": {}}, **ramp) == []
    assert argo(routed) == []


def test_pods_of_a_rollout_that_ran_before_are_not_to_be_evicted() -> None:
    workload = Workload("Rollout", "web", "uid", 3, "2", rule=ByGroup())
    (finding,) = found(pods=pods(True, False), workload=workload)
    assert finding.reason == "UngatedPods"
    assert "kubectl rollout restart" not in finding.fix
