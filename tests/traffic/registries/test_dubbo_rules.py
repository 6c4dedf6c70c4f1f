"""Editing a rule that others edit too: by examples, and for any rule."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lossless.traffic.registries.dubbo_document import Service, Unreadable
from lossless.traffic.registries.dubbo_rules import ANYHOST, Effect, Rule, Weight, drop, put
from tests.traffic.registries.texts import styles

SHOP = Service("org.shop.Cart", "1.0", "eu")
A, B = "10.0.0.1:20880", "10.0.0.2:20880"
COLD = Weight("uid-a", (A,), 1_700_000_000, 10)
WARM = Weight("uid-b", (B,), 1_700_000_100, 90)

THEIRS = """\
# by the platform team: do not touch
configVersion: v3.0
scope:   service
key: eu/org.shop.Cart:1.0
enabled: true
runtime: yes        # a key that nobody knows

configs:
    - side: consumer
      addresses: ['0.0.0.0']
      parameters: {timeout: 6000}
    # slow since May
    - side: provider
      parameters:
        retries: "0"

# the end
trailer: |
  # no comment
"""


def everybody(entry: Weight) -> bool:
    return True


def test_a_rule_is_named_as_consumers_look_for_it() -> None:
    assert (SHOP.node, SHOP.key) == ("org.shop.Cart:1.0:eu", "eu/org.shop.Cart:1.0")
    plain = Service("org.shop.Cart")
    assert (plain.node, plain.key) == ("org.shop.Cart::", "org.shop.Cart")
    assert Service("org.shop.Cart", "*").key == "*"


def test_where_there_was_no_rule_there_is_one_with_our_entry_and_none_again_afterwards() -> None:
    text = put(None, SHOP, COLD)
    assert yaml.safe_load(text) == {
        "configVersion": "v2.7",
        "scope": "service",
        "key": "eu/org.shop.Cart:1.0",
        "enabled": True,
        "configs": [
            {
                "type": "weight",
                "enabled": True,
                "side": "consumer",
                "providerAddresses": [A],
                "parameters": {"weight": "10", "lossless": "uid-a.1700000000"},
            }
        ],
    }
    assert drop(text, everybody) is None


def test_an_entry_has_only_what_dubbo_2_7_knows() -> None:
    assert set(COLD.item) <= {"type", "enabled", "side", "providerAddresses", "parameters"}


def test_comments_layout_and_unknown_keys_of_others_survive_to_the_letter() -> None:
    text = put(THEIRS, SHOP, COLD)
    assert text.replace(f"    - {json.dumps(COLD.item)}\n", "") == THEIRS
    assert text.index('retries: "0"') < text.index("uid-a") < text.index("# the end")
    assert drop(text, everybody) == THEIRS
    both = put(text, SHOP, WARM, [ANYHOST])
    assert drop(both, everybody) == THEIRS


def test_json_stays_json() -> None:
    theirs = json.dumps({"configVersion": "v2.7", "key": SHOP.key, "configs": [{"parameters": {"timeout": 1}}]})
    text = put(theirs, SHOP, COLD)
    assert json.loads(text)["configs"] == [{"parameters": {"timeout": 1}}, COLD.item]
    assert json.loads(drop(text, everybody) or "") == json.loads(theirs)


def test_a_rule_of_others_that_is_left_without_an_entry_gets_one_for_nobody() -> None:
    # Consumers take no notice of an empty list: ours would stay in force.
    theirs = "configVersion: v2.7\nkey: eu/org.shop.Cart:1.0\nowner: someone\nconfigs: []\n"
    after = drop(put(theirs, SHOP, COLD), everybody)
    assert after is not None
    [left] = yaml.safe_load(after)["configs"]
    assert left["providerAddresses"] == ["0.0.0.0:0"]
    assert Rule(after).effect(SHOP, A) == Effect()
    assert Rule(after).entries == ()
    assert len(yaml.safe_load(put(after, SHOP, COLD))["configs"]) == 1


def test_the_rule_holds_even_where_others_have_disabled_the_document() -> None:
    text = put(THEIRS.replace("enabled: true", "enabled: false"), SHOP, COLD)
    assert Rule(text).effect(SHOP, A).weight == 10
    assert Rule(text).effect(SHOP, B) == Effect()


def test_ours_is_the_last_word() -> None:
    theirs = put(None, SHOP, COLD).replace('"10", "lossless": "uid-a.1700000000"', '"7"')
    assert Rule(theirs).effect(SHOP, A).weight == 7
    assert Rule(put(theirs, SHOP, COLD)).effect(SHOP, A).weight == 10


@pytest.mark.parametrize(
    ("entry", "disabled"),
    [
        ({"side": "consumer", "providerAddresses": [A]}, True),
        ({"side": "consumer", "providerAddresses": ["10.0.0.1"]}, True),
        ({"side": "consumer", "providerAddresses": ["0.0.0.0:*"]}, True),
        ({"side": "consumer", "providerAddresses": ["0.0.0.0:20880"]}, True),
        ({"side": "consumer"}, True),
        ({"side": "consumer", "type": "disabled", "providerAddresses": [A]}, None),
        ({"side": "consumer", "type": "disabled", "enabled": "true", "providerAddresses": [A]}, True),
        ({"side": "consumer", "providerAddresses": [B]}, None),
        ({"side": "provider", "providerAddresses": [A]}, None),
        ({"providerAddresses": [A]}, None),
        ({"side": "consumer", "addresses": ["10.9.9.9"], "providerAddresses": [A]}, None),
        ({"side": "consumer", "applications": ["checkout"], "providerAddresses": [A]}, None),
        ({"side": "consumer", "match": {"param": []}, "providerAddresses": [A]}, None),
    ],
)
def test_what_a_rule_of_others_makes_of_a_provider(entry: dict[str, Any], disabled: bool | None) -> None:
    document = {"configVersion": "v3.0", "scope": "service", "key": SHOP.key}
    text = json.dumps({**document, "configs": [{**entry, "parameters": {"disabled": True}}]})
    assert Rule(text).effect(SHOP, A).disabled is disabled
    first = {"side": "consumer", "parameters": {"disabled": "true"}}
    enabled = json.dumps({**document, "configs": [first, {**entry, "parameters": {"disabled": False}}]})
    partly = any(name in entry for name in ("addresses", "applications", "match"))
    assert Rule(enabled).effect(SHOP, A).disabled is (not (disabled or partly))


def test_a_rule_of_another_service_or_scope_says_nothing() -> None:
    text = put(None, SHOP, COLD)
    assert Rule(text).effect(Service("org.shop.Cart"), A) == Effect()
    assert Rule(text.replace("scope: service", "scope: application")).effect(SHOP, A) == Effect()


def test_priority_goes_before_order() -> None:
    first = {"side": "consumer", "parameters": {"weight": 5, "priority": 1}}
    second = {"side": "consumer", "parameters": {"weight": 7}}
    assert Rule(json.dumps({"key": SHOP.key, "configs": [first, second]})).effect(SHOP, A).weight == 5


@pytest.mark.parametrize(
    "rubbish",
    [
        "[]",
        '["override://10.0.0.1:20880/org.shop.Cart?disabled=true"]',
        "hello",
        "{",
        "a: 1\n---\nb: 2\n",
        "configs: 3",
        "configs: [1]",
        "configs: [{side: consumer}]",
        "configs: [{side: consumer, parameters: {}}]",
        "configVersion: 2.7\nconfigs: []",
        "!!python/object:os.system {}",
    ],
)
def test_what_dubbo_cannot_read_is_not_written_to(rubbish: str) -> None:
    with pytest.raises(Unreadable):
        put(rubbish, SHOP, COLD)
    with pytest.raises(Unreadable):
        drop(rubbish, everybody)


def test_weights_are_given_to_the_others_too_as_long_as_one_of_ours_has_one() -> None:
    text = put(THEIRS, SHOP, WARM, [ANYHOST])
    items = yaml.safe_load(text)["configs"]
    assert items[0]["parameters"] == {"weight": "100", "lossless": "base"}
    assert items[-1] == WARM.item
    both = put(text, SHOP, COLD)
    assert [entry.uid for entry in Rule(both).entries] == ["uid-b", "uid-a"]
    assert yaml.safe_load(both)["configs"][0] == items[0]
    assert drop(both, lambda entry: entry.uid == "uid-b") == put(THEIRS, SHOP, COLD, [ANYHOST])


words = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_categories=["Cc", "Cn"]), min_size=1, max_size=8
)
scalars = st.one_of(words, st.integers(0, 10**6), st.booleans(), st.none())
parameters = st.dictionaries(words.filter(lambda word: word != "lossless"), scalars, min_size=1, max_size=3)
items = st.fixed_dictionaries(
    {"parameters": parameters},
    optional={
        "side": st.sampled_from(["consumer", "provider"]),
        "providerAddresses": st.lists(st.sampled_from([A, B, "10.0.0.1", ANYHOST]), max_size=2),
        "applications": st.lists(words, max_size=2),
        "comment": scalars,
    },
)
documents = st.fixed_dictionaries(
    {"configVersion": st.sampled_from(["v2.7", "v3.0"]), "key": st.sampled_from([SHOP.key, "*", "other"])},
    optional={
        "scope": st.sampled_from(["service", "application"]),
        "enabled": st.booleans(),
        "owner": scalars,
        "configs": st.lists(items, max_size=4),
        "last": scalars,
    },
)
entries = st.builds(
    Weight,
    uid=st.sampled_from(["uid-a", "uid-b", "uid-c"]),
    addresses=st.sampled_from([(A,), (B,), (A, "10.0.0.1:50051")]),
    since=st.integers(0, 2 * 10**9),
    weight=st.integers(1, 100),
)
bases = st.sampled_from([None, [ANYHOST], [A, B]])


def theirs(text: str) -> Any:
    data = yaml.safe_load(text)
    rest = [item for item in data.get("configs") or [] if "lossless" not in item["parameters"]]
    return {**data, "configs": rest}


@settings(deadline=None, max_examples=40)
@given(documents, styles, st.lists(st.tuples(entries, bases), min_size=1, max_size=4))
def test_nothing_of_others_is_lost_whatever_is_put_and_dropped(data: Any, style: Any, some: Any) -> None:
    before = text = style(data)
    for entry, base in some:
        text = put(text, SHOP, entry, base)
        assert theirs(text) == theirs(before)
        assert entry in Rule(text).entries
    after = drop(text, everybody)
    if after is None:  # it was as one of ours is: nothing in it
        assert set(data) <= {"configVersion", "scope", "key", "enabled", "configs"}
        assert not data.get("configs")
        return
    assert theirs(after) == theirs(before)
    assert Rule(after).entries == ()
    if data.get("configs"):
        assert yaml.safe_load(after) == yaml.safe_load(before)


@settings(deadline=None, max_examples=40)
@given(documents, styles, entries, bases)
def test_doing_it_twice_changes_nothing_more(data: Any, style: Any, entry: Weight, base: Any) -> None:
    once = put(style(data), SHOP, entry, base)
    assert put(once, SHOP, entry, base) == once
    assert put(once, SHOP, entry) == once
    gone = drop(once, everybody)
    assert drop(gone, everybody) == gone


@settings(deadline=None, max_examples=40)
@given(st.lists(items, min_size=1, max_size=4), entries, bases)
def test_in_block_style_restoring_is_the_inverse_to_the_letter(some: Any, entry: Weight, base: Any) -> None:
    before = "# ours\n" + yaml.safe_dump({"key": SHOP.key, "configs": some, "z": 1}, sort_keys=False) + "# end\n"
    assert drop(put(before, SHOP, entry, base), everybody) == before


@settings(deadline=None, max_examples=40)
@given(documents, styles, entries)
def test_a_pod_is_weighed_wherever_the_document_is_of_its_service(data: Any, style: Any, entry: Weight) -> None:
    text = put(style({**data, "scope": "service", "key": SHOP.key}), SHOP, entry)
    assert Rule(text).effect(SHOP, entry.addresses[0]).weight == entry.weight


def test_a_pod_has_one_entry_and_an_address_too() -> None:
    text = put(put(None, SHOP, COLD), SHOP, Weight("uid-a", (A,), 1_700_000_050, 3))
    assert [(entry.uid, entry.weight) for entry in Rule(text).entries] == [("uid-a", 3)]
    text = put(text, SHOP, Weight("uid-new", (A,), 1_700_000_060, 5))
    assert [entry.uid for entry in Rule(text).entries] == ["uid-new"]


def test_what_another_tool_laid_out_anew_is_still_ours() -> None:
    text = yaml.safe_dump(yaml.safe_load(put(THEIRS, SHOP, COLD)))
    assert Rule(text).entries == (COLD,)
    assert yaml.safe_load(drop(text, everybody) or "") == yaml.safe_load(THEIRS)


def test_no_rule_is_no_rule() -> None:
    assert drop(None, everybody) is None
    assert Rule(None).effect(SHOP, A) == Effect()
    assert Rule(None).entries == ()
