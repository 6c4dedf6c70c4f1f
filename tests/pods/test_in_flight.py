"""A pod is asked for its requests in flight; what can't be understood is "nobody knows", never "none"."""

import asyncio

import aiohttp
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lossless.api.resource import InFlight
from lossless.core.world import InFlightCount
from lossless.pods import in_flight
from tests.pods.servers import refusing, resetting, serving, text

METRIC = "http_requests_in_flight"
EXPOSITION = """\
# HELP http_requests_in_flight Requests being served.
# TYPE http_requests_in_flight gauge
http_requests_in_flight{handler="/"} 2
http_requests_in_flight{handler="/slow"} 1 1700000000000
# TYPE http_requests_in_flight_limit gauge
http_requests_in_flight_limit 100
# TYPE other gauge
other{broken
"""


async def ask(http: aiohttp.ClientSession, port: int, metric: str | None = METRIC) -> InFlightCount:
    return await in_flight.ask(http, "127.0.0.1", {}, InFlight(port=port, metric=metric))


async def test_samples_of_the_metric_are_added_up(http: aiohttp.ClientSession) -> None:
    async with serving(text(EXPOSITION)) as port:
        assert await ask(http, port) == InFlightCount(3.0, f"3 requests in flight ({METRIC})")


async def test_a_named_port_is_looked_up(http: aiohttp.ClientSession) -> None:
    async with serving(text("1\n")) as port:
        spec = InFlight(port="admin", path="/in-flight?plain")
        count = await in_flight.ask(http, "127.0.0.1", {"admin": port}, spec)
    assert count == InFlightCount(1.0, "1 request in flight (:admin/in-flight?plain)")


async def test_a_port_without_a_name_is_nobody_to_ask(http: aiohttp.ClientSession) -> None:
    count = await in_flight.ask(http, "127.0.0.1", {"http": 80}, InFlight(port="admin"))
    assert count == InFlightCount(None, "the pod has no port named admin (named ports: http)")


async def test_a_pod_without_an_address_is_nobody_to_ask(http: aiohttp.ClientSession) -> None:
    assert (await in_flight.ask(http, "", {}, InFlight(port=80))).requests is None


async def test_a_metric_that_is_not_there_is_not_zero(http: aiohttp.ClientSession) -> None:
    async with serving(text("# nothing to see\nhttp_requests_in_flight_limit 3\n")) as port:
        assert await ask(http, port) == InFlightCount(None, f"there is no metric {METRIC} at :{port}/metrics")


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1", "12 apples", "", "0x10"])
async def test_a_sample_that_is_no_number_of_requests_is_not_zero(http: aiohttp.ClientSession, value: str) -> None:
    async with serving(text(f'{METRIC}{{a="1"}} 5\n{METRIC}{{a="2"}} {value}\n')) as port:
        count = await ask(http, port)
    assert count.requests is None
    assert METRIC in count.evidence


@pytest.mark.parametrize("answer", ["", "none", "nan", "inf", "-3", "1_0", "0 0", "<html>0</html>", "9" * 400])
async def test_a_body_that_is_no_number_is_not_zero(http: aiohttp.ClientSession, answer: str) -> None:
    async with serving(text(answer)) as port:
        count = await ask(http, port, metric=None)
    assert count.requests is None
    assert count.evidence


@pytest.mark.parametrize(("answer", "requests"), [("0", 0.0), (" 7\n", 7.0), ("1.5e1", 15.0), ("-0", 0.0)])
async def test_a_body_that_is_a_number_is_the_count(http: aiohttp.ClientSession, answer: str, requests: float) -> None:
    async with serving(text(answer)) as port:
        assert (await ask(http, port, metric=None)).requests == requests


@pytest.mark.parametrize("status", [302, 404, 500, 503])
async def test_an_answer_with_any_other_status_is_none(http: aiohttp.ClientSession, status: int) -> None:
    asked = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(text="0", status=status, headers={"Location": "/elsewhere"})

    async with serving(handler) as port:
        assert await ask(http, port, metric=None) == InFlightCount(None, f":{port}/metrics answered {status}")
    assert asked == ["/metrics"], "a redirect must not be followed"


async def test_a_body_without_end_is_given_up(http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_flight, "MAX_BODY", 2**20)

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"a 0\n" * 10_000)

    async with serving(handler) as port:
        assert (await ask(http, port)).evidence == f":{port}/metrics answered more than 1 MiB"


async def test_a_pod_that_does_not_answer_is_not_waited_for(http: aiohttp.ClientSession) -> None:
    async def handler(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        raise AssertionError

    async with serving(handler) as port:
        count = await in_flight.ask(http, "127.0.0.1", {}, InFlight(port=port), timeout=0.05)
    assert count == InFlightCount(None, f":{port}/metrics gave no answer within 0.05 s")


async def test_a_pod_that_is_not_there_is_no_error(http: aiohttp.ClientSession) -> None:
    assert (await ask(http, await refusing())).requests is None
    async with resetting() as port:
        assert (await ask(http, port)).requests is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(st.text(alphabet=st.sampled_from('m{}=",.019 -+\n\\#NaIfe \t'), max_size=60))
def test_no_text_at_all_is_an_error(rubbish: str) -> None:
    for metric in ("m", None):
        answer = f"{rubbish}\nm {rubbish}\nm{rubbish}"
        count = in_flight.understand(answer, metric, ":80/metrics")
        assert count.requests is None or count.requests >= 0
        assert count.evidence
