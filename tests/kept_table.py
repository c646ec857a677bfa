"""The application's table on one connection, because opening one takes longer than emptying the table."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2

from gateway.dev.database import ImagesTable


class KeptTable(ImagesTable):
    """The images table, in whichever thread it is used. Each call is a transaction of its own, as of any table."""

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
