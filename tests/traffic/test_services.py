"""What Services hold of a pod, as their EndpointSlices tell."""

from __future__ import annotations

from typing import Any

import pytest

from lossless.core.world import Presence, Sighting
from lossless.traffic.services import EndpointSlice, Service, Services
from lossless.traffic.source import Subject, TrafficSource
from tests.cluster import objects
from tests.cluster.objects import endpoint, endpoint_slice

POD = Subject("uid-a", "a", ("10.0.0.7",), {"app": "web"})


def sightings(services: list[dict[str, Any]], slices: list[dict[str, Any]], pod: Subject = POD) -> tuple[Sighting, ...]:
    source: TrafficSource = Services(
        [Service.parse(one) for one in services], [EndpointSlice.parse(one) for one in slices]
    )
    return source.sightings([pod]).get(pod.uid, ())


def presence(services: list[dict[str, Any]], slices: list[dict[str, Any]], pod: Subject = POD) -> dict[str, Presence]:
    return {sighting.source: sighting.presence for sighting in sightings(services, slices, pod)}


WEB = objects.service("web")


def test_a_ready_endpoint_is_present_and_says_where() -> None:
    (seen,) = sightings([WEB], [endpoint_slice("web-x", "web", endpoint("a", ready=True))])
    assert seen == Sighting("Service web", Presence.PRESENT, "EndpointSlice web-x")


def test_an_endpoint_that_does_not_say_whether_it_is_ready_is_to_be_taken_as_ready() -> None:
    assert presence([WEB], [endpoint_slice("s", "web", endpoint("a"))]) == {"Service web": Presence.PRESENT}
    unsaid = endpoint_slice("s", "web", {"addresses": ["10.0.0.7"], "conditions": None})
    assert presence([WEB], [unsaid]) == {"Service web": Presence.PRESENT}


def test_an_endpoint_that_is_not_ready_is_absent() -> None:
    slices = [endpoint_slice("s", "web", endpoint("a", ready=False, serving=True, terminating=True))]
    assert presence([WEB], slices) == {"Service web": Presence.ABSENT}


def test_a_service_that_selects_it_and_does_not_list_it_is_absent() -> None:
    assert presence([WEB], []) == {"Service web": Presence.ABSENT}
    assert presence([WEB], [{**endpoint_slice("s", "web"), "endpoints": None}]) == {"Service web": Presence.ABSENT}


def test_listed_in_one_of_several_slices_is_listed() -> None:
    slices = [
        endpoint_slice("one", "web", endpoint("b", "10.0.0.8", ready=True)),
        endpoint_slice("two", "web", endpoint("a", ready=False)),
        endpoint_slice("three", "web", endpoint("a", ready=True)),
    ]
    assert presence([WEB], slices) == {"Service web": Presence.PRESENT}


def test_a_service_that_does_not_select_it_says_nothing() -> None:
    assert presence([objects.service("other", selector={"app": "other"})], []) == {}


def test_a_service_without_a_selector_whose_slices_list_its_address_is_present() -> None:
    by_hand = objects.service("by-hand", selector=None)
    slices = [endpoint_slice("s", "by-hand", endpoint(None, "10.0.0.7", ready=True))]
    assert presence([by_hand], slices) == {"Service by-hand": Presence.PRESENT}
    assert presence([by_hand], []) == {}


def test_an_address_that_another_pod_has_had_is_not_this_pod() -> None:
    """Addresses are used again: an endpoint that names its pod is that pod's and nobody else's."""
    slices = [endpoint_slice("s", "web", endpoint("gone", "10.0.0.7", ready=True))]
    assert presence([WEB], slices) == {"Service web": Presence.ABSENT}


def test_a_slice_of_no_service_counts_as_well() -> None:
    slices = [endpoint_slice("mine", None, endpoint(None, ready=True))]
    assert presence([], slices) == {"EndpointSlice mine": Presence.PRESENT}


def test_either_address_of_a_dual_stack_pod_will_do() -> None:
    pod = Subject("uid-a", "a", ("10.0.0.7", "fd00::7"), {"app": "web"})
    slices = [endpoint_slice("s", "web", endpoint(None, "fd00::7", ready=True))]
    assert presence([WEB], slices, pod) == {"Service web": Presence.PRESENT}


def test_a_service_that_lists_pods_that_are_not_ready_can_not_tell() -> None:
    headless = objects.service("peers", publishNotReadyAddresses=True)
    slices = [endpoint_slice("s", "peers", endpoint("a", ready=True))]
    (seen,) = sightings([headless], slices)
    assert seen.presence is Presence.UNKNOWN
    assert "publishNotReadyAddresses" in seen.evidence


def test_an_external_name_selects_nothing_whatever_it_says() -> None:
    assert presence([objects.service("far", type="ExternalName", externalName="example.com")], []) == {}


def test_all_services_that_could_send_to_a_pod_have_to_be_asked() -> None:
    services = Services(
        [Service.parse(WEB), Service.parse(objects.service("other", selector={"app": "other"}))],
        [EndpointSlice.parse(endpoint_slice("s", "by-hand", endpoint(None, ready=False)))],
    )
    assert services.concerned([POD]) == ("by-hand", "web")


class TestByNode:
    """externalTrafficPolicy: Local."""

    LOCAL = objects.service("web") | {
        "spec": {"selector": {"app": "web"}, "type": "NodePort", "externalTrafficPolicy": "Local"}
    }

    @staticmethod
    def alone(service: dict[str, Any], *endpoints: dict[str, Any]) -> bool:
        (seen,) = sightings([service], [endpoint_slice("s", "web", *endpoints)])
        return seen.alone

    @pytest.mark.parametrize(
        ("node", "ready", "alone"), [("node-2", True, True), ("node-1", True, False), ("node-1", False, True)]
    )
    def test_a_pod_is_alone_unless_one_of_others_is_ready_on_its_node(
        self, node: str, ready: bool, alone: bool
    ) -> None:
        ours = endpoint("a", ready=True) | {"nodeName": "node-1"}
        beside = endpoint("b", "10.0.0.8", ready=ready) | {"nodeName": node}
        assert self.alone(self.LOCAL, ours, beside) is alone

    def test_behind_any_other_service_nobody_is(self) -> None:
        assert not self.alone(WEB, endpoint("a", ready=True) | {"nodeName": "node-1"})
