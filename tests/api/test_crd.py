"""The generated definition: up to date, structural, and in keeping with the Kubernetes API conventions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lossless.api import crd, names
from lossless.api.resource import LosslessRollout

CRDS = Path(__file__).parents[2] / "crds"
VERSION = crd.definition()["spec"]["versions"][0]
SCHEMA: dict[str, Any] = VERSION["schema"]["openAPIV3Schema"]
LONGEST_TEXT = 32_768


def nodes(node: dict[str, Any] = SCHEMA, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field of the schema with its path; a list's items are `path[]`."""
    for name, field in node.get("properties", {}).items():
        if path or name != "metadata":
            yield f"{path}.{name}", field
            yield from nodes(field, f"{path}.{name}")
    if "items" in node:
        yield f"{path}[]", node["items"]
        yield from nodes(node["items"], f"{path}[]")
    if isinstance(values := node.get("additionalProperties"), dict):
        yield f"{path}[]", values
        yield from nodes(values, f"{path}[]")


NODES = dict(nodes())


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    return {path: node for path, node in NODES.items() if node.get("type") == kind}


def test_the_committed_definition_is_what_the_models_say() -> None:
    assert (CRDS / crd.FILE).read_text() == crd.render(), "run `make crds`"


def test_the_same_models_give_the_same_text() -> None:
    assert crd.render() == crd.render()
    assert yaml.safe_load(crd.render()) == crd.definition()


def test_check_says_what_to_do_when_the_file_is_old(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = tmp_path / "crd.yaml"
    assert crd.main(["--check", str(old)]) == 1
    old.write_text("old")
    assert crd.main(["--check", str(old)]) == 1
    assert "python -m lossless.api.crd > " in capsys.readouterr().err
    old.write_text(crd.render())
    assert crd.main(["--check", str(old)]) == 0


def test_the_schema_is_structural() -> None:
    foreign = {"$ref", "$defs", "anyOf", "oneOf", "allOf", "not", "const", "title", "examples"}
    for path, node in NODES.items():
        assert not foreign & node.keys(), path
        assert ("type" in node) != ("x-kubernetes-int-or-string" in node), path
        assert "null" not in str(node.get("type")), path


def test_every_field_is_described_in_sentences() -> None:
    for path, node in NODES.items():
        if not path.endswith("[]"):
            text = node.get("description", "")
            assert text.endswith("."), path
            assert text[0].isupper(), path
            assert "\n" not in text, path


def test_names_are_camel_case_and_nothing_is_a_bool_or_a_float() -> None:
    for path, node in NODES.items():
        assert re.fullmatch(r"[a-z][A-Za-z0-9]*", path.rsplit(".", 1)[-1].removesuffix("[]")), path
        assert node.get("type") not in ("boolean", "number"), f"{path}: an enum can grow, a bool cannot"


def test_everything_has_a_bound() -> None:
    """What has none makes CEL rules too costly for the API server to accept, and objects too large to store."""
    for path, node in of_type("string").items():
        assert "enum" in node or node.get("maxLength", LONGEST_TEXT + 1) <= LONGEST_TEXT or bounded(node), path
    for path, node in of_type("array").items():
        assert node["maxItems"] <= 64, path
    for path, node in of_type("integer").items():
        assert node["minimum"] >= 0, path
        assert "maximum" in node or path.startswith(".status"), path


def bounded(node: dict[str, Any]) -> bool:
    return re.fullmatch(r"\^\[A-Z\]\{\d+,\d+\}\$", node.get("pattern", "")) is not None


def test_every_pattern_holds_for_the_whole_text() -> None:
    for path, node in NODES.items():
        if "pattern" in node:
            assert node["pattern"].startswith("^"), path
            assert node["pattern"].endswith("$"), path


def test_enums_are_camel_case() -> None:
    for path, node in NODES.items():
        assert all(re.fullmatch(r"[A-Z][A-Za-z0-9]*", value) for value in node.get("enum", [])), path


def test_lists_say_how_they_merge() -> None:
    for path, node in of_type("array").items():
        keys = node.get("x-kubernetes-list-map-keys", [])
        assert (node["x-kubernetes-list-type"] == "map") == bool(keys), path
        assert set(keys) <= set(node["items"].get("required", [])), path


def test_conditions_are_those_of_the_convention() -> None:
    conditions = NODES[".status.conditions"]
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    item = conditions["items"]
    assert item["properties"].keys() == {
        "type", "status", "observedGeneration", "lastTransitionTime", "reason", "message",
    }  # fmt: skip
    assert item["properties"]["status"]["enum"] == ["True", "False", "Unknown"]
    assert ".status.observedGeneration" in NODES


def test_the_spec_has_defaults_all_the_way_down_and_the_status_has_none() -> None:
    for path, node in NODES.items():
        if path.startswith(".status"):
            assert "default" not in node, path
    assert NODES[".spec.warmup"]["default"] == NODES[".spec.drain"]["default"] == {}
    assert NODES[".spec.drain.settle"]["default"] == "5s"
    assert NODES[".spec.drain.timeout"]["default"] == "10m"
    assert NODES[".spec.warmup.maxParallel"]["default"] == "25%"


def test_no_default_says_no_more_than_an_absent_field() -> None:
    assert not [path for path, node in NODES.items() if "default" in node and node["default"] in (None, "", [])]


def test_the_target_is_all_that_must_be_given() -> None:
    assert NODES[".spec"]["required"] == ["targetRef"]
    assert NODES[".spec.targetRef"]["required"] == ["name"]


def test_every_rule_has_a_message_for_people() -> None:
    rules = [rule for node in [SCHEMA, *NODES.values()] for rule in node.get("x-kubernetes-validations", [])]
    assert len(rules) >= 8
    for rule in rules:
        assert len(rule["message"]) > 20, rule


def test_kubectl_get_shows_what_is_waited_for_last_but_age() -> None:
    shown = [column["name"] for column in VERSION["additionalPrinterColumns"] if not column.get("priority")]
    assert shown == ["Phase", "Ready", "In", "Out", "Waiting For", "Age"]
    for column in VERSION["additionalPrinterColumns"]:
        assert column["jsonPath"] in NODES or column["jsonPath"].startswith(".metadata."), column


def test_the_name_of_the_definition_is_made_of_the_plural_and_the_group() -> None:
    assert crd.definition()["metadata"]["name"] == f"{names.PLURAL}.{names.GROUP}"


def test_a_model_with_two_kinds_in_one_field_is_refused_by_the_generator() -> None:
    class Either(LosslessRollout):
        either: int | list[int]
        """Nobody can say this to Kubernetes."""

    with pytest.raises(ValueError, match="not structural"):
        crd.structural(Either)
