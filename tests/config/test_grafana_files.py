"""``config/grafana``: every expression uses metrics and labels that exist, and every panel has its place."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from gateway.service.metrics import Metrics
from tests.config.files import CONFIG, ROOT, read, read_yaml, series

DASHBOARD = CONFIG / "grafana" / "dashboards" / "image-gateway.json"
VARIABLES = {"$job": "image-gateway", "$instance": ".+", "$__rate_interval": "1m"}
# Of Prometheus itself.
COMMON_LABELS = {"job", "instance", "le"}


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    document: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return document


def panels() -> list[dict[str, Any]]:
    """Return the panels that show something."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    """Return every expression, with its variables replaced."""
    found = []
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            found.append(expression)
    return found


def test_every_expression_uses_metrics_that_exist() -> None:
    existing = series().keys() | {"up"}
    used = {
        name
        for expression in expressions()
        for name in re.findall(r"\b(?:image_gateway|process)_\w+|\bup\b", expression)
    }
    assert len(used) >= 30
    assert used - existing == set()


def test_every_label_of_a_selector_exists() -> None:
    labels = series()
    for expression in expressions():
        for name, selector in re.findall(r"\b((?:image_gateway|process)_\w+)\{([^}]*)\}", expression):
            named = set(re.findall(r"(\w+)(?:=~|!~|=|!=)\"", selector)) - COMMON_LABELS
            assert named <= labels.get(name, set()), f"{name}: {named}"


def test_every_collector_of_the_gateway_is_shown_or_left_out_for_a_reason() -> None:
    left_out = {
        "nginx's auth_request, a detail of access": "access_checks",
        "an alert": (
            "accept_pauses audit_lines_lost canary_up change_feed_connected change_trigger_installed "
            "config_last_reload_successful credentials_refresh event_loop_lag_seconds heartbeat_age_seconds "
            "invalidation_receivers log_lines_dropped nginx_asked_seconds nginx_cache_used_seconds "
            "nginx_misdirected redis_evicts_unending refresh_last_success_timestamp_seconds"
        ),
        "about the admin, not about images": "admin_attempts",
        "the log has each": "background_errors",
        "what runs, after an upgrade": "build_info",
        "beside the alert": "canary_change_seconds canary_seconds config_last_reload_success_timestamp_seconds",
        "of the console": "finding_since_timestamp_seconds",
        "the mean of few numbers": "client_attempts",
        "about reports, not about images": "client_beacons",
        "a detail of pages, in the console": "client_paint_seconds client_picture_bytes",
        "a detail of pages": "client_sources",
        "follows the difference": "cos_clock_offset_seconds",
        "metadata, whose bound tencent-cloud.md explains": "descriptions",
        "follows the application's changes": "nginx_epochs",
        "rare": "nginx_floors purge_repeats",
        "shows in the lag": "refresh_cycle_duration_seconds",
        "of the console; the rate of bytes is shown": "sent_bytes",
        "an alert; the time to the first byte is shown": "origin_slow",
        "about traces, not about images": "trace_spans",
    }
    shown = " ".join(expressions())
    names = {metric.name for metric in Metrics().registry.collect() if metric.name.startswith("image_gateway_")}
    missing = {name.removeprefix("image_gateway_") for name in names if not re.search(rf"\b{name}(_|\b)", shown)}
    assert sorted(missing) == sorted(" ".join(left_out.values()).split())


def test_the_dashboard_has_a_fixed_uid_and_its_variables() -> None:
    board = dashboard()
    assert board["uid"] == "image-gateway"
    assert [variable["name"] for variable in board["templating"]["list"]] == ["datasource", "job", "instance"]
    for panel in panels():
        for owner in (panel, *panel["targets"]):
            assert owner["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            assert "$job" in target["expr"], panel["title"]


def test_panels_have_ids_titles_descriptions_and_do_not_overlap() -> None:
    everything = dashboard()["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    taken: set[tuple[int, int]] = set()
    for panel in everything:
        place = panel["gridPos"]
        cells = {(place["x"] + column, place["y"] + line) for column in range(place["w"]) for line in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert all(panel["title"] and panel["description"].endswith(".") for panel in panels())


def test_compose_provisions_the_dashboard_and_its_data_source() -> None:
    (source,) = read_yaml("config/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    services = read_yaml("config/compose.yaml")["services"]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in services
    (provider,) = read_yaml("config/grafana/provisioning/dashboards/image-gateway.yml")["providers"]
    mounts = dict(mount.split(":")[:2] for mount in services["grafana"]["volumes"])
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./grafana/provisioning"] == "/etc/grafana/provisioning"
    assert "grafana" in read("config/compose.yaml").partition("\nname:")[0], "the first lines say where it listens"


PROMTOOL = shutil.which("promtool")

if PROMTOOL is not None:  # the tests above hold the expressions without it

    def test_promtool_parses_every_expression(tmp_path: Path) -> None:
        recorded = [
            {"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(expressions())
        ]
        file = tmp_path / "dashboard.yml"
        file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
        command = [str(PROMTOOL), "check", "rules", "--lint=none", str(file)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
