"""The lock that holds up the gateway's queries, as far as its user may see it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

# Reads wait for no other lock of a table. A lock that is waited for holds up reads that come later.
# The table may be a view: so also the locks of other tables, behind those of the table itself.
HELD_LOCK_SQL: Final = r"""
SELECT format('%%I.%%I', n.nspname, c.relname), l.granted, l.pid, a.usename, a.application_name, a.state,
    extract(epoch FROM clock_timestamp() - a.state_change)::bigint,
    b.pid, b.usename, b.application_name, b.state, extract(epoch FROM clock_timestamp() - b.state_change)::bigint
FROM pg_locks l
JOIN pg_class c ON c.oid = l.relation AND c.relkind IN ('r', 'p', 'v', 'm', 'i')
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname NOT LIKE 'pg\_%%'
LEFT JOIN pg_stat_activity a ON a.pid = l.pid
LEFT JOIN pg_stat_activity b ON NOT l.granted AND b.pid = (pg_blocking_pids(l.pid))[1]
WHERE l.mode = 'AccessExclusiveLock' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY l.relation = to_regclass(%s) DESC NULLS LAST, l.granted DESC, a.xact_start LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class HeldLock:
    """What a query waits for, as text. ``pid``: the session that has to end; None if that is not known."""

    text: str
    pid: int | None

    @classmethod
    def of(cls, row: Sequence[Any] | None) -> "HeldLock":
        """Return a row of ``HELD_LOCK_SQL``; None if it found none."""
        if row is None:
            return cls("free again, or not visible to this user", None)
        table, is_granted, *session = row
        holder, blocker = session[:5], session[5:]
        if is_granted:
            return cls(f"{_session(holder)} holds AccessExclusiveLock of {table}", holder[0])
        text = (
            f"{_session(holder)} waits for AccessExclusiveLock of {table}, for which {_session(blocker)} does not end"
        )
        return cls(text, blocker[0])


def _session(session: Sequence[Any]) -> str:
    pid, user, application, state, seconds = session
    if pid is None:
        return "a prepared transaction"
    since = f"{state} for {seconds} s" if state is not None else "its state is hidden"
    return f"pid {pid} ({', '.join(part for part in (user, application, since) if part)})"
