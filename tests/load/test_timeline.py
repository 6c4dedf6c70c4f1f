"""What the recorder makes of objects, and what a timeline makes of the recorder's lines."""

from __future__ import annotations

from typing import Any

from localcluster.recorder import Recorder
from localcluster.timeline import DeploymentState, PodState, Timeline, line_of

T0 = 1_700_000_000.0


def a_pod(name: str = "web-1", ready: bool = False, **extra: Any) -> dict[str, Any]:
    status = "True" if ready else "False"
    conditions = [
        {"type": "Ready", "status": status, "reason": "" if ready else "ReadinessGatesNotReady"},
        {"type": "ContainersReady", "status": "True"},
        {"type": "example.com/door", "status": status},
    ]
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "creationTimestamp": "2023-11-14T22:13:00Z",
            "labels": {"pod-template-hash": "abc"},
            "annotations": {"example.com/stage": "Warming", "other": "x"},
            **extra,
        },
        "spec": {"nodeName": "node-1", "readinessGates": [{"conditionType": "example.com/door"}]},
        "status": {
            "podIP": "10.244.1.2",
            "conditions": conditions,
            "containerStatuses": [{"state": {"running": {}}, "restartCount": 1}],
        },
    }


def a_slice(name: str, *endpoints: tuple[str, bool], service: str = "web") -> dict[str, Any]:
    return {
        "metadata": {"uid": name, "labels": {"kubernetes.io/service-name": service}},
        "endpoints": [{"addresses": [address], "conditions": {"ready": ready}} for address, ready in endpoints],
    }


class Lines(list[str]):
    """Takes the place of the file."""

    def recorder(self) -> Recorder:
        return Recorder(lambda entry: self.append(line_of(entry)), ["example.com/"])

    def timeline(self) -> Timeline:
        return Timeline.parse(self)


def test_a_pod_object_is_read_with_its_gates_reasons_and_chosen_annotations() -> None:
    state = PodState.of(a_pod(), T0, ["example.com/"])
    assert state == PodState(
        at=T0,
        scheduled=True,
        running=True,
        containers_ready=True,
        restarts=1,
        node="node-1",
        address="10.244.1.2",
        gates={"example.com/door": False},
        reasons={"Ready": "ReadinessGatesNotReady"},
        annotations={"example.com/stage": "Warming"},
    )
    assert state.stage == "Warming"


def test_without_a_stage_annotation_the_stage_is_what_kubernetes_says() -> None:
    assert PodState(T0).stage == "Created"
    assert PodState(T0, scheduled=True).stage == "Scheduled"
    assert PodState(T0, scheduled=True, running=True).stage == "Started"
    assert PodState(T0, running=True, ready=True).stage == "Ready"
    assert PodState(T0, running=True, ready=True, terminating=True).stage == "Terminating"
    assert PodState(T0, terminating=True, gone=True).stage == "Gone"


def test_a_pods_passage_is_recorded_without_what_changes_nothing() -> None:
    lines = Lines()
    recorder = lines.recorder()
    recorder.saw_pod(a_pod(), T0, gone=False)
    recorder.saw_pod(a_pod(resourceVersion="2"), T0 + 1, gone=False)
    recorder.saw_pod(a_pod(ready=True, annotations={}), T0 + 2, gone=False)
    recorder.saw_pod(a_pod(annotations={}, deletionTimestamp="now"), T0 + 3, gone=False)
    recorder.saw_pod(a_pod(annotations={}, deletionTimestamp="now"), T0 + 4, gone=True)
    pod = lines.timeline().pod("web-1")
    assert pod is not None
    assert pod.revision == "abc"
    assert pod.created == T0 - 20
    assert pod.stages() == ((T0, "Warming"), (T0 + 2, "Ready"), (T0 + 3, "Terminating"), (T0 + 4, "Gone"))
    assert pod.ended == T0 + 4
    state = pod.at(T0 + 2.5)
    assert state is not None
    assert state.ready
    assert pod.at(T0 - 1) is None


def test_serving_is_the_ready_addresses_of_all_slices_of_a_service() -> None:
    lines = Lines()
    recorder = lines.recorder()
    recorder.saw_slice(a_slice("one", ("10.244.1.2", True), ("10.244.1.3", False)), T0, gone=False)
    recorder.saw_slice(a_slice("two", ("10.244.2.2", True)), T0 + 1, gone=False)
    recorder.saw_slice(a_slice("other", ("10.244.9.9", True), service="api"), T0 + 1, gone=False)
    recorder.saw_slice(a_slice("one", ("10.244.1.2", False)), T0 + 2, gone=False)
    recorder.saw_slice(a_slice("two"), T0 + 3, gone=True)
    timeline = lines.timeline()
    assert timeline.serving("web", T0, T0 + 9) == ((T0, 1), (T0 + 1, 2), (T0 + 2, 1), (T0 + 3, 0))
    assert timeline.serving("web", T0 + 1.5, T0 + 2.5) == ((T0 + 1.5, 2), (T0 + 2, 1))
    assert timeline.fewest_serving("web", T0 + 1.5, T0 + 2.5) == 1
    assert timeline.most_serving("web", T0, T0 + 9) == 2


def test_an_address_is_found_to_be_the_pod_that_had_it_last() -> None:
    lines = Lines()
    recorder = lines.recorder()
    recorder.saw_pod(a_pod("web-1"), T0, gone=False)
    recorder.saw_pod(a_pod("web-2", creationTimestamp="2023-11-14T22:14:00Z"), T0 + 50, gone=False)
    timeline = lines.timeline()
    before, after = timeline.pod_at("10.244.1.2:8080", T0), timeline.pod_at("10.244.1.2", T0 + 60)
    assert before is not None
    assert after is not None
    assert (before.name, after.name) == ("web-1", "web-2")
    assert timeline.pod_at("10.244.7.7:8080", T0) is None


def test_a_release_is_over_when_nothing_old_is_left_and_all_is_available() -> None:
    def settled(**status: int) -> bool:
        deployment = {"metadata": {"name": "web", "generation": 2}, "spec": {"replicas": 4}, "status": status}
        return DeploymentState.of(deployment, T0).settled

    done = {"observedGeneration": 2, "replicas": 4, "updatedReplicas": 4, "availableReplicas": 4}
    assert settled(**done)
    assert not settled(**{**done, "observedGeneration": 1})
    assert not settled(**{**done, "replicas": 5})
    assert not settled(**{**done, "updatedReplicas": 3})
    assert not settled(**{**done, "availableReplicas": 3})
