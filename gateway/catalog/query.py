"""The SQL of the catalog, built from the configured names."""

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gateway.catalog.record import (
    FOCUSES,
    ImageRecord,
    InspectedRow,
    check_bucket_and_region,
    check_object_key,
    placeholder_of,
    side_of,
)
from gateway.settings import PostgresSettings

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_RANGES = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}
ACTIVE = "active"
# A table may be large, and few have an index on the bucket.
_SAMPLED, _MOST_BUCKETS = 100_000, 20
_RANDOM_ROWS = 5_000  # rows of random pages, of which a few are chosen
_LONGEST_SHARED = 100  # characters: no usual content type is longer, and the cache of them stays small
LINKS_TABLE = "image_gateway_links"

# The table has one row for each image whose links were ever killed.
KILL_LINKS = (
    f"INSERT INTO {LINKS_TABLE} AS links (image_id, killed) VALUES (%s, 1) "  # noqa: S608 - a name of ours
    "ON CONFLICT (image_id) DO UPDATE SET killed = links.killed + 1, killed_at = now() RETURNING killed"
)


@dataclass(frozen=True, slots=True)
class CatalogQuery:
    """Builds the queries of the application's table, and reads their rows.

    default_bucket: the bucket of rows that name no bucket.
    regions: the region of rows that name no region, by bucket. Any other bucket has the region of the default bucket.
    with_links: the query also reads the count of killed links from the gateway's own table (``config/sql/links.sql``).
    """

    settings: PostgresSettings
    default_bucket: str
    regions: Mapping[str, str]
    with_links: bool = False

    @property
    def id_type_sql(self) -> str:
        """Query of the id column's type. It finds no row if the table or the column does not exist.

        The modifier -1 renders ``char(n)`` as ``bpchar``; NULL would render it as ``character``, one letter.
        """
        return (
            "SELECT format_type(atttypid, -1) FROM pg_attribute "
            "WHERE attrelid = to_regclass(%s) AND attname = %s AND NOT attisdropped"
        )

    @property
    def id_type_parameters(self) -> tuple[str, str]:
        """Parameters of ``id_type_sql``: the table and its id column."""
        return self._table, self.settings.columns.id

    @property
    def _table(self) -> str:
        return quoted_table(self.settings.table)

    def select_sql(self, id_type: str) -> str:
        """Return the query of rows by id. The parameter is cast to the column's type, so that its index is used."""
        killed = f", {self._links_killed}" if self.with_links else ""
        return f'{self._select(killed)} AND "{self.settings.columns.id}" = ANY(%s::{id_type}[])'

    def inspect_sql(self, id_type: str) -> str:
        """Return the query of rows by id with any status. The last columns: the status, and whether it is served."""
        columns = self.settings.columns
        killed = f", {self._links_killed}" if self.with_links else ""
        select = self._select(f"{killed}, {_column(columns.status)}, {self._servable}", "true")
        return f'{select} AND "{columns.id}" = ANY(%s::{id_type}[])'

    @property
    def sample_sql(self) -> str:
        """Query of a row for each bucket and region among the first rows, without the gateway's own table."""
        return (
            f"SELECT DISTINCT ON (bucket, region) * FROM ({self._select()} LIMIT {_SAMPLED}) "  # noqa: S608 - checked names
            f"AS rows (id, key, owner, public, bucket, region, content_type) LIMIT {_MOST_BUCKETS}"
        )

    @property
    def size_sql(self) -> str:
        """Query of the estimated number of rows, -1 if it is not known. The query finds no row for a view."""
        return (
            "SELECT reltuples::double precision FROM pg_class "
            "WHERE oid = to_regclass(%s) AND relkind IN ('r', 'p', 'm')"
        )

    @property
    def size_parameters(self) -> tuple[str]:
        """Parameters of ``size_sql``: the table."""
        return (self._table,)

    @property
    def tables(self) -> tuple[str, str | None]:
        """The names of the tables that the query reads."""
        return self._table, LINKS_TABLE if self.with_links else None

    def random_sql(self, size: float | None) -> str:
        """Return the query of random rows of a table with ``size`` rows. None: the query reads its first rows.

        The parameter of the query is how many rows to return. Of a large table, random pages are read: the first rows
        are the oldest, and a new prefix of keys is not among them.
        """
        pages = "" if size is None or size <= _SAMPLED else f" TABLESAMPLE SYSTEM ({100 * _RANDOM_ROWS / size:.9f})"
        return f"SELECT * FROM ({self._select(pages=pages)} LIMIT {_SAMPLED}) AS rows ORDER BY random() LIMIT %s"  # noqa: S608

    def _select(self, more: str = "", servable: str | None = None, pages: str = "") -> str:
        columns = self.settings.columns
        optional = (
            _column(columns.owner),
            _column(columns.public, "COALESCE({}, false)"),
            _column(columns.bucket),
            _column(columns.region),
            _column(columns.content_type),
            _whole_number(columns.width),
            _whole_number(columns.height),
            _column(columns.focus),
            _column(columns.version),
            _column(columns.placeholder),
        )
        return (
            f"SELECT {_column(columns.id)}, {_column(columns.key)}, {', '.join(optional)}{more} "  # noqa: S608 - checked names
            f"FROM {self._table}{pages} WHERE {servable or self._servable}"
        )

    @property
    def _servable(self) -> str:
        status = self.settings.columns.status
        return "true" if status is None else f"{_column(status)} = '{ACTIVE}'"

    @property
    def _links_killed(self) -> str:
        # A subquery and not a join: no column of the application's table can then be ambiguous.
        image_id = f'{self._table}."{self.settings.columns.id}"::text'
        return f"COALESCE((SELECT links.killed FROM {LINKS_TABLE} links WHERE links.image_id = {image_id}), 0)"  # noqa: S608

    @staticmethod
    def valid_ids(image_ids: Sequence[str], id_type: str) -> list[str]:
        """Return those of ``image_ids`` that a column of this type can hold, in the type's canonical spelling.

        ``007`` is not an id of an integer column: an image has a single id, so that invalidating the id invalidates
        every entry. Also, an invalid id makes Postgres refuse the query of a whole batch.
        """
        if id_type in _RANGES:
            limit = _RANGES[id_type]
            return [text for text in image_ids if _INTEGER.fullmatch(text) and -limit <= int(text) < limit]
        if id_type == "uuid":
            return [text for text in image_ids if _is_canonical_uuid(text)]
        return list(image_ids)

    def read(self, row: Sequence[Any]) -> ImageRecord:
        """Return the row as a record. Raises ``ValueError`` if COS accepts no such key, bucket or region."""
        image_id, key, owner, public, bucket, region, content_type, width, height, focus, version, placeholder = row[
            :12
        ]
        bucket = bucket or self.default_bucket
        region = region or self.regions.get(bucket) or self.regions[self.default_bucket]
        bucket, region = _checked_place(bucket, region)
        return ImageRecord(
            image_id=image_id,
            owner=owner,
            public=bool(public),
            bucket=bucket,
            region=region,
            key=check_object_key(key or ""),
            content_type=_shared_type(content_type) if len(content_type or "") <= _LONGEST_SHARED else content_type,
            links_killed=row[12] if len(row) > 12 else None,
            width=side_of(width),
            height=side_of(height),
            focus=focus if focus in FOCUSES else None,
            version=version,
            placeholder=placeholder_of(placeholder),
        )

    def inspect(self, row: Sequence[Any]) -> InspectedRow:
        """Return a row of ``inspect_sql`` and why it is not served."""
        *known, status, is_served = row
        try:
            record = self.read(known)
        except ValueError as error:
            return InspectedRow(None, status, str(error))
        if not is_served:
            return InspectedRow(record, status, f"its status is {status or 'NULL'}, and not {ACTIVE}")
        return InspectedRow(record, status, None)


# A hundred thousand rows in memory name few buckets, regions and types: equal texts are one object, checked once.
@lru_cache(maxsize=1024)
def _checked_place(bucket: str, region: str) -> tuple[str, str]:
    check_bucket_and_region(bucket, region)
    return bucket, region


@lru_cache(maxsize=1024)
def _shared_type(content_type: str | None) -> str | None:
    return content_type


def quoted_table(table: str) -> str:
    """Return a table's name, with or without its schema, as an SQL identifier."""
    return ".".join(f'"{part}"' for part in table.split("."))


def _column(name: str | None, template: str = "{}::text") -> str:
    """Return the SQL that selects the column, or NULL if no column is configured."""
    return template.format(f'"{name}"') if name is not None else "NULL"


def _whole_number(name: str | None) -> str:
    """Return the SQL that selects a column of digits as a number of 9 at most, NULL for any other text."""
    return "NULL" if name is None else f"""substring("{name}"::text from '^[0-9]{{1,9}}$')::integer"""


def _is_canonical_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
