"""Writes docs/reference.md from the CRD, or with --check says whether it is up to date."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
CRD = ROOT / "crds" / "lossless.dev_losslessrollouts.yaml"
PAGE = ROOT / "docs" / "reference.md"


def rows(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """One table row for every field, depth first, as `kubectl explain --recursive` goes."""
    required = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        kind = "int or string" if field.get("x-kubernetes-int-or-string") else field.get("type", "")
        inner = field
        if kind == "array":
            inner = field["items"]
            kind = f"list of {inner.get('type', 'object')}"
        limits = [f"one of {', '.join(field['enum'])}"] if "enum" in field else []
        limits += [
            f"{word} {field[key]}" for key, word in (("minimum", "at least"), ("maximum", "at most")) if key in field
        ]
        limits += [f"at most {field['maxItems']} items"] if "maxItems" in field else []
        limits += [rule["message"] for rule in inner.get("x-kubernetes-validations", [])]
        default = field.get("default")
        shown = "required" if name in required else f"`{default}`" if default not in (None, {}, []) else ""
        text = " ".join(
            [field.get("description", "").replace("\n", " ").rstrip("."), *[f"({limit})" for limit in limits]]
        )
        yield f"| `{here}` | {kind} | {shown} | {text.replace('|', chr(92) + '|')} |"
        yield from rows(inner, here)


def page() -> str:
    version = yaml.safe_load(CRD.read_text())["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    head = "| field | type | default | meaning |\n|---|---|---|---|"
    parts = [
        "# Reference\n\nGenerated from the CRD by `make crds`; the same texts as `kubectl explain losslessrollout`.",
        schema["description"],
    ]
    for part in ("spec", "status"):
        field = schema["properties"][part]
        parts.append(f"## {part}\n\n{field['description']}\n\n{head}\n" + "\n".join(rows(field, part)))
    return "\n\n".join(parts) + "\n"


def main() -> int:
    if "--check" not in sys.argv:
        PAGE.write_text(page())
        return 0
    if PAGE.exists() and PAGE.read_text() == page():
        return 0
    print("docs/reference.md is not what the CRD says: run `make crds`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
