"""Paths and contents of the files around the code."""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"
GATEWAY_YAML = CONFIG / "gateway.yaml"


def read(path: str) -> str:
    """Return the text of a file, by its path in the repository."""
    return (ROOT / path).read_text(encoding="utf-8")


def read_yaml(path: str) -> Any:
    """Return the document of a YAML file, by its path in the repository."""
    return yaml.safe_load(read(path))
