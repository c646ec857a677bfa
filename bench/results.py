"""Results of a run: medians, ratios within a round, the table and the JSON document."""

import json
import os
import platform
import re
import shlex
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.comparisons import Comparison
from bench.processes import nginx_binary


@dataclass(frozen=True)
class Result:
    """A comparison and the measurements of both in each round."""

    comparison: Comparison
    rounds: Sequence[float]
    baseline_rounds: Sequence[float]

    @property
    def name(self) -> str:
        """The mode, and the size if there is one."""
        return f"{self.comparison.mode} {self.comparison.size}".strip()

    @property
    def median(self) -> float:
        """Median of the gateway."""
        return statistics.median(self.rounds)

    @property
    def baseline_median(self) -> float:
        """Median of the other server."""
        return statistics.median(self.baseline_rounds)

    @property
    def ratio(self) -> float:
        """Median of the ratios within a round; above 1 the gateway is better, also where less is better."""
        pairs = zip(self.rounds, self.baseline_rounds, strict=True)
        if self.comparison.less_is_better:
            return statistics.median(theirs / ours for ours, theirs in pairs)
        return statistics.median(ours / theirs for ours, theirs in pairs)

    @property
    def is_met(self) -> bool | None:
        """Whether the ratio reaches the goal as printed, with two decimals; None without a goal."""
        goal = self.comparison.goal
        return None if goal is None else round(self.ratio, 2) >= goal


@dataclass(frozen=True)
class Run:
    """When, where and how the results were measured."""

    date: str
    command: str
    python: str
    kernel: str
    processor: str
    cores: int
    load: float
    nginx: str
    rounds: int
    seconds: int
    per_cpu: bool


def results(comparisons: list[Comparison], measured: Mapping[tuple[str, str], Sequence[float]]) -> list[Result]:
    """Return the result of each comparison."""
    return [
        Result(comparison, measured[comparison.mode, comparison.size], measured[comparison.baseline, comparison.size])
        for comparison in comparisons
    ]


def this_run(arguments: Sequence[str], *, rounds: int, seconds: int, per_cpu: bool) -> Run:
    """Return the facts of this machine and this command; ``load`` is the mean of the last minute."""
    model = re.search(r"^model name\s*:\s*(.+)$", _text("/proc/cpuinfo"), flags=re.MULTILINE)
    version = subprocess.run([nginx_binary(), "-v"], capture_output=True, text=True, check=False).stderr
    return Run(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(("python", "-m", "bench", *arguments)),
        python=platform.python_version(),
        kernel=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=model[1] if model else platform.processor(),
        cores=os.cpu_count() or 1,
        load=round(os.getloadavg()[0], 2),
        nginx=version.rpartition("/")[2].strip(),
        rounds=rounds,
        seconds=seconds,
        per_cpu=per_cpu,
    )


def value(number: float, unit: str) -> str:
    """Return a measured value as readers see it."""
    return f"{number:.2f}" if unit in ("s", "ms") else f"{number:,.0f}"


def table(found: Sequence[Result]) -> str:
    """Return the results as a Markdown table."""
    lines = [
        "| gateway | size | unit | gateway | compared with | its | ratio | goal |",
        "| --- | --- | --- | ---: | --- | ---: | ---: | ---: |",
    ]
    for result in found:
        what = result.comparison
        goal = "" if what.goal is None else f"{what.goal:.2f}"
        lines.append(
            f"| {what.mode} | {what.size} | {what.unit} | {value(result.median, what.unit)} | {what.baseline} | "
            f"{value(result.baseline_median, what.unit)} | {result.ratio:.2f} | {goal} |"
        )
    return "\n".join(lines)


def document(run: Run, found: Sequence[Result]) -> str:
    """Return the run and the results as JSON."""
    rows = [
        asdict(result.comparison)
        | {
            "unit": result.comparison.unit,
            "median": result.median,
            "baseline_median": result.baseline_median,
            "ratio": result.ratio,
            "is_met": result.is_met,
            "rounds": list(result.rounds),
            "baseline_rounds": list(result.baseline_rounds),
        }
        for result in found
    ]
    return json.dumps({"run": asdict(run), "comparisons": rows}, indent=2) + "\n"


def _text(path: str) -> str:
    file = Path(path)
    return file.read_text() if file.exists() else ""
