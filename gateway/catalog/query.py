"""The SQL of the catalog, built from the configured names."""

from collections.abc import Mapping, Sequence
from typing import Final

from gateway.catalog.record import MOST_GRANTS
from gateway.settings import GrantSettings, PostgresSettings

LINKS_TABLE: Final = "image_gateway_links"
# A table may be large, and few have an index on the bucket.
_SAMPLED, _MOST_BUCKETS = 100_000, 20
_RANDOM_ROWS: Final = 5_000  # rows of random pages, of which a few are chosen

# The table has one row for each image whose links were ever killed.
KILL_LINKS: Final = (
    f"INSERT INTO {LINKS_TABLE} AS links (image_id, killed) VALUES (%s, 1) "  # noqa: S608 - a name of ours
    "ON CONFLICT (image_id) DO UPDATE SET killed = links.killed + 1, killed_at = now() RETURNING killed"
)
LINKS_KILLED: Final = f"SELECT killed FROM {LINKS_TABLE} WHERE image_id = %s"  # noqa: S608 - a name of ours
LINKS_GRANTED: Final = (
    "SELECT bool_and(has_table_privilege(to_regclass(%s), privilege)) "
    "FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) privilege WHERE to_regclass(%s) IS NOT NULL"
)
# The type of a table's column. It finds no row if the table or the column does not exist. The modifier -1 renders
# ``char(n)`` as ``bpchar``; NULL would render it as ``character``, one letter.
ID_TYPE: Final = (
    "SELECT format_type(atttypid, -1) FROM pg_attribute "
    "WHERE attrelid = to_regclass(%s) AND attname = %s AND NOT attisdropped"
)
# The estimated number of a table's rows, -1 if it is not known. It finds no row for a view.
SIZE: Final = (
    "SELECT reltuples::double precision FROM pg_class WHERE oid = to_regclass(%s) AND relkind IN ('r', 'p', 'm')"
)


class CatalogQuery:
    """The SQL queries of the application's table of images.

    default_bucket: the bucket of rows that name no bucket.
    regions: the region of rows that name no region, by bucket. Any other bucket has the region of the default bucket.
    with_links: also read how often an image's signed links were killed (made invalid), from ``config/sql/links.sql``.

    by_id: selects rows by id. Its text ends before the operator: the caller appends ``= ANY(…)``.
    by_alias: selects alias and id by alias, without the operator.
    aliases_by_id: selects id and alias of rows with any status that have an alias, as ``by_id``.
    inspect_by_id: the same with any status. The last columns: the status, when it was deleted, whether it is served.
    sample: a row for each bucket and region among the first rows, without the gateway's own table.
    """

    def __init__(
        self, settings: PostgresSettings, default_bucket: str, regions: Mapping[str, str], *, with_links: bool = False
    ) -> None:
        columns = settings.columns
        self.settings = settings
        self.default_bucket = default_bucket
        self.regions = regions
        self.with_links = with_links
        self.table = quoted_table(settings.table)
        image_id = f'"{columns.id}"'
        status, deleted_at = _column(columns.status), _column(columns.deleted_at)
        conditions = [] if columns.status is None else [f"COALESCE({_is_among(status, settings.active_values)}, false)"]
        conditions += [] if columns.deleted_at is None else [f'"{columns.deleted_at}" IS NULL']  # as of a partial index
        servable = " AND ".join(conditions) or "true"
        selected = (
            f"SELECT {_column(columns.id)}, {_column(columns.key)}, {_column(columns.owner)}, "
            f"{select_public(settings)}, {_column(columns.bucket)}, {_column(columns.region)}, "
            f"{_column(columns.content_type)}, {_whole_number(columns.width)}, {_whole_number(columns.height)}, "
            f"{_column(columns.focus)}, {_column(columns.version)}, {_column(columns.placeholder)}, "
            f"{_column(columns.viewers, 'to_jsonb({})')}, {_column(columns.groups, 'to_jsonb({})')}"
        )
        # Of many rows the grants may be many more, and nobody asks who may view a sample.
        self._sampled = f"{selected}, NULL, {_column(columns.alias)}"
        self._where = f" WHERE {servable}"
        # A subquery and not a join: no column of the application's table can then be ambiguous.
        killed = (
            f", COALESCE((SELECT links.killed FROM {LINKS_TABLE} links "  # noqa: S608 - checked names, here and below
            f"WHERE links.image_id = {self.table}.{image_id}::text), 0)"
        )
        select = f"{selected}, {select_grants(settings)}, {_column(columns.alias)}{killed if with_links else ''}"
        self.by_id = f"{select} FROM {self.table} WHERE {servable} AND {image_id}"
        self.inspect_by_id = f"{select}, {status}, {deleted_at}, {servable} FROM {self.table} WHERE {image_id}"
        self.by_alias = (
            f"SELECT {_column(columns.alias)}, {_column(columns.id)} FROM {self.table} "  # noqa: S608
            f"WHERE {servable} AND {_column(columns.alias, '{}')}"
        )
        self.aliases_by_id = (
            f"SELECT {_column(columns.id)}, {_column(columns.alias)} FROM {self.table} "  # noqa: S608
            f"WHERE {_column(columns.alias)} IS NOT NULL AND {image_id}"
        )
        self.sample = (
            f"SELECT DISTINCT ON (bucket, region) * FROM ({self._sampled} FROM {self.table} WHERE {servable} "  # noqa: S608
            f"LIMIT {_SAMPLED}) AS rows (id, key, owner, public, bucket, region, content_type) LIMIT {_MOST_BUCKETS}"
        )

    def random(self, size: float | None) -> str:
        """Return the query of random rows of a table with ``size`` rows. None: the query reads its first rows.

        The parameter of the query is how many rows to return. Of a large table, random pages are read: the first rows
        are the oldest, and a new prefix of keys is not among them.
        """
        pages = "" if size is None or size <= _SAMPLED else f" TABLESAMPLE SYSTEM ({100 * _RANDOM_ROWS / size:.9f})"
        rows = f"{self._sampled} FROM {self.table}{pages}{self._where} LIMIT {_SAMPLED}"
        return f"SELECT * FROM ({rows}) AS rows ORDER BY random() LIMIT %s"  # noqa: S608


def tables_read(settings: PostgresSettings, *, with_links: bool) -> list[str]:
    """Return the SQL names of the tables that the queries read, that of the images first."""
    links = [LINKS_TABLE] if with_links else []
    return [quoted_table(settings.table), *links, *([quoted_table(settings.grants.table)] if settings.grants else [])]


def select_grants(settings: PostgresSettings) -> str:
    """Return the SQL that selects the grants of an image as JSON: user, group, and end in Unix seconds."""
    if (grants := settings.grants) is None:
        return "NULL"
    # Compared with now(), a timestamp without time zone is of the session's; its epoch would be of UTC.
    end = "NULLIF(granted.{}::timestamptz, 'infinity')"
    until = _column(grants.until, f"floor(extract(epoch FROM {end}))::bigint")
    selected = f"{_column(grants.user, 'granted.{}::text')}, {_column(grants.group, 'granted.{}::text')}, {until}"
    return (
        "(SELECT jsonb_agg(jsonb_build_array(viewer, viewers, ends)) FROM ("  # noqa: S608
        f"SELECT {selected} FROM {quoted_table(grants.table)} AS granted "
        f'WHERE granted."{grants.image}" = {quoted_table(settings.table)}."{settings.columns.id}" AND {_holds(grants)} '
        f"LIMIT {MOST_GRANTS + 1}) AS rows (viewer, viewers, ends))"
    )


def crowded_image(grants: GrantSettings) -> str:
    """Return the query of an image with more grants than count, among the first rows of the table."""
    columns = ", ".join(f'"{name}"' for name in dict.fromkeys([grants.image, grants.until or grants.image]))
    first = f"(SELECT {columns} FROM {quoted_table(grants.table)} LIMIT {_SAMPLED}) AS granted"  # noqa: S608
    rows = f'SELECT "{grants.image}"::text FROM {first} WHERE {_holds(grants)}'  # noqa: S608
    return f"SELECT id FROM ({rows}) AS rows (id) GROUP BY id HAVING count(*) > {MOST_GRANTS} LIMIT 1"  # noqa: S608


def _holds(grants: GrantSettings) -> str:
    """Return the SQL that tells whether a grant has not ended."""
    return "true" if grants.until is None else f'COALESCE(granted."{grants.until}" > now(), true)'


def quoted_table(table: str) -> str:
    """Return a table's name, with or without its schema, as an SQL identifier."""
    return ".".join(f'"{part}"' for part in table.split("."))


def _column(name: str | None, template: str = "{}::text") -> str:
    """Return the SQL that selects the column, or NULL if no column is configured."""
    return template.format(f'"{name}"') if name is not None else "NULL"


def select_public(settings: PostgresSettings) -> str:
    """Return the SQL that selects whether everybody may view the image."""
    column = settings.columns.public
    if not isinstance(column, str):
        return "true" if column else "false"
    if settings.public_values:
        return f"COALESCE({_is_among(_column(column), settings.public_values)}, false)"
    return f'COALESCE("{column}", false)'


def _is_among(expression: str, values: Sequence[str]) -> str:
    """Return the SQL that tells whether the text is one of ``values``, which the settings allow no quote in."""
    literals = ", ".join(f"'{value}'" for value in values)
    return f"{expression} IN ({literals})"


def _whole_number(name: str | None) -> str:
    """Return the SQL that selects a column of digits as a number of 9 at most, NULL for any other text."""
    return "NULL" if name is None else f"""substring("{name}"::text from '^[0-9]{{1,9}}$')::integer"""
