"""A registry that lets nobody in without a login, which is in a Secret that the operator may not read by itself."""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from localcluster.box import Box
from localcluster.load.running import LoadRun
from localcluster.servers.etcd import etcd
from tests.e2e.operators import Operator
from tests.e2e_registries.registries import EtcdRegistry
from tests.e2e_registries.shops import SAID_SOON, FollowedShop, Make
from tests.e2e_registries.test_release import released
from tests.localcluster.registries import made
from tests.side_by_side import side_by_side
from tests.traffic.registries.real_etcd import Etcd

PAGE = Path(__file__).parents[2] / "docs" / "registries.md"
SECRET = "etcd-login"
OF_THE_APP, OF_THE_OPERATOR, WRONG = "ours-and-in-plain-sight", "f0r-the-0perator-al0ne", "n0t-the-0perat0rs"


class LockedEtcd(EtcdRegistry):
    """An etcd that neither says nor takes anything without a login. The app and its consumers have one of their own."""

    kind = "etcd-locked"

    def flags(self, service: str) -> Sequence[str]:
        url = f"{self.server.url}?ttl=4&user=app&password={OF_THE_APP}"
        return (f"--service={service}", f"--register=etcd={url}")

    def spec(self, service: str) -> Mapping[str, Any]:
        spec = super().spec(service)
        return {**spec, "etcd": {**spec["etcd"], "login": {"name": SECRET}}}

    def consumer(self, service: str) -> Sequence[str]:
        return (*super().consumer(service), "--login", "app", OF_THE_APP)

    def ask(self, what: str, said: dict[str, Any]) -> dict[str, Any]:
        server = Etcd(self.server.outside)
        login = {"name": "app", "password": OF_THE_APP}
        return server.ask(what, said, server.ask("auth/authenticate", login)["token"])


@pytest.fixture(scope="module")
def registry(box: Box) -> Iterator[LockedEtcd]:
    users = {"app": OF_THE_APP, "lossless": OF_THE_OPERATOR}
    with made(lambda: etcd(box, "10.0.1.31")) as server, Etcd(server.outside).with_users(users, "services/"):
        yield LockedEtcd(server)


def documented(app: FollowedShop, password: str) -> list[list[str]]:
    """The commands of the page's "Secrets": they make a Secret, a Role and a RoleBinding."""
    block = re.search(r"```sh\n(.*?)```", PAGE.read_text().partition("## Secrets\n")[2], re.DOTALL)
    assert block
    text = block[1].replace("\\\n", " ").replace("<namespace>", app.namespace)
    text = text.replace("nacos", "etcd").replace("$NACOS_PASSWORD", password)
    return [shlex.split(line.removeprefix("kubectl ")) for line in text.splitlines()]


def all_that_is_said(app: FollowedShop, operator: Operator) -> str:
    """By the operator itself, and on every object that it writes."""
    kinds = ("losslessrollouts", "pods", "replicasets", "events")
    objects = [app.box.listed(kind, app.namespace) for kind in kinds]
    return f"{operator.log}\n{operator.metrics}\n{json.dumps(objects)}"


def test_a_login_is_used_once_it_is_granted_and_is_told_to_nobody(shop: Make, operator: Operator) -> None:
    """That a Secret of another namespace can't be named: tests/api/test_api_server.py."""
    at_once = {"maxSurge": "100%", "maxUnavailable": 0}
    plain, app = (shop(replicas=2, strategy=at_once) for _ in range(2))
    secret, *grant = documented(app, WRONG)
    app.box.kubectl(*secret)
    side_by_side(plain.deploy, lambda: app.cared_for(drain=SAID_SOON))
    old = app.uids()

    def wait_until_it_says(text: str) -> None:
        app.box.wait_until(lambda: text in app.status()["waitingFor"], 40, f"it says: {text}")
        assert not app.drained()
        assert old <= app.uids(), "nobody goes"

    def step_by_step(run: LoadRun) -> None:
        wait_until_it_says(f"the operator may not read Secret {SECRET}")
        run.mark("granted")
        for command in grant:
            app.box.kubectl(*command)
        wait_until_it_says("etcd does not accept the login")
        run.mark("mended")
        right = json.dumps({"stringData": {"password": OF_THE_OPERATOR}})
        app.box.kubectl("patch", "secret", SECRET, "-n", app.namespace, "-p", right)

    by_itself, outcome = side_by_side(lambda: released(plain), lambda: released(app, step_by_step))
    assert by_itself.lost, "the harness proves nothing if a plain Deployment loses nothing"
    assert not outcome.lost, outcome.explain()
    app.wait_until_nothing_is_left()
    said = all_that_is_said(app, operator)
    assert SECRET in said
    assert OF_THE_APP in said, "what is told is found"
    for password in (OF_THE_OPERATOR, WRONG):
        assert password not in said
        assert base64.b64encode(password.encode()).decode() not in said
