"""A PgBouncer in front of a Postgres."""

import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from psycopg2.extensions import make_dsn, parse_dsn

from gateway_dev.processes import HOST, Child, free_port, wait_until
from tests.limits import LIMIT

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin") or "pgbouncer"


@dataclass(frozen=True)
class Pooler:
    """A PgBouncer with one connection to the server. ``dsn`` leads to the server through it."""

    dsn: str

    def answers(self) -> bool:
        """Whether a client gets an answer of the server."""
        with suppress(psycopg2.OperationalError), closing(psycopg2.connect(self.dsn)) as connection:
            connection.cursor().execute("SELECT 1")
            return True
        return False

    def waiting(self, application: str) -> int:
        """Return how many clients of this name wait for the server's connection, be they still there or not."""
        with closing(psycopg2.connect(make_dsn(self.dsn, dbname="pgbouncer"))) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SHOW CLIENTS")
                names = [column.name for column in cursor.description or ()]
                clients = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        return sum(client["state"] == "waiting" and client["application_name"] == application for client in clients)


@contextmanager
def running_pgbouncer(server_dsn: str, folder: Path) -> Iterator[Pooler]:
    """Run a PgBouncer that gives its one connection to each transaction in turn."""
    folder.mkdir()
    to, port = parse_dsn(server_dsn), free_port()
    users, config = folder / "users.txt", folder / "pgbouncer.ini"
    users.write_text(f'"{to["user"]}" "{to["password"]}"\n')
    config.write_text(
        f"[databases]\n* = host={HOST} port={to['port']}\n"
        f"[pgbouncer]\nlisten_addr = {HOST}\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = plain\nauth_file = {users}\nadmin_users = {to['user']}\n"
        "pool_mode = transaction\ndefault_pool_size = 1\n" + "user = nobody\n" * (os.geteuid() == 0)
    )
    process = Child([PGBOUNCER, str(config)], log=folder / "pgbouncer.log")
    pooler = Pooler(make_dsn(server_dsn, port=port))
    try:
        assert wait_until(pooler.answers, LIMIT), (folder / "pgbouncer.log").read_text()
        yield pooler
    finally:
        process.kill()
