"""The PrometheusRules of the Kubernetes manifests, from ``config/prometheus``, where kustomize reads no file."""

from collections.abc import Mapping
from typing import Final

_HEAD: Final = """\
# `make docs` makes this file of config/prometheus/alerts.yml and objectives.yml.
"""
_RULE: Final = """\
---
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: image-gateway-{name}
spec:
"""


def prometheus_rules(files: Mapping[str, str]) -> str:
    """Return one PrometheusRule for each file of rules; ``files`` maps its name to its text."""
    return _HEAD + "".join(_RULE.format(name=name) + _indented(text) for name, text in files.items())


def _indented(text: str) -> str:
    return "".join(f"  {line}" if line.strip() else line for line in text.splitlines(keepends=True))
