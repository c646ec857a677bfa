"""The list of generated documents."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from docs.generate.browsers import browsers
from docs.generate.code_map import code_map, rooms_page
from docs.generate.configuration import configuration
from docs.generate.console_page import console_page
from docs.generate.findings import findings_page, findings_script
from docs.generate.metrics_page import metrics_page
from docs.generate.overview import overview
from docs.generate.page_table import with_page_table
from docs.generate.prometheus_rules import prometheus_rules
from docs.generate.variants import variants

ROOT = Path(__file__).parent.parent.parent


def _read(*path: str) -> str:
    return ROOT.joinpath(*path).read_text(encoding="utf-8")


# Path from the root of the project -> the function that returns the text.
DOCUMENTS: Mapping[str, Callable[[], str]] = MappingProxyType(
    {
        "README.md": lambda: with_page_table(_read("README.md"), _read("docs", "benchmarks.md")),
        "README.zh-CN.md": lambda: with_page_table(_read("README.zh-CN.md"), _read("docs", "benchmarks.md")),
        "config/kubernetes/components/prometheus-operator/prometheus-rules.yaml": lambda: prometheus_rules(
            {name: _read("config", "prometheus", f"{name}.yml") for name in ("alerts", "objectives")}
        ),
        "docs/browsers.md": lambda: browsers(_read("tests", "web", "test_promise.py")),
        "docs/code-map.md": lambda: code_map(ROOT),
        "docs/configuration.md": lambda: configuration(_read("config", "gateway.yaml")),
        "docs/findings.md": findings_page,
        "docs/metrics.md": metrics_page,
        "docs/overview.svg": overview,
        "docs/variants.svg": variants,
        "gateway/README.md": rooms_page,
        "gateway/web/console/api.html": lambda: console_page(_read("docs", "api.md"), "./"),
        "gateway/web/console/errors.html": lambda: console_page(_read("docs", "errors.md"), "../"),
        "gateway/web/console/findings.js": findings_script,
        "gateway/web/console/runbook.html": lambda: console_page(_read("docs", "runbook.md"), "../"),
    }
)
