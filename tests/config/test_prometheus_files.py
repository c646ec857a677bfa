"""``config/prometheus`` only uses metrics and routes that exist."""

import re
from typing import Any

from gateway.api.routes import ADMIN
from gateway.app import create_admin_app, create_app
from gateway.metrics.collectors import Metrics
from gateway.settings import AdminSettings
from gateway.settings.sources import load_settings
from tests.config.files import CONFIG, GATEWAY_YAML, ROOT, read_yaml


def alerts() -> list[dict[str, Any]]:
    return [rule for group in read_yaml("config/prometheus/alerts.yml")["groups"] for rule in group["rules"]]


def test_every_alert_uses_metrics_that_exist() -> None:
    existing = Metrics().registry._names_to_collectors.keys()
    used = {name for rule in alerts() for name in re.findall(r"\bimage_gateway_\w+", rule["expr"])}
    assert len(used) >= 5
    assert used - existing == set()


def test_every_alert_has_a_severity_and_a_summary() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]
    assert len({rule["alert"] for rule in alerts()}) == len(alerts())


def route_names() -> set[str]:
    """Return the values that the metric label ``route`` can have."""
    app = create_app(load_settings(GATEWAY_YAML), Metrics())
    public, admin = (
        {resource.name for resource in one.router.resources() if resource.name is not None}
        for one in (app, create_admin_app(app))
    )
    return public | {ADMIN + name for name in admin}


def test_every_route_that_an_alert_names_exists() -> None:
    patterns = [found for rule in alerts() for found in re.findall(r'route!?[=~]+"([^"]+)"', rule["expr"])]
    assert patterns
    named = {name for pattern in patterns for name in pattern.split("|")}
    assert [name for name in named if not any(re.fullmatch(name, route) for route in route_names())] == []


def test_the_alert_tests_use_series_that_exist() -> None:
    """``make alerts`` runs the alert tests, where promtool is installed."""
    tests = read_yaml("tests/prometheus/alerts.yml")
    assert [(ROOT / "tests/prometheus" / file).resolve() for file in tests["rule_files"]] == [
        CONFIG / "prometheus" / "alerts.yml"
    ]
    series = [one["series"] for test in tests["tests"] for one in test["input_series"]]
    existing = {sample.name for metric in Metrics().registry.collect() for sample in metric.samples}
    existing |= {metric.name for metric in Metrics().registry.collect() if metric.type == "gauge"}
    existing |= {f"{metric.name}_total" for metric in Metrics().registry.collect() if metric.type == "counter"}
    assert {one.partition("{")[0] for one in series} - existing == set()
    routes = {found for one in series for found in re.findall(r'route="([^"]+)"', one)}
    assert routes - route_names() == set()
    alerted = {case["alertname"] for test in tests["tests"] for case in test["alert_rule_test"]}
    assert alerted <= {rule["alert"] for rule in alerts()}


def test_prometheus_scrapes_the_admin_port_and_reads_the_alerts() -> None:
    prometheus = read_yaml("config/prometheus/prometheus.yml")
    assert [(CONFIG / "prometheus" / file).is_file() for file in prometheus["rule_files"]] == [True]
    (job,) = prometheus["scrape_configs"]
    assert job["dns_sd_configs"][0]["port"] == AdminSettings().port
    assert f'job="{job["job_name"]}"' in alerts()[0]["expr"]
