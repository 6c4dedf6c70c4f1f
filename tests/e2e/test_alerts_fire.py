"""The alerts, by a real Prometheus over a real operator: they come when somebody is needed and go when it is mended."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from localcluster.box import Box
from localcluster.servers.server import Server, fresh_directory
from tests.e2e.operators import NAMESPACE, Operator
from tests.e2e.workloads import Web

ROOT = Path(__file__).parents[2]
COMPONENT = ROOT / "manifests" / "components" / "prometheus"
ADDRESS = "10.0.1.70:9090"

Alert = Mapping[str, Any]


class Prometheus:
    """It has our rules and scrapes an operator, as our PrometheusRule and PodMonitor would have it do.

    The rules are as they are but for `for`: nobody here waits for minutes.
    """

    def __init__(self, box: Box, server: Server) -> None:
        self._box = box
        self._server = server

    def wait_until_it_sees(self, query: str, namespace: str = "") -> None:
        """Until there is something of this, and no alert about a namespace, or about the operator itself, fires."""
        self._box.wait_until(
            lambda: self._ask(f"query?query={quote(query)}")["result"] and not self._firing(namespace),
            describe=f"it sees {query} and is content",
        )

    def wait_for(self, name: str, namespace: str = "") -> Alert:
        """Until this alert fires, and no other. It leads to a runbook that speaks of it."""
        self._box.wait_until(lambda: name in self._firing(namespace), describe=f"{name} fires")
        firing = self._firing(namespace)
        assert list(firing) == [name]
        assert name in (ROOT / firing[name]["annotations"]["runbook_url"]).read_text()
        return firing[name]

    def _firing(self, namespace: str) -> dict[str, Alert]:
        """By name. What other tests have left behind in their namespaces does not count."""
        return {
            one["labels"]["alertname"]: one
            for one in self._ask("alerts")["alerts"]
            if one["state"] == "firing" and one["labels"].get("namespace", "") in ("", namespace)
        }

    def _ask(self, what: str) -> Any:
        answer = self._server.ask(f"/api/v1/{what}")
        assert answer is not None, f"{what}: no answer"
        return json.loads(answer)["data"]


def _rules() -> Any:
    """Those of our PrometheusRule, without what is around them."""
    spec = yaml.safe_load((COMPONENT / "rules.yaml").read_text())["spec"]
    for rule in (rule for group in spec["groups"] for rule in group["rules"] if "for" in rule):
        rule["for"] = "1s"
    return spec


def _scraping(target: str) -> Any:
    """What our PodMonitor asks for, with the labels that go with a pod."""
    (endpoint,) = yaml.safe_load((COMPONENT / "pod-monitor.yaml").read_text())["spec"]["podMetricsEndpoints"]
    return {
        "job_name": f"{NAMESPACE}/lossless-operator",
        "metrics_path": endpoint["path"],
        "honor_labels": endpoint["honorLabels"],
        "static_configs": [{"targets": [target], "labels": {"namespace": NAMESPACE, "pod": "one"}}],
    }


@pytest.fixture(scope="module")
def prometheus(box: Box) -> Iterator[Prometheus]:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is missing: sudo apt-get install --no-install-recommends prometheus")
    directory = fresh_directory(box, "prometheus")
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [_scraping("127.0.0.1:18080")],
    }
    (directory / "rules.yaml").write_text(yaml.safe_dump(_rules()))
    (directory / "prometheus.yaml").write_text(yaml.safe_dump(config))
    argv = [program, f"--config.file={directory / 'prometheus.yaml'}", f"--storage.tsdb.path={directory / 'data'}"]
    argv += [f"--web.listen-address={ADDRESS}", "--log.level=warn"]
    with Server(box, "prometheus", ADDRESS, argv, lambda server: server.ask("/-/ready") is not None) as server:
        yield Prometheus(box, server)


def of(app: Web) -> str:
    """Something that there is of a workload for as long as it is taken care of."""
    return f'lossless_rollout_info{{namespace="{app.namespace}"}}'


def test_a_pod_that_is_held_past_its_timeout_calls_somebody_until_it_is_let_go(
    web: Callable[..., Web], operator: Operator, prometheus: Prometheus
) -> None:
    app = web(replicas=1).gated(drain={"settle": "1s", "timeout": "3s"})
    prometheus.wait_until_it_sees(of(app), app.namespace)
    (old,) = app.stages()
    app.box.kubectl("annotate", "pod", old, "-n", app.namespace, "hold.lossless.dev/test=out: taking a heap dump")
    app.release("2")
    alert = prometheus.wait_for("LosslessHoldPastTimeout", app.namespace)
    assert alert["labels"] == {
        "alertname": "LosslessHoldPastTimeout",
        "severity": "warning",
        "namespace": app.namespace,
        "rollout": "web",
        "reason": "HeldByOther",
    }
    assert alert["annotations"]["summary"] == f"{app.namespace}/web is stalled: HeldByOther."
    assert "heap dump" in app.condition("Stalled")["message"], "that is where the runbook looks"
    app.box.kubectl("annotate", "pod", old, "-n", app.namespace, "hold.lossless.dev/test-")
    app.wait_until_rolled_out()
    prometheus.wait_until_it_sees(of(app), app.namespace)


def test_a_pod_that_is_deleted_by_hand_is_told_of(
    web: Callable[..., Web], operator: Operator, prometheus: Prometheus
) -> None:
    app = web(replicas=1).gated(drain={"settle": "1s"})
    prometheus.wait_until_it_sees(of(app), app.namespace)
    (pod,) = app.stages()
    app.box.kubectl("delete", "pod", pod, "-n", app.namespace, "--wait=false")
    alert = prometheus.wait_for("LosslessPodsSkippedTheDoor", app.namespace)
    assert alert["labels"] == {
        "alertname": "LosslessPodsSkippedTheDoor",
        "severity": "warning",
        "namespace": app.namespace,
        "rollout": "web",
    }


def test_an_operator_that_is_down_calls_somebody_until_one_leads(operator: Operator, prometheus: Prometheus) -> None:
    prometheus.wait_until_it_sees("lossless_leader == 1")
    operator.kill_long_ago()
    alert = prometheus.wait_for("LosslessOperatorDown")
    assert alert["labels"] == {"alertname": "LosslessOperatorDown", "severity": "critical"}
    operator.start()
    prometheus.wait_until_it_sees("lossless_leader == 1")
