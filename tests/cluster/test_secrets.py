"""Reading a Secret that a LosslessRollout names, and what is said where that can't be done."""

from __future__ import annotations

import base64

import pytest

from lossless.cluster.errors import ClusterError, Forbidden, Unavailable
from lossless.cluster.resources import SECRETS
from lossless.cluster.secrets import read_secret
from lossless.traffic.registries.errors import Refused, Unreachable
from tests.cluster.fake_api import FakeApi
from tests.cluster.objects import metadata


@pytest.fixture
def api() -> FakeApi:
    return FakeApi()


def secret(**data: object) -> dict[str, object]:
    return {"metadata": metadata("login"), "data": data}


async def test_its_data_is_read_by_its_name_and_nothing_else_is_asked_for(api: FakeApi) -> None:
    api.has(SECRETS, secret(username=base64.b64encode(b"nacos").decode(), password=""))
    assert await read_secret(api, "shop", "login") == {"username": b"nacos", "password": b""}
    assert api.asked() == ["get secrets"]


async def test_one_without_data_is_empty(api: FakeApi) -> None:
    api.has(SECRETS, {"metadata": metadata("login")})
    assert await read_secret(api, "shop", "login") == {}


async def test_one_that_is_not_there_is_named(api: FakeApi) -> None:
    with pytest.raises(Refused, match="there is no Secret login"):
        await read_secret(api, "shop", "login")


@pytest.mark.parametrize(
    ("failure", "error", "said"),
    [
        (Forbidden("get", "forbidden", 403), Refused, "grant it get on this one, by a Role and a RoleBinding"),
        (Unavailable("get", "no answer"), Unreachable, r"Secret login can't be read \(no answer\)"),
        (Unavailable("get", "overloaded", 503), Unreachable, r"Secret login can't be read \(503\)"),
    ],
)
async def test_what_to_do_is_said(api: FakeApi, failure: ClusterError, error: type[Exception], said: str) -> None:
    api.has(SECRETS, secret())
    api.failures["get", "login"] = failure
    with pytest.raises(error, match=said):
        await read_secret(api, "shop", "login")


@pytest.mark.parametrize("value", ["a", "\u00e4", 7])
async def test_what_is_not_base64_is_refused_and_not_shown(api: FakeApi, value: object) -> None:
    api.has(SECRETS, secret(password=value))
    with pytest.raises(Refused, match=r"^Secret login can't be read$"):
        await read_secret(api, "shop", "login")
