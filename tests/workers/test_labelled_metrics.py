"""The metrics of all workers as one exposition."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from docs.generate.metrics_page import families
from gateway.workers.labelled_metrics import labelled


def exposition(count: int, help_text: str = "help") -> str:
    """Return what a process with three metrics says."""
    registry = CollectorRegistry()
    Counter("presigns", help_text, ["kind"], registry=registry).labels('a "}" {b} \\ \n\u2028 c').inc(count)
    Histogram("took_seconds", "h", buckets=(1, 2), registry=registry).observe(count)
    Gauge("lag_seconds", "", registry=registry).set(count)
    return generate_latest(registry).decode()


def test_each_sample_names_its_worker_beside_its_own_labels() -> None:
    read = list(
        text_string_to_metric_families(labelled({"1": exposition(1), "parent": exposition(3, "of a later version")}))
    )
    assert [family.name for family in read if not family.name.endswith("_created")] == [
        "presigns",
        "took_seconds",
        "lag_seconds",
    ], "a family stands once"
    assert read[0].documentation == "help"
    found = {(sample.name, *sample.labels.values()): sample.value for family in read for sample in family.samples}
    kind = 'a "}" {b} \\ \n\u2028 c'
    assert (found["presigns_total", kind, "1"], found["presigns_total", kind, "parent"]) == (1, 3)
    assert (found["lag_seconds", "1"], found["lag_seconds", "parent"]) == (1, 3)
    assert [found["took_seconds_bucket", le, "1"] for le in ("1.0", "2.0", "+Inf")] == [1, 1, 1]
    assert found["took_seconds_sum", "parent"] == 3


def test_no_metric_has_a_label_worker_of_its_own() -> None:
    assert [family.name for family, labels in families() if "worker" in labels] == []
