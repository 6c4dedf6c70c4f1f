"""The alerts: they fire when they should, name metrics that there are, and lead to a runbook."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from lossless.telemetry.metrics import Metrics
from tests.policies.conftest import ROOT

RULES = ROOT / "manifests" / "components" / "prometheus" / "rules.yaml"
HERE = Path(__file__).parent
ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RULES.read_text())["spec"]["groups"] for rule in group["rules"]
]


def promtool(*arguments: str) -> str:
    """Runs Prometheus' own checker."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is missing: sudo apt-get install --no-install-recommends prometheus")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """The rules as Prometheus reads them, without what the Prometheus operator puts around them."""
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(RULES.read_text())["spec"]))
    return path


def test_prometheus_takes_the_rules(rules: Path) -> None:
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", "--lint=all", "--lint-fatal", str(rules))


def test_the_alerts_fire_when_they_should_and_only_then(rules: Path) -> None:
    shutil.copy(HERE / "alerts.test.yaml", rules.parent)
    promtool("test", "rules", str(rules.parent / "alerts.test.yaml"))


def test_every_alert_is_tested_firing_and_silent() -> None:
    tests = yaml.safe_load((HERE / "alerts.test.yaml").read_text())["tests"]
    for alert in ALERTS:
        expected = [
            bool(one["exp_alerts"])
            for test in tests
            for one in test["alert_rule_test"]
            if one["alertname"] == alert["alert"]
        ]
        assert set(expected) == {True, False}, alert["alert"]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_every_alert_leads_to_a_runbook_that_speaks_of_it(alert: dict[str, Any]) -> None:
    runbook = ROOT / alert["annotations"]["runbook_url"]
    assert alert["alert"] in runbook.read_text()
    assert alert["labels"]["severity"] in ("warning", "critical")


def test_the_alerts_look_at_metrics_that_the_operator_has() -> None:
    there = set(re.findall(r"^# TYPE (\S+)", Metrics().render().decode(), re.MULTILINE))
    for alert in ALERTS:
        assert set(re.findall(r"lossless_\w+", alert["expr"])) <= there, alert["expr"]
