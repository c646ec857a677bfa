"""The catalogue has every finding of the code and no other, and an alert has the command of its finding."""

import re
from pathlib import Path

import pytest

from docs.generate.findings import findings_page
from gateway.findings.catalogue import CATALOGUE, Kind
from gateway.findings.finding import Finding
from tests.config.files import read_yaml

CODE = "".join(path.read_text(encoding="utf-8") for path in Path("gateway").rglob("*.py"))
ALERTS = {
    rule["alert"]: rule["annotations"]["command"]
    for group in read_yaml("config/prometheus/alerts.yml")["groups"]
    for rule in group["rules"]
    if "alert" in rule
}


def test_the_catalogue_has_each_finding_of_the_code_and_no_other() -> None:
    made = set(re.findall(r'Finding(?:\.of)?\(\s*"([a-z_]+)"', CODE))
    assert made - {"well"} <= CATALOGUE.keys()
    assert [name for name in CATALOGUE if f'"{name}"' not in CODE] == []


@pytest.mark.parametrize("kind", [kind for kind in CATALOGUE.values() if kind.alert])
def test_an_alert_has_the_command_of_its_finding_and_the_console_both_languages(kind: Kind) -> None:
    assert ALERTS[kind.alert] == kind.command
    values = [re.findall(r"\{\w+\}", text) for text in (kind.says, kind.zh)]
    assert sorted(values[0]) == sorted(values[1])


_LOCK = "a query waited for a lock: pid 7 (app) waits for AccessExclusiveLock of a, for which {} does not end"


@pytest.mark.parametrize(
    ("name", "where", "what", "remedy"),
    [
        (
            "dependency_down",
            "postgres",
            "could not extend file: No space left on device",
            "the disk of Postgres is full",
        ),
        ("dependency_down", "postgres", "remaining connection slots are reserved", "raise max_connections"),
        ("dependency_down", "postgres", "canceling statement due to statement timeout", "statement_timeout = 0"),
        ("dependency_down", "postgres", "FATAL: password authentication failed for user a", "its user and password"),
        ("dependency_down", "postgres", 'relation "images" does not exist, as a at b:1', "postgres.table"),
        ("dependency_down", "postgres", _LOCK.format("pid 8 (app, idle for 9 s)"), "pg_terminate_backend(8)"),
        (
            "dependency_down",
            "postgres",
            _LOCK.format("a prepared transaction"),
            "wait until that session ends, or end it",
        ),
        ("changes_not_heard", "changes", "not received: cannot execute NOTIFY during recovery", "leads to a standby"),
        ("changes_not_heard", "changes", "too many notifications in the NOTIFY queue", "end the session that listens"),
        ("changes_not_heard", "changes", "not received: connection refused", "check postgres.listen_dsn"),
        ("changes_not_heard", "changes", "nobody passes notifications on: a test", "a pooler in transaction mode"),
        ("dependency_down", "redis", "max number of clients reached", "raise maxclients"),
        ("dependency_down", "redis", "invalid username-password pair", "the password in redis.url"),
        ("dependency_degraded", "redis", "refuses writes: OOM command not allowed", "raise maxmemory"),
        ("dependency_down", "jwks", "status 503", "the identity provider"),
    ],
)
def test_a_known_cause_has_its_own_remedy(name: str, where: str, what: str, remedy: str) -> None:
    assert remedy in Finding.of(name, where, what).told()["remedy"]


def test_the_page_has_a_row_for_each() -> None:
    assert re.findall(r"^\| `(\w+)` \|", findings_page(), flags=re.MULTILINE) == list(CATALOGUE)
