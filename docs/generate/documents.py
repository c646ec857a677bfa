"""The list of generated documents."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from docs.generate.api_page import api_page
from docs.generate.code_map import code_map
from docs.generate.configuration import configuration
from docs.generate.errors_page import errors_page
from docs.generate.metrics_page import metrics_page
from docs.generate.overview import overview
from docs.generate.prometheus_rules import prometheus_rules
from docs.generate.variants import variants
from gateway.api.openapi.document import document

ROOT = Path(__file__).parent.parent.parent

# Path from the root of the project -> the function that returns the text.
DOCUMENTS: Mapping[str, Callable[[], str]] = MappingProxyType(
    {
        "config/kubernetes/components/prometheus-operator/prometheus-rules.yaml": lambda: prometheus_rules(
            {
                name: (ROOT / "config" / "prometheus" / f"{name}.yml").read_text(encoding="utf-8")
                for name in ("alerts", "objectives")
            }
        ),
        "docs/code-map.md": lambda: code_map(ROOT / "gateway"),
        "docs/configuration.md": lambda: configuration((ROOT / "config" / "gateway.yaml").read_text(encoding="utf-8")),
        "docs/metrics.md": metrics_page,
        "docs/overview.svg": overview,
        "docs/variants.svg": variants,
        "gateway/web/console/api.html": lambda: api_page(document()),
        "gateway/web/console/errors.html": lambda: errors_page(
            (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
        ),
    }
)
