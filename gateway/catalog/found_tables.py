"""The tables that the gateway's queries find, and whether all their rows are visible."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

# The parameters are the names of the tables. A view reads the tables behind it as its owner, or with security_invoker
# as the user of the view. Rows are hidden unless a policy lets that user read every row and none restricts that
# (PostgreSQL, "Rules and Privileges", "Row Security Policies").
FOUND_TABLES_SQL: Final = r"""
WITH RECURSIVE wanted AS (
    SELECT place, oid::oid FROM unnest(ARRAY[to_regclass(%s), to_regclass(%s)]) WITH ORDINALITY AS found (oid, place)
), behind (place, oid, reader) AS (
    SELECT place, oid, (SELECT r.oid FROM pg_roles r WHERE r.rolname = current_user) FROM wanted
    UNION
    SELECT b.place, d.refobjid, CASE WHEN EXISTS (
        SELECT FROM pg_options_to_table(v.reloptions) WHERE option_name = 'security_invoker' AND option_value::boolean
    ) THEN b.reader ELSE v.relowner END
    FROM behind b JOIN pg_class v ON v.oid = b.oid AND v.relkind = 'v' JOIN pg_rewrite w ON w.ev_class = v.oid
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
        AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> v.oid
)
SELECT format('%%I.%%I', n.nspname, c.relname),
    (
        SELECT ARRAY[format('%%I.%%I', m.nspname, t.relname), quote_ident(r.rolname)]
        FROM behind b JOIN pg_class t ON t.oid = b.oid JOIN pg_namespace m ON m.oid = t.relnamespace
        JOIN pg_roles r ON r.oid = b.reader
        WHERE b.place = wanted.place AND t.relrowsecurity AND NOT r.rolsuper AND NOT r.rolbypassrls
        AND (t.relforcerowsecurity OR NOT pg_has_role(r.oid, t.relowner, 'USAGE'))
        AND NOT COALESCE((
            SELECT bool_or(p.polpermissive AND pg_get_expr(p.polqual, p.polrelid) = 'true')
                AND bool_and(p.polpermissive OR pg_get_expr(p.polqual, p.polrelid) = 'true')
            FROM pg_policy p WHERE p.polrelid = t.oid AND p.polcmd IN ('r', '*')
            AND EXISTS (SELECT FROM unnest(p.polroles) role WHERE role = 0 OR pg_has_role(r.oid, role, 'USAGE'))
        ), false)
        ORDER BY 1 LIMIT 1
    ),
    ARRAY(
        SELECT format('%%I.%%I', m.nspname, o.relname) FROM pg_class o JOIN pg_namespace m ON m.oid = o.relnamespace
        WHERE o.relname = c.relname AND o.oid <> c.oid AND o.relkind IN ('r', 'p', 'v', 'm', 'f')
        AND m.nspname NOT LIKE 'pg\_%%' ORDER BY 1
    )
FROM wanted JOIN pg_class c ON c.oid = wanted.oid JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY wanted.place
"""


@dataclass(frozen=True, slots=True)
class FoundTable:
    """A table or view. All are SQL identifiers, tables with their schemas.

    hidden: the table of which row level security hides rows, which may be behind a view, and from which user.
    others: relations of the same name in other schemas.
    """

    name: str
    hidden: tuple[str, str] | None
    others: Sequence[str]

    @classmethod
    def of(cls, row: Sequence[Any]) -> "FoundTable":
        """Return a row of ``FOUND_TABLES_SQL``."""
        name, hidden, others = row
        return cls(name, tuple(hidden) if hidden is not None else None, tuple(others))

    @property
    def problem(self) -> str | None:
        """What row level security does to this table; None if every row is visible."""
        if self.hidden is None:
            return None
        table, user = self.hidden
        return f"row level security may hide rows of {table} from {user}, as if they did not exist"

    @property
    def repair(self) -> str:
        """SQL after which every row of the hidden table is visible."""
        table, user = self.hidden or (self.name, "CURRENT_USER")
        return f"CREATE POLICY image_gateway_reads ON {table} FOR SELECT TO {user} USING (true)"
