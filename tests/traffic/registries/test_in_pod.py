"""Requests made inside a pod, with the real curl, wget and shells of this machine."""

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiohttp import web

from lossless.pods.exec import MAX_OUTPUT, ExecError, ExecResult
from lossless.traffic.registries.errors import Nonsense, Refused, RegistryError, Unreachable
from lossless.traffic.registries.in_pod import Ask, Said, ask_in_pod
from tests.pods.servers import refusing, serving, text
from tests.traffic.registries.here import Here

IMAGES = {
    "curl": ["curl"],
    "wget": ["env", "timeout", "wget"],
    "bash": ["bash"],
}


def image(name: str, directory: Path) -> Here:
    return Here(directory, *IMAGES[name])


every_image = pytest.mark.parametrize("name", ["curl", "wget", "bash"])


def get(port: int, path: str = "/", **fields: object) -> Ask:
    given = {"method": "GET", "url": f"http://127.0.0.1:{port}{path}", "headers": {}, "body": ""}
    return Ask(**{**given, **fields})  # type: ignore[arg-type]


async def asked(here: Here, ask: Ask, timeout: float = 10) -> Said:
    return await ask_in_pod(here, "shop", "web-1", "app", ask, timeout)


@every_image
async def test_an_answer_has_its_status_and_body(tmp_path: Path, name: str) -> None:
    async with serving(text("OK\nall out\n")) as port:
        said = await asked(image(name, tmp_path), get(port))
    assert (said.status, said.whole) == (200, True)
    assert said.body is not None
    assert said.body.startswith("OK\nall out")


@every_image
@pytest.mark.parametrize("status", [404, 500, 503])
async def test_an_error_of_the_server_is_an_answer(tmp_path: Path, name: str, status: int) -> None:
    async with serving(text("no", status)) as port:
        assert (await asked(image(name, tmp_path), get(port))).status == status


@every_image
async def test_method_path_headers_and_body_arrive(tmp_path: Path, name: str) -> None:
    seen: list[tuple[str, str, str, str]] = []

    async def handler(request: web.Request) -> web.Response:
        body = await request.text()
        seen.append((request.method, str(request.rel_url), request.headers["X-Who"], body))
        return web.Response(text="fine")

    body = '{"status": "DOWN", "quote": "it\'s $HOME `id`"}'
    headers = {"X-Who": "us; 'them'", "Content-Type": "application/json"}
    async with serving(handler) as port:
        said = await asked(image(name, tmp_path), get(port, "/a/b?c=d&e=$f", method="POST", headers=headers, body=body))
    assert said.status == 200
    assert seen == [("POST", "/a/b?c=d&e=$f", "us; 'them'", body)]


@every_image
async def test_nobody_listening_is_no_answer(tmp_path: Path, name: str) -> None:
    with pytest.raises(Unreachable):
        await asked(image(name, tmp_path), get(await refusing()))


@every_image
async def test_a_long_answer_is_cut_and_known_to_be(tmp_path: Path, name: str) -> None:
    async with serving(text("x" * 3 * MAX_OUTPUT)) as port:
        said = await asked(image(name, tmp_path), get(port))
    assert (said.status, said.whole) == (200, False)


async def test_an_ipv6_loopback_is_reached(tmp_path: Path) -> None:
    async with serving(text("six"), "::1") as port:
        for number, name in enumerate(("curl", "wget", "bash")):
            (tmp_path / str(number)).mkdir()
            said = await asked(image(name, tmp_path / str(number)), get(0, url=f"http://[::1]:{port}/"))
            assert (said.body or "").startswith("six")


async def test_other_methods_go_by_curl_or_by_shell(tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(headers={"X-Method": request.method}, text=request.method)

    async with serving(handler) as port:
        (tmp_path / "a").mkdir()
        assert (await asked(Here(tmp_path / "a", "curl"), get(port, method="PUT"))).body == "PUT"
        (tmp_path / "b").mkdir()
        said = await asked(Here(tmp_path / "b", "env", "timeout", "wget", "bash"), get(port, method="DELETE"))
        assert (said.body or "").strip() == "DELETE"
        (tmp_path / "c").mkdir()
        assert (await asked(Here(tmp_path / "c", "curl"), get(port, method="HEAD"))).status == 200


async def test_an_image_with_nothing_to_ask_with_is_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="neither curl nor wget"):
        await asked(Here(tmp_path), get(80))


@pytest.mark.skipif("dash" not in str(Path("/bin/sh").resolve()), reason="/bin/sh of this machine is a bash")
async def test_a_shell_that_cannot_connect_is_not_taken_for_a_pod_that_does_not_answer(tmp_path: Path) -> None:
    async with serving(text("OK")) as port:
        with pytest.raises(Refused, match="neither curl nor wget"):
            await asked(Here(tmp_path, "sh"), get(port))


async def test_a_sh_that_is_bash_is_enough(tmp_path: Path) -> None:
    here = Here(tmp_path)
    found = shutil.which("bash")
    assert found
    (tmp_path / "bin" / "sh").symlink_to(found)
    async with serving(text("OK")) as port:
        assert (await asked(here, get(port))).status == 200


async def test_a_server_that_says_nothing_is_waited_for_no_longer_than_asked(tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(60)
        return web.Response()

    async with serving(handler) as port:
        with pytest.raises(Unreachable):
            await asked(image("curl", tmp_path), get(port), timeout=0.5)


async def says(*results: ExecResult | ExecError) -> Said:
    """What is made of these ends of commands, one after the other."""
    ends = iter(results)

    async def run(namespace: str, pod: str, container: str, command: Sequence[str]) -> ExecResult:
        end = next(ends)
        if isinstance(end, ExecError):
            raise end
        return end

    return await ask_in_pod(run, "shop", "web-1", "app", get(80, "/?token=sesame"), 5)


async def test_exit_codes_of_a_missing_command_lead_to_the_next_tool() -> None:
    said = await says(ExecResult(127), ExecResult(126), ExecResult(0, "HTTP/1.0 200 OK\r\n\r\nOK"))
    assert (said.status, said.body) == (200, "OK")


async def test_an_old_wget_without_our_options_leads_to_the_next_tool() -> None:
    old = ExecResult(1, "wget: unrecognized option: S\nBusyBox v1.20")
    assert (await says(ExecResult(127), old, ExecResult(0, "HTTP/1.0 204 No Content\r\n\r\n"))).status == 204


async def test_interim_answers_are_no_answers() -> None:
    said = await says(ExecResult(0, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\nA: b\r\n\r\nlater"))
    assert (said.status, said.body) == (202, "later")


async def test_an_answer_with_headers_longer_than_what_is_kept_has_an_unknown_body() -> None:
    said = await says(ExecResult(0, "HTTP/1.1 200 OK\r\nA: " + "b" * 5000))
    assert (said.status, said.body) == (200, None)


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (ExecError("the API server refused it: 403 Forbidden"), Refused),
        (ExecError("the API server refused it: 500 Internal Server Error"), Unreachable),
        (ExecError("the connection ended before the command did"), Unreachable),
        (ExecError("error executing curl http://127.0.0.1/?token=sesame"), Unreachable),
        (ExecResult(7, "curl: (7) Failed to connect to http://127.0.0.1/?token=sesame"), Unreachable),
        (ExecResult(0, "token=sesame"), Nonsense),
    ],
)
async def test_an_error_repeats_nothing_of_the_request(end: ExecResult | ExecError, kind: type[RegistryError]) -> None:
    with pytest.raises(kind) as error:
        await says(end)
    assert "sesame" not in str(error.value)
