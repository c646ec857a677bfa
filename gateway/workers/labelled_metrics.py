"""The metrics of all workers as one exposition: each sample has the number of its worker as label ``worker``."""

from collections.abc import Mapping
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

_SAMPLES: Final = "samples"


def labelled(expositions: Mapping[str, str]) -> str:
    """Return the exposition of all processes, in Prometheus' text format, whose samples name their process.

    expositions: what each process says, by the value of the label ``worker``. Of the help texts of a family, which
    differ while workers have different versions, the first one counts.
    """
    families: dict[str, dict[str, list[str]]] = {}  # by name: HELP, TYPE and the samples, which must not be apart
    for worker, text in expositions.items():
        family: dict[str, list[str]] = {}
        for line in text.split("\n"):
            if line.startswith("# "):
                _, kind, name = line.split(" ", 3)[:3]
                family = families.setdefault(name, {})
                family.setdefault(kind, [line])
            elif line:
                family.setdefault(_SAMPLES, []).append(_with_label(line, f'worker="{worker}"'))
    return "".join(f"{line}\n" for family in families.values() for lines in family.values() for line in lines)


def _with_label(sample: str, label: str) -> str:
    """Return the line of a sample with one more label, the last. No number after the labels has a brace."""
    labels, brace, number = sample.rpartition("}")
    if brace:
        return f"{labels},{label}}}{number}"
    name, _, number = sample.partition(" ")
    return f"{name}{{{label}}} {number}"


def about_workers(ready: int, configured: int, restarts: int, stuck: int) -> list[Metric]:
    """Return the metrics of the supervisor about its workers. They have no label ``worker``."""
    workers = GaugeMetricFamily(
        "image_gateway_workers", "Workers that serve ('ready'), and that should ('configured').", labels=["state"]
    )
    workers.add_metric(["ready"], ready)
    workers.add_metric(["configured"], configured)
    ends = CounterMetricFamily("image_gateway_worker_restarts", "Workers started in place of one that ended or hung.")
    ends.add_metric([], restarts)
    loops = CounterMetricFamily(
        "image_gateway_loop_stuck", "Workers that ended because their event loop made no turn for 10 seconds."
    )
    loops.add_metric([], stuck)
    return [workers, ends, loops]
