"""``docs/findings.md`` and the words of findings for the console, from ``gateway/findings/findings.yaml``."""

import json
from typing import Final

from gateway.findings.catalogue import CATALOGUE, Kind

_INTRODUCTION: Final = """\
# Findings

<!-- `make docs` generates this page from gateway/findings/findings.yaml. -->

What the gateway finds wrong has one name on every surface. `check` prints it in brackets, and ends with 1 if a finding
is bad. `/readyz` of the admin port lists `findings`, each with `where`, `what`, `since`, `remedy` and `command`. The
console shows its sentence. The metric `image_gateway_finding_since_timestamp_seconds` has it with `level` and `where`.
Its alert leads to [the runbook](runbook.md#alerts); a finding without an alert is one of `check` alone. Where the
cause is known, a more exact remedy stands in the place of the remedy below.

| finding | | what | remedy | command | alert |
|---|---|---|---|---|---|
"""


def findings_page() -> str:
    """Return the page: a row for each finding."""
    return _INTRODUCTION + "".join(f"{_row(name, kind)}\n" for name, kind in CATALOGUE.items())


def _row(name: str, kind: Kind) -> str:
    alert = f"[{kind.alert}](runbook.md#{kind.alert.lower()})" if kind.alert else ""
    command = kind.command.replace("|", "\\|")
    return f"| `{name}` | {kind.level} | {kind.says.rstrip('.')} | {kind.remedy} | `{command}` | {alert} |"


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
