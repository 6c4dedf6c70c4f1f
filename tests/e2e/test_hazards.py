"""What can be wrong or tight about a set-up: said in a condition or a finding, and a release ends all the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from localcluster.box import Box
from localcluster.load import Plan, running
from localcluster.recorder import recording
from tests.e2e.operators import Operator
from tests.e2e.workloads import Web

QUICK = {"settle": "2s"}


def release_under_load(app: Web, meanwhile: Callable[[], object] = lambda: None) -> int:
    """A release during which nothing is lost. The fewest ready endpoints of its Service meanwhile."""
    with (
        recording(app.box, namespace=app.namespace) as seen,
        running(app.box, Plan(rate=60, callers=app.callers()), namespace=app.namespace) as run,
    ):
        begun = time.time()
        app.release("2")
        meanwhile()
        app.wait_until_rolled_out()
        outcome = run.finish()
        timeline = seen.timeline()
    assert not outcome.lost, outcome.explain()
    return timeline.fewest_serving("web", begun, time.time())


def wait_for_reason(app: Web, kind: str, reason: str, name: str = "web") -> str:
    """Until a condition has this reason; its message."""

    def message() -> str:
        status = app.box.get("losslessrollout", name, app.namespace).get("status", {})
        return next(
            (one["message"] for one in status.get("conditions", []) if (one["type"], one["reason"]) == (kind, reason)),
            "",
        )

    return app.box.wait_until(message, 20, f"{kind} says {reason}")


class TestTargets:
    def test_a_missing_target_is_said_and_taken_care_of_once_it_is_there(
        self, web: Callable[..., Web], operator: Operator
    ) -> None:
        app = web().protect()
        assert "web" in wait_for_reason(app, "Accepted", "TargetNotFound")
        app.deploy().wait_until_cared_for()

    def test_a_target_of_an_unknown_kind_is_refused_with_what_is_possible(
        self, web: Callable[..., Web], operator: Operator
    ) -> None:
        app = web()
        app.protect(targetRef={"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web"})
        assert "Deployment" in wait_for_reason(app, "Accepted", "UnsupportedKind")

    def test_of_two_that_name_one_workload_the_younger_is_refused(
        self, web: Callable[..., Web], operator: Operator
    ) -> None:
        app = web().deploy().protect(drain=QUICK).wait_until_cared_for()
        app.protect(name="younger", drain=QUICK)
        assert "web" in wait_for_reason(app, "Accepted", "AlreadyTaken", "younger")
        release_under_load(app)


def findings(app: Web) -> dict[str, str]:
    """What the status says, by reason."""
    return {one["reason"]: one["message"] for one in app.lossless().get("status", {}).get("findings", [])}


class TestWhatNobodyWatches:
    def test_ingresses_and_routes_are_findings_and_are_looked_at_again_at_a_release(
        self, web: Callable[..., Web], operator: Operator, box: Box
    ) -> None:
        app = web(replicas=1).deploy()
        upstream = {"nginx.ingress.kubernetes.io/service-upstream": "true"}
        backend = {"service": {"name": "web", "port": {"number": 80}}}
        box.apply(
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "Ingress",
                "metadata": {"name": "shop", "namespace": app.namespace, "annotations": upstream},
                "spec": {"defaultBackend": backend},
            }
        )
        named = [{"kind": "HTTPRoute", "name": name} for name in ("web", "later")]
        app.protect(warmup={"ramp": {"duration": "1s"}}, traffic={"routes": named}, drain=QUICK).wait_until_cared_for()
        said = box.wait_until(lambda: findings(app), 20, "it has findings")
        assert "Ingress shop" in said["IngressServiceUpstream"]
        assert said["RouteNotSplit"] == "New pods do not ramp in HTTPRoute later: it is not there"
        route = app.route()
        route["metadata"]["name"] = "later"
        box.apply(route)
        app.release("2")
        box.wait_until(lambda: "RouteNotSplit" not in findings(app), 40, "the route was looked at again")
        app.wait_until_rolled_out()


class TestLettingGo:
    def test_observe_touches_nothing_and_says_what_would_be_done(
        self, web: Callable[..., Web], operator: Operator
    ) -> None:
        app = web().deploy().protect(mode="Observe")
        app.box.wait_until(lambda: app.lossless().get("status", {}).get("phase") == "Observing", 20, "it observes")
        app.release("2")
        app.wait_until_rolled_out()
        for pod in app.pods():
            assert "readinessGates" not in pod["spec"]
            assert not [key for key in pod["metadata"].get("annotations", {}) if key.startswith("lossless.dev/")]

    def test_deleted_in_mid_release_it_leaves_a_workload_that_rolls_natively(
        self, web: Callable[..., Web], operator: Operator
    ) -> None:
        app = web().deploy().protect(drain={"settle": "60s"}).wait_until_cared_for()
        app.release("2")
        app.box.wait_until(lambda: "Draining" in app.stages().values(), 30, "a pod is draining")
        app.box.kubectl("delete", "losslessrollout", "web", "-n", app.namespace)
        app.wait_until_rolled_out(40)
        app.release("3")
        app.wait_until_rolled_out(40)
        assert all("readinessGates" not in pod["spec"] for pod in app.pods())
        sets = app.box.kubectl("get", "replicasets", "-n", app.namespace, "-o", "jsonpath={.items[*].metadata.labels}")
        assert "lossless.dev/keep" not in sets


class TestRoom:
    def test_without_any_surge_pods_go_one_by_one(self, web: Callable[..., Web], operator: Operator) -> None:
        app = web(replicas=3, strategy={"maxSurge": 0, "maxUnavailable": 1}).deploy().protect(drain=QUICK)
        assert release_under_load(app.wait_until_cared_for()) == 2

    def test_recreate_is_a_finding_and_the_release_ends(
        self, web: Callable[..., Web], operator: Operator, box: Box
    ) -> None:
        app = web(replicas=2).deploy()
        strategy = '{"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}}'
        box.kubectl("patch", "deployment", "web", "-n", app.namespace, "-p", strategy)
        app.protect(drain=QUICK).wait_until_cared_for()
        assert "StrategyRecreate" in [one["reason"] for one in app.lossless()["status"]["findings"]]
        app.release("2")
        app.wait_until_rolled_out(60)

    @pytest.fixture
    def full_namespace(self, web: Callable[..., Web]) -> Iterator[Web]:
        """A quota that has room for the wanted replicas and no pod more."""
        app = web(replicas=3, strategy={"maxSurge": 1, "maxUnavailable": 1})
        app.box.kubectl("create", "quota", "full", "--hard=pods=3", "-n", app.namespace)
        yield app
        app.box.kubectl("delete", "quota", "full", "-n", app.namespace)

    def test_with_room_for_no_pod_more_a_release_ends_and_says_why_fewer_serve(
        self, full_namespace: Web, operator: Operator, box: Box
    ) -> None:
        app = full_namespace.deploy().protect(drain=QUICK).wait_until_cared_for()

        def says_why() -> None:
            box.wait_until(lambda: "no room" in app.lossless()["status"]["waitingFor"], 40, "it says why")

        assert release_under_load(app, says_why) == 2

    def test_a_progress_deadline_shorter_than_warm_up_is_a_finding_and_the_release_ends(
        self, web: Callable[..., Web], operator: Operator, box: Box
    ) -> None:
        app = web(replicas=1).deploy()
        deadline = '{"spec": {"progressDeadlineSeconds": 3}}'
        box.kubectl("patch", "deployment", "web", "-n", app.namespace, "-p", deadline)
        app.protect(warmup={"delay": "8s"}, drain=QUICK).wait_until_cared_for()
        assert "ProgressDeadlineShort" in [one["reason"] for one in app.lossless()["status"]["findings"]]
        app.release("2")

        def progress() -> tuple[str, str]:
            conditions = box.get("deployment", "web", app.namespace)["status"]["conditions"]
            return next((one["status"], one["reason"]) for one in conditions if one["type"] == "Progressing")

        box.wait_until(lambda: progress() == ("False", "ProgressDeadlineExceeded"), 30, "the deadline is missed")
        box.wait_until(app.quiet, 60, "the release ends, whatever rollout status says of its deadline")


class TestTheWayIn:
    def test_a_command_in_the_pod_warms_it_up_where_requests_from_outside_are_refused(
        self, web: Callable[..., Web], operator: Operator
    ) -> None:
        """A second container listens on loopback alone, as an app does whose mesh lets nobody past its proxy. Pods
        of the box share a loopback, so each takes an address of its own there."""
        listen = "exec sample-app --host 127${POD_IP#10} --port 8090"
        address = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
        alone = {"name": "alone", "image": "sample", "command": ["sh", "-c", listen], "env": [address]}
        alone["restartPolicy"] = "Always"
        app = web(replicas=1, pod_spec={"initContainers": [alone]}).deploy()
        refused = {"port": 8090, "count": 3}
        app.protect(warmup={"requests": [refused], "onFailure": "Hold"}, drain=QUICK).wait_until_cared_for()
        app.release("2")
        app.box.wait_until(lambda: "3 failed" in app.lossless()["status"]["waitingFor"], 30, "they are refused")
        ask = "import os, urllib.request as it; it.urlopen(f'http://127{os.environ[\"POD_IP\"][2:]}:8090/')"
        inside = {"exec": {"command": ["python3", "-c", ask]}, "count": 3}
        app.protect(warmup={"requests": [inside], "onFailure": "Hold"}, drain=QUICK)
        app.release("3")
        app.wait_until_rolled_out()
        (pod,) = app.pods()
        assert pod["metadata"]["annotations"]["lossless.dev/warmed"] == "3"
        admitted = next(one for one in pod["status"]["conditions"] if one["type"] == "lossless.dev/admitted")
        assert admitted["message"].startswith("3 of 3 warm-up requests")
        assert "failed" not in admitted["message"]

    def test_a_bad_release_stops_at_its_failing_warm_up_and_an_undo_loses_nothing(
        self, web: Callable[..., Web], operator: Operator, box: Box
    ) -> None:
        app = web(replicas=2).deploy()
        failing = {"requests": [{"port": 9, "count": 2}], "onFailure": "Hold"}
        app.protect(warmup=failing, drain=QUICK).wait_until_cared_for()
        with running(box, Plan(rate=60, callers=app.callers()), namespace=app.namespace) as run:
            app.release("bad")
            box.wait_until(lambda: "onFailure" in app.lossless()["status"]["waitingFor"], 30, "it says why it stops")
            time.sleep(3)
            app.undo()
            app.wait_until_rolled_out()
            outcome = run.finish()
        assert not outcome.lost, outcome.explain()

    def test_a_container_that_restarts_goes_through_the_way_in_again(
        self, web: Callable[..., Web], operator: Operator, box: Box
    ) -> None:
        app = web(replicas=2).gated(warmup={"requests": [{"port": "http", "count": 5}]}, drain=QUICK)
        victim = app.pods()[0]
        before = victim["metadata"]["annotations"]["lossless.dev/admitted-at"]
        box.run(["curl", "-s", f"http://{victim['status']['podIP']}:8080/crash"], check=False)

        def back() -> object:
            now = box.get("pod", victim["metadata"]["name"], app.namespace)
            marks = now["metadata"]["annotations"]
            restarts = now["status"]["containerStatuses"][0]["restartCount"]
            return (
                restarts == 1
                and marks["lossless.dev/stage"] == "Admitted"
                and marks["lossless.dev/admitted-at"] > before
            )

        box.wait_until(back, 40, "it was warmed up and let in again")

    def test_somebody_else_may_keep_both_doors(self, web: Callable[..., Web], operator: Operator, box: Box) -> None:
        app = web(replicas=1).deploy().protect(drain=QUICK).wait_until_cared_for()
        (old,) = app.stages()

        def hold(pod: str, change: str) -> None:
            box.kubectl("annotate", "pod", pod, "-n", app.namespace, f"hold.lossless.dev/test{change}")

        def says(reason: str) -> bool:
            return reason in app.lossless()["status"]["waitingFor"]

        hold(old, "=out: taking a heap dump")
        kept = '{"metadata": {"annotations": {"hold.lossless.dev/test": "in: loading a model"}}}'
        box.kubectl("patch", "deployment", "web", "-n", app.namespace, "-p", f'{{"spec": {{"template": {kept}}}}}')
        box.wait_until(lambda: says("loading a model"), 30, "it says who keeps the new one out")
        (new,) = set(app.stages()) - {old}
        assert app.stages()[old] == "Admitted", "nobody goes before another one serves"
        hold(new, "-")
        box.wait_until(lambda: says("heap dump"), 30, "it says who keeps the old one")
        assert app.stages()[new] == "Admitted"
        hold(old, "-")
        app.wait_until_rolled_out()
