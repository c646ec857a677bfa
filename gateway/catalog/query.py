"""The gateway's one query, built from the configured names."""

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gateway.catalog.installation import quoted_table
from gateway.catalog.record import ImageRecord, check_object_key, check_place
from gateway.settings import PostgresSettings

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_RANGES = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}
ACTIVE = "active"
LINKS_TABLE = "image_gateway_links"

# One row for each image whose links were ever killed.
KILL_LINKS = (
    f"INSERT INTO {LINKS_TABLE} AS links (image_id, killed) VALUES (%s, 1) "  # noqa: S608 - a name of ours
    "ON CONFLICT (image_id) DO UPDATE SET killed = links.killed + 1, killed_at = now() RETURNING killed"
)


@dataclass(frozen=True, slots=True)
class CatalogQuery:
    """How to ask the application's table for images, and how to read what it answers.

    ``default_bucket`` and ``default_region`` stand in where a row names none. ``with_links`` also asks the gateway's
    own table (config/sql/links.sql) how often the links of each image have been killed.
    """

    settings: PostgresSettings
    default_bucket: str
    default_region: str
    with_links: bool = False

    @property
    def id_type_sql(self) -> str:
        """Asks for the type of the id column; no row when the table or the column does not exist.

        With -1 for the modifier, ``char(n)`` is ``bpchar``; with NULL it would be ``character``, which is one letter.
        """
        return (
            "SELECT format_type(atttypid, -1) FROM pg_attribute "
            "WHERE attrelid = to_regclass(%s) AND attname = %s AND NOT attisdropped"
        )

    @property
    def id_type_parameters(self) -> tuple[str, str]:
        """What goes with ``id_type_sql``."""
        return self._table, self.settings.columns.id

    @property
    def _table(self) -> str:
        return quoted_table(self.settings.table)

    def select_sql(self, id_type: str) -> str:
        """Asks for many rows by id. The parameter is cast to the column's type, so that its index is used."""
        killed = f", {self._links_killed}" if self.with_links else ""
        return f'{self._select(killed)} AND "{self.settings.columns.id}" = ANY(%s::{id_type}[])'

    @property
    def any_sql(self) -> str:
        """Asks for whichever row comes first, and for nothing of the gateway's own table."""
        return f"{self._select()} LIMIT 1"

    def _select(self, more: str = "") -> str:
        columns = self.settings.columns
        optional = (
            _column(columns.owner),
            _column(columns.public, "COALESCE({}, false)"),
            _column(columns.bucket),
            _column(columns.region),
            _column(columns.content_type),
        )
        servable = "true" if columns.status is None else f"{_column(columns.status)} = '{ACTIVE}'"
        return (
            f"SELECT {_column(columns.id)}, {_column(columns.key)}, {', '.join(optional)}{more} "  # noqa: S608 - checked names
            f"FROM {self._table} WHERE {servable}"
        )

    @property
    def _links_killed(self) -> str:
        # A query of its own and not a join, so that no name of the application's table can be ambiguous.
        image_id = f'{self._table}."{self.settings.columns.id}"::text'
        return f"COALESCE((SELECT links.killed FROM {LINKS_TABLE} links WHERE links.image_id = {image_id}), 0)"  # noqa: S608

    @staticmethod
    def askable(image_ids: Sequence[str], id_type: str) -> list[str]:
        """Those of ``image_ids`` that a column of this type can hold, in its own canonical spelling.

        ``007`` is no id of an integer column: an image has one address, so that what is dropped by id is dropped
        whole. One odd id would also make Postgres refuse the query of a whole batch.
        """
        if id_type in _RANGES:
            limit = _RANGES[id_type]
            return [one for one in image_ids if _INTEGER.fullmatch(one) and -limit <= int(one) < limit]
        if id_type == "uuid":
            return [one for one in image_ids if _is_canonical_uuid(one)]
        return list(image_ids)

    def read(self, row: Sequence[Any]) -> ImageRecord:
        """One row as a record; raises ``ValueError`` when its key, bucket or region could not be asked of COS."""
        image_id, key, owner, public, bucket, region, content_type, *killed = row
        bucket, region = bucket or self.default_bucket, region or self.default_region
        check_place(bucket, region)
        return ImageRecord(
            image_id=image_id,
            owner=owner,
            public=bool(public),
            bucket=bucket,
            region=region,
            key=check_object_key(key or ""),
            content_type=content_type,
            links_killed=killed[0] if killed else None,
        )


def _column(name: str | None, form: str = "{}::text") -> str:
    """The column as it is selected; NULL when the table has none."""
    return form.format(f'"{name}"') if name is not None else "NULL"


def _is_canonical_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
