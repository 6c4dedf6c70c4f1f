"""What the owner wrote comes back exactly, and what anybody writes meanwhile wins."""

from copy import deepcopy
from typing import Any

import pytest

from lossless.api import names
from lossless.traffic.routes.edit import lay, rollouts_on, take_out
from lossless.traffic.routes.gateway_api import HTTP_ROUTE
from lossless.traffic.routes.virtual_service import VIRTUAL_SERVICE
from tests.traffic.routes.given import (
    after,
    backends,
    http_route,
    patched,
    ref,
    split,
    to,
    virtual_service,
    without_annotation,
)


def edited(document: Any) -> Any:
    """A copy to be edited by somebody else."""
    return deepcopy(dict(document))


def test_an_absent_weight_is_absent_again() -> None:
    document = http_route([ref("web"), ref("api", 1)])
    change = take_out(HTTP_ROUTE, after(HTTP_ROUTE, document, split()), "web")
    assert change.document == document
    assert not change.edited
    assert change.patch is not None
    assert change.patch["metadata"] == {"resourceVersion": "41", "annotations": {names.ORIGINAL_WEIGHTS: None}}


def test_other_annotations_stay() -> None:
    document = http_route([ref("web")])
    document["metadata"]["annotations"] = {"team": "shop"}
    assert take_out(HTTP_ROUTE, after(HTTP_ROUTE, document, split()), "web").document == document


def test_taking_out_what_is_not_there_changes_nothing() -> None:
    assert take_out(HTTP_ROUTE, http_route([ref("web")]), "web").patch is None


def test_laying_it_again_changes_nothing() -> None:
    laid = after(HTTP_ROUTE, http_route([ref("web")]), split(0.05))
    assert lay(HTTP_ROUTE, laid, split(0.05)).patch is None
    assert lay(HTTP_ROUTE, laid, split(0.050001)).patch is None, "no weight is another"


def test_the_original_applied_again_is_the_original() -> None:
    document = http_route([ref("web"), ref("api", 3)])
    reverted = edited(after(HTTP_ROUTE, document, split()))
    reverted["spec"] = deepcopy(document["spec"])
    change = lay(HTTP_ROUTE, reverted, split())
    assert change.document == after(HTTP_ROUTE, document, split())
    assert not change.edited
    assert take_out(HTTP_ROUTE, reverted, "web").document == document


def test_a_new_version_applied_over_the_split_is_the_new_original() -> None:
    new = http_route([ref("web", 1), ref("api", 1)], [ref("web")])
    applied = edited(after(HTTP_ROUTE, http_route([ref("web")]), split(0.1)))
    applied["spec"] = deepcopy(new["spec"])
    change = lay(HTTP_ROUTE, applied, split(0.1))
    assert change.edited
    assert backends(HTTP_ROUTE, change.document) == [
        [("web", 45000), ("web-warmup", 5000), ("api", 50000)],
        [("web", 90000), ("web-warmup", 10000)],
    ]
    assert take_out(HTTP_ROUTE, change.document, "web").document == new


def test_a_rule_that_names_us_no_longer_is_left_to_its_owner() -> None:
    new = http_route([ref("api")])
    applied = edited(after(HTTP_ROUTE, http_route([ref("web")]), split()))
    applied["spec"] = deepcopy(new["spec"])
    change = lay(HTTP_ROUTE, applied, split())
    assert change.document == new
    assert not change.laid


def test_a_rule_put_in_front_does_not_shift_the_weights_of_the_others() -> None:
    document = http_route([ref("web")], [ref("web", 1), ref("api", 3)])
    live = edited(after(HTTP_ROUTE, document, split(0.1)))
    live["spec"]["rules"].insert(0, {"backendRefs": [ref("api", 7)]})
    assert take_out(HTTP_ROUTE, live, "web").document == http_route(
        [ref("api", 7)], [ref("web")], [ref("web", 1), ref("api", 3)]
    )


def test_an_edit_beside_the_weights_stays_and_the_weights_go_back() -> None:
    live = edited(after(HTTP_ROUTE, http_route([ref("web"), ref("api")]), split(0.1)))
    live["spec"]["rules"][0]["timeouts"] = {"request": "3s"}
    live["spec"]["rules"][0]["backendRefs"][0]["filters"] = [{"type": "X"}]
    expected = http_route([ref("web", filters=[{"type": "X"}]), ref("api")])
    expected["spec"]["rules"][0]["timeouts"] = {"request": "3s"}
    assert take_out(HTTP_ROUTE, live, "web").document == expected


def test_a_backend_taken_out_by_hand_leaves_the_others_as_they_were() -> None:
    live = edited(after(HTTP_ROUTE, http_route([ref("web"), ref("api", 2), ref("old", 3)]), split(0.1)))
    live["spec"]["rules"][0]["backendRefs"].pop()
    change = take_out(HTTP_ROUTE, live, "web")
    assert change.edited
    assert change.document == http_route([ref("web"), ref("api", 2)])


def test_a_backend_put_in_by_hand_keeps_the_part_that_was_meant() -> None:
    live = edited(after(HTTP_ROUTE, http_route([ref("web")]), split(0.1)))
    live["spec"]["rules"][0]["backendRefs"].append(ref("api", 100_000))
    assert take_out(HTTP_ROUTE, live, "web").document == http_route([ref("web", 100_000), ref("api", 100_000)])


def test_a_weight_set_by_hand_is_taken_as_it_is() -> None:
    live = edited(after(HTTP_ROUTE, http_route([ref("web"), ref("api")]), split(0.1)))
    live["spec"]["rules"][0]["backendRefs"][2]["weight"] = 0
    change = lay(HTTP_ROUTE, live, split(0.1))
    assert change.edited
    assert backends(HTTP_ROUTE, change.document) == [[("web", 90000), ("web-warmup", 10000), ("api", 0)]]


@pytest.mark.parametrize("weight", [0, 100_000, None])
def test_the_warm_up_backend_is_nobody_elses(weight: int | None) -> None:
    document = http_route([ref("web"), ref("api", 3)])
    live = edited(after(HTTP_ROUTE, document, split(0.1)))
    if weight is None:
        live["spec"]["rules"][0]["backendRefs"].pop(1)
    else:
        live["spec"]["rules"][0]["backendRefs"][1]["weight"] = weight
    assert take_out(HTTP_ROUTE, live, "web").document == document


def test_the_warm_up_backend_left_alone_is_the_service_again() -> None:
    """Without a backend a rule answers 500, and Istio takes none."""
    live = edited(after(VIRTUAL_SERVICE, virtual_service([to("web.shop.svc.cluster.local")]), split(0.1)))
    live["spec"]["http"][0]["route"].pop(0)
    assert backends(VIRTUAL_SERVICE, take_out(VIRTUAL_SERVICE, live, "web").document) == [
        [("web.shop.svc.cluster.local", 10000)]
    ]


@pytest.mark.parametrize("annotation", [None, "", "{", "[]", '{"rollouts":{"web":{}},"lists":{}}', '{"rollouts":1}'])
def test_without_what_was_kept_the_traffic_still_goes_where_it_did(annotation: str | None) -> None:
    laid = edited(after(HTTP_ROUTE, http_route([ref("web", 1), ref("api", 1)]), split(0.1)))
    laid["metadata"]["annotations"] = {} if annotation is None else {names.ORIGINAL_WEIGHTS: annotation}
    assert backends(HTTP_ROUTE, lay(HTTP_ROUTE, laid, split(0.5)).document) == [
        [("web", 25000), ("web-warmup", 25000), ("api", 50000)]
    ]


def test_what_is_kept_is_small() -> None:
    rules = [[ref("web"), *(ref(f"other-{number}", 10) for number in range(7))] for _ in range(16)]
    laid = after(HTTP_ROUTE, http_route(*rules), split())
    assert len(laid["metadata"]["annotations"][names.ORIGINAL_WEIGHTS]) < 8_192


# -- two on one route -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["web", "api"])
@pytest.mark.parametrize("leaves", ["web", "api"])
def test_two_rollouts_come_and_go_in_any_order(first: str, leaves: str) -> None:
    document = http_route([ref("web"), ref("api", 3)], [ref("api")], [ref("web"), ref("web", port=81)])
    both = [split(0.1), split(0.2, rollout="api", services=("api",))]
    stays = "api" if leaves == "web" else "web"
    laid = after(HTTP_ROUTE, document, *sorted(both, key=lambda one: one.rollout != first))
    assert rollouts_on(laid) == ("api", "web")

    alone = take_out(HTTP_ROUTE, laid, leaves).document
    assert alone == after(HTTP_ROUTE, document, *(one for one in both if one.rollout == stays))
    assert take_out(HTTP_ROUTE, alone, stays).document == document


def test_one_that_is_gone_is_taken_out_by_name() -> None:
    """A fresh start finds splits of LosslessRollouts that were deleted while nobody ran."""
    document = http_route([ref("web")])
    laid = after(HTTP_ROUTE, document, split())
    for rollout in rollouts_on(laid):
        laid = take_out(HTTP_ROUTE, laid, rollout).document
    assert laid == document


def test_the_patch_does_what_it_says() -> None:
    document = virtual_service([to("web"), to("api", 3)], [to("web")])
    change = lay(VIRTUAL_SERVICE, document, split())
    assert patched(document, change) == change.document
    assert without_annotation(take_out(VIRTUAL_SERVICE, change.document, "web").document) == document
