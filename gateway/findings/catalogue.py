"""The catalogue of findings, ``findings.yaml``, and ``causes.yaml``: what every surface tells operators."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, Literal

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
    by_cause: bool = False
    stops_start: bool = False
    is_effect: bool = False
    combine: Literal["largest", "sum", "smallest", "farthest"] = "largest"


def _read(name: str) -> Mapping[str, Mapping[str, Any]]:
    text = (resources.files("gateway.findings") / name).read_text(encoding="utf-8")
    loaded: Mapping[str, Mapping[str, Any]] = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    return loaded


CATALOGUE: Final = {name: Kind(**fields) for name, fields in _read("findings.yaml").items()}
CAUSES: Final[Mapping[str, Mapping[str, str]]] = _read("causes.yaml")  # by place: the remedies by regular expression


def known_remedy(place: str, seen: str, name: str = "") -> str:
    """Return what to do about a cause that is known by what was seen at a place, such as ``redis``. Empty: none is.

    ``name``: that of the finding, which has causes of its own for all that is not known of the place.
    """
    causes = [*CAUSES.get(place.partition(" ")[0], {}).items(), *CAUSES.get(name, {}).items()]
    found = ((re.search(cause, f"{place}: {seen}"), remedy) for cause, remedy in causes)
    return next((match.expand(remedy) for match, remedy in found if match), "")
