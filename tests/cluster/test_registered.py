"""Pods as registries know them, and what is kept on a pod of those that were told of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lossless.api import names
from lossless.api.traffic import Consul, Etcd, Registry
from lossless.cluster.observed import SeenPod
from lossless.cluster.registered import MOST, instance_of, told_of, written
from tests.cluster import objects

ETCD = Registry(name="keys", etcd=Etcd(endpoints=["http://etcd:2379"], prefix="web/"))
CONSUL = Registry(name="catalog", consul=Consul(server="http://consul:8500", service="web"))


def seen(registries: str | None = None, **annotations: str) -> SeenPod:
    notes = {f"lossless.dev/{name.replace('_', '-')}": value for name, value in annotations.items()}
    if registries is not None:
        notes[names.REGISTRIES] = registries
    return SeenPod.parse(objects.pod("web-1-a", metadata={"annotations": notes}))


def at_port(port: int | str | None) -> Registry:
    return ETCD.model_copy(update={"port": port})


class TestAPodAsARegistryKnowsIt:
    def test_it_is_where_it_runs_with_what_was_kept_of_this_registry(self) -> None:
        originals = json.dumps({"keys": "k=v", "catalog": "other"})
        one = instance_of(seen(registry_originals=originals, told="catalog"), ETCD)
        assert (one.uid, one.namespace, one.name, one.node) == ("uid-web-1-a", "shop", "web-1-a", "node-1")
        assert (one.addresses, one.containers) == (("10.0.0.7",), ("app",))
        assert (one.original, one.told) == ("k=v", False)

    def test_that_it_was_told_is_known_from_the_pod(self) -> None:
        assert instance_of(seen(told="catalog,keys"), ETCD).told

    @pytest.mark.parametrize(("named", "port"), [(None, None), (9000, 9000), ("http", 8080)])
    def test_its_port_is_the_one_that_is_named(self, named: int | str | None, port: int | None) -> None:
        assert instance_of(seen(), at_port(named)).port == port

    def test_a_port_that_it_does_not_have_names_no_registration_of_it(self) -> None:
        assert instance_of(seen(), at_port("grpc")).port == 0


class TestWhatIsKeptOnAPod:
    def test_registries_are_read_as_they_were_written(self) -> None:
        pod = seen(written([ETCD, CONSUL], seen()), registry_originals='{"keys": "k=v"}', told="catalog")
        assert [spec for spec, _ in told_of(pod)] == [ETCD, CONSUL]

    def test_one_that_is_named_no_more_stays_as_long_as_it_is_of_use(self) -> None:
        """Its owner has taken it from the LosslessRollout while the pod was out."""
        before = seen(written([ETCD], seen()), registry_originals='{"keys": "k=v"}')
        after = seen(written([CONSUL], before), registry_originals='{"keys": "k=v"}')
        assert [spec for spec, _ in told_of(after)] == [ETCD]

    def test_only_those_that_were_told_of_it(self) -> None:
        pod = seen(written([ETCD, CONSUL], seen()), registry_originals='{"keys": "k=v"}')
        assert [(spec.name, one.original) for spec, one in told_of(pod)] == [("keys", "k=v")]
        assert told_of(seen(written([ETCD, CONSUL], seen()))) == ()

    @pytest.mark.parametrize(
        "text",
        [
            None,
            "",
            "{",
            "{}",
            "null",
            "7",
            '["keys"]',
            '[{"name": "keys"}]',
            '[{"name": "keys", "etcd": {"endpoints": ["file:///etc/passwd"], "prefix": "web/"}}]',
            "[" * 20_000,
            json.dumps([{"name": "keys", "etcd": {"endpoints": ["http://etcd:2379"], "prefix": "w" * MOST}}]),
        ],
    )
    def test_what_cannot_be_read_was_not_ours(self, text: str | None) -> None:
        pod = seen(text, registry_originals='{"keys": "k=v"}')
        assert list(told_of(pod)) == []

    def test_secrets_are_named_and_never_told(self) -> None:
        named = Registry.model_validate(
            {"name": "keys", "etcd": {"endpoints": ["http://e:1"], "prefix": "w", "login": {"name": "etcd-login"}}}
        )
        kept: list[dict[str, Any]] = json.loads(written([named], seen()))
        assert kept[0]["etcd"]["login"] == {"name": "etcd-login"}
