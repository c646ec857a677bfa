"""``config/prometheus`` only uses metrics and routes that exist."""

import re
import shlex
import shutil
import subprocess
from itertools import product
from typing import Any

import click
from prometheus_client.parser import text_string_to_metric_families

from gateway import cli
from gateway.api.routes import ADMIN
from gateway.server.dispatch import CANARY
from gateway.server.error_responses import UNMATCHED
from gateway.service.ports import applications
from gateway.service.service import Service
from gateway.settings import AdminSettings
from gateway.workers.labelled_metrics import about_workers
from tests.config.files import CONFIG, ROOT, read, read_yaml, series
from tests.conftest import RunningGateway, StartGateway

RULE_FILES = ("alerts.yml", "objectives.yml")


def rules() -> list[dict[str, Any]]:
    documents = [read_yaml(f"config/prometheus/{file}") for file in RULE_FILES]
    return [rule for document in documents for group in document["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def alert_tests() -> list[dict[str, Any]]:
    """Return the tests of both files of rules, which each evaluate their own file alone: the other one takes time."""
    found: list[dict[str, Any]] = []
    for file in RULE_FILES:
        document = read_yaml(f"tests/prometheus/{file}")
        assert document["rule_files"] == [f"../../config/prometheus/{file}"]
        found += document["tests"]
    return found


def test_every_rule_uses_metrics_that_exist() -> None:
    used = {name for rule in rules() for name in re.findall(r"\bimage_gateway_\w+", rule["expr"])}
    assert len(used) >= 15
    assert used - series().keys() == set()


def alternatives(selector: str) -> list[list[tuple[str, str, str]]]:
    """Return the matchers of a selector, once for each choice among the values that it names: ``a|b`` is a choice."""
    matchers = re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', selector)
    choices = [
        [(label, operator, value) for value in (values.split("|") if operator == "=~" else [values])]
        for label, operator, values in matchers
    ]
    return [list(chosen) for chosen in product(*choices)]


def is_matched(labels: dict[str, str], matchers: list[tuple[str, str, str]]) -> bool:
    """Return whether a series has the labels that the matchers name."""
    for label, operator, value in matchers:
        pattern = value if operator.endswith("~") else re.escape(value)
        if (re.fullmatch(pattern, labels.get(label, "")) is None) != operator.startswith("!"):
            return False
    return True


async def test_every_series_whose_increase_a_rule_uses_is_there_before_its_first_event(
    start_gateway: StartGateway,
) -> None:
    """``increase()`` and ``rate()`` do not see the increase from no series to 1."""
    gateway = await start_gateway(image_styles={"thumb": "imageMogr2/thumbnail/100x"})
    text = (await gateway.get("/metrics", admin=True)).body.decode()
    families = [*text_string_to_metric_families(text), *about_workers(0, 0, 0, 0)]
    exported = [sample for family in families for sample in family.samples]
    used = {used for rule in rules() for used in re.findall(r"\b(?:rate|increase)\((\w+)(\{[^}]*\})?\[", rule["expr"])}
    assert len(used) >= 25
    missing = [
        (name, matchers)
        for name, selector in used
        for matchers in alternatives(selector)
        if not any(sample.name == name and is_matched(sample.labels, matchers) for sample in exported)
    ]
    assert missing == []


def test_neither_prometheus_nor_alertmanager_has_a_port_of_a_gateway_on_the_same_host() -> None:
    assert "GATEWAY_ADMIN__PORT=909%i" in read("config/systemd/image-gateway@.service")
    file = "config/prometheus/prometheus.hosts.yml"
    [alertmanager] = read_yaml(file)["alerting"]["alertmanagers"]
    [asked] = alertmanager["static_configs"][0]["targets"]
    for page in ("docs/production.md", "docs/production.zh-CN.md"):
        listening = re.findall(r"--web\.listen-address=([\d.]+:\d+)", read(page) + read(file))
        assert [address for address in (*listening, asked) if re.search(r":909\d$", address)] == []
        assert set(listening) == {"127.0.0.1:9195", asked}
        # The release that the page installs names 9093.
        assert f"sed -i 's/127.0.0.1:9093/{asked}/' /etc/prometheus/prometheus.yml" in read(page)


def test_every_recorded_series_that_an_alert_uses_is_recorded() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    used = {name for rule in alerts() for name in re.findall(r"\bimage_gateway:\w+:\w+", rule["expr"])}
    assert used == recorded


def test_every_alert_is_written_by_the_guide_of_mixins() -> None:
    """Monitoring Mixins, guidelines for alert names, labels and annotations."""
    for rule in alerts():
        assert re.fullmatch(r"ImageGateway[A-Z][A-Za-z]+", rule["alert"])
        assert rule["labels"] == {"severity": rule["labels"]["severity"]}
        assert rule["labels"]["severity"] in ("critical", "warning")
        summary, description = rule["annotations"]["summary"], rule["annotations"]["description"]
        assert re.fullmatch(r"[A-Z][^{]+\.", summary), f"{rule['alert']}: a summary does not vary"
        assert re.fullmatch(r"([A-Z0-9]|\{\{).+\.", description, flags=re.DOTALL)
        assert "{{" in description, f"{rule['alert']}: a description has figures"
    assert len({rule["alert"] for rule in alerts()}) == len(alerts())


def test_no_alert_fires_once_for_each_worker() -> None:
    """Metrics have the number of the worker as a label: each rule adds them up, or takes the worst."""
    about = {sample.name for metric in about_workers(0, 0, 0, 0) for sample in metric.samples}
    for rule in rules():
        used = set(re.findall(r"\bimage_gateway_\w+", rule["expr"])) - about
        assert not used or re.search(r"\b(sum|min|max)\b", rule["expr"]), rule


def test_every_alert_has_a_heading_in_the_runbook_and_every_heading_an_alert() -> None:
    section = read("docs/runbook.md").partition("\n## Alerts\n")[2]
    headings = re.findall(r"^### (\w+)$", section, flags=re.MULTILINE)
    assert sorted(headings) == sorted(rule["alert"] for rule in alerts())
    for rule in alerts():
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"
    for text in re.split(r"^### \w+\n", section, flags=re.MULTILINE)[1:]:
        for part in ("symptom", "meaning", "check", "fix"):
            assert f"**{part}" in text.lower()


def test_every_alert_fires_in_a_test() -> None:
    """``make alerts`` runs these tests, where promtool is installed."""
    cases = [case for test in alert_tests() for case in test["alert_rule_test"]]
    assert {case["alertname"] for case in cases if case["exp_alerts"]} == {rule["alert"] for rule in alerts()}


def test_every_alert_has_a_command_to_paste() -> None:
    programs = {"curl", "grep", "image-gateway-admin", "journalctl", "systemctl", "timedatectl", "top"}
    group = click.Context(cli.main, **cli.main.context_settings)
    for rule in alerts():
        command = rule["annotations"]["command"]
        assert command.split()[0] in programs, rule["alert"]
        assert subprocess.run(["sh", "-n", "-c", command], check=False).returncode == 0, rule["alert"]
        assert "image-gateway " not in command, "root's shell has only image-gateway-admin"
        for name, arguments in re.findall(r"image-gateway-admin (\w+)([^;|>&]*)", command):
            known = cli.main.get_command(group, name)
            assert known is not None
            known.make_context(name, shlex.split(arguments), parent=group)


def silenced(firing: list[dict[str, str]]) -> set[str]:
    """Return the names of the alerts that the inhibition rules of Alertmanager silence."""

    def matches(alert: dict[str, str], matchers: list[str]) -> bool:
        split = [re.fullmatch(r'(\w+)(=~?)"(.*)"', matcher) for matcher in matchers]
        assert all(split)
        return all(
            re.fullmatch(matcher[3] if matcher[2] == "=~" else re.escape(matcher[3]), alert.get(matcher[1], ""))
            for matcher in split
            if matcher
        )

    return {
        target["alertname"]
        for rule in read_yaml("config/prometheus/alertmanager.yml")["inhibit_rules"]
        for source in firing
        for target in firing
        if matches(source, rule["source_matchers"])
        and matches(target, rule["target_matchers"])
        and all(source.get(label) == target.get(label) for label in rule.get("equal", ()))
    }


def test_one_lost_grant_leaves_its_cause_and_one_page() -> None:
    names = ("CatalogErrors", "Errors", "ErrorsBudgetFast", "Overloaded", "RenewalsLate", "RenewalsStopped")
    firing = [{"alertname": f"ImageGateway{name}", "instance": "a"} for name in names]
    cause = {"alertname": "ImageGatewayDependencyDown", "instance": "a", "dependency": "postgres"}
    for alert in firing[:3]:  # sums over all gateways
        del alert["instance"]
    assert {alert["alertname"] for alert in firing} - silenced([*firing, cause]) == {"ImageGatewayErrors"}
    other = cause | {"instance": "b"}
    assert "ImageGatewayRenewalsLate" not in silenced([*firing, other])


def test_no_critical_alert_is_silenced_by_a_warning() -> None:
    severities = {rule["alert"]: rule["labels"]["severity"] for rule in alerts()}
    named = set()
    for rule in read_yaml("config/prometheus/alertmanager.yml")["inhibit_rules"]:
        source, target = (
            {name for name in severities if silenced_name(name, rule[side])}
            for side in ("source_matchers", "target_matchers")
        )
        named |= source | target
        assert len(source) == 1
        if {severities[name] for name in source} == {"warning"}:
            assert {severities[name] for name in target} == {"warning"}
    spelled = re.findall(r"ImageGateway\((.*?)\)", read("config/prometheus/alertmanager.yml"))
    assert {f"ImageGateway{name}" for names in spelled for name in names.split("|")} <= named


def silenced_name(name: str, matchers: list[str]) -> bool:
    return re.fullmatch(re.sub(r'alertname=~?"(.*)"', r"\1", matchers[0]), name) is not None


def test_prometheus_scrapes_the_admin_port_as_the_job_that_alerts_name() -> None:
    compose, hosts = (read_yaml(f"config/prometheus/{file}") for file in ("prometheus.yml", "prometheus.hosts.yml"))
    (in_compose,), (job,) = compose["scrape_configs"], hosts["scrape_configs"]
    assert job["job_name"] == in_compose["job_name"] == "image-gateway"
    assert 'job=~"image-gateway.*"' in alerts()[0]["expr"]
    assert in_compose["dns_sd_configs"][0]["port"] == AdminSettings().port
    assert job["static_configs"] == [{"targets": [f"127.0.0.1:{AdminSettings().port}"]}]
    assert hosts["rule_files"] == compose["rule_files"] == list(RULE_FILES)


PROMTOOL = shutil.which("promtool")

if PROMTOOL is not None:  # the tests above hold the files without it

    def test_promtool_accepts_the_rules_and_their_tests() -> None:
        """``make alerts``."""
        files = [str(CONFIG / "prometheus" / file) for file in RULE_FILES]
        configuration = str(CONFIG / "prometheus" / "prometheus.hosts.yml")
        for arguments in (
            ["check", "config", configuration],
            ["check", "rules", *files],
            ["test", "rules", *(f"tests/prometheus/{file}" for file in RULE_FILES)],
        ):
            done = subprocess.run([str(PROMTOOL), *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr


def route_names(service: Service) -> set[str]:
    """Return the values that the metric label ``route`` can have."""
    public, admin = (
        {resource.name for resource in app.router.resources() if resource.name is not None}
        for app in applications(service)
    )
    return public | {UNMATCHED} | {ADMIN + name for name in admin} | {CANARY + name for name in public}


async def test_the_alerts_name_routes_and_their_tests_series_that_exist(gateway: RunningGateway) -> None:
    """``make alerts`` runs the alert tests, where promtool is installed."""
    routes = route_names(gateway.service)
    patterns = [found for rule in alerts() for found in re.findall(r'route!?[=~]+"([^"]+)"', rule["expr"])]
    named = {name for pattern in patterns for name in pattern.split("|")}
    assert named
    assert [name for name in named if not any(re.fullmatch(name, route) for route in routes)] == []
    given = [each["series"] for test in alert_tests() for each in test["input_series"]]
    named_series = {selector.partition("{")[0] for selector in given}
    assert named_series - series().keys() == {"up"}, "which Prometheus itself adds"
    assert {found for selector in given for found in re.findall(r'route="([^"]+)"', selector)} <= routes
    alerted = {case["alertname"] for test in alert_tests() for case in test["alert_rule_test"]}
    assert alerted <= {rule["alert"] for rule in alerts()}
