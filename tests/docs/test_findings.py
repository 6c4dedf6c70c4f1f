"""Every finding is in docs/findings.md, and nothing else is."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_reason_is_documented_once() -> None:
    sources = (ROOT / "operator" / "lossless").rglob("*.py")
    said = {reason for one in sources for reason in re.findall(r'Finding\(\s*reason="(\w+)"', one.read_text())}
    rows = [line.split("|")[1] for line in (ROOT / "docs" / "findings.md").read_text().splitlines() if "| `" in line]
    documented = [reason for row in rows for reason in re.findall(r"`(\w+)`", row)]
    assert sorted(documented) == sorted(said)
