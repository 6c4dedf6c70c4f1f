"""Editing a router that others edit too: by examples, and for any router."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lossless.traffic.registries.dubbo_document import Entry, Service, Unreadable
from lossless.traffic.registries.dubbo_routers import Router, drop, put
from tests.traffic.registries.texts import styles

SHOP = Service("org.shop.Cart", "1.0", "eu")
A, A2, B = "10.0.0.1:20880", "10.0.0.1:50051", "10.0.0.2:20880"
OUT = Entry("uid-a", (A, A2), 1_700_000_000)
ALSO = Entry("uid-b", (B,), 1_700_000_100)
OURS = f"=> address != {A},{A2},lossless.uid-a.1700000000"

THEIRS = """\
# by the platform team: do not touch
configVersion: v3.0
scope:   service
force: true
runtime: yes
key: eu/org.shop.Cart:1.0
conditions:
    # slow since May
    - method=pay* & host=10.9.* =>
        region=$region & address!=10.0.0.7:20880
    - "=> host != 10.0.0.8"   # until it is mended

# the end
priority: 1
"""


def everybody(entry: Entry) -> bool:
    return True


def conditions(text: str | None) -> list[str]:
    return list(yaml.safe_load(text or "{}").get("conditions") or [])


def test_where_there_was_no_router_there_is_one_with_our_condition_and_none_again_afterwards() -> None:
    text = put(None, SHOP, OUT)
    assert yaml.safe_load(text) == {
        "scope": "service",
        "key": "eu/org.shop.Cart:1.0",
        "force": False,
        "runtime": True,
        "enabled": True,
        "conditions": [OURS],
    }
    assert drop(text, everybody) is None


def test_a_router_has_only_what_dubbo_2_7_knows() -> None:
    known = {"runtime", "force", "valid", "enabled", "priority", "dynamic", "scope", "key", "conditions"}
    assert set(yaml.safe_load(put(None, SHOP, OUT))) <= known


def test_all_of_ours_are_one_condition() -> None:
    text = put(put(None, SHOP, OUT), SHOP, ALSO)
    assert conditions(text) == [f"{OURS},{B},lossless.uid-b.1700000100"]
    assert Router(text).entries == (OUT, ALSO)
    assert drop(text, lambda entry: entry.uid == "uid-b") == put(None, SHOP, OUT)


def test_ours_is_the_first_and_nothing_of_others_is_touched_to_the_letter() -> None:
    text = put(THEIRS, SHOP, OUT)
    assert conditions(text)[0] == OURS
    assert text.replace(f"    - {json.dumps(OURS)}\n", "") == THEIRS
    assert drop(text, everybody) == THEIRS
    assert drop(put(text, SHOP, ALSO), everybody) == THEIRS


def test_ours_is_the_first_again_where_another_tool_has_put_one_before_it() -> None:
    text = put(None, SHOP, OUT).replace("conditions:\n", "conditions:\n- => host != 10.0.0.8\n")
    assert conditions(put(text, SHOP, OUT)) == [OURS, "=> host != 10.0.0.8"]


def test_json_stays_json() -> None:
    theirs = json.dumps({"key": SHOP.key, "conditions": ["method=a => host=b"]})
    text = put(theirs, SHOP, OUT)
    assert json.loads(text)["conditions"] == [OURS, "method=a => host=b"]
    assert json.loads(drop(text, everybody) or "") == json.loads(theirs)


def test_a_router_of_others_that_is_left_without_a_condition_gets_one_that_is_true_of_everybody() -> None:
    # Consumers take no notice of an empty list: ours would stay in force.
    after = drop(put("owner: someone\nconditions: []\n", SHOP, OUT), everybody)
    assert conditions(after) == ["=> address != lossless.none"]
    assert Router(after).entries == ()
    assert drop(after, everybody) == after
    assert conditions(put(after, SHOP, OUT)) == [OURS]


def test_a_router_that_has_nothing_of_ours_stays_as_it_is() -> None:
    empty = "owner: someone\nconditions: []\n"
    assert drop(empty, everybody) == empty
    assert drop(THEIRS, everybody) == THEIRS
    assert drop(None, everybody) is None
    assert Router(None).entries == ()


def test_who_is_out_is_out_with_all_ports_and_nobody_else() -> None:
    router = Router(put(THEIRS, SHOP, OUT))
    assert [router.is_out(one) for one in (A, A2, B, "10.0.0.8:20880")] == [True, True, False, False]


@pytest.mark.parametrize(
    "head", ["enabled: false", "enabled: no", "valid: 'False'", "configVersion: V3.1", "configVersion: v4"]
)
def test_a_router_that_consumers_do_not_apply_takes_nobody_out(head: str) -> None:
    router = Router(put(f"{head}\nconditions: []\n", SHOP, OUT))
    assert router.obstacle
    assert not router.is_out(A)


@pytest.mark.parametrize(
    "head", ["enabled: true", "enabled: null", "force: true", "configVersion: v3.0", "configVersion: v2.7"]
)
def test_a_router_that_consumers_apply_takes_out(head: str) -> None:
    router = Router(put(f"{head}\nconditions: []\n", SHOP, OUT))
    assert not router.obstacle
    assert router.is_out(A)


def test_the_conditions_of_v3_1_are_not_touched() -> None:
    theirs = "configVersion: v3.1\nconditions:\n- from: {match: region=eu}\n  to: [{match: region=eu, weight: 1}]\n"
    assert drop(theirs, everybody) == theirs
    assert "write it as v3.0" in Router(theirs).obstacle


@pytest.mark.parametrize(
    "rubbish",
    [
        "[]",
        "hello",
        "{",
        "a: 1\n---\nb: 2\n",
        "conditions: 3",
        "conditions: [1]",
        "conditions: [{from: a}]",
        "conditions: ['']",
        "conditions: ['=> = 1']",
        "conditions: ['=> a, b']",
        "conditions: ['a && b => c']",
        "conditions: ['a == b => c']",
        "configVersion: 3.0\nconditions: []",
        "!!python/object:os.system {}",
    ],
)
def test_what_dubbo_cannot_read_is_not_written_to(rubbish: str) -> None:
    with pytest.raises(Unreadable):
        put(rubbish, SHOP, OUT)
    with pytest.raises(Unreadable):
        drop(rubbish, everybody)


@pytest.mark.parametrize(
    "readable", ["host = 1.2.3.4 =>", "=> false", "host != a,b & method=c, d => x=1~9 & y != $z", "host=a"]
)
def test_what_dubbo_reads_is_kept(readable: str) -> None:
    assert conditions(put(json.dumps({"conditions": [readable]}), SHOP, OUT)) == [OURS, readable]


def test_a_pod_has_one_entry_and_an_address_too() -> None:
    text = put(put(None, SHOP, OUT), SHOP, Entry("uid-a", (A,), 1_700_000_050))
    assert Router(text).entries == (Entry("uid-a", (A,), 1_700_000_050),)
    text = put(text, SHOP, Entry("uid-new", (A,), 1_700_000_060))
    assert [entry.uid for entry in Router(text).entries] == ["uid-new"]


def test_what_another_tool_laid_out_anew_is_still_ours() -> None:
    text = yaml.safe_dump(yaml.safe_load(put(THEIRS, SHOP, OUT)).copy()).replace("!= 10.0.0.1", "!=10.0.0.1")
    assert Router(text).entries == (OUT,)
    assert yaml.safe_load(drop(text, everybody) or "") == yaml.safe_load(THEIRS)


some_conditions = st.lists(
    st.sampled_from(
        ["method=a => host=b", "=> host != 10.0.0.8", "=> address != 10.0.0.9:20880", "host = x =>", "=> lossless != 1"]
    ),
    max_size=4,
)
words = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cc", "Cn"]), min_size=1, max_size=8
)
documents = st.fixed_dictionaries(
    {"conditions": some_conditions},
    optional={
        "configVersion": st.sampled_from(["v2.7", "v3.0"]),
        "scope": st.sampled_from(["service", "application"]),
        "force": st.booleans(),
        "enabled": st.booleans(),
        "owner": words,
        "last": words,
    },
)
entries = st.builds(
    Entry,
    uid=st.sampled_from(["uid-a", "uid-b", "uid-c"]),
    addresses=st.sampled_from([(A,), (B,), (A, A2), ("[fd00::1]:20880",)]),
    since=st.integers(0, 2 * 10**9),
)


@settings(deadline=None, max_examples=40)
@given(documents, styles, st.lists(entries, min_size=1, max_size=4))
def test_nothing_of_others_is_lost_whatever_is_put_and_dropped(data: Any, style: Any, some: Any) -> None:
    before = text = style(data)
    for entry in some:
        text = put(text, SHOP, entry)
        assert put(text, SHOP, entry) == text
        assert yaml.safe_load(text) == {**data, "conditions": [conditions(text)[0], *data["conditions"]]}
        assert entry in Router(text).entries
    after = drop(text, everybody)
    assert after is not None
    assert drop(after, everybody) == after
    assert Router(after).entries == ()
    if data["conditions"]:
        assert yaml.safe_load(after) == yaml.safe_load(before)
    if data["conditions"] and before.startswith(("conditions:\n", "# top\n\nconditions:\n")):
        assert after == before
