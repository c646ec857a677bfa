"""How running gateways differ."""

import pytest

from gateway.checks.nginx import list_addresses
from gateway.checks.running import diagnose_list_address, diagnose_nginx_list, diagnose_ports, diagnose_running, rows_of
from gateway.findings.finding import well
from gateway.redis_replicas.replica_questions import ReplicaAnswer
from tests.config.files import CONFIG


def answer(name: str, **changes: object) -> ReplicaAnswer:
    given = {
        "version": "0.2.0",
        "program": "/opt/image-gateway-0.2.0",
        "settings": "aaaaaaaa",
        "entry_key": "k",
        "changes": "ok",
        "nginx": {"n": 0.2},
        "last_error": "",
    }
    return ReplicaAnswer(name, **(given | changes))  # type: ignore[arg-type]


def test_gateways_that_are_the_same_are_well() -> None:
    answers = [answer("a"), answer("b")]
    assert all(finding.is_well for finding in diagnose_running(answers, []))
    assert not any(is_marked for row in rows_of(answers, []) for _, is_marked in row)


@pytest.mark.parametrize(
    ("changes", "column"),
    [
        ({"version": "0.1.0"}, 1),
        ({"program": "/opt/image-gateway-0.1.0"}, 2),
        ({"settings": "bbbbbbbb"}, 3),
        ({"settings": "aaaaaaaa (1 need a restart)"}, 3),
        ({"entry_key": "other"}, 4),
        ({"changes": "changes of rows are not received"}, 5),
    ],
)
def test_the_one_that_differs_is_marked_and_a_failure(changes: dict[str, object], column: int) -> None:
    answers = [answer("a"), answer("b", **changes), answer("c")]
    marked = [
        (number, at) for number, row in enumerate(rows_of(answers, [])) for at, (_, is_it) in enumerate(row) if is_it
    ]
    assert marked == [(1, column)]
    assert any(not finding.is_well for finding in diagnose_running(answers, []))


def test_replicas_that_do_not_answer_are_named_and_a_failure_as_is_no_gateway_at_all() -> None:
    [row] = rows_of([], ["old:1"])
    assert row[:2] == (("old:1", True), ("does not answer", True))
    for silent in (["old:1"], []):
        [finding] = diagnose_running([], silent)
        assert not finding.is_well


@pytest.mark.parametrize(("silent", "is_complete"), [(["old:1"], True), ([], False)])
def test_of_gateways_that_were_not_asked_nothing_is_said(silent: list[str], is_complete: bool) -> None:
    said = [finding.what for finding in diagnose_running([answer("a")], silent, is_complete=is_complete)]
    assert "the 1 that answered hear of changes" in said
    assert "every gateway hears of changes" not in said


@pytest.mark.parametrize(
    ("status", "level", "what"),
    [
        ({"heard_ms_ago": 200, "trouble": None, "floor": 1, "version": 3}, "ok", "0.2 s ago"),
        ({"heard_ms_ago": 60_000, "trouble": None}, "bad", "60.0 s ago"),
        ({"heard_ms_ago": 200, "trouble": "no gateway answers"}, "bad", "no gateway answers"),
        ({"heard_ms_ago": None, "trouble": None}, "bad", "has not heard"),
        ("no answer within 3 s", "warning", "was not asked: no answer within 3 s"),
    ],
)
def test_the_list_of_nginx(status: dict[str, object] | str, level: str, what: str) -> None:
    finding = diagnose_nginx_list(status, "http://127.0.0.1:9089/status")
    assert finding.level == level
    assert what in finding.what


def test_the_ports_of_upstreams_are_compared() -> None:
    expected = {"image_gateway": 8080, "image_gateway_admin": 9090}
    (same,) = diagnose_ports({"image_gateway": ["127.0.0.1:8080", "10.0.0.2:1"], "other": ["127.0.0.1:7"]}, expected)
    assert same.level != "warning"
    (other,) = diagnose_ports({"image_gateway_admin": ["127.0.0.1:9091"]}, expected)
    assert other.what == "image_gateway_admin leads to 127.0.0.1:9091, and the configuration says 9090"
    assert list(diagnose_ports({"image_gateway": ["10.0.0.2:8080"]}, expected)) == []


def test_the_two_places_of_the_port_of_nginx_s_list_are_compared_and_the_shipped_file_names_one() -> None:
    shipped = list_addresses(CONFIG / "nginx")
    assert shipped is not None
    same = diagnose_list_address(*shipped)
    other = diagnose_list_address("127.0.0.1:9089", "127.0.0.1:9088")
    assert same == well("nginx list", "nginx asks its own list where it answers: 127.0.0.1:9089")
    assert not other.is_well
    assert other.what == "image-gateway/changes.conf listens on 127.0.0.1:9089, and asks 127.0.0.1:9088"
