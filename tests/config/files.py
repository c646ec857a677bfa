"""Paths and contents of the files around the code."""

from collections.abc import Iterable
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


def write_secrets(folder: Path, names: Iterable[str]) -> None:
    """Write files of a secrets directory with values that are valid."""
    for name in names:
        value = "postgresql://app:word@postgres:5432/app" if name == "postgres__dsn" else "0123456789abcdef" * 4
        (folder / name).write_text(value)
