"""The fake of Nacos does what its sources say, quirk by quirk; each test quotes its own.

Code is alibaba/nacos at 486e198 unless said otherwise. What rnacos does as well is held on the real thing, in
tests/localcluster/test_servers_nacos.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.fakes.nacos import FakeNacos

IP = "10.244.1.2"
ADMIN = "/v3/admin/ns/instance"


class Asking:
    """Requests to the first node of a fake."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self._base = base
        self.token = ""

    async def __call__(self, method: str, path: str, **params: str) -> tuple[int, Any]:
        """Status, and the body: parsed if it is JSON."""
        which = {"serviceName": "shop", "ip": IP, "port": "8080", "clusterName": "DEFAULT", **params}
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with self._session.request(method, self._base + path, params=which, headers=headers) as answer:
            is_json = answer.content_type == "application/json"
            return answer.status, await (answer.json() if is_json else answer.text())


@asynccontextmanager
async def asking(fake: FakeNacos) -> AsyncIterator[Asking]:
    async with fake.running(), aiohttp.ClientSession() as session:
        yield Asking(session, fake.servers[0])


async def seen(ask: Asking) -> list[tuple[bool, float]]:
    """As an administrator sees them: enabled and weight of each instance."""
    _, body = await ask("GET", f"{ADMIN}/list")
    return [(host["enabled"], host["weight"]) for host in body["data"] or ()]


async def test_an_update_is_laid_over_what_the_client_publishes_and_outlasts_it() -> None:
    """`updateInstance` writes an InstanceMetadata by ip:port:cluster and never the client's record; the client that
    registers again does not clear it. "higher priority and remembered" (alibaba/nacos#12033)."""
    fake = FakeNacos("3.2")
    fake.register(IP)
    async with asking(fake) as ask:
        await ask("PUT", ADMIN, enabled="false", weight="1")
        fake.register(IP)
        assert await seen(ask) == [(False, 1.0)]


async def test_an_override_is_inherited_by_the_next_pod_on_the_address_within_a_minute() -> None:
    """`nacos.naming.clean.expired-metadata.expired-time`, 60000 ms, counts from deregistration, and who registers the
    same ip:port:cluster before that ends the counting (NamingMetadataManager; #8853, #12033, #13131)."""
    fake = FakeNacos("3.2")
    fake.register(IP)
    async with asking(fake) as ask:
        await ask("PUT", ADMIN, enabled="false", weight="1")
        fake.deregister(IP)
        fake.register(IP)
        fake.a_minute_passes()
        assert await seen(ask) == [(False, 1.0)]


async def test_an_override_is_forgotten_a_minute_after_its_instance_has_gone() -> None:
    """As above, when nobody registers meanwhile."""
    fake = FakeNacos("3.2")
    fake.register(IP)
    async with asking(fake) as ask:
        await ask("PUT", ADMIN, enabled="false", weight="1")
        fake.deregister(IP)
        fake.a_minute_passes()
        fake.register(IP)
        assert await seen(ask) == [(True, 1.0)]


@pytest.mark.parametrize("path", [ADMIN, f"{ADMIN}/partial"])
async def test_what_an_update_leaves_out_is_set_to_its_default_even_by_partial(path: str) -> None:
    """InstanceForm: weight 1.0, enabled true. InstanceControllerV3.partialUpdateInstance calls `form.validate()`, which
    fills the defaults in, before it looks what was given."""
    fake = FakeNacos("3.2")
    fake.register(IP, weight=5.0)
    async with asking(fake) as ask:
        await ask("PUT", path, enabled="false")
        assert await seen(ask) == [(False, 1.0)]
        await ask("PUT", path, weight="7")
        assert await seen(ask) == [(True, 7.0)]


async def test_the_patch_of_v1_leaves_alone_what_is_left_out() -> None:
    """InstanceController.patch, 2.x: InstancePatchObject sets what it was given only."""
    fake = FakeNacos("2")
    fake.register(IP)
    async with asking(fake) as ask:
        which = {"serviceName": "DEFAULT_GROUP@@shop"}
        await ask("PUT", "/v1/ns/instance", **which, enabled="false", weight="3")
        await ask("PATCH", "/v1/ns/instance", **which, weight="7")
        _, body = await ask("GET", "/v1/ns/catalog/instances", **which)
        assert [(host["enabled"], host["weight"]) for host in body["list"]] == [(False, 7.0)]


@pytest.mark.parametrize(("grpc", "left"), [(True, 1), (False, 0)])
async def test_the_delete_of_a_grpc_clients_instance_answers_ok_and_does_nothing(grpc: bool, left: int) -> None:
    """`removeInstance` looks for the client `ip:port#true`; that of a gRPC client has its connection's id: "remove
    instance from non-exist client" in the log, and ok."""
    fake = FakeNacos("2")
    fake.register(IP, grpc=grpc)
    async with asking(fake) as ask:
        assert (await ask("DELETE", "/v1/ns/instance", serviceName="DEFAULT_GROUP@@shop"))[1] == "ok"
        assert len(fake.published) == left


@pytest.mark.parametrize(
    ("version", "status"), [("1", 200), ("2", 200), ("3.0", 410), ("3.2", 405)], ids=lambda value: str(value)
)
async def test_the_old_api_for_administrators_is_gone_in_3_0_and_not_even_there_in_3_2(
    version: str, status: int
) -> None:
    """ApiCompatibilityFilter, 3.0.3: 410 unless `nacos.core.api.compatibility.admin.enabled`. 3.2's upgrading page: v1
    and v2 are removed; deduced from Spring: what is left takes them for static files, which have no PUT (405)."""
    fake = FakeNacos(version)
    fake.register(IP)
    async with asking(fake) as ask:
        answer = await ask("PUT", "/v1/ns/instance", serviceName="DEFAULT_GROUP@@shop", enabled="true", weight="1")
        assert answer[0] == status


@pytest.mark.parametrize(("version", "status"), [("3.0", 200), ("3.2", 404)])
async def test_the_old_list_for_clients_is_still_there_in_3_0(version: str, status: int) -> None:
    """ApiCompatibilityFilter: `...compatibility.client.enabled` is true by default."""
    async with asking(FakeNacos(version)) as ask:
        assert (await ask("GET", "/v1/ns/instance/list", serviceName="DEFAULT_GROUP@@shop"))[0] == status


async def test_only_the_admin_api_wants_a_login_by_default_in_3() -> None:
    """`nacos.core.auth.admin.enabled=true`, `nacos.core.auth.enabled=false`; a token by
    `POST /v3/auth/user/login`, sent as a Bearer."""
    fake = FakeNacos("3.2", admin_auth=True)
    fake.register(IP)
    async with asking(fake) as ask:
        assert (await ask("GET", f"{ADMIN}/list"))[0] == 403
        assert (await ask("GET", "/v3/client/ns/instance/list"))[0] == 200
        assert (await ask("POST", "/v3/auth/user/login", username="operator", password="wrong"))[0] == 403
        _, login = await ask("POST", "/v3/auth/user/login", username="operator", password=fake.password)
        assert login["tokenTtl"] == 18000
        ask.token = login["accessToken"]
        assert (await ask("GET", f"{ADMIN}/list"))[0] == 200


@pytest.mark.parametrize(
    ("version", "consumers", "administrators", "name"),
    [
        ("3.2", "/v3/client/ns/instance/list", f"{ADMIN}/list", "shop"),
        ("1", "/v1/ns/instance/list", "/v1/ns/catalog/instances", "DEFAULT_GROUP@@shop"),
    ],
)
async def test_administrators_see_what_consumers_are_not_shown(
    version: str, consumers: str, administrators: str, name: str
) -> None:
    """ServiceUtil.selectInstances keeps `enabled` instances only, before any other filter; the lists for
    administrators (CatalogController; v3 InstanceControllerV3.list) do not go through it."""
    fake = FakeNacos(version)
    fake.register(IP, enabled=False)

    def count(body: Any) -> int:
        found = body.get("data", body)
        return len(found if isinstance(found, list) else found.get("hosts", found.get("list")))

    async with asking(fake) as ask:
        assert count((await ask("GET", consumers, serviceName=name))[1]) == 0
        assert count((await ask("GET", administrators, serviceName=name))[1]) == 1


async def test_a_protect_threshold_passes_the_unhealthy_off_as_healthy_but_never_the_disabled() -> None:
    """ServiceUtil.doSelectInstances: if healthy / total <= threshold, all are returned, as healthy."""
    fake = FakeNacos("3.2")
    fake.protect_threshold = 0.5
    fake.register(IP)
    fake.register("10.244.1.3", healthy=False)
    fake.register("10.244.1.4", enabled=False)
    async with asking(fake) as ask:
        _, body = await ask("GET", "/v3/client/ns/instance/list")
        assert [(host["ip"], host["healthy"]) for host in body["data"]] == [(IP, True), ("10.244.1.3", True)]


async def test_without_a_raft_leader_reads_work_and_writes_do_not() -> None:
    """The override goes through Raft (CP), what clients publish through Distro (AP)."""
    fake = FakeNacos("3.2")
    fake.register(IP)
    fake.nodes[0].leaderless = True
    async with asking(fake) as ask:
        assert (await ask("PUT", ADMIN, enabled="false", weight="1"))[0] == 500
        assert await seen(ask) == [(True, 1.0)]
