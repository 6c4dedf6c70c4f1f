"""Generates the CustomResourceDefinition from the models: ``python -m lossless.api.crd > crds/…``, or ``--check`` it.

Kubernetes wants *structural* schemas: no ``$ref``, no ``anyOf`` with null, no ``title`` or ``const``, every type said.
pydantic writes JSON Schema with all of these. The converter here is the difference between the two, and nothing else:
what a field means, its bounds, default and CEL rules stand in ``resource.py``.
"""

import argparse
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from lossless.api import names
from lossless.api.quantities import format_duration
from lossless.api.resource import LosslessRollout

FILE: Final = f"{names.GROUP}_{names.PLURAL}.yaml"
_DROPPED: Final = frozenset({"title", "const", "$defs"})
_EMPTY: Final[tuple[object, ...]] = (None, "", [])
"""Defaults that say no more than an absent field does: they are not written into everybody's objects."""

Schema = dict[str, Any]


class _Defaults(GenerateJsonSchema):
    """Writes defaults as Kubernetes reads them."""

    def encode_default(self, dft: Any) -> Any:
        """Durations as ``5s``; a nested object as ``{}``, which the API server then fills with its fields' defaults."""
        if isinstance(dft, BaseModel):
            return {}
        if isinstance(dft, timedelta):
            return format_duration(dft)
        return super().encode_default(dft)


def structural(model: type[BaseModel]) -> Schema:
    """The structural OpenAPI v3 schema of a model."""
    raw = model.model_json_schema(by_alias=True, schema_generator=_Defaults)
    return _convert(raw, raw.get("$defs", {}))


def _convert(node: Schema, definitions: Schema) -> Schema:
    node = _without_null(_dereferenced(node, definitions), definitions)
    node = {key: value for key, value in node.items() if key not in _DROPPED}
    if "default" in node and node["default"] in _EMPTY:
        del node["default"]
    if "description" in node:
        node["description"] = _paragraphs(node["description"])
    if "properties" in node:
        node["properties"] = {name: _convert(field, definitions) for name, field in node["properties"].items()}
    if isinstance(node.get("additionalProperties"), dict):
        node["additionalProperties"] = _convert(node["additionalProperties"], definitions)
    if "items" in node:
        node["items"] = _convert(node["items"], definitions)
        node.setdefault("x-kubernetes-list-type", "atomic")
    return node


def _dereferenced(node: Schema, definitions: Schema) -> Schema:
    """The node with its ``$ref`` replaced by what it points to; what stands beside the ``$ref`` wins."""
    while "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[-1]]
        node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
    return node


def _without_null(node: Schema, definitions: Schema) -> Schema:
    """``X | None`` becomes ``X``: in Kubernetes a field that is not there is simply not required."""
    if "anyOf" not in node:
        return node
    others = [branch for branch in node["anyOf"] if branch != {"type": "null"}]
    if len(others) != 1:
        raise ValueError(f"not structural, and not an optional field either: {node}")
    beside = {key: value for key, value in node.items() if key != "anyOf"}
    return {**_dereferenced(others[0], definitions), **beside}


def _paragraphs(text: str) -> str:
    """Docstrings are wrapped for the source; ``kubectl explain`` wraps for itself."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _without_defaults(node: Schema) -> Schema:
    """The status is what the operator saw. The API server must not make up any of it."""
    bare = {key: value for key, value in node.items() if key != "default"}
    if "properties" in bare:
        bare["properties"] = {name: _without_defaults(field) for name, field in bare["properties"].items()}
    if "items" in bare:
        bare["items"] = _without_defaults(bare["items"])
    return bare


def _column(name: str, kind: str, path: str, description: str, priority: int = 0) -> Schema:
    column: Schema = {"name": name, "type": kind, "jsonPath": path, "description": description}
    return {**column, "priority": priority} if priority else column


COLUMNS: Final = (
    _column("Phase", "string", ".status.phase", "Where it stands, in one word."),
    _column("Ready", "string", ".status.ready", "Serving and desired pods."),
    _column("In", "integer", ".status.pods.in", "Pods on their way in."),
    _column("Out", "integer", ".status.pods.out", "Pods on their way out."),
    _column("Target", "string", ".spec.targetRef.name", "The workload.", priority=1),
    _column("Mode", "string", ".spec.mode", "Whether anything is done at all.", priority=1),
    _column("Waiting For", "string", ".status.waitingFor", "What is being waited for, on what evidence."),
    _column("Age", "date", ".metadata.creationTimestamp", "Since when it exists."),
)
"""What ``kubectl get lr`` shows; those with a priority only with ``-o wide``."""


def definition() -> Schema:
    """The whole CustomResourceDefinition."""
    schema = structural(LosslessRollout)
    properties = schema["properties"]
    properties["status"] = _without_defaults(properties["status"])
    properties["metadata"] = {"type": "object"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.PLURAL}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.KIND.lower(),
                "shortNames": ["lr"],
                "categories": ["lossless"],
            },
            "versions": [
                {
                    "name": names.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": list(COLUMNS),
                    "selectableFields": [{"jsonPath": ".spec.targetRef.name"}],
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


class _Plain(yaml.SafeDumper):
    """Writes everything out: people read this file, and some tools know no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def render() -> str:
    """The definition as YAML; the same models always give the same text."""
    head = "# Generated from operator/lossless/api/resource.py by `python -m lossless.api.crd`. Do not edit.\n"
    body: str = yaml.dump(definition(), Dumper=_Plain, sort_keys=False, width=120, allow_unicode=True)
    return head + body


def main(arguments: list[str] | None = None) -> int:
    """Print the definition; with ``--check FILE``, say whether the file is up to date instead."""
    parser = argparse.ArgumentParser(prog="python -m lossless.api.crd", description=main.__doc__)
    parser.add_argument(
        "--check",
        type=Path,
        nargs="?",
        const=Path("crds") / FILE,
        metavar="FILE",
        help="exit with 1 if FILE (%(const)s) is not what would be printed",
    )
    options = parser.parse_args(arguments)
    if options.check is None:
        sys.stdout.write(render())
        return 0
    if options.check.exists() and options.check.read_text() == render():
        return 0
    print(f"{options.check} is not what the models say: python -m lossless.api.crd > {options.check}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
