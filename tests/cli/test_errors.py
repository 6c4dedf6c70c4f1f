"""What a person is told when there is nothing to work with."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from aiohttp import web

from lossless.cli.main import main
from tests.pods.servers import refusing, serving


def kubeconfig(folder: Path, port: int) -> str:
    file = folder / "kubeconfig"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it", "namespace": "shop"}}],
        "clusters": [{"name": "it", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "it", "user": {}}],
    }
    file.write_text(json.dumps(content))
    return str(file)


@pytest.fixture
def empty_cluster() -> Iterator[int]:
    """A cluster that has never heard of us; it has a loop of its own, as the command line brings one along."""
    loop = asyncio.new_event_loop()
    started: asyncio.Future[int] = loop.create_future()
    stop = asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        if "lossless.dev" in request.path:
            return web.json_response({"message": "the server could not find the requested resource"}, status=404)
        if request.path.endswith("/secrets"):
            return web.json_response({"message": "secrets is forbidden"}, status=403)
        return web.json_response({"items": [], "metadata": {"resourceVersion": "1"}})

    async def serve() -> None:
        async with serving(handler) as port:
            started.set_result(port)
            await stop.wait()

    thread = Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    yield asyncio.run_coroutine_threadsafe(_value(started), loop).result(10)
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    loop.close()


async def _value(future: "asyncio.Future[int]") -> int:
    return await future


def test_a_cluster_without_our_crd(empty_cluster: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["status"], ["check", "web"], ["release", "web", "--yes"], ["release", "--all", "-A", "--yes"]):
        assert main([*command, "--kubeconfig", kubeconfig(tmp_path, empty_cluster)]) == 1
        assert capsys.readouterr().err == (
            "error: LosslessRollout is not known to this cluster: "
            "install it with kubectl apply --server-side -k manifests/install\n"
        )


def test_a_cluster_that_does_not_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--kubeconfig", kubeconfig(tmp_path, asyncio.run(refusing()))]) == 1
    assert capsys.readouterr().err.startswith("error: the cluster does not answer: ")


def test_no_kubeconfig(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "nowhere"
    assert main(["status", "--kubeconfig", str(missing)]) == 1
    assert capsys.readouterr().err == f"error: no cluster: there is no file {missing}\n"


def test_a_context_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--context", "other", "--kubeconfig", kubeconfig(tmp_path, 1)]) == 1
    assert capsys.readouterr().err.startswith("error: no cluster: ")


@pytest.mark.parametrize("arguments", [[], ["release"], ["release", "web", "--all"], ["check"], ["explode"]])
def test_what_is_no_command_is_said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: kubectl lossless" in capsys.readouterr().err
