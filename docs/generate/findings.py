"""``docs/findings.md`` and the words of findings for the console, from the catalogue in ``gateway/findings``."""

import json
from typing import Final

from gateway.findings.catalogue import CATALOGUE, CAUSES, Kind

_INTRODUCTION: Final = """\
# Findings

<!-- `make docs` generates this page from findings.yaml and causes.yaml in gateway/findings. -->

What the gateway finds wrong has one name on every surface. `check` prints it in brackets, and ends with 1 if a finding
is bad. `/readyz` of the admin port lists `findings`, each with `where`, `what`, `since`, `remedy` and `command`. The
console shows its sentence. The metric `image_gateway_finding_since_timestamp_seconds` has it with `level` and `where`.
Its alert leads to [the runbook](runbook.md#alerts); a finding without an alert is one of `check` alone. Where
[the cause is known](#causes), a more exact remedy stands in the place of the remedy below, on every surface.

| finding | | what | remedy | command | alert |
|---|---|---|---|---|---|
"""

_CAUSES: Final = """
## Causes

The first regular expression counts that is found in the place and what was seen there. Those of a finding come last.

| place or finding | seen | remedy |
|---|---|---|
"""


def findings_page() -> str:
    """Return the page: a row for each finding, and for each cause with a remedy of its own."""
    places: dict[tuple[str, str], list[str]] = {}
    for place, causes in CAUSES.items():
        for cause in causes.items():
            places.setdefault(cause, []).append(place)
    rows = (f"| {', '.join(seen_at)} | {_code(seen)} | {remedy} |" for (seen, remedy), seen_at in places.items())
    findings = (_row(name, kind) for name, kind in CATALOGUE.items())
    return "\n".join((_INTRODUCTION + next(findings), *findings, _CAUSES + next(rows), *rows, ""))


def _row(name: str, kind: Kind) -> str:
    alert = f"[{kind.alert}](runbook.md#{kind.alert.lower()})" if kind.alert else ""
    return f"| `{name}` | {kind.level} | {kind.says.rstrip('.')} | {kind.remedy} | {_code(kind.command)} | {alert} |"


def _code(text: str) -> str:
    return f"`{text.replace('|', chr(92) + '|')}`"


def findings_script() -> str:
    """Return the console's script with the findings that it shows: words in its languages, alert and command."""
    shown = {
        name: {"en": kind.says, "zh": kind.zh, "alert": kind.alert, "command": kind.command}
        for name, kind in CATALOGUE.items()
        if kind.zh
    }
    return (
        "// Written by `make docs`: the sentence of each finding, its alert and its command.\n"
        f"export const FINDINGS = {json.dumps(shown, indent=2, ensure_ascii=False)};\n"
    )
