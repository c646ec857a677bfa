"""The tables that the gateway's queries find, and whether all their rows are visible."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

# The parameters are the names of the tables. Rows are hidden unless a policy lets this user read every row
# and none restricts that (PostgreSQL, "Row Security Policies").
FOUND_TABLES_SQL: Final = r"""
SELECT format('%%I.%%I', n.nspname, c.relname), quote_ident(current_user),
    row_security_active(c.oid) AND NOT COALESCE((
        SELECT bool_or(p.polpermissive AND pg_get_expr(p.polqual, p.polrelid) = 'true')
            AND bool_and(p.polpermissive OR pg_get_expr(p.polqual, p.polrelid) = 'true')
        FROM pg_policy p WHERE p.polrelid = c.oid AND p.polcmd IN ('r', '*')
        AND EXISTS (SELECT FROM unnest(p.polroles) role WHERE role = 0 OR pg_has_role(role, 'USAGE'))
    ), false),
    ARRAY(
        SELECT format('%%I.%%I', m.nspname, o.relname) FROM pg_class o JOIN pg_namespace m ON m.oid = o.relnamespace
        WHERE o.relname = c.relname AND o.oid <> c.oid AND o.relkind IN ('r', 'p', 'v', 'm', 'f')
        AND m.nspname NOT LIKE 'pg\_%%' ORDER BY 1
    )
FROM unnest(ARRAY[to_regclass(%s), to_regclass(%s)]) WITH ORDINALITY AS wanted (oid, place)
JOIN pg_class c ON c.oid = wanted.oid JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY wanted.place
"""


@dataclass(frozen=True, slots=True)
class FoundTable:
    """A table or view. ``name`` (with its schema), ``user`` and ``others`` are SQL identifiers.

    hides_rows: row level security lets ``user`` see only some rows.
    others: relations of the same name in other schemas.
    """

    name: str
    user: str
    hides_rows: bool
    others: Sequence[str]

    @classmethod
    def of(cls, row: Sequence[Any]) -> "FoundTable":
        """Return a row of ``FOUND_TABLES_SQL``."""
        name, user, hides_rows, others = row
        return cls(name, user, bool(hides_rows), tuple(others))

    @property
    def problem(self) -> str | None:
        """What row level security does to this table; None if every row is visible."""
        if not self.hides_rows:
            return None
        return f"row level security may hide rows of {self.name} from {self.user}, as if they did not exist"

    @property
    def repair(self) -> str:
        """SQL after which every row is visible."""
        return f"CREATE POLICY image_gateway_reads ON {self.name} FOR SELECT TO {self.user} USING (true)"
