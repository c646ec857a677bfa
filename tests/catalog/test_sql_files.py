"""The SQL for operators works on any table and never blocks or fails the application's statements."""

import time
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest
from psycopg2.extensions import connection
from pydantic import SecretStr

from gateway.catalog.change_feed import CHANNEL, TEST_PREFIX
from gateway.catalog.sql_files import changes_sql, images_sql, links_sql
from gateway.settings import ColumnSettings, PostgresSettings

OLD_TRIGGERS = """
CREATE FUNCTION image_gateway_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_notify('image_gateway', OLD."Nr"::text); RETURN NULL; END $$;
CREATE TRIGGER image_gateway_updated AFTER UPDATE ON app."Order" FOR EACH ROW
    WHEN (OLD.path IS DISTINCT FROM NEW.path) EXECUTE FUNCTION image_gateway_changed();
CREATE TRIGGER image_gateway_deleted AFTER DELETE ON app."Order" FOR EACH ROW EXECUTE FUNCTION image_gateway_changed();
"""


def settings(table: str = "app.Order", **columns: str | None) -> PostgresSettings:
    """The configuration of a table whose names need quotes."""
    mapped: dict[str, str | None] = {
        "id": "Nr",
        "key": "path",
        "owner": "user",
        "public": None,
        "bucket": None,
        "region": None,
        "content_type": None,
        "status": None,
    }
    return PostgresSettings(
        dsn=SecretStr("host=x"), table=table, columns=ColumnSettings.model_validate({**mapped, **columns})
    )


class Application:
    """The application's own connection; another one listens to its changes."""

    def __init__(self, own: connection, listener: connection) -> None:
        self._own = own
        self._listener = listener
        self._own.autocommit = self._listener.autocommit = True
        self._listener.cursor().execute(f"LISTEN {CHANNEL}")

    def execute(self, sql: str) -> int:
        """Return the number of affected rows."""
        with self._own.cursor() as cursor:
            cursor.execute(sql)
            return cursor.rowcount

    def payloads(self) -> list[str]:
        """Return the sorted payloads of the notifications since the last call."""
        self._listener.cursor().execute("SELECT 1")  # they come with the answer
        payloads = sorted(notice.payload for notice in self._listener.notifies)
        self._listener.notifies.clear()
        return payloads

    def notified(self) -> list[str]:
        """Return the ids among the payloads."""
        return [payload for payload in self.payloads() if not payload.startswith(TEST_PREFIX)]

    @property
    def warnings(self) -> list[str]:
        """Return the warnings that Postgres sent to the application."""
        return [notice for notice in self._own.notices if notice.startswith("WARNING")]


@pytest.fixture
def application(postgres_dsn: str) -> Iterator[Application]:
    """Connect an application with a table in a separate schema."""
    with closing(psycopg2.connect(postgres_dsn)) as own, closing(psycopg2.connect(postgres_dsn)) as listener:
        application = Application(own, listener)
        drop = "DROP SCHEMA IF EXISTS app CASCADE; DROP FUNCTION IF EXISTS image_gateway_changed CASCADE"
        application.execute(drop)
        application.execute(
            'CREATE SCHEMA app; CREATE TABLE app."Order" ("Nr" text, path text, "user" text, views int)'
        )
        application.execute("""INSERT INTO app."Order" VALUES ('a', 'a.png', 'alice', 0), ('b', 'b.png', 'bob', 0)""")
        yield application
        application.execute(drop)


@pytest.mark.parametrize("before", ["", OLD_TRIGGERS, changes_sql(settings())], ids=["new", "old", "again"])
def test_a_change_of_a_watched_column_is_notified_once(application: Application, before: str) -> None:
    if before:
        application.execute(before)
        application.payloads()
    application.execute(changes_sql(settings()))
    assert application.payloads() == ["-installed"], "gateways look for the trigger"
    application.execute("""UPDATE app."Order" SET path = 'new.png' WHERE "Nr" = 'a'""")
    assert application.notified() == ["a"]
    application.execute("""UPDATE app."Order" SET "user" = NULL""")
    assert application.notified() == ["a", "b"]
    application.execute('UPDATE app."Order" SET views = views + 1, path = path')
    assert application.notified() == []
    application.execute("""DELETE FROM app."Order" WHERE "Nr" = 'b'""")
    assert application.notified() == ["b"]


@pytest.mark.parametrize(
    "migration",
    [
        'ALTER TABLE app."Order" ALTER path TYPE varchar(99)',
        """ALTER TABLE app."Order" ALTER path TYPE json USING to_json(path)""",
        'ALTER TABLE app."Order" ALTER "Nr" TYPE char(9)',
        'ALTER TABLE app."Order" DROP COLUMN "user"',
        'ALTER TABLE app."Order" RENAME "user" TO owner',
    ],
)
def test_migrations_of_watched_columns_work_and_later_changes_are_still_notified(
    application: Application, migration: str
) -> None:
    application.execute(changes_sql(settings()))
    application.execute("""UPDATE app."Order" SET path = 'before.png' WHERE "Nr" = 'a'""")
    assert application.notified() == ["a"]
    application.execute(migration)
    application.execute("""UPDATE app."Order" SET path = '"after.png"' WHERE "Nr" = 'a'""")
    assert application.notified() == ["a"]
    application.execute('UPDATE app."Order" SET views = views + 1')
    assert application.notified() == []
    application.execute("""DELETE FROM app."Order" WHERE "Nr" = 'a'""")
    assert application.notified() == ["a"]
    assert application.warnings == []


def test_statements_work_after_the_id_column_was_renamed(application: Application) -> None:
    application.execute(changes_sql(settings()))
    application.execute('ALTER TABLE app."Order" RENAME "Nr" TO id')
    assert application.execute("""DELETE FROM app."Order" WHERE id = 'a'""") == 1
    assert application.notified() == []
    assert "there is no column Nr, install the trigger again" in application.warnings[0]
    application.execute(changes_sql(settings(id="id")))
    application.execute('DELETE FROM app."Order"')
    assert application.notified() == ["b"]


def test_a_row_with_an_id_of_nine_thousand_bytes_can_be_updated_and_deleted(application: Application) -> None:
    application.execute(changes_sql(settings()))
    application.execute("""INSERT INTO app."Order" VALUES (repeat('x', 9000), 'x.png')""")
    assert application.execute("""UPDATE app."Order" SET path = 'y.png' WHERE length("Nr") = 9000""") == 1
    assert application.execute("""DELETE FROM app."Order" WHERE length("Nr") = 9000""") == 1
    assert application.notified() == []
    assert application.warnings == []


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (settings(table="app.nowhere"), "does not exist"),
        (settings(key="cos_key"), "has no column cos_key"),
        (settings(public="seen"), "sees no value of the virtual column seen: .* STORED"),
        (settings(id="seen"), "sees no value of the virtual column seen: .* STORED"),
    ],
)
def test_names_that_no_trigger_can_watch_install_nothing(
    application: Application, wrong: PostgresSettings, reason: str
) -> None:
    application.execute('ALTER TABLE app."Order" ADD seen boolean GENERATED ALWAYS AS (views > 0) VIRTUAL')
    application.execute(changes_sql(settings()))
    with pytest.raises(psycopg2.Error, match=reason):
        application.execute(changes_sql(wrong))
    application.execute("ROLLBACK")
    assert application.execute("""DELETE FROM app."Order" WHERE "Nr" = 'a'""") == 1
    assert application.notified() == ["a"]


def test_two_tables_of_one_schema_have_a_trigger_each(application: Application) -> None:
    application.execute("CREATE TABLE app.avatars (id int, path text); INSERT INTO app.avatars VALUES (7, 'a')")
    application.execute(changes_sql(settings()))
    application.execute(changes_sql(settings("app.avatars", id="id", owner=None)))
    application.execute('DELETE FROM app.avatars; DELETE FROM app."Order"')
    assert application.notified() == ["7", "a", "b"]


def test_every_table_that_speaks_of_an_image_has_a_trigger(application: Application) -> None:
    application.execute(
        """
        CREATE TABLE app.files (id int, image text, deleted_at timestamptz, note json);
        CREATE TABLE app.shares (picture text, viewer text, note text);
        CREATE FUNCTION app.tell() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_notify(''image_gateway'', ''told''); RETURN NULL; END';
        CREATE TRIGGER image_gateway_told AFTER DELETE ON app.shares EXECUTE FUNCTION app.tell();
        CREATE VIEW app.pictures AS SELECT o.* FROM app."Order" o JOIN app.files f ON f.image = o."Nr";
        """
    )
    with pytest.raises(
        psycopg2.Error, match=r"app\.pictures is a view.* list the tables behind it in postgres\.changes"
    ):
        application.execute(changes_sql(settings("app.pictures")))
    application.execute("ROLLBACK")
    section = settings("app.pictures").model_dump(exclude={"dsn"}) | {
        "dsn": "host=x",
        "grants": {"table": "app.shares", "image": "picture", "user": "viewer"},
        "changes": [
            {"table": "app.Order", "id": "Nr", "watched": ["path"]},
            {"table": "app.files", "id": "image"},
        ],
    }
    for _ in range(2):
        application.execute(changes_sql(PostgresSettings.model_validate(section)))
        assert application.payloads() == ["-installed"]
    for statement, ids in (
        ("""UPDATE app."Order" SET "user" = 'bob'""", []),
        ("""UPDATE app."Order" SET path = 'c.png' WHERE "Nr" = 'a'""", ["a"]),
        ("INSERT INTO app.files VALUES (1, 'a'), (2, NULL), (3, 'b')", ["a", "b"]),
        ("UPDATE app.files SET deleted_at = now() WHERE id = 1", ["a"]),
        ("UPDATE app.files SET id = id", []),
        ("""UPDATE app.files SET note = '{}' WHERE id < 3""", ["a"]),
        ("UPDATE app.files SET image = 'c' WHERE id = 3", ["b", "c"]),
        ("DELETE FROM app.files", ["a", "c"]),
        ("INSERT INTO app.shares VALUES ('a', 'bob')", ["a"]),
        ("UPDATE app.shares SET note = 'x'", []),
        ("UPDATE app.shares SET viewer = 'carol'", ["a"]),
        ("DELETE FROM app.shares", ["a", "told"]),
    ):
        application.execute(statement)
        assert application.notified() == ids, statement
    assert application.warnings == []


def test_two_ids_of_one_table_have_a_trigger_each_until_their_columns_are_gone(application: Application) -> None:
    application.execute(changes_sql(settings()))
    for _ in range(2):
        application.execute(changes_sql(settings(id="path")))
        application.execute(changes_sql(settings()))
    application.execute("""UPDATE app."Order" SET "user" = 'carol' WHERE "Nr" = 'a'""")
    assert application.notified() == ["a", "a.png"]
    application.execute('ALTER TABLE app."Order" RENAME "Nr" TO id')
    application.execute(changes_sql(settings(id="id")))
    application.payloads()
    application.execute("""DELETE FROM app."Order" WHERE id = 'b'""")
    assert application.notified() == ["b", "b.png"]
    assert application.warnings == []


def test_a_generated_column_is_watched(application: Application) -> None:
    application.execute('ALTER TABLE app."Order" ADD seen boolean GENERATED ALWAYS AS (views > 0) STORED')
    application.execute(changes_sql(settings(public="seen")))
    for ids in (["a", "b"], []):
        application.execute('UPDATE app."Order" SET views = views + 1')
        assert application.notified() == ids


def test_installing_does_not_block_a_busy_table(application: Application, postgres_dsn: str) -> None:
    """An install that waits for a lock would make every later statement of the application wait, too."""
    with closing(psycopg2.connect(postgres_dsn)) as busy:
        busy.cursor().execute("""UPDATE app."Order" SET path = 'x'""")
        began = time.monotonic()
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            application.execute(changes_sql(settings()).replace("'5s'", "'200ms'"))
        assert time.monotonic() - began < 30
    application.execute("ROLLBACK")


def test_a_table_with_the_configured_names_and_that_of_links_are_created_once(application: Application) -> None:
    for _ in range(2):
        application.execute(images_sql(settings(table="app.Select", status="where")))
    application.execute("""INSERT INTO app."Select" ("Nr", path, "user") VALUES ('a', 'a.png', 'alice')""")
    assert application.execute("""SELECT FROM app."Select" WHERE "where" = 'active'""") == 1
    with pytest.raises(psycopg2.errors.UndefinedColumn):
        application.execute('SELECT cos_bucket FROM app."Select"')
    application.execute("SET search_path = app")
    for _ in range(2):
        application.execute(links_sql())
    application.execute("INSERT INTO app.image_gateway_links VALUES ('a', 1)")
    assert application.notified() == ["a"]
