"""Faults of several replicas together, and since when they are seen."""

import pytest

from gateway.findings.finding import Finding, together
from gateway.metrics.findings import CurrentFindings

DOWN = Finding("dependency_down", "bad", {"dependency": "redis"}, 100)


def test_a_fault_is_seen_since_it_began_whatever_its_numbers_are() -> None:
    log, late = CurrentFindings(), Finding("renewals_late", "warning", {"seconds": 61})
    assert [symptom.since for symptom in log.note([late], 5)] == [5]
    later = Finding("renewals_late", "warning", {"seconds": 66})
    other = Finding("cos_errors", "warning", {"bucket": "a", "code": "SlowDown", "count": 1})
    assert [symptom.since for symptom in log.note([other, later], 10)] == [10, 5]
    third = Finding("cos_errors", "warning", {"bucket": "b", "code": "SlowDown", "count": 1})
    assert [symptom.since for symptom in log.note([third], 15)] == [15]
    assert [symptom.since for symptom in log.note([later], 20)] == [20]  # it was over


def test_a_fault_of_several_replicas_is_named_once_with_all_of_them_and_the_earliest_time() -> None:
    postgres = Finding("dependency_down", "bad", {"dependency": "postgres"}, 90)
    earlier = Finding("dependency_down", "bad", {"dependency": "redis"}, 80)
    warning = Finding("trigger_missing", "warning", {}, 70)
    effect = Finding("requests_fail", "bad", {"failed": 1, "requests": 2}, 60)
    found = together({"a": [warning, effect, DOWN], "b": [earlier, postgres], "c": []})
    assert [(symptom["name"], symptom["values"], symptom["since"], symptom["replicas"]) for symptom in found] == [
        ("dependency_down", {"dependency": "redis"}, 80, ["a", "b"]),
        ("dependency_down", {"dependency": "postgres"}, 90, ["b"]),
        ("requests_fail", {"failed": 1, "requests": 2}, 60, ["a"]),
        ("trigger_missing", {}, 70, ["a"]),
    ]


def test_a_fault_that_gets_bad_begins_then_and_a_recovery_in_between_ends_it() -> None:
    log = CurrentFindings()
    few, many = (Finding("requests_fail", level, {"failed": 1, "requests": 2}) for level in ("warning", "bad"))
    since = [log.note([symptom], at)[0].since for at, symptom in enumerate((few, few, many, many, few, many))]
    assert since == [0, 0, 2, 2, 0, 5]


def test_one_cause_is_one_headline_with_the_worst_level_the_earliest_time_and_all_replicas() -> None:
    down = Finding("dependency_down", "bad", {"dependency": "cos"}, 50)
    paused = Finding("bucket_paused", "bad", {"bucket": "b"}, 70)
    no_answer = Finding("cos_errors", "warning", {"bucket": "b", "code": "no_answer", "count": 9}, 60)
    slow = Finding("cos_errors", "warning", {"bucket": "b", "code": "timeout", "count": 2}, 40)
    other = Finding("cos_errors", "warning", {"bucket": "c", "code": "timeout", "count": 1}, 80)
    effect = Finding("requests_fail", "bad", {"failed": 1, "requests": 2}, 65)
    found = together({"a": [down, paused, effect, no_answer, slow], "b": [down, other]})
    assert [(symptom["name"], symptom["values"].get("bucket"), symptom["level"]) for symptom in found] == [
        ("cos_errors", "b", "bad"),
        ("cos_errors", "c", "bad"),
        ("requests_fail", None, "bad"),
    ]
    assert (found[0]["values"]["code"], found[0]["since"], found[0]["replicas"]) == ("no_answer", 50, ["a", "b"])
    assert together({"a": [Finding("dependency_down", "bad"), Finding("cos_errors", "bad")]}), "of another release"
    assert [symptom["name"] for symptom in together({"a": [down, effect]})] == ["dependency_down", "requests_fail"]


@pytest.mark.parametrize(
    ("name", "first", "second", "expected"),
    [
        ("requests_fail", {"failed": 1, "requests": 50}, {"failed": 2, "requests": 4}, {"failed": 3, "requests": 54}),
        ("cos_errors", {"bucket": "b", "count": 1}, {"bucket": "b", "count": 2}, {"bucket": "b", "count": 3}),
        ("renewals_dead", {"count": 3}, {"count": 2}, {"count": 3}),
        ("credentials_end", {"seconds": 30}, {"seconds": 20}, {"seconds": 20}),
        ("clock_differs", {"seconds": -90}, {"seconds": 40}, {"seconds": -90}),
    ],
)
def test_numbers_of_replicas_become_one(
    name: str, first: dict[str, str | int], second: dict[str, str | int], expected: dict[str, str | int]
) -> None:
    (found,) = together({"a": [Finding(name, "warning", first)], "b": [Finding(name, "bad", second)]})
    assert (found["level"], found["values"], found["since"]) == ("bad", expected, None)


REFUSES = "COS answered 403 SignatureDoesNotMatch"


@pytest.mark.parametrize(
    ("running", "checked", "words"),
    [
        (("redis", "refuses writes: OOM command not allowed"), ("redis", "refuses writes: OOM …, at b:2"), "maxmemory"),
        (("redis", "Connection refused"), ("redis", "Connection refused, at b:2"), "check redis.url"),
        (("postgres", "too many connections for role"),) * 2 + ("CONNECTION LIMIT",),
        (("postgres", "no answer within 5 s"),) * 2 + ("check postgres.dsn",),
        (("cos", f"bucket b-1: {REFUSES}"), ("cos b-1", f"{REFUSES} at https://b-1.cos.test, row a"), "cos.secret_key"),
        (("cos", "bucket b-1: no answer within 1.3 s"), ("cos b-1", "no answer at https://b-1.cos.test"), "cos.region"),
    ],
)
def test_readiness_and_check_have_one_remedy_for_a_cause(
    running: tuple[str, str], checked: tuple[str, str], words: str
) -> None:
    dependency, reason = running
    remedies = {Finding.of("dependency_down", seen=reason, dependency=dependency).advice}
    remedies.add(Finding.of("dependency_down", *checked).advice)
    (remedy,) = remedies
    assert words in remedy


def test_without_a_known_cause_a_part_that_is_refused_is_left_to_check_and_a_code_of_cos_is_a_cause() -> None:
    refused = Finding.of("dependency_degraded", seen="a new kind of refusal", dependency="redis")
    assert refused.advice == "do what check advises for what it refuses"
    code = Finding.of("cos_refuses", bucket="b-1", code="SignatureDoesNotMatch", count=1)
    assert code.advice == Finding.of("cos_refuses", "cos b-1", REFUSES).advice
