"""The catalogue of findings, ``findings.yaml``: what operators are told about each, on every surface."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final, Literal

import yaml

Level = Literal["ok", "warning", "bad"]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of finding; ``findings.yaml`` says what the fields are. ``alert`` and ``zh`` are empty without one."""

    level: Level
    says: str
    remedy: str
    command: str = "image-gateway-admin check"
    alert: str = ""
    zh: str = ""


def _read() -> Mapping[str, Kind]:
    text = (resources.files("gateway.findings") / "findings.yaml").read_text(encoding="utf-8")
    loaded = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    return {name: Kind(**fields) for name, fields in loaded.items()}


CATALOGUE: Final = _read()
