"""The ways in which a document of Dubbo's may be written."""

from __future__ import annotations

import json

import yaml
from hypothesis import strategies as st

styles = st.sampled_from(
    [
        lambda data: yaml.safe_dump(data, sort_keys=False),
        lambda data: yaml.safe_dump(data, sort_keys=False, default_flow_style=True, allow_unicode=True),
        lambda data: yaml.safe_dump(data, sort_keys=False, default_flow_style=None, indent=4),
        lambda data: json.dumps(data),
        lambda data: json.dumps(data, indent=2, ensure_ascii=False),
        lambda data: "# top\n\n" + yaml.safe_dump(data, sort_keys=False).rstrip("\n"),
    ]
)
