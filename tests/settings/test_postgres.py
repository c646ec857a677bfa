"""Validation of ``postgres.dsn``: libpq can parse every accepted value, and no error message quotes a refused one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg2.extensions import parse_dsn
from pydantic import SecretStr, ValidationError

from gateway.settings import ColumnSettings, PostgresSettings
from tests.settings.problems import refusal

# The keys that decide what a row says, each with another value than its default.
SOURCES = {
    "grants": {"table": "shares", "image": "picture", "user": "viewer"},
    "table": "pictures",
    "columns": {"public": None},
    "public_values": ["open"],
    "active_values": ["ready"],
    "key_prefix": "media/",
}
ENCODE = "write / @ % as %2F %40 %25"


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("postgresql://app:s3cr/et@db.internal:5432/app", ENCODE),
        ("postgresql://app:123/et@db.internal:5432/app", ENCODE),
        ("postgres://app:/et@db.internal/app", ENCODE),
        ("postgresql://app:s3cr@et@db.internal/app", ENCODE),
        ("postgresql://app:s3cr%et@db.internal/app", ENCODE),
        ("postgresql://app:s3cr@db.internal:s3cr/app", "a port"),
        ("postgresql://app:s3cr@db.internal:0/app", "a port"),
        ("postgresql://app:s3cr@db.internal:65536/app", "a port"),
        ("postgresql://app:s3cr@one:5432,two:s3cr/app", "a port"),
        ("postgresql://app:s3cr@[::1/app", "cannot be parsed"),
        ("postgresql://app:s3cr@db.internal/app?s3cr=1", "cannot be parsed"),
        ("mysql://app:s3cr@db.internal/app", "must be postgresql://"),
        ("mysql://app:s3cr@db.internal/app?s3cr=1", "must be postgresql://"),
        ("db.internal", "must be postgresql://"),
        ("host=db.internal password=s3cr et", "cannot be parsed"),
        ("host=db.internal s3cr=1", "cannot be parsed"),
        ("host=db.internal port=s3cr", "a port"),
        ("host=db.internal password=s3cr\0et", "a NUL character"),
        ("postgresql://s3cret", "names a host alone"),
        ("postgres://s3cr#et!", "names a host alone"),
        ("postgresql://12345678", "names a host alone"),
        ("postgresql://app@12345678/app", "a number in place of a host"),
        ("host=0x12345678 dbname=app", "a number in place of a host"),
        ("", "must not be empty"),
        (" \n", "must not be empty"),
    ],
)
def test_an_unusable_dsn_is_refused_in_one_line_that_does_not_quote_it(dsn: str, expected: str) -> None:
    assert expected in refusal(PostgresSettings, "dsn", dsn, "s3cr", "et@", "db.internal", "app:", "12345678")


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://app:s3cr%2Fet%40%25@db.internal:5432/app",
        "postgresql://app:s3cr?e#t@db.internal/app?sslmode=require&application_name=image-gateway",
        "postgresql:///app",
        "postgresql://localhost",
        "postgresql://db.internal",
        "postgresql://[::1]",
        "postgresql://127.0.0.1",
        "postgresql://db/app",
        "postgresql://",
        "postgresql://%2Frun%2Fpostgresql/app",
        "postgresql://one:5432,two,[::1]:5433/app",
        "postgresql://db.internal/%40pp",
        "postgresql:///app?host=/run/postgresql&user=a@b",
        "host=/run/postgresql dbname=app password='s3cr/et @%'",
        "host=one,two port=5432,5433",
    ],
)
def test_a_dsn_that_libpq_parses_is_accepted_unchanged(dsn: str) -> None:
    assert PostgresSettings(dsn=SecretStr(dsn)).dsn.get_secret_value() == dsn


_PIECES = ["", "h", ":1", ":x", "@", "u:p", "/", "/app", ",", "?host=h", "&", "#", "%", "%2F", "[::1]", "port=", " "]


@given(
    start=st.sampled_from(["postgresql://", "postgres://", ""]), pieces=st.lists(st.sampled_from(_PIECES), max_size=6)
)
def test_every_accepted_dsn_can_be_parsed(start: str, pieces: list[str]) -> None:
    dsn = start + "".join(pieces)
    try:
        PostgresSettings(dsn=SecretStr(dsn))
    except ValidationError:
        return
    parse_dsn(dsn)


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ({"public_values": ["it's"]}, "1 to 64 characters without"),
        ({"active_values": []}, "at least 1 item"),
        ({"active_values": ["a%b"]}, "1 to 64 characters without"),
        ({"key_prefix": "a\0"}, "no NUL character"),
        ({"columns": {"public": "is public"}}, "a column name"),
        ({"columns": {"public": ["is_public"]}}, "columns.public"),
        ({"grants": {"table": "shares", "image": "picture"}}, "needs one of user and group"),
        ({"changes": [{"table": "files", "id": "image id"}]}, "a column name"),
        ({"grants": {"table": "shares; --", "image": "picture", "user": "u"}}, "a table name"),
    ],
)
def test_what_cannot_be_part_of_a_query_is_refused(section: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        PostgresSettings.model_validate({"dsn": "host=x", **section})


def test_a_constant_of_the_environment_is_no_column() -> None:
    for text, constant in (("true", True), ("false", False), ("is_public", "is_public")):
        assert ColumnSettings.model_validate({"public": text}).public == constant


def test_every_key_is_of_the_way_to_the_rows_or_decides_what_a_row_says() -> None:
    assert PostgresSettings.OF_THE_WAY.isdisjoint(SOURCES)
    assert PostgresSettings.model_fields.keys() == PostgresSettings.OF_THE_WAY | SOURCES.keys()


def test_replicas_reach_the_same_sources_by_different_ways() -> None:
    of_one = {"dsn": "postgresql://127.0.0.1:6432/app", "pool_size": 3, "listen": False}
    of_one["changes"] = [{"table": "files", "id": "image_id"}]
    of_two = {"dsn": "postgresql://db/app", "listen_dsn": "postgresql://primary/app", "timeout": 9, "table": "images"}
    sources = [PostgresSettings.model_validate(section).sources for section in (of_one, of_two)]
    assert sources[0] == sources[1]
    for key, value in SOURCES.items():
        assert PostgresSettings.model_validate(of_one | {key: value}).sources != sources[0]
    for column in ColumnSettings.model_fields:
        section = of_one | {"columns": {column: "another"}}
        assert PostgresSettings.model_validate(section).sources != sources[0], column
