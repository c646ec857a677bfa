"""The expositions of all workers as one: counters and histograms are summed, gauges follow their rules.

A counter may never fall: Prometheus would take its whole value for an increase. So the counts of a worker that has
ended stay in the sum, as they were when they were last read.
"""

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

Key = tuple[str, str, tuple[tuple[str, str], ...]]  # the names of a family and of a sample, and the sample's labels
_PER_PROCESS: Final = ("process_", "python_")  # these describe one process: a label names the worker
Rule = Callable[[Sequence[float]], float]


def farthest(values: Sequence[float]) -> float:
    return max(values, key=abs)


_GAUGES: Final[Mapping[Rule, Sequence[str]]] = {
    # What each worker has for itself adds up.
    math.fsum: (
        "inflight_requests", "client_connections", "memory_cache_bytes", "postgres_connections", "postgres_waiting",
    ),
    # What all read in one place is the same but for its age: the worst one counts.
    max: (
        "postgres_oldest_wait_seconds", "build_info", "heartbeat_age_seconds", "canary_seconds",
        "refresh_queue_length", "refresh_due", "refresh_dead", "refresh_lag_seconds",
        "refresh_last_success_timestamp_seconds", "purge_queue_length", "purge_dead", "purge_lag_seconds",
    ),
    min: (
        "credentials_expire_timestamp_seconds", "change_trigger_installed", "change_feed_connected",
        "config_last_reload_successful", "config_last_reload_success_timestamp_seconds", "dependency_up",
        "invalidation_receivers", "nginx_asked_seconds", "nginx_cache_used_seconds", "canary_up",
    ),
    farthest: ("cos_clock_offset_seconds", "cos_clock_difference_seconds"),
}  # fmt: skip
RULES: Final = {f"image_gateway_{name}": rule for rule, names in _GAUGES.items() for name in names}


def merged(name: str, values: Sequence[float]) -> float:
    """Return a single value of a gauge. NaN (not known) counts only where every worker has it."""
    # Of ``_created``, the time since when a counter counts, the oldest is taken.
    rule = RULES.get(name, min if name.endswith("_created") else max)
    known = [value for value in values if not math.isnan(value)]
    return float(rule(known)) if known else math.nan


class MergedMetrics:
    """Merges the metrics of all workers into one scrape: ``read`` each worker's, then ``merge`` them."""

    def __init__(self) -> None:
        self._last: dict[asyncio.Event, dict[Key, float]] = {}  # by the event of the end of the worker
        self._ended: defaultdict[Key, float] = defaultdict(float)
        self._families: dict[str, Metric] = {}  # without samples

    def read(self, ended: asyncio.Event, text: str) -> list[Metric]:
        """Return the families of an exposition, and remember the counts of the worker whose end sets ``ended``.

        The last counts of workers that have ended are added up: they take no room while nobody scrapes.
        """
        for known in [known for known in self._last if known.is_set()]:
            for key, value in self._last.pop(known).items():
                self._ended[key] += value
        families = list(text_string_to_metric_families(text))
        counts = self._last[ended] = {}
        for family in families:
            self._families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            if _is_summed(family):
                counts |= {_key(family, sample.name, sample.labels): sample.value for sample in family.samples}
        return families

    def merge(self, by_worker: Mapping[str, Iterable[Metric]]) -> list[Metric]:
        """Return the merged families. ``by_worker`` has the families just read, by the label of their worker."""
        values: defaultdict[Key, float] = defaultdict(float)
        gauges: defaultdict[Key, list[float]] = defaultdict(list)
        for worker, families in by_worker.items():
            for family in families:
                for sample in family.samples:
                    if family.name.startswith(_PER_PROCESS):
                        values[_key(family, sample.name, {**sample.labels, "worker": worker})] = sample.value
                    elif not _is_summed(family):
                        gauges[_key(family, sample.name, sample.labels)].append(sample.value)
        for counts in (self._ended, *self._last.values()):
            for key, value in counts.items():
                values[key] += value
        values |= {key: merged(key[0], each) for key, each in gauges.items()}
        result = {name: Metric(name, known.documentation, known.type) for name, known in self._families.items()}
        for (name, sample_name, labels), value in values.items():
            result[name].add_sample(sample_name, dict(labels), value)
        return list(result.values())


def about_workers(ready: int, configured: int, restarts: int, stuck: int) -> list[Metric]:
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


def _is_summed(family: Metric) -> bool:
    return family.type in ("counter", "histogram") and not family.name.startswith(_PER_PROCESS)


def _key(family: Metric, sample: str, labels: Mapping[str, str]) -> Key:
    return family.name, sample, tuple(sorted(labels.items()))
