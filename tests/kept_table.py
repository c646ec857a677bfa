"""A Postgres that costs tests little: one connection for the application's table, and cheap new connections."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import psycopg2

from gateway_dev.database import ImagesTable


def hash_password_once(dsn: str, password: str) -> None:
    """Store the user's password with one round of hashing instead of 4096, which take half the time of a connection.

    Postgres 15 always takes 4096.
    """
    with closing(psycopg2.connect(dsn)) as connection, suppress(psycopg2.errors.UndefinedObject):
        with connection, connection.cursor() as cursor:
            cursor.execute("SET scram_iterations = 1")
            cursor.execute("ALTER ROLE CURRENT_USER PASSWORD %s", (password,))


class KeptTable(ImagesTable):
    """The images table on one connection, in whichever thread it is used. Each call is a transaction, as of any table.

    To open a connection takes thirty times longer than to write a row.
    """

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self._kept = psycopg2.connect(dsn)
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connection."""
        self._kept.close()

    @contextmanager
    def _cursor(self) -> Iterator[psycopg2.extensions.cursor]:
        with self._lock, self._kept, self._kept.cursor() as cursor:
            yield cursor
