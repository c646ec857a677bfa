"""Whether an alert fires in Prometheus, by what a gateway exports before, during and after a fault."""

import asyncio
import re
import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.config.files import read_yaml
from tests.processes import run_program

PROMTOOL: Final = shutil.which("promtool") or "promtool"
_STEP: Final = 15  # seconds between two points
# Minutes. Alerts compare with what was recorded of the hour before, or look back for a quarter of an hour; the longest
# ``for`` is half an hour.
_BEFORE: Final = 20
_HOUR_BEFORE: Final = 80
_DURING: Final = 35
_AFTER: Final = 25
_HOUR_AFTER: Final = 90  # of an alert that looks back for an hour
_LABELS: Final = 'instance="gateway", job="image-gateway"'

Series = Mapping[str, tuple[float, bool]]


async def phases_with(alert: str, phases: Sequence[tuple[str, str]], folder: Path) -> list[bool]:
    """Return for the usual state, the fault and the time after it whether the alert fires.

    phases: ``/metrics`` at the beginning and the end of each. What a counter grew in a phase, it grows there every
    fifteen seconds. A gauge keeps its value at the end, and a time its distance from now.
    """
    rules = [rule for group in read_yaml("config/prometheus/alerts.yml")["groups"] for rule in group["rules"]]
    (wanted,) = [rule for rule in rules if rule.get("alert") == alert]
    records = [rule for rule in rules if rule.get("record", "-") in wanted["expr"]]
    names = set(re.findall(r"\bimage_gateway_\w+", " ".join(rule["expr"] for rule in [*records, wanted])))
    after = _HOUR_AFTER if "[1h]" in wanted["expr"] else _AFTER
    ends = list(accumulate([_HOUR_BEFORE if records else _BEFORE, _DURING, after]))
    given = [(_exported(start, names), _exported(end, names)) for start, end in phases]
    selectors = {selector for phase in given for found in phase for selector in found}
    series = [{"series": selector, "values": _values(selector, given, ends)} for selector in sorted(selectors)]
    # In the end of a phase: rules look back. What fires in a fault may be usual half an hour later.
    windows = (5, _DURING - 5, 5)
    questions = [_question(alert, end, window) for end, window in zip(ends, windows, strict=True)]
    await asyncio.to_thread(
        _write,
        folder,
        {"groups": [{"name": "of the alert", "rules": [*records, wanted]}]},
        {
            "rule_files": ["rules.yml"],
            "evaluation_interval": "1m",
            "tests": [{"interval": f"{_STEP}s", "input_series": series, "promql_expr_test": questions}],
        },
    )
    output = await run_program(PROMTOOL, "test", "rules", str(folder / "tests.yml"))
    failed = set(re.findall(r"time: (\w+),", output))
    assert "SUCCESS" in output or failed, output
    return [_written(end) not in failed for end in ends]


def _exported(text: str, names: Collection[str]) -> Series:
    """Return the value of each series of these names by its selector, and whether it only grows."""
    lines = [line for line in text.splitlines() if line.startswith("# TYPE ") or re.split("[{ ]", line)[0] in names]
    return {
        _selector(sample.name, sample.labels): (sample.value, family.type in ("counter", "histogram"))
        for family in text_string_to_metric_families("\n".join(lines))
        for sample in family.samples
    }


def _selector(name: str, labels: Mapping[str, str]) -> str:
    return name + "{" + ", ".join([*(f'{label}="{value}"' for label, value in labels.items()), _LABELS]) + "}"


def _values(selector: str, phases: Sequence[tuple[Series, Series]], ends: Sequence[int]) -> str:
    """Return the points of a series in the notation of promtool."""
    text: list[str] = []
    total, begins = 0.0, 0
    for (start, end), ends_at in zip(phases, ends, strict=True):
        points, seconds, begins = (ends_at - begins) * 60 // _STEP, begins * 60, ends_at
        if selector not in end:
            text.append(f"_x{points}")
            continue
        value, is_counter = end[selector]
        if is_counter:
            former, _ = start.get(selector, (0.0, True))
            growth = value - former if value >= former else value  # another process counts from 0
            value = total + growth
            total += growth * points
        else:
            growth = _STEP if value and "_timestamp_seconds{" in selector else 0
            value += (seconds - time.time()) if growth else 0
        text.append(f"{value:f}+{growth:f}x{points - 1}")
    return " ".join(text)


def _written(minutes: int) -> str:
    """Return the last minute of a phase, as promtool writes it."""
    hours, minutes = divmod(minutes - 1, 60)
    return f"{hours}h{minutes}m" if hours else f"{minutes}m"


def _question(alert: str, end: int, window: int) -> dict[str, Any]:
    """Return whether the alert fired in the last minutes of a phase."""
    fired = f"count_over_time(ALERTS{{alertname='{alert}', alertstate='firing'}}[{window}m])"
    samples = [{"labels": "{}", "value": 1}]
    return {"expr": f"count({fired}) > bool 0", "eval_time": _written(end), "exp_samples": samples}


def _write(folder: Path, rules: Mapping[str, Any], tests: Mapping[str, Any]) -> None:
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))
    (folder / "tests.yml").write_text(yaml.safe_dump(tests))
