"""Rows that Postgres cannot read: one of them makes it refuse a query for many."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

import psycopg2

Row: TypeAlias = Sequence[Any]

# What Postgres says of a row that it cannot read.
UNREADABLE = (psycopg2.DataError, psycopg2.errors.DataCorrupted)

_MOST = 8  # of one query; each takes a dozen queries to find
_NOT_UTF8 = (psycopg2.errors.CharacterNotInRepertoire, psycopg2.errors.UntranslatableCharacter)


async def read_apart(
    read: Callable[[Sequence[str]], Awaitable[Sequence[Row]]], image_ids: Sequence[str]
) -> tuple[list[Row], dict[str, psycopg2.Error]]:
    """Return the rows of ``image_ids`` (one at least), and why some cannot be read, which are found by halves.

    read: executes the query of rows by id. Raises its error if many rows cannot be read, not for the encoding of a
    text: the table is at fault.
    """
    rows: list[Row] = []
    unreadable: dict[str, psycopg2.Error] = {}
    batches = [image_ids]
    while batches:
        batch = batches.pop()
        try:
            rows += await read(batch)
        except UNREADABLE as error:
            if middle := len(batch) // 2:
                batches += batch[middle:], batch[:middle]
                continue
            unreadable[batch[0]] = error
            if len(errors_of_the_table(unreadable)) > _MOST:
                raise
    return rows, unreadable


def errors_of_the_table(unreadable: Mapping[str, psycopg2.Error]) -> dict[str, psycopg2.Error]:
    """Return the errors that are not about the encoding of a text, by image id."""
    return {image_id: error for image_id, error in unreadable.items() if not isinstance(error, _NOT_UTF8)}


def why_unreadable(error: psycopg2.Error) -> str:
    """Return the reason without the message of Postgres, which may quote the row."""
    if isinstance(error, _NOT_UTF8):
        return "the row holds text that is not UTF-8"
    return f"Postgres cannot read the row: {type(error).__name__}"
