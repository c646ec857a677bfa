"""``config/sql`` holds the SQL of the package, and each script is one transaction."""

from contextlib import closing

import psycopg2

from tests.config.files import CONFIG, ROOT, read


def test_the_sql_for_operators_equals_the_sql_of_the_package() -> None:
    """The package needs its own copies: an installed wheel has no config folder."""
    for_operators, packaged = (
        {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}
        for folder in (CONFIG / "sql", ROOT / "gateway" / "catalog" / "sql")
    )
    assert for_operators.keys() == set(SCRIPTS)
    assert packaged == for_operators


SCRIPTS = ("images.example.sql", "changes.sql", "links.sql", "canary.sql")


def test_no_script_needs_a_statement_of_postgres_14() -> None:
    assert [file for file in SCRIPTS if "OR REPLACE TRIGGER" in read(f"config/sql/{file}")] == []


def test_a_driver_runs_every_script_and_a_migration_tool_runs_it_in_its_own_transaction(postgres_dsn: str) -> None:
    with closing(psycopg2.connect(postgres_dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA migrated; SET search_path = migrated")
        for file in SCRIPTS:
            statements = read(f"config/sql/{file}")
            cursor.execute(statements.replace("\nBEGIN;\n", "\n").replace("\nCOMMIT;\n", "\n"))
        cursor.execute("SELECT tgname FROM pg_trigger WHERE tgrelid = 'migrated.images'::regclass")
        assert cursor.fetchall() == [("image_gateway_changed",)]
        connection.rollback()
        cursor.execute("SELECT to_regnamespace('migrated')")
        assert cursor.fetchone() == (None,), "no script has ended the transaction"
        cursor.execute("CREATE SCHEMA migrated; SET search_path = migrated")
        for file in SCRIPTS:
            cursor.execute(read(f"config/sql/{file}"))
        cursor.execute("DROP SCHEMA migrated CASCADE")
        connection.commit()
