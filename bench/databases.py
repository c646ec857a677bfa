"""The Redis and the Postgres of a measurement, and the configuration of a gateway on them."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway_dev.database import ImageRow, ImagesTable
from gateway_dev.postgres_server import PostgresServer
from gateway_dev.redis_server import RedisServer

BUCKET = "bench-1250000000"

Sections = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True)
class Databases:
    """The running servers, and the table of images."""

    redis: RedisServer
    postgres: PostgresServer
    table: ImagesTable

    def sections(self, origin: str) -> dict[str, Mapping[str, object]]:
        """Return the sections of a gateway on them whose bucket is at ``origin``, host and port, over HTTP."""
        return {
            "redis": {"url": self.redis.url},
            "postgres": {"dsn": self.postgres.dsn},
            "cos": {"secret_id": "id", "secret_key": "key", "bucket": BUCKET, "scheme": "http", "domain": origin},
        }


@contextlib.contextmanager
def running_databases(folder: Path, rows: Iterable[ImageRow] = ()) -> Iterator[Databases]:
    """Run both in ``folder``, with ``rows`` in the table of images; their data ends with them."""
    with (
        RedisServer(folder / "redis", ephemeral=True) as redis,
        PostgresServer(folder / "postgres", ephemeral=True) as postgres,
    ):
        table = ImagesTable(postgres.dsn)
        table.create()
        table.create_links()
        table.put(rows)
        yield Databases(redis, postgres, table)


def write_configuration(path: Path, sections: Sections) -> Path:
    """Write the configuration of a gateway; return ``path``."""
    path.write_text(json.dumps(sections))  # JSON is also YAML
    return path
