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
    virtual: the generated columns of the table that have no value in ``OLD`` and ``NEW``.
    """

    identity: str
    events: int
    source: str
    virtual: Sequence[str] = ()

    @property
    def sent(self) -> set[str]:
        """The columns that it sends as the id, empty if its function does not show that."""
        return {quoted or folded.lower() for quoted, folded in _SENT.findall(self.source)}


QUERY: Final = """
SELECT concat_ws('.', t.tgrelid, t.oid, t.xmin, p.oid, p.xmin),
    CASE WHEN t.tgenabled NOT IN ('D', 'R') AND t.tgtype & 3 = 1 THEN t.tgtype ELSE 0 END::integer, p.prosrc,
    ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = t.tgrelid AND attgenerated = 'v')
FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
WHERE t.tgrelid = to_regclass(%s) AND NOT t.tgisinternal AND p.prosrc LIKE '%%pg_notify(''image_gateway''%%'
ORDER BY t.oid
"""


# Whether a relation is a view, the tables behind it, and whether some of the given tables are among them,
# and which of them have a trigger that notifies. Behind a view
# whose rows a function returns, no table is known.
RELATION: Final = r"""
WITH RECURSIVE behind (oid) AS (
    SELECT to_regclass(%s)::oid
    UNION
    SELECT d.refobjid FROM behind b JOIN pg_rewrite w ON w.ev_class = b.oid
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass
), tables AS (
    SELECT c.oid, format('%%I.%%I', n.nspname, c.relname) AS name
    FROM behind JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p')
)
SELECT relkind IN ('v', 'm'), ARRAY(SELECT name FROM tables ORDER BY name),
    EXISTS (SELECT FROM tables WHERE oid IN (SELECT to_regclass(listed)::oid FROM unnest(%s::text[]) listed)),
    ARRAY(
        SELECT name FROM tables WHERE oid IN (
            SELECT t.tgrelid FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
            WHERE t.tgenabled NOT IN ('D', 'R') AND p.prosrc LIKE '%%pg_notify(''image_gateway''%%'
        ) ORDER BY name
    )
FROM pg_class WHERE oid = to_regclass(%s)
"""


class Relation(NamedTuple):
    """What a table is of which no trigger is known: a row of ``RELATION``, which finds none if there is no such table.

    Its parameters: the relation, the tables of ``postgres.changes``, and the relation again.
    """

    is_view: bool
    tables: Sequence[str]
    is_covered: bool
    notified: Sequence[str] = ()


class WatchedTable(NamedTuple):
    """A table of which changed rows must be notified.

    name: as it is configured. id_column: the column that holds the image's id.
    columns: those that are watched. Empty: every column.
    events: those that change an image, as bits.
    may_be_view: whether the tables behind it are watched in its place if it is a view.
    """

    name: str
    id_column: str
    columns: Sequence[str]
    events: int = UPDATE | DELETE
    may_be_view: bool = False

    @property
    def quoted(self) -> str:
        """The name as SQL."""
        return quoted_table(self.name)


@dataclass(frozen=True, slots=True)
class TriggerReport:
    """What is known of the triggers of a table.

    place: the table and its column of the image's id.
    problem: why changes are not notified, in the words of ``/readyz``, ``check`` and the log. None without a problem.
    identity: those of the triggers that fire.
    is_notified: it is a view, and a table behind it has a trigger.
    """

    place: str
    problem: str | None
    identity: Sequence[str] = ()
    is_view: bool = False
    is_notified: bool = False

    def ends_gap(self, before: "TriggerReport | None") -> bool:
        """Return whether a trigger fires that did not at the report before: changes may not have been notified."""
        return not set(self.identity) <= set(before.identity if before is not None else ())


def watched_tables(settings: PostgresSettings) -> list[WatchedTable]:
    """Return where triggers must be: the images, the grants, and the tables of ``postgres.changes``."""
    columns, grants = settings.columns, settings.grants
    images = settings.table, columns.id
    places: dict[tuple[str, str], Sequence[str]] = {images: tuple(dict.fromkeys(columns.names.values()))}
    if grants is not None:
        names = grants.image, grants.user, grants.group, grants.until
        places[grants.table, grants.image] = tuple(dict.fromkeys(name for name in names if name is not None))
    listed = {(change.table, change.id): change.watched for change in settings.changes}
    places |= {place: watched or places.get(place, ()) for place, watched in listed.items()}
    return [
        WatchedTable(
            *place,
            columns=watched,
            events=UPDATE | DELETE if place == images else INSERT | UPDATE | DELETE,
            may_be_view=bool(listed) and place not in listed,
        )
        for place, watched in places.items()
    ]


def report_on(table: WatchedTable, triggers: Sequence[Trigger], relation: Relation | None = None) -> TriggerReport:
    """Return the report on a table with these triggers. ``relation``: what the table is."""
    identity = tuple(trigger.identity for trigger in triggers if trigger.events)
    place = f"{table.name}.{table.id_column}"
    if not triggers and relation is None:
        return TriggerReport(place, f"there is no table {table.name}: check postgres.table, grants and changes")
    if not triggers and relation is not None and relation.is_view:
        problem, is_notified = _problem_of_view(table, relation), bool(relation.notified)
        return TriggerReport(place, problem, is_view=True, is_notified=is_notified)
    return TriggerReport(place, _problem(table, triggers), identity)


def events_of(triggers: Sequence[Trigger]) -> int:
    """Return the events after which at least one of the triggers fires."""
    events = 0
    for trigger in triggers:
        events |= trigger.events
    return events


def names_of(events: int) -> list[str]:
    """Return the events as SQL."""
    return [name for event, name in ((INSERT, "INSERT"), (UPDATE, "UPDATE"), (DELETE, "DELETE")) if events & event]


def _problem_of_view(table: WatchedTable, view: Relation) -> str | None:
    behind = f": {', '.join(view.tables)}" if view.tables else ""
    if not table.may_be_view and view.notified:
        names = ", ".join(view.notified)
        return f"{table.name} is a view: postgres.changes must list {names} behind it, whose trigger nothing watches"
    if not table.may_be_view:
        return f"{table.name} is a view, which can have no trigger; postgres.changes must list tables behind it{behind}"
    if view.tables and not view.is_covered:
        return f"postgres.changes lists none of the tables behind the view {table.name}{behind}"
    return None


def _problem(table: WatchedTable, triggers: Sequence[Trigger]) -> str | None:
    if not triggers:
        return f"no trigger on {table.name} notifies of changes"
    right = [trigger for trigger in triggers if not trigger.sent or table.id_column in trigger.sent]
    events = events_of(right)
    if missing := names_of(table.events & ~events):
        if others := sorted(
            {name for trigger in triggers if trigger.events for name in trigger.sent} - {table.id_column}
        ):
            return f"the trigger sends {', '.join(others)}, and the configured id of {table.name} is {table.id_column}"
        after = " and ".join(missing)
        return f"no trigger on {table.name} notifies of changes after {after}: it is disabled, or for other events"
    sources = [trigger.source for trigger in right if trigger.events]
    if any("OLD.*" in source for source in sources):
        return None
    # The trigger's function names the columns that it compares; ``format('%I')`` quotes them where it must.
    compared = {name for source in sources for name in _COMPARED.findall(source)}
    if unseen := sorted(compared.intersection(table.columns, triggers[0].virtual)):
        return f"the trigger sees no value of {', '.join(unseen)} of {table.name}: a virtual column must be STORED"
    unwatched = sorted(set(table.columns) - compared) if table.columns else ["every column"]
    return f"the trigger does not watch {', '.join(unwatched)} of {table.name}" if compared and unwatched else None
