"""How an app stays registered, with a registry that does as the test says."""

from __future__ import annotations

import threading

import pytest

from localcluster.apps.registration.flags import keepers
from localcluster.apps.registration.keeper import Keeper
from localcluster.apps.registration.registration import Instance, RegistryError, UnknownOption

INSTANCE = Instance("web", "10.244.1.2", 8080, "web-1")


class Registry:
    """Notes what is asked of it; `away` and `forgetful` are for the test to set."""

    every = 0.01

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.away = False
        self.forgetful = False
        self.changed = threading.Condition()

    def until(self, *wanted: str) -> None:
        """Waits until these have been asked, in this order, whatever was asked between them."""
        with self.changed:
            assert self.changed.wait_for(lambda: self._has(wanted), 60), self.asked

    def _has(self, wanted: tuple[str, ...]) -> bool:
        asked = iter(self.asked)
        return all(each in asked for each in wanted)

    def _note(self, what: str) -> None:
        with self.changed:
            self.asked.append(what)
            self.changed.notify_all()
        if self.away:
            raise RegistryError("away")

    def register(self) -> None:
        self._note("register")
        self.forgetful = False

    def beat(self) -> bool:
        self._note("beat")
        return not self.forgetful

    def deregister(self) -> None:
        self._note("deregister")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("localcluster.apps.registration.keeper.AGAIN_AFTER", 0.01)


@pytest.mark.usefixtures("quick")
def test_it_registers_beats_and_deregisters_once() -> None:
    registry = Registry()
    keeper = Keeper("test", registry)
    keeper.start()
    registry.until("register", "beat", "beat")
    keeper.leave()
    assert registry.asked[0] == "register"
    assert registry.asked[-1] == "deregister"
    assert set(registry.asked[1:-1]) == {"beat"}


@pytest.mark.usefixtures("quick")
def test_a_registry_that_is_away_is_asked_again_until_it_is_there() -> None:
    registry = Registry()
    registry.away = True
    keeper = Keeper("test", registry)
    keeper.start()
    registry.until("register", "register")
    registry.away = False
    registry.until("register", "beat")
    registry.away = True
    registry.until("beat", "beat", "beat")
    registry.away = False
    keeper.leave()
    assert registry.asked[-1] == "deregister"


@pytest.mark.usefixtures("quick")
def test_a_registry_that_has_forgotten_is_told_again() -> None:
    registry = Registry()
    keeper = Keeper("test", registry)
    keeper.start()
    registry.until("register", "beat")
    registry.forgetful = True
    registry.until("register", "beat", "register", "beat")
    keeper.leave()


def test_what_was_never_begun_is_not_taken_back() -> None:
    registry = Registry()
    Keeper("test", registry).leave()
    assert registry.asked == []


@pytest.mark.parametrize(
    ("flag", "says"),
    [
        ("zookeeper=http://a:1", "a KIND of consul, etcd, eureka, nacos"),
        ("consul=https://a:1", "not KIND=http://HOST:PORT"),
        ("nacos=http://a:1?heart=5", "unknown: heart; there are beat, namespace, group, cluster"),
    ],
)
def test_a_flag_that_means_nothing_is_refused_with_the_reason(flag: str, says: str) -> None:
    with pytest.raises(UnknownOption, match=says):
        keepers([flag], INSTANCE, "node-1")


def test_a_registration_for_another_node_is_left_to_the_apps_there() -> None:
    flags = ["consul=http://10.0.1.11:8500?node=node-1", "consul=http://10.0.1.12:8500?node=node-2"]
    assert len(keepers(flags, INSTANCE, "node-1")) == 1
    assert len(keepers([*flags, "etcd=http://10.0.1.30:2379"], INSTANCE, "node-2")) == 2
    assert keepers(flags, INSTANCE, "") == []
