"""``docs/metrics.md``: name, type, labels and help text of every metric, from the collectors."""

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import Metric

from gateway.service.metrics import Metrics
from gateway.workers.labelled_metrics import about_workers

_OWN: Final = "image_gateway_"
_INTRODUCTION: Final = """\
# Metrics

<!-- `make docs` generates this page from gateway/metrics. -->

`GET /metrics` on the admin port. [Operations](watch.md#metrics-and-alerts) explains how to scrape it, and
[the runbook](runbook.md#alerts) every alert. Counters end with `_total`; a histogram has `_bucket` (with `le`),
`_count` and `_sum`. The label `bucket` is a bucket of COS. Beside these metrics there are those of the process and of
Python (`process_…`, `python_…`). With [workers](set-up.md#workers) each metric but the last three has a label `worker`.

| metric | type | labels | meaning |
|---|---|---|---|
"""


def metrics_page() -> str:
    """Return the page; the metrics are in the order in which the gateway registers them."""
    return _INTRODUCTION + "".join(f"{row}\n" for row in _rows())


def _rows() -> Iterator[str]:
    for family, labels in families():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        meaning = family.documentation.replace("|", "\\|").replace("<", "\\<")
        yield f"| `{name}` | {family.type} | {', '.join(f'`{label}`' for label in labels)} | {meaning} |"


def families() -> Iterator[tuple[Metric, tuple[str, ...]]]:
    """Yield each metric of the gateway without samples, and the names of its labels."""
    for collector in Metrics().registry._collector_to_names:  # noqa: SLF001 - the one list of collectors
        for family in collector.describe() if hasattr(collector, "describe") else collector.collect():
            if family.name.startswith(_OWN):
                yield family, tuple(getattr(family, "_labelnames", ()) or getattr(collector, "_labelnames", ()))
    for family in about_workers(0, 0, 0, 0):
        yield family, tuple(getattr(family, "_labelnames", ()))
