"""Does every expression of dashboard and rules find data in a real Prometheus that scraped real processes?"""

import json
import math
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumer.auditing.metrics import AuditMetrics
from consumer.metrics import Metrics
from tests.conftest import CreateTopics, StartConsumer
from tests.rigs.deadline import wait_until
from tests.rigs.jobs import publish_mixed, put_pictures, settings_for
from tests.rigs.kafka_jars import ROOT
from tests.rigs.prometheus import RULES, Prometheus, PrometheusUnavailable, binary
from tests.rigs.s3 import S3Server

DASHBOARD = ROOT / "deploy" / "grafana" / "dashboards" / "inspection.json"
PAGE = ROOT / "docs" / "monitoring.md"
CASES = RULES.parent / "inspection.rules.test.yml"
OF_A_GPU = {"inspection_device_memory_bytes", "inspection_device_utilization_ratio", "inspection:device_memory:ratio"}
OF_TROUBLE = {"inspection_retries_total"}
_NAME = re.compile(r"\b(?:inspection[_:][a-z0-9_:]+)")
# A NaN says only that nothing of the kind was seen in the window; here everything was.
FIRST, SECOND = 100, 200


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def dashboard_expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def expressions() -> list[str]:
    """All of them but what only trouble or a GPU shows; of an alert the side that is compared."""
    left = [re.sub(r" [<>] [0-9.]+$", "", rule["expr"]) for rule in rules()]
    return [one for one in left + dashboard_expressions() if not needs_more(one)]


def needs_more(expression: str) -> bool:
    return any(name in expression for name in OF_A_GPU | OF_TROUBLE)


def known() -> set[str]:
    """Every metric of the code, and every recorded series."""
    names = set(OF_A_GPU)
    for registry in (Metrics().registry, AuditMetrics().registry):
        for family in registry.collect():
            name = f"{family.name}_total" if family.type == "counter" else family.name
            names |= {name} if family.type != "histogram" else {f"{name}{end}" for end in ("_bucket", "_sum", "_count")}
            names |= {name} if family.type == "histogram" else set()
    return names | {rule["record"] for rule in rules() if "record" in rule}


@pytest.mark.parametrize("arguments", [("check", "rules"), ("test", "rules"), ("check", "config")], ids=" ".join)
def test_promtool_accepts(arguments: tuple[str, str]) -> None:
    file = {"check rules": RULES.name, "test rules": CASES.name}.get(" ".join(arguments), "prometheus.yml")
    try:
        command: list[str | Path] = [binary("promtool"), *arguments, file]
    except PrometheusUnavailable as error:
        pytest.skip(str(error))
    done = subprocess.run(command, cwd=RULES.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_that_is_named_exists() -> None:
    texts = [*dashboard_expressions(), *(rule["expr"] for rule in rules()), PAGE.read_text()]
    assert {name for text in texts for name in _NAME.findall(text)} - known() == set()


def test_the_page_tells_every_metric() -> None:
    parts = re.compile(r"_(bucket|sum|count)$")
    told = set(_NAME.findall(PAGE.read_text()))
    assert {name for name in known() if name.startswith("inspection") and not parts.search(name)} - told == set()


def test_every_alert_has_a_test_both_ways_and_a_section_that_says_what_to_do() -> None:
    headings = set(re.findall(r"^### (\w+)$", PAGE.read_text(), re.MULTILINE))
    tested = yaml.safe_load(CASES.read_text())["tests"]
    fires: dict[str, set[bool]] = {}
    for one in tested:
        for case in one.get("alert_rule_test", ()):
            fires.setdefault(case["alertname"], set()).add(bool(case["exp_alerts"]))
    alerts = [rule for rule in rules() if "alert" in rule]
    for alert in alerts:
        assert alert["annotations"].keys() == {"summary", "description", "runbook"}
        assert alert["annotations"]["runbook"] == f"{PAGE.relative_to(ROOT)}#{alert['alert'].lower()}"
        assert fires[alert["alert"]] == {True, False}
    assert {alert["alert"] for alert in alerts} == headings


def test_what_only_trouble_or_a_gpu_shows_is_asked_of_made_up_series() -> None:
    cases = yaml.safe_load(CASES.read_text())["tests"]
    asked = {one["expr"] for case in cases for one in case.get("promql_expr_test", ())}
    assert {one for one in dashboard_expressions() if needs_more(one)} == asked


def test_the_dashboard_names_no_data_source_of_its_own() -> None:
    text = DASHBOARD.read_text()
    assert set(re.findall(r'"uid": "([^"]+)"', text)) == {"${datasource}", "inspection"}


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.s3
@pytest.mark.timeout(120)
def test_every_expression_finds_data(
    s3: S3Server, bucket: str, topics: CreateTopics, start_consumer: StartConsumer
) -> None:
    try:
        binary("prometheus")
    except PrometheusUnavailable as error:
        pytest.skip(str(error))
    made = topics()
    settings = settings_for(made, s3, bucket) | {"audit": {"bucket": bucket, "max_age": 1}}
    consumer = start_consumer(settings, environment=dict(s3.environment))
    auditor = start_consumer(settings, name="auditor", environment=dict(s3.environment), command=("audit", "run"))
    consumer.wait_ready()
    auditor.wait_ready()
    keys = put_pictures(s3, bucket)
    with Prometheus({"consumer": consumer.address, "auditor": auditor.address}) as prometheus:
        publish_mixed(made, bucket, keys, FIRST)
        outcomes = 'sum(inspection_jobs_total{job="consumer"})'
        rows = "sum(inspection_audit_rows_total)"
        wait_until(lambda: prometheus.ask(outcomes) == [FIRST], within=30, what="the first jobs are scraped")
        wait_until(lambda: prometheus.ask(rows) > [FIRST], within=30, what="their rows are scraped")
        publish_mixed(made, bucket, keys, SECOND - FIRST)
        wait_until(lambda: prometheus.ask(outcomes) == [SECOND], within=30, what="all jobs are scraped")
        wait_until(
            lambda: not empty(prometheus), within=30, what=lambda: f"data for each expression, not {empty(prometheus)}"
        )


def empty(prometheus: Prometheus) -> list[str]:
    """The expressions that find nothing, or only what is no number."""
    return [one for one in expressions() if all(math.isnan(value) for value in prometheus.ask(one))]
