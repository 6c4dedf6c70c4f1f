"""docs/registries.md says what the code does: its kinds, its settles, its weights; its examples and the samples fit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from lossless.api.quantities import parse_duration
from lossless.api.resource import LosslessRollout
from lossless.api.traffic import KINDS, Preset, PresetHook
from lossless.api.traffic import Registry as Spec
from lossless.pods.exec import ExecResult
from lossless.traffic.registries.make import make
from lossless.traffic.registries.presets import PRESETS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGE = (DOCS / "registries.md").read_text()
_YAML = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [block for page in sorted(DOCS.glob("*.md")) for block in _YAML.findall(page.read_text())]


def table(heading: str) -> dict[str, dict[str, str]]:
    """The first table under a heading: its rows by their first cell, the cells by their column's name."""
    lines = PAGE.partition(f"# {heading}\n")[2].splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("|"))
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    columns, _, *rest = rows
    return {row[0].strip("`"): dict(zip(columns, row, strict=True)) for row in rest}


def examples() -> Iterator[Any]:
    """The `spec` of every LosslessRollout that a page shows, whole or in part."""
    for block in BLOCKS:
        shown = yaml.safe_load(block)
        spec = shown.get("spec") if isinstance(shown, dict) else None
        if isinstance(spec, dict) and {"traffic", "warmup", "drain", "targetRef"} & spec.keys():
            yield spec


def registries() -> list[Spec]:
    return [Spec.model_validate(one) for spec in examples() for one in spec.get("traffic", {}).get("registries", [])]


def unknown(raw: Any, model: Any, at: str = "") -> list[str]:
    """What is written and is no field: the models are deaf to it, the API server is not."""
    if isinstance(raw, Mapping) and isinstance(model, BaseModel):
        fields = {field.alias or name: name for name, field in type(model).model_fields.items()}
        lost = [f"{at}.{key}" for key in raw if key not in fields]
        return lost + [
            each
            for key, value in raw.items()
            if key in fields
            for each in unknown(value, getattr(model, fields[key]), f"{at}.{key}")
        ]
    if isinstance(raw, Sequence) and isinstance(model, Sequence) and not isinstance(raw, str):
        return [each for one, of in zip(raw, model, strict=True) for each in unknown(one, of, f"{at}[]")]
    return []


async def read_secret(name: str) -> dict[str, bytes]:
    return dict.fromkeys(("username", "password", "token", "key"), b"sesame")


async def run(namespace: str, pod: str, container: str, command: Sequence[str]) -> ExecResult:
    raise AssertionError("nothing is sent when a registry is made")


def test_every_kind_has_its_row_and_its_example() -> None:
    assert tuple(table("Kinds")) == KINDS
    assert {kind for one in registries() for kind in KINDS if getattr(one, kind)} == set(KINDS)


@pytest.mark.parametrize("spec", registries(), ids=lambda spec: str(spec.name))
async def test_settle_and_weights_of_a_kind_are_those_of_the_code(spec: Spec) -> None:
    kind = next(kind for kind in KINDS if getattr(spec, kind))
    row = table("Kinds")[kind]
    registry = await make(spec, read_secret, run)
    try:
        assert registry.weighs == spec.weighs
        assert row["weights"] == ("yes" if registry.weighs else "no")
        if kind == "preset":
            row = table("Presets")[spec.preset.name if spec.preset else ""]
        assert parse_duration(row["settle"]) == registry.settle
    finally:
        await registry.close()


def test_every_preset_has_its_row() -> None:
    rows = table("Presets")
    assert tuple(rows) == tuple(Preset)
    for preset, known in PRESETS.items():
        row = rows[preset]
        assert (int(row["port"]), parse_duration(row["settle"])) == (known.port, known.settle)
        assert (row["way back"] == "none") == all(way.restore is None for way in known.ways)
        assert (row["what is seen"] == "nothing") == all(not way.gone and not way.registered for way in known.ways)


def test_examples_have_no_field_that_there_is_not() -> None:
    for spec in examples():
        shown = {"targetRef": {"name": "web"}, **spec}
        assert not unknown({"spec": shown}, LosslessRollout.model_validate({"spec": shown}))


@pytest.mark.parametrize("sample", ["minimal.yaml", "full.yaml"])
def test_samples_have_no_field_that_there_is_not(sample: str) -> None:
    raw = yaml.safe_load((ROOT / "manifests" / "samples" / sample).read_text())
    assert not unknown({"spec": raw["spec"]}, LosslessRollout.model_validate(raw))


def test_a_word_that_is_no_field_is_found() -> None:
    hook = PresetHook.model_validate({"name": "DubboQoS", "prot": 1})
    assert unknown({"name": "DubboQoS", "prot": 1}, hook) == [".prot"]


def test_the_waits_in_a_row_are_no_longer_than_its_settle() -> None:
    """Whoever reads (10 s) and (35 s) adds them up."""
    for kind in ("nacos", "eureka"):
        row = table("Kinds")[kind]
        parts = sum(int(seconds) for seconds in re.findall(r"\((\d+) s\)", row["why so long"]))
        assert timedelta(seconds=parts) == parse_duration(row["settle"])
