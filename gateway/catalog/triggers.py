"""The triggers that notify of changed rows: where one must be, what it misses, and whether it is the one of before."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from gateway.catalog.query import quoted_table
from gateway.settings import PostgresSettings

# Bits of pg_trigger.tgtype (PostgreSQL, src/include/catalog/pg_trigger.h); 1: for each row, 2: before the event.
INSERT, DELETE, UPDATE = 4, 8, 16
_COMPARED: Final = re.compile(r'OLD\."?(\w+)')
# In the function of config/sql/changes.sql, and in one that passes a column on as it is. Quotes keep capital letters.
_SENT: Final = re.compile(r"""(?:image_id :=|pg_notify\('image_gateway',)\s*(?:OLD|NEW)\.(?:"(\w+)"|(\w+))""")


class Trigger(NamedTuple):
    """A trigger whose function notifies of changes: a row of ``QUERY``, which has the table's name as its parameter.

    identity: another one as soon as the trigger or its function was installed again, disabled or enabled.
    events: those after which it fires for each row, as bits. 0 while it is disabled, or fires on replicas only.
    """

    identity: str
    events: int
    source: str

    @property
    def sent(self) -> set[str]:
        """The columns that it sends as the id, empty if its function does not show that."""
        return {quoted or folded.lower() for quoted, folded in _SENT.findall(self.source)}


QUERY: Final = """
SELECT concat_ws('.', t.tgrelid, t.oid, t.xmin, p.oid, p.xmin),
    CASE WHEN t.tgenabled NOT IN ('D', 'R') AND t.tgtype & 3 = 1 THEN t.tgtype ELSE 0 END::integer, p.prosrc
FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
WHERE t.tgrelid = to_regclass(%s) AND NOT t.tgisinternal AND p.prosrc LIKE '%%pg_notify(''image_gateway''%%'
ORDER BY t.oid
"""


class WatchedTable(NamedTuple):
    """A table of which changed rows must be notified.

    name: as it is configured. id_column: the column that holds the image's id. columns: those that are watched.
    """

    name: str
    id_column: str
    columns: Sequence[str]

    @property
    def quoted(self) -> str:
        """The name as SQL."""
        return quoted_table(self.name)


@dataclass(frozen=True, slots=True)
class TriggerReport:
    """What is known of the triggers of a table.

    problem: why changes are not notified, in the words of ``/readyz``, ``check`` and the log. None without a problem.
    identity: those of the triggers that fire.
    """

    table: str
    problem: str | None
    identity: Sequence[str] = ()

    def ends_gap(self, before: "TriggerReport | None") -> bool:
        """Return whether a trigger fires that did not at the report before: changes may not have been notified."""
        return not set(self.identity) <= set(before.identity if before is not None else ())


def watched_tables(settings: PostgresSettings) -> list[WatchedTable]:
    """Return where triggers must be."""
    columns = settings.columns
    return [WatchedTable(settings.table, columns.id, tuple(dict.fromkeys(columns.names.values())))]


def report_on(table: WatchedTable, triggers: Sequence[Trigger]) -> TriggerReport:
    """Return the report on a table with these triggers."""
    return TriggerReport(
        table.name, _problem(table, triggers), tuple(trigger.identity for trigger in triggers if trigger.events)
    )


def events_of(triggers: Sequence[Trigger]) -> int:
    """Return the events after which at least one of the triggers fires."""
    events = 0
    for trigger in triggers:
        events |= trigger.events
    return events


def _problem(table: WatchedTable, triggers: Sequence[Trigger]) -> str | None:
    if not triggers:
        return f"no trigger on {table.name} notifies of changes"
    right = [trigger for trigger in triggers if not trigger.sent or table.id_column in trigger.sent]
    events = events_of(right)
    if missing := [name for event, name in ((UPDATE, "UPDATE"), (DELETE, "DELETE")) if not events & event]:
        if others := sorted(
            {name for trigger in triggers if trigger.events for name in trigger.sent} - {table.id_column}
        ):
            return f"the trigger sends {', '.join(others)}, and the configured id of {table.name} is {table.id_column}"
        after = " and ".join(missing)
        return f"no trigger on {table.name} notifies of changes after {after}: it is disabled, or for other events"
    # The trigger's function names the columns that it compares; ``format('%I')`` quotes them where it must.
    compared = {name for trigger in right if trigger.events for name in _COMPARED.findall(trigger.source)}
    unwatched = sorted(set(table.columns) - compared) if compared else ()
    return f"the trigger does not watch {', '.join(unwatched)}" if unwatched else None
