"""Paths and contents of the files around the code."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from docs.generate.metrics_page import families
from gateway.service.metrics import Metrics

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
GATEWAY_YAML = CONFIG / "gateway.yaml"
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}


def read(path: str) -> str:
    """Return the text of a file, by its path in the repository."""
    return (ROOT / path).read_text(encoding="utf-8")


def read_yaml(path: str) -> Any:
    """Return the document of a YAML file, by its path in the repository."""
    return yaml.safe_load(read(path))


def write_secrets(folder: Path, names: Iterable[str]) -> None:
    """Write files of a secrets directory with values that are valid."""
    for name in names:
        value = "postgresql://app:word@postgres:5432/app" if name == "postgres__dsn" else "0123456789abcdef" * 4
        (folder / name).write_text(value)


def series() -> dict[str, set[str]]:
    """Return the labels of each series of the gateway, of workers and of the process, by the names in queries."""
    of_process = ((family, ()) for family in Metrics().registry.collect() if family.name.startswith("process_"))
    return {
        f"{family.name}{suffix}": set(labels)
        for family, labels in (*families(), *of_process)
        for suffix in _SUFFIXES.get(family.type, ("",))
    }
