"""The catalogue of findings, ``findings.yaml``: what operators are told about each, on every surface."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
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
    causes: Mapping[str, str] = field(default_factory=dict)

    def remedy_for(self, seen: str) -> str:
        """Return what to do about what was ``seen``, by its cause if that is known."""
        found = ((re.search(pattern, seen), remedy) for pattern, remedy in self.causes.items())
        return next((match.expand(remedy) for match, remedy in found if match), self.remedy)


def _read() -> Mapping[str, Kind]:
    text = (resources.files("gateway.findings") / "findings.yaml").read_text(encoding="utf-8")
    loaded = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    return {name: Kind(**fields) for name, fields in loaded.items()}


CATALOGUE: Final = _read()
