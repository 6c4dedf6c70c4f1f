"""What people see in kubectl describe is said once, whoever says it, and never stands in the way."""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossless.core.steps import Event
from lossless.telemetry import events
from lossless.telemetry.events import Events, name_of, shortened
from tests.telemetry.worlds import NOW

POD = {"apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "web-7d9f-x2x4z", "uid": "uid-1"}
COLD = Event("AdmittedCold", "let in before it was warm (12 of 50 warm-up requests)", warning=True)


@dataclass
class ApiServer:
    """Takes Events as the API server does: a second one of the same name is refused."""

    posted: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    calls: int = 0
    broken: Exception | None = None

    async def create(self, namespace: str, body: dict[str, Any]) -> bool:
        self.calls += 1
        if self.broken:
            raise self.broken
        key = (namespace, body["metadata"]["name"])
        is_new = key not in self.posted
        self.posted.setdefault(key, body)
        return is_new


@pytest.fixture
def server() -> ApiServer:
    return ApiServer()


async def test_an_event_says_what_when_and_of_whom(server: ApiServer) -> None:
    await Events(server.create, "lossless-operator-0").publish("shop", POD, COLD, NOW)
    [body] = server.posted.values()
    assert body == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": name_of(POD, COLD), "namespace": "shop"},
        "eventTime": "2026-01-01T12:00:00.000000Z",
        "type": "Warning",
        "reason": "AdmittedCold",
        "action": "Admit",
        "note": COLD.message,
        "reportingController": "lossless.dev/operator",
        "reportingInstance": "lossless-operator-0",
        "regarding": POD,
    }


async def test_what_was_said_costs_no_call(server: ApiServer) -> None:
    said = Events(server.create)
    for _ in range(100):
        await said.publish("shop", POD, COLD, NOW)
    assert server.calls == 1


async def test_the_next_process_says_nothing_twice(server: ApiServer) -> None:
    await Events(server.create).publish("shop", POD, COLD, NOW)
    later = Event("AdmittedCold", "let in before it was warm (13 of 50 warm-up requests)", warning=True)
    await Events(server.create).publish("shop", POD, later, NOW + timedelta(minutes=1))
    assert len(server.posted) == 1


async def test_after_a_while_it_is_found_out_whether_it_is_still_there(server: ApiServer) -> None:
    said = Events(server.create)
    await said.publish("shop", POD, COLD, NOW)
    server.posted.clear()  # The API server lets Events expire.
    await said.publish("shop", POD, COLD, NOW + events.SAID_FOR)
    assert len(server.posted) == 1


@pytest.mark.parametrize(
    ("regarding", "event"),
    [
        (POD | {"uid": "uid-2"}, COLD),
        (POD, Event("WarmupTimedOut", COLD.message)),
        (POD, Event("AdmittedCold", "something else")),
    ],
)
def test_another_thing_has_another_name(regarding: dict[str, str], event: Event) -> None:
    assert name_of(regarding, event) != name_of(POD, COLD)


@pytest.mark.parametrize("error", [RuntimeError("boom"), TimeoutError(), OSError("no route")])
async def test_a_post_that_fails_is_not_the_callers_trouble_and_is_tried_again_later(
    server: ApiServer, error: Exception
) -> None:
    said = Events(server.create)
    server.broken = error
    await said.publish("shop", POD, COLD, NOW)
    await said.publish("shop", POD, COLD, NOW)
    assert server.calls == 1, "not with every reconcile"
    server.broken = None
    await said.publish("shop", POD, COLD, NOW + events.TRY_AGAIN_AFTER)
    assert len(server.posted) == 1


async def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(namespace: str, body: dict[str, Any]) -> bool:
        await asyncio.sleep(60)
        raise AssertionError

    monkeypatch.setattr(events, "POST_TIMEOUT", 0.01)
    await Events(never).publish("shop", POD, COLD, NOW)


async def test_to_be_cancelled_is_no_failed_post() -> None:
    async def never(namespace: str, body: dict[str, Any]) -> bool:
        await asyncio.sleep(60)
        raise AssertionError

    publishing = asyncio.create_task(Events(never).publish("shop", POD, COLD, NOW))
    await asyncio.sleep(0)
    publishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publishing


async def test_memory_is_bounded(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MAX_REMEMBERED", 2)
    said = Events(server.create)
    for uid in ("1", "2", "3", "1"):
        await said.publish("shop", POD | {"uid": uid}, COLD, NOW)
    assert server.calls == 4
    assert len(server.posted) == 3


@given(name=st.text(alphabet="abc-.0", min_size=1, max_size=253), message=st.text())
def test_a_name_is_one_that_kubernetes_takes(name: str, message: str) -> None:
    made = name_of({"name": f"a{name}", "uid": "u"}, Event("Reason", message))
    assert len(made) <= 253
    assert not made.rsplit(".", 1)[0].endswith((".", "-"))


@given(st.text(max_size=2000))
def test_a_note_is_never_too_long(text: str) -> None:
    short = shortened(text, 1024)
    assert len(short.encode()) <= 1024
    assert short == text or (short.endswith("…") and text.startswith(short[:-1]))


@pytest.mark.parametrize(("why", "said"), [("is forbidden", True), ("because it is being terminated", False)])
async def test_that_an_event_was_not_posted_is_logged_unless_its_namespace_goes(
    caplog: pytest.LogCaptureFixture, why: str, said: bool
) -> None:
    async def refuse(namespace: str, body: dict[str, Any]) -> bool:
        raise RuntimeError(f"unable to create new content in namespace shop {why}")

    await Events(refuse).publish("shop", POD, COLD, NOW)
    assert ("was not posted" in caplog.text) is said


async def test_a_namespace_that_goes_is_asked_once_in_a_while_and_no_other_suffers(server: ApiServer) -> None:
    said = Events(server.create)
    server.broken = RuntimeError("unable to create new content in namespace shop because it is being terminated")
    for uid in ("uid-1", "uid-2", "uid-3"):
        await said.publish("shop", {**POD, "uid": uid}, COLD, NOW)
    assert server.calls == 1
    server.broken = None
    await said.publish("other", {**POD, "namespace": "other"}, COLD, NOW)
    assert list(server.posted) == [("other", name_of(POD, COLD))]
    again = NOW + events.TRY_AGAIN_AFTER + timedelta(seconds=1)
    await said.publish("shop", {**POD, "uid": "uid-2"}, COLD, again)
    assert len(server.posted) == 2
